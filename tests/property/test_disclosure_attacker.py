"""An attacker who reads a whole released set and knows the rule cannot work out a withheld count.

The attacker solves for the cross table of all persons (group x level x flag x event) by integer programming: every
shown number is an equation over its cells. A protected count may be pinned neither to one value nor to a range in
which every value is small.
"""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import ALL, Estimates
from cohort.results.table_one import count_table_one

MINIMUM = 11
LEVELS, FLAGS = ("a", "b", "c", None), (False, True)
KINDS = {"level": "categorical", "flag": "boolean"}
SCHEMA = {"group": pl.String, "level": pl.String, "flag": pl.Boolean, "event": pl.Int64}

# Weights, so that small, empty and large cells all come up often.
size = st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8, 10, 11, 12, 20, 40, 90])


@st.composite
def populations(draw) -> pl.DataFrame:
    """Draw a cross table of 2 or 3 groups and expand it to persons."""
    groups = draw(st.sampled_from([("g1", "g2"), ("g1", "g2", "g3")]))
    cells = list(itertools.product(groups, LEVELS, FLAGS, (0, 1)))
    counts = draw(st.lists(size, min_size=len(cells), max_size=len(cells)))
    rows = [cell for cell, count in zip(cells, counts, strict=True) for _ in range(count)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def results(people: pl.DataFrame) -> Estimates:
    """Return Table 1, and events by group, by flag and of all as rates."""
    parts = [count_table_one(people.lazy(), KINDS, by="group").finish()]
    for position, by in enumerate(("group", "flag", None), start=1):
        group = pl.col(by).cast(pl.String) if by else pl.lit(ALL)
        rows = people.group_by(group=group).agg(n=pl.len(), events=pl.col("event").sum())
        parts.append(
            Estimates.from_rows(
                rows.with_columns(value=pl.col("events") / pl.col("n")),
                analysis=position,
                estimand="incidence_rate",
                outcome="pain",
            )
        )
    return Estimates.concat(parts)


def selectors(estimates: pl.DataFrame, atoms: pl.DataFrame) -> list[tuple[int, np.ndarray]]:
    """Return (count, which atoms it counts) for every count that the rows show."""
    found = []
    for row in estimates.iter_rows(named=True):
        found += [(int(n), np.asarray(which)) for n, which in _shown(row, atoms) if n is not None]
    return found


def _shown(row: dict, atoms: pl.DataFrame):
    by = {0: "group", 1: "group", 2: "flag", 3: None}[row["analysis"]]
    inside = pl.Series([True] * atoms.height) if row["group"] == ALL else atoms[by].cast(pl.String) == row["group"]
    if row["estimand"] == "incidence_rate":
        return [(row["n"], inside), (row["events"], inside & (atoms["event"] == 1))]
    if row["estimand"] == "standardised_difference" or row["value"] is None:
        return []
    term = atoms[row["term"]] if row["term"] else None
    has = (
        inside
        if term is None
        else inside
        & (
            term.is_null()
            if row["estimand"] == "missing"
            else (term.cast(pl.String) == row["category"]).fill_null(False)
        )
    )
    count = row["value"] * row["n"] if row["estimand"] == "proportion" else row["value"]
    return [(row["n"], inside), (round(count), has)]


def possible(which: np.ndarray, shown: list[tuple[int, np.ndarray]], *, largest: bool) -> int:
    """Return the largest or smallest count of the atoms that agrees with everything shown."""
    cost = which.astype(float) * (-1 if largest else 1)
    constraints = (
        [LinearConstraint(np.array([w for _, w in shown], dtype=float), *[[n for n, _ in shown]] * 2)] if shown else []
    )
    answer = milp(cost, integrality=np.ones(len(which)), bounds=Bounds(0, 1000), constraints=constraints)
    assert answer.success
    return round(abs(answer.fun))


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(people=populations())
def test_no_small_count_can_be_worked_out_from_a_released_set(people: pl.DataFrame):
    atoms = pl.DataFrame(
        list(itertools.product(sorted(people["group"].unique()) or ["g1"], LEVELS, FLAGS, (0, 1))),
        schema=SCHEMA,
        orient="row",
    )
    everything = results(people)
    flow = Attrition(
        (
            Step("in the store", people.height + 500, 0, people.height + 500, 0),
            Step("criteria", people.height, 500, people.height, 500),
        )
    )
    released = release(everything, flow, DisclosureRule(minimum=MINIMUM))
    shown = selectors(released.estimates.frame, atoms)
    shown += [(step.persons_kept, np.ones(atoms.height, dtype=bool)) for step in released.attrition.steps[1:]]
    unique = {(n, which.tobytes()): (n, which) for n, which in shown}
    protected = {which.tobytes(): which for n, which in selectors(everything.frame, atoms) if 1 <= n < MINIMUM}
    for which in protected.values():
        most = possible(which, list(unique.values()), largest=True)
        assert most >= MINIMUM or possible(which, list(unique.values()), largest=False) == 0
