"""Random reports, chains of monthly reports, and an attacker who reads them and knows the rule.

The attacker solves for the cross table of all persons (group x level x flag x event) by integer programming: every
shown number is a pair of bounds on a sum of its cells. Month by month the same is done, and the counts of two months
are subtracted. ``python tests/property/disclosure_attack.py --reports 10000 --chains 1000`` is the long form.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.optimize import Bounds, LinearConstraint, milp

from cohort.errors import ReleaseRefusedError
from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, Released, release
from cohort.results.estimates import ALL, Estimates
from cohort.results.history import PastRelease
from cohort.results.table_one import count_table_one

LEVELS, FLAGS = ("a", "b", "c", None), (False, True)
KINDS = {"level": "categorical", "flag": "boolean"}
SCHEMA = {"group": pl.String, "level": pl.String, "flag": pl.Boolean, "event": pl.Int64, "time": pl.Int64}
BY = {0: "group", 1: "group", 2: "flag", 3: None}
SIZES = [0, 0, 0, 1, 2, 3, 5, 8, 10, 11, 12, 20, 40, 90]
"""Weights, so that small, empty and large cells all come up often."""
MOST = 5000


def population(random: np.random.Generator) -> pl.DataFrame:
    """Draw a cross table of 2 or 3 groups and expand it to persons, each with a day on which follow-up ends."""
    groups = ("g1", "g2", "g3")[: random.integers(2, 4)]
    cells = list(itertools.product(groups, LEVELS, FLAGS, (0, 1)))
    counts = random.choice(SIZES, len(cells))
    rows = [cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)]
    days = random.integers(1, 61, len(rows))
    return pl.DataFrame([(*row, int(day)) for row, day in zip(rows, days, strict=True)], SCHEMA, orient="row")


def month_later(people: pl.DataFrame, random: np.random.Generator) -> pl.DataFrame:
    """Return the population after 1 to 7 persons came, left or changed; now and then many come as well."""
    gone = random.integers(0, 4)
    come = random.integers(int(gone == 0), 5)
    pool = people.sample(min(60, people.height), with_replacement=True, seed=int(random.integers(1 << 31)))
    changed = pool.with_columns(time=pl.Series(random.integers(1, 61, pool.height)))
    stay = people.sample(people.height - min(gone, people.height), seed=int(random.integers(1 << 31)))
    many = changed if random.random() < 0.4 else changed.head(come)
    return pl.concat([stay, many])


def results(people: pl.DataFrame) -> Estimates:
    """Return Table 1, events by group, by flag and of all as rates, and a curve of each group."""
    parts = [count_table_one(people.lazy(), KINDS, by="group").finish()]
    for position, by in enumerate(("group", "flag", None), start=1):
        group = pl.col(by).cast(pl.String) if by else pl.lit(ALL)
        rows = people.group_by(group=group).agg(n=pl.len(), events=pl.col("event").sum())
        constants = {"analysis": position, "estimand": "incidence_rate", "outcome": "pain"}
        parts.append(Estimates.from_rows(rows.with_columns(value=pl.col("events") / pl.col("n")), **constants))
    return Estimates.concat([*parts, curves(people)])


def curves(people: pl.DataFrame) -> Estimates:
    """Return counts by day of each group as curves; the estimate itself is made up."""
    days = people.group_by("group", "time").agg(
        events=pl.col("event").sum(), censored=(pl.col("event") == 0).sum(), left=pl.len()
    )
    after = pl.col("left").reverse().cum_sum().reverse().over("group", order_by="time")
    rows = days.sort("group", "time").with_columns(n=after, value=pl.lit(0.5)).drop("left")
    return Estimates.from_rows(rows, analysis=4, estimand="survival", outcome="pain")


def publish(people: pl.DataFrame, rule: DisclosureRule, history: tuple[PastRelease, ...] = ()) -> Released:
    """Return what the gate lets out of a population."""
    kept = people.height
    steps = (Step("in the store", kept + 500, 0, kept + 500, 0), Step("criteria", kept, 500, kept, 500))
    return release(results(people), Attrition(steps), rule, history=history)


@dataclass(frozen=True, slots=True)
class Known:
    """What a reader knows: for each set of atoms, by its bytes, the least and most persons in it."""

    bounds: dict[bytes, tuple[int, int]]
    atoms: pl.DataFrame

    def most(self, which: bytes, sign: int = -1) -> int:
        """Return the most persons that the atoms can hold, given everything that is known."""
        sets = [np.frombuffer(one, dtype=bool) for one in self.bounds]
        low, high = zip(*self.bounds.values(), strict=True) if sets else ((), ())
        constraints = [LinearConstraint(np.array(sets, dtype=float), low, high)] if sets else []
        cost = sign * np.frombuffer(which, dtype=bool).astype(float)
        answer = milp(cost, integrality=np.ones(len(cost)), bounds=Bounds(0, MOST), constraints=constraints)
        assert answer.success
        return round(abs(answer.fun))

    def least(self, which: bytes) -> int:
        """Return the fewest persons that the atoms can hold."""
        return self.most(which, sign=1)


def all_atoms(people: pl.DataFrame) -> pl.DataFrame:
    """Return the cells of the cross table, people in them or not."""
    groups = sorted(people["group"].unique()) or ["g1"]
    schema = {name: SCHEMA[name] for name in ("group", "level", "flag", "event")}
    return pl.DataFrame(list(itertools.product(groups, LEVELS, FLAGS, (0, 1))), schema, orient="row")


def read(released: Released, atoms: pl.DataFrame) -> Known:
    """Return what a released set says, each number with the numbers that would have been rounded to it."""
    rule, bounds = released.rule, dict[bytes, tuple[int, int]]()
    everybody = np.ones(atoms.height, dtype=bool)
    counts = [(step.persons_kept, everybody) for step in released.attrition.steps[1:]]
    counts += counted(released.estimates.frame, atoms)
    for count, which in counts:
        low, high = max(count - rule.round_to // 2, 0), count + rule.round_to // 2
        low = max(low, rule.minimum) if count else low  # whoever knows the rule knows that it is not small
        _narrow(bounds, which, low, high)
    reach = rule.base - 1
    for (group,), days in released.estimates.select(analysis=4).drop_nulls("time").group_by("group"):
        inside = (atoms["group"] == group).to_numpy()
        _narrow(bounds, inside, days["n"].max() - reach, days["n"].max() + reach)
        _narrow(bounds, inside & (atoms["event"] == 1).to_numpy(), days["events"].sum() - reach, MOST)
    return Known(bounds, atoms)


def _narrow(bounds: dict[bytes, tuple[int, int]], which: np.ndarray, low: int, high: int) -> None:
    before = bounds.get(which.tobytes(), (0, MOST))
    bounds[which.tobytes()] = (max(before[0], low), min(before[1], high))


def counted(estimates: pl.DataFrame, atoms: pl.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Return (count, which atoms it counts) for every count that the rows show."""
    found = []
    for row in estimates.filter(pl.col("analysis") < 4).iter_rows(named=True):
        found += [(round(n), np.asarray(which)) for n, which in _shown(row, atoms) if n is not None]
    return found


