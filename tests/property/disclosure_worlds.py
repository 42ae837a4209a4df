"""Random populations, what a study says of them, and months in which a few persons change: what is to be protected."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl

from cohort.errors import ReleaseRefusedError
from cohort.population.attrition import Attrition, Step
from cohort.results.cells import Ledger
from cohort.results.disclosure import DisclosureRule, Released, release
from cohort.results.estimates import ALL, Estimates
from cohort.results.history import PastRelease
from cohort.results.table_one import count_table_one

LEVELS, FLAGS = ("a", "b", "c", None), (False, True)
KINDS = {"level": "categorical", "flag": "boolean"}
SCHEMA = {"group": pl.String, "level": pl.String, "flag": pl.Boolean, "event": pl.Int64, "time": pl.Int64}
SIZES = [0, 0, 0, 1, 2, 3, 5, 8, 10, 11, 12, 20, 40, 90]
"""Weights, so that small, empty and large cells all come up often."""
CURVE, MODELS = 4, {5: "level", 6: "flag"}
"""Positions of the curves, and of the models with what each compares; that of levels leaves out who lacks one."""


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
    """Return Table 1, events by group, by flag and of all as rates, a curve of each group, and two models."""
    parts = [count_table_one(people.lazy(), KINDS, by="group").finish()]
    for position, by in enumerate(("group", "flag", None), start=1):
        group = pl.col(by).cast(pl.String) if by else pl.lit(ALL)
        rows = people.group_by(group=group).agg(n=pl.len(), events=pl.col("event").sum())
        constants = {"analysis": position, "estimand": "incidence_rate", "outcome": "pain"}
        parts.append(Estimates.from_rows(rows.with_columns(value=pl.col("events") / pl.col("n")), **constants))
    parts.append(curves(people))
    return Estimates.concat([*parts, *(model(people, position, term) for position, term in MODELS.items())])


def curves(people: pl.DataFrame) -> Estimates:
    """Return the Kaplan–Meier curve of each group with its counts by day."""
    days = people.group_by("group", "time").agg(
        events=pl.col("event").sum(), censored=(pl.col("event") == 0).sum(), left=pl.len()
    )
    after = pl.col("left").reverse().cum_sum().reverse().over("group", order_by="time")
    survives = (1 - pl.col("events") / pl.col("n")).cum_prod().over("group", order_by="time")
    rows = days.sort("group", "time").with_columns(n=after).with_columns(value=survives).drop("left")
    return Estimates.from_rows(rows, analysis=CURVE, estimand="survival", outcome="pain")


def model(people: pl.DataFrame, position: int, term: str) -> Estimates:
    """Return hazard ratios of each level against the first, with rows for the levels, as a Cox model gives them.

    Ratios are those of rates; the variance is 1/d1 + 1/d0, that of constant hazards, the easiest to solve.
    """
    known = people.drop_nulls(term).group_by(category=pl.col(term).cast(pl.String))
    rows = known.agg(n=pl.len(), events=pl.col("event").sum(), days=pl.col("time").sum()).sort("category")
    if rows.height < 2 or not rows["events"][0]:
        return Estimates.from_rows(pl.DataFrame({"status": ["not_estimable: no event"]}), analysis=position,
                                   estimand="hazard_ratio", outcome="pain", term=term)  # fmt: skip
    rate = pl.col("events") / pl.col("days")
    others = pl.int_range(pl.len()) > 0
    spread = pl.when(others & (pl.col("events") > 0)).then((1 / pl.col("events") + 1 / pl.col("events").first()).sqrt())
    ratio = pl.when(others).then(rate / rate.first()).otherwise(1.0)
    rows = rows.with_columns(value=ratio, std_error=spread).with_columns(
        lower=pl.col("value") * (-1.959964 * pl.col("std_error")).exp(),
        upper=pl.col("value") * (1.959964 * pl.col("std_error")).exp(),
        status=pl.when(others & (pl.col("events") == 0))
        .then(pl.lit("not_estimable: no event"))
        .otherwise(pl.lit("ok")),
    )
    zero = pl.col("status") != "ok"
    rows = rows.with_columns(pl.when(~zero).then(name).alias(name) for name in ("value", "n", "events")).drop("days")
    return Estimates.from_rows(
        rows, analysis=position, estimand="hazard_ratio", outcome="pain", term=term, level=0.95, unit="ratio"
    )


def publish(people: pl.DataFrame, rule: DisclosureRule, history: tuple[PastRelease, ...] = ()) -> Released:
    """Return what the gate lets out of a population."""
    kept = people.height
    steps = (Step("in the store", kept + 500, 0, kept + 500, 0), Step("criteria", kept, 500, kept, 500))
    return release(results(people), Attrition(steps), rule, history=history)


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


def small_table(random: np.random.Generator, minimum: int = 11) -> Ledger:
    """Return a table of 2 x 3 cells with its margins, each shown in a row of its own; one or two cells are small."""
    ledger, rows = Ledger(), itertools.count()
    values = random.integers(minimum, 90, (2, 3))
    values.flat[random.choice(6, random.integers(1, 3), replace=False)] = random.integers(1, minimum)
    for (i, j), value in np.ndenumerate(values):
        ledger.cell(f"{i}{j}", int(value), [next(rows)])
    for i in range(2):
        ledger.cell(f"{i}+", int(values[i].sum()), [next(rows)])
        ledger.add_up(f"{i}+", [f"{i}{j}" for j in range(3)])
    for j in range(3):
        ledger.cell(f"+{j}", int(values[:, j].sum()), [next(rows)])
        ledger.add_up(f"+{j}", [f"{i}{j}" for i in range(2)])
    ledger.cell("++", int(values.sum()), [next(rows)])
    ledger.add_up("++", ["0+", "1+"])
    return ledger
