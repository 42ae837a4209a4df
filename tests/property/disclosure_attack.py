"""An attacker who reads a released set, or a year of them, and knows the rule; and the long form of the attack.

The attacker solves for the cross table of all persons (group x level x flag x event) by integer programming: every
shown number is a pair of bounds on a sum of its cells. Standard errors and limits of hazard ratios are solved for the
events of each level, as if everything else about the model were known. Month by month the same is done, and the counts
of two months are subtracted. What the presolve of `Known` can settle by a table that it has seen needs no program.

``python tests/property/disclosure_attack.py --reports 10000 --chains 1000 --tables 500 --state attack.json`` is the
long form: it says how far it came, and the same command goes on from there. It prints how far curves are off in steps
of k/N plus their last decimal (1 is the most allowed), and how much is withheld against the least that protects.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from disclosure_inverter import MOST, solved_errors
from disclosure_worlds import (
    CURVE,
    FLAGS,
    LEVELS,
    MODELS,
    SCHEMA,
    chain,
    month_later,
    population,
    publish,
    results,
    rule_of,
    small_table,
)
from scipy.optimize import Bounds, LinearConstraint, milp

from cohort.errors import ReleaseRefusedError
from cohort.results.cells import Ledger, cells_to_hide
from cohort.results.disclosure import Released
from cohort.results.estimates import ALL

__all__ = ["attack_chain", "attack_report", "chain", "month_later", "population", "publish", "rule_of"]

BY = {0: "group", 1: "group", 2: "flag", 3: None, 5: "level", 6: "flag"}
KINDS, MONTHS = ("reports", "chains", "tables"), 12


@dataclass(frozen=True, slots=True)
class Known:
    """What a reader knows: for each set of atoms, by its bytes, the least and most persons in it.

    ``tables`` are cross tables that agree with all of it, found on the way: often one answers the next question.
    """

    bounds: dict[bytes, tuple[int, int]]
    atoms: pl.DataFrame
    tables: list[np.ndarray] = field(default_factory=list)

    def most(self, which: bytes, sign: int = -1) -> int:
        """Return the most persons that the atoms can hold, given everything that is known."""
        return self._solved(sign * np.frombuffer(which, dtype=bool).astype(float), which)

    def least(self, which: bytes) -> int:
        """Return the fewest persons that the atoms can hold."""
        return self.most(which, sign=1)

    def look_around(self, sets: list[bytes]) -> None:
        """Find a table in which all of some sets together are large, and one in which they are small."""
        cost = np.sum([np.frombuffer(one, dtype=bool) for one in sets], axis=0).astype(float)
        for sign in (-1, 1):
            self._solved(sign * cost, sets[0])

    def seen(self, which: bytes) -> tuple[int, int]:
        """Return the fewest and most persons that the atoms hold in the tables found so far."""
        inside = np.frombuffer(which, dtype=bool)
        counts = [int(table[inside].sum()) for table in self.tables]
        return (min(counts), max(counts)) if counts else (MOST, 0)

    def _solved(self, cost: np.ndarray, which: bytes) -> int:
        sets = [np.frombuffer(one, dtype=bool) for one in self.bounds]
        low, high = zip(*self.bounds.values(), strict=True) if sets else ((), ())
        constraints = [LinearConstraint(np.array(sets, dtype=float), low, high)] if sets else []
        answer = milp(cost, integrality=np.ones(len(cost)), bounds=Bounds(0, MOST), constraints=constraints)
        assert answer.success
        self.tables.append(np.round(answer.x))
        return int(self.tables[-1][np.frombuffer(which, dtype=bool)].sum())


def all_atoms(people: pl.DataFrame) -> pl.DataFrame:
    """Return the cells of the cross table, people in them or not."""
    groups = sorted(people["group"].unique()) or ["g1"]
    schema = {name: SCHEMA[name] for name in ("group", "level", "flag", "event")}
    return pl.DataFrame(list(itertools.product(groups, LEVELS, FLAGS, (0, 1))), schema, orient="row")


def read(released: Released, atoms: pl.DataFrame, exact: pl.DataFrame) -> Known:
    """Return what a released set says, each number with the numbers that would have been rounded to it.

    ``exact`` are the rows before the gate: what the attacker of a model's error is told (`solved_errors`).
    """
    rule, bounds = released.rule, dict[bytes, tuple[int, int]]()
    everybody = np.ones(atoms.height, dtype=bool)
    counts = [(step.persons_kept, everybody) for step in released.attrition.steps[1:]]
    counts += counted(released.estimates.frame, atoms)
    for count, which in counts:
        low, high = max(count - rule.round_to // 2, 0), count + rule.round_to // 2
        low = max(low, rule.minimum) if count else low  # whoever knows the rule knows that it is not small
        _narrow(bounds, which, low, high)
    reach = rule.base - 1
    for (group,), days in released.estimates.select(analysis=CURVE).drop_nulls("time").group_by("group"):
        inside = (atoms["group"] == group).to_numpy()
        _narrow(bounds, inside, days["n"].max() - reach, days["n"].max() + reach)
        _narrow(bounds, inside & (atoms["event"] == 1).to_numpy(), days["events"].sum() - reach, MOST)
    for which, low, high in solved_errors(released, atoms, exact):
        _narrow(bounds, which, low, high)
    return Known(bounds, atoms)


def _narrow(bounds: dict[bytes, tuple[int, int]], which: np.ndarray, low: int, high: int) -> None:
    before = bounds.get(which.tobytes(), (0, MOST))
    bounds[which.tobytes()] = (max(before[0], low), min(before[1], high))


def counted(estimates: pl.DataFrame, atoms: pl.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Return (count, which atoms it counts) for every count that the rows show."""
    found = []
    for row in estimates.filter(pl.col("analysis") != CURVE).iter_rows(named=True):
        found += [(round(n), np.asarray(which)) for n, which in _shown(row, atoms) if n is not None]
    return found


