"""Person-time in periods: what was known when each began, what was done by then, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cohort.features.exposure import Exposure
from cohort.features.time_varying import TimeVarying, known_at

NOW = "__now"
"""Ending of a time-varying covariate as it stands when a period begins; without it, when the one before began."""
NEW = "_new"
"""The column that says of a period whether the exposure had never been on when the one before began; of the second,
whose decision takes all days from index on, always."""


def periods(persons: pl.DataFrame, days: int, exposure: Exposure, changing: Sequence[TimeVarying]) -> pl.DataFrame:
    """Return rows ``(start, stop]`` of at most some days, with the exposure and covariates known at their start.

    Between the starts of two periods it is decided whether to be exposed in the second. So the exposure is that of the
    second's start, and covariates are as they were at the first's: what is written later does not foretell it.
    Persons without follow-up have no period.

    Parameters
    ----------
    persons
        One row per person: ``person_id, time, cause``, a Boolean ``_left`` if ends are weighted for, covariates, and
        columns of days of the exposure and of what changes. Other columns are repeated in each row.
    """
    starts = pl.int_ranges(0, "time", days).alias("start")
    listed = {exposure.name, exposure.days, *(covariate.name for covariate in changing)}
    kept = [name for name in persons.columns if name not in listed]
    rows = persons.filter(pl.col("time") > 0).select(*kept, starts).explode("start").sort("person_id", "start")
    rows = rows.with_columns(stop=pl.min_horizontal(pl.col("start") + days, "time"))
    ends = pl.col("stop") == pl.col("time")
    ended = [pl.when(ends).then("cause").otherwise(0).alias("cause")]
    ended += [(pl.col("_left") & ends).alias("_left")] if "_left" in kept else []
    before = rows.with_columns(start=pl.max_horizontal(pl.col("start") - days, pl.lit(0, pl.Int64)))
    known = [
        known_at(at, persons, covariate.name, covariate.within_days).alias(f"{covariate.name}{ending}")
        for covariate in changing
        for at, ending in ((before, ""), (rows, NOW))
    ]
    return rows.with_columns(*ended, *known, *_exposed(rows, persons, days, exposure)).drop("time")


def _exposed(rows: pl.DataFrame, persons: pl.DataFrame, days: int, exposure: Exposure) -> list[pl.Series]:
    """Return whether each period is exposed, and whether it is the first that could be."""
    first = rows.select("person_id").join(
        persons.select("person_id", exposure.name), on="person_id", how="left", maintain_order="left"
    )[exposure.name]
    begun = (first <= rows["start"]).fill_null(value=False)
    new = ~(first <= rows["start"] - days).fill_null(value=False) | (rows["start"] <= days)
    if exposure.lasts_days is not None:
        begun = known_at(rows, persons, exposure.days, exposure.lasts_days)
    return [begun.alias(exposure.name), new.alias(NEW)]


def until_departure(rows: pl.DataFrame, exposed: str) -> pl.DataFrame:
    """Return each person's periods up to and including the first whose exposure is not that of the first period."""
    departed = (pl.col(exposed) != pl.col(exposed).first()).cast(pl.Int64)
    return rows.filter((departed.cum_sum() - departed).over("person_id") == 0)