def _shown(row: dict, atoms: pl.DataFrame) -> list[tuple[float | None, pl.Series]]:
    by = BY[row["analysis"]]
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


def true_counts(people: pl.DataFrame, atoms: pl.DataFrame) -> dict[bytes, int]:
    """Return every count of an ungated report, by the atoms that it counts."""
    return {which.tobytes(): count for count, which in counted(results(people).frame, atoms)}


def attack_report(people: pl.DataFrame, released: Released) -> list[str]:
    """Return what an attacker works out of one report: a small count, or a range in which every value is small."""
    atoms, minimum = all_atoms(people), released.rule.minimum
    known, found = read(released, atoms), []
    for which, count in true_counts(people, atoms).items():
        if 0 < count < minimum:
            most = known.most(which)
            if most < minimum and known.least(which) > 0:
                found.append(f"a count of {count} lies in {known.least(which)}..{most}")
    return found


def attack_chain(months: list[tuple[pl.DataFrame, Released]]) -> list[str]:
    """Return what an attacker works out by subtracting reports: by how few persons a count changed."""
    atoms = all_atoms(pl.concat([people for people, _ in months]))
    minimum = months[0][1].rule.minimum
    truths = [true_counts(people, atoms) for people, _ in months]
    known, memory = [read(released, atoms) for _, released in months], dict[tuple[int, bytes], tuple[int, int]]()

    def possible(month: int, which: bytes) -> tuple[int, int]:
        if (month, which) not in memory:
            memory[month, which] = known[month].least(which), known[month].most(which)
        return memory[month, which]

    found = []
    for one, other in itertools.combinations(range(len(months)), 2):
        for which in truths[one].keys() & truths[other].keys():
            change = truths[other][which] - truths[one][which]
            if 0 < abs(change) < minimum:
                (low, high), (least, most) = possible(one, which), possible(other, which)
                if not _innocent(least - high, most - low, minimum):
                    found.append(f"months {one}, {other}: a change of {change} lies in {least - high}..{most - low}")
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
    rows = released.estimates.select(analysis=4).filter(pl.col("time").is_not_null())
    for (group,), part in rows.group_by("group"):
        yield str(group), set(part["time"])