def _shown(row: dict, atoms: pl.DataFrame) -> list[tuple[float | None, pl.Series]]:
    by = BY[row["analysis"]]
    if row["estimand"] == "hazard_ratio":
        inside = _level(row, atoms) if row["category"] is not None else pl.Series([False] * atoms.height)
        return [(row["n"], inside), (row["events"], inside & (atoms["event"] == 1))]
    inside = pl.Series([True] * atoms.height) if row["group"] == ALL else atoms[by].cast(pl.String) == row["group"]
    if row["estimand"] == "incidence_rate":
        return [(row["n"], inside), (row["events"], inside & (atoms["event"] == 1))]
    if row["estimand"] == "standardised_difference" or row["value"] is None:
        return []
    if row["term"] is None:
        return [(row["n"], inside), (row["value"], inside)]
    term = atoms[row["term"]]
    level = term.is_null() if row["estimand"] == "missing" else (term.cast(pl.String) == row["category"])
    count = row["value"] * row["n"] if row["estimand"] == "proportion" else row["value"]
    return [(row["n"], inside), (count, inside & level.fill_null(False))]


def _level(row: dict, atoms: pl.DataFrame) -> pl.Series:
    return (atoms[row["term"]].cast(pl.String) == row["category"]).fill_null(False)


def true_counts(people: pl.DataFrame, atoms: pl.DataFrame, exact: pl.DataFrame) -> dict[bytes, int]:
    """Return every count of an ungated report by the atoms it counts, and the events that a model leaves out."""
    found = {which.tobytes(): count for count, which in counted(exact, atoms)}
    for term in MODELS.values():
        left_out = (atoms[term].is_null() & (atoms["event"] == 1)).to_numpy()
        found[left_out.tobytes()] = people.filter(pl.col(term).is_null())["event"].sum()
    return found


def attack_report(people: pl.DataFrame, released: Released) -> list[str]:
    """Return what an attacker works out of one report: a small count, or a range in which every value is small."""
    atoms, minimum, exact = all_atoms(people), released.rule.minimum, results(people).frame
    known, found = read(released, atoms, exact), []
    small = {which: count for which, count in true_counts(people, atoms, exact).items() if 0 < count < minimum}
    if small:
        known.look_around(list(small))
    for which, count in small.items():
        least, most = known.seen(which)
        if most < minimum and least > 0:
            least, most = known.least(which), known.most(which)
            if most < minimum and least > 0:
                found.append(f"a count of {count} lies in {least}..{most}")
    return found


def attack_chain(months: list[tuple[pl.DataFrame, Released]]) -> list[str]:
    """Return what an attacker works out by subtracting reports: by how few persons a count changed."""
    atoms = all_atoms(pl.concat([people for people, _ in months]))
    minimum = months[0][1].rule.minimum
    exact = [results(people).frame for people, _ in months]
    truths = [true_counts(people, atoms, rows) for (people, _), rows in zip(months, exact, strict=True)]
    known = [read(out, atoms, rows) for (_, out), rows in zip(months, exact, strict=True)]
    memory: dict[tuple[int, bytes], tuple[int, int]] = {}

    def possible(month: int, which: bytes) -> tuple[int, int]:
        if (month, which) not in memory:
            memory[month, which] = known[month].least(which), known[month].most(which)
        return memory[month, which]

    def seen(month: int, which: bytes) -> tuple[int, int]:
        return known[month].seen(which)

    def innocent(ranges: Callable[[int, bytes], tuple[int, int]], one: int, other: int, which: bytes) -> bool:
        (low, high), (least, most) = ranges(one, which), ranges(other, which)
        return _innocent(least - high, most - low, minimum)

    found = []
    for month, counts in enumerate(truths):
        known[month].look_around(list(counts))
    for one, other in itertools.combinations(range(len(months)), 2):
        for which in truths[one].keys() & truths[other].keys():
            change = truths[other][which] - truths[one][which]
            told = 0 < abs(change) < minimum and not any(
                innocent(ranges, one, other, which) for ranges in (seen, possible)
            )
            found += [f"months {one}, {other}: a count changed by {change}, which is all it can be"] if told else []
    return found + [told for pair in itertools.combinations(months, 2) for told in _attack_curves(*pair, minimum)]


def _innocent(low: int, high: int, minimum: int) -> bool:
    """Return whether a range holds 0, or a change of enough persons."""
    return low <= 0 <= high or high >= minimum or low <= -minimum


def _attack_curves(one: tuple[pl.DataFrame, Released], other: tuple[pl.DataFrame, Released], minimum: int) -> list[str]:
    """Subtract the curves of two reports between any two days on which both are shown, and after the last."""
    found = []
    shown = [dict(_points(released)) for _, released in (one, other)]
    for group in shown[0].keys() & shown[1].keys():
        ends = (0, *sorted(shown[0][group] & shown[1][group]))
        for start, end in itertools.combinations(ends, 2):
            for event in (0, 1):
                before, after = (_between(people, group, start, end, event) for people, _ in (one, other))
                if 0 < abs(after - before) < minimum:
                    found.append(f"curve: {after - before} more on days {start}..{end}")
    return found


def _points(released: Released) -> Iterator[tuple[str, set[int]]]:
    rows = released.estimates.select(analysis=CURVE).filter(pl.col("time").is_not_null())
    for (group,), part in rows.group_by("group"):
        yield str(group), set(part["time"])


def _between(people: pl.DataFrame, group: str, start: int, end: int, event: int) -> int:
    inside = (pl.col("group") == group) & (pl.col("event") == event) & pl.col("time").is_between(start + 1, end)
    return people.filter(inside).height


# What protection costs ----------------------------------------------------------------------------------------------


def curve_error(people: pl.DataFrame, released: Released) -> float:
    """Return how far released curves are off at their points at most, in units of k/N plus the last decimal's half.

    k is the base of rounding (1 without), N the group's persons; 1 is the most that is promised.
    """
    exact = results(people).select(analysis=CURVE).select("group", "time", true="value").sort("time")
    shown = released.estimates.select(analysis=CURVE).drop_nulls(["time", "value"]).sort("time")
    if shown.is_empty():
        return 0.0
    sizes = people.group_by("group").agg(size=pl.len())
    there = shown.join_asof(exact, on="time", by="group", check_sortedness=False).join(sizes, on="group")
    decimal = 0.5 * 10.0 ** -(there["size"].log10() + 0.5).floor()
    return float(((there["value"] - there["true"]).abs() / (released.rule.base / there["size"] + decimal)).max())


def protects(ledger: Ledger, hidden: set[str], minimum: int = 11) -> bool:
    """Return whether every small cell could be one of the minimum or more: by brute force, with no code of ours."""
    keys = sorted(ledger.values)
    sums = np.array([[(key == one.total) - (key in one.parts) for key in keys] for one in ledger.sums], dtype=float)
    low = [1 if key in hidden else ledger.values[key] for key in keys]
    high = [1000 if key in hidden else ledger.values[key] for key in keys]
    for target in (key for key in keys if ledger.values[key] < minimum):
        cost = np.array([-1.0 if key == target else 0.0 for key in keys])
        answer = milp(
            cost, integrality=np.ones(len(keys)), bounds=Bounds(low, high), constraints=LinearConstraint(sums, 0, 0)
        )
        if round(-answer.fun) < minimum:
            return False
    return True