def _between(people: pl.DataFrame, group: str, start: int, end: int, event: int) -> int:
    inside = (pl.col("group") == group) & (pl.col("event") == event) & pl.col("time").is_between(start + 1, end)
    return people.filter(inside).height


def chain(seed: int, months: int, rule: DisclosureRule) -> list[tuple[pl.DataFrame, Released]]:
    """Return the months of a chain in which a report was published; in the others the last one stands."""
    random = np.random.default_rng([seed, 12])
    people, history = population(random), ()
    published: list[tuple[pl.DataFrame, Released]] = []
    for _ in range(months):
        try:
            released = publish(people, rule, history)
        except ReleaseRefusedError:
            pass
        else:
            history = (*history, released.record)
            published.append((people, released))
        people = month_later(people, random)
    return published


def rule_of(seed: int) -> DisclosureRule:
    """Return the rule of a random report: half of them that of CMS, a quarter each that of NHS and of OpenSAFELY."""
    return DisclosureRule(preset=("cms", "cms", "nhs", "opensafely")[seed % 4])


def main() -> int:
    """Run the long form and print, every 100, how far it came and what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, default=10_000)
    parser.add_argument("--chains", type=int, default=1_000)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    chosen = parser.parse_args()
    failures, refused, published = 0, 0, 0
    started = time.process_time()
    for seed in range(chosen.first, chosen.first + chosen.reports):
        people = population(np.random.default_rng(seed))
        try:
            found = attack_report(people, publish(people, rule_of(seed)))
        except ReleaseRefusedError:
            refused, found = refused + 1, []
        failures += _tell(f"report {seed}", found)
        if (seed + 1) % 100 == 0:
            said = f"{seed + 1 - chosen.first} reports, {refused} refused, {failures} broken"
            print(said, f"{time.process_time() - started:.0f} s", flush=True)
    for seed in range(chosen.first, chosen.first + chosen.chains):
        months = chain(seed, chosen.months, rule_of(seed))
        published += len(months)
        failures += _tell(f"chain {seed}", attack_chain(months) if len(months) > 1 else [])
        if (seed + 1) % 10 == 0:
            said = f"{seed + 1 - chosen.first} chains, {published} months published, {failures} broken"
            print(said, f"{time.process_time() - started:.0f} s", flush=True)
    return int(failures > 0)


def _tell(what: str, found: list[str]) -> int:
    for text in found[:3]:
        print(f"BROKEN {what}: {text}", flush=True)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