def withheld_cells(seed: int, minimum: int = 11) -> tuple[int, int]:
    """Return how many cells of a small table are withheld, and the fewest that would protect, of all choices."""
    ledger = small_table(np.random.default_rng(seed), minimum)
    small = {key for key, value in ledger.values.items() if value < minimum}
    others = sorted(set(ledger.values) - small)
    choices = (set(more) for size in range(len(others)) for more in itertools.combinations(others, size))
    least = next(len(small | more) for more in choices if protects(ledger, small | more, minimum))
    hidden = cells_to_hide(ledger, minimum, show_zero=True)
    assert protects(ledger, hidden, minimum)
    return len(hidden), least


# The long form ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Progress:
    """How far the long form came; kept in a file, so that it goes on after whatever stopped it."""

    reports: int = 0
    refused: int = 0
    chains: int = 0
    published: int = 0
    tables: int = 0
    broken: list[str] = field(default_factory=list)
    curve_error: float = 0.0
    suppression: float = 0.0
    seconds: float = 0.0

    def keep(self, path: Path | None) -> None:
        """Write the state, whole or not at all, and say it."""
        if path is not None:
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps({name: getattr(self, name) for name in self.__slots__}))
            beside.replace(path)
        print(
            f"{self.reports} reports ({self.refused} refused), {self.chains} chains ({self.published} months), "
            f"{len(self.broken)} broken; curves off by {self.curve_error:.2f} of k/N plus rounding; {self.tables} "
            f"tables, withheld {self.suppression:.2f} of the least; {self.seconds:.0f} CPU s",
            flush=True,
        )

    def tell(self, what: str, found: list[str]) -> None:
        """Note and print what was worked out."""
        self.broken += [f"{what}: {text}" for text in found[:3]]
        for text in found[:3]:
            print(f"BROKEN {what}: {text}", flush=True)


def one_report(state: Progress) -> None:
    """Attack the next report."""
    people = population(np.random.default_rng(state.reports))
    try:
        released = publish(people, rule_of(state.reports))
    except ReleaseRefusedError:
        state.refused += 1
    else:
        state.tell(f"report {state.reports}", attack_report(people, released))
        state.curve_error = max(state.curve_error, curve_error(people, released))
    state.reports += 1


def one_chain(state: Progress) -> None:
    """Attack the next chain."""
    published = chain(state.chains, MONTHS, rule_of(state.chains))
    state.published += len(published)
    state.tell(f"chain {state.chains}", attack_chain(published) if len(published) > 1 else [])
    state.chains += 1


def one_table(state: Progress) -> None:
    """Hold what is withheld of the next small table against the least."""
    ours, least = withheld_cells(state.tables)
    state.suppression = max(state.suppression, ours / least)
    state.tables += 1


def main() -> int:
    """Run the long form from where it was, and say every minute how far it came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=10_000)
    parser.add_argument("--chains", type=int, default=1_000)
    parser.add_argument("--tables", type=int, default=500, help="small tables compared with the optimum")
    parser.add_argument("--state", type=Path, help="file that knows how far it came")
    chosen = parser.parse_args()
    there = chosen.state is not None and chosen.state.exists()
    state = Progress(**json.loads(chosen.state.read_text())) if there else Progress()
    worked, said = time.process_time(), time.monotonic()
    while any(getattr(state, kind) < getattr(chosen, kind) for kind in KINDS):
        share = {kind: getattr(state, kind) / getattr(chosen, kind) for kind in KINDS if getattr(chosen, kind)}
        kind = min(share, key=share.__getitem__)  # in turns, so that whatever stops it, some of everything is done
        {"reports": one_report, "chains": one_chain, "tables": one_table}[kind](state)
        state.seconds, worked = state.seconds + time.process_time() - worked, time.process_time()
        if time.monotonic() - said > 60:
            said = time.monotonic()
            state.keep(chosen.state)
    state.keep(chosen.state)
    return int(bool(state.broken))


if __name__ == "__main__":
    sys.exit(main())
