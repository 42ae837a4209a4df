"""Pain-score trajectories from a registry: level and course of one instrument around an index date."""

from __future__ import annotations

import polars as pl

from cohort.time import days_between

_UNITS = 1 << 16  # a score counts in whole parts of a point, so that its sums do not depend on the order of rows
_MONTH = 30


def score_trajectory(measurements: pl.LazyFrame, instrument: str, *, minimum: int = 3) -> pl.LazyFrame:
    """Return first, last, highest and mean score of one instrument, and its trend.

    Several scores of one day are one: their mean. A registry asks when it asks: without regular visits, read the trend
    with the number of days it rests on.

    Parameters
    ----------
    measurements
        ``person_id, date, instrument, value``, already restricted to a window.
    instrument
        Name as the store spells it; case does not matter.
    minimum
        Fewest days with a score for a trend; with fewer it is null.

    Returns
    -------
    LazyFrame
        ``person_id``, ``days`` (Int64, distinct days with a score), Float64 ``first, last, highest, mean`` (points) and
        ``trend`` (least-squares slope, points per 30 days); sorted. Persons without a score do not appear.
    """
    own = measurements.filter(pl.col("instrument").str.to_lowercase() == instrument.lower())
    units = (pl.col("value") * _UNITS).round().cast(pl.Int64)
    scored = (
        own.filter(pl.col("value").is_finite())
        .group_by("person_id", "date")
        .agg(y=(units.sum() + pl.len().cast(pl.Int64) // 2) // pl.len().cast(pl.Int64))
    )
    x, y = days_between(pl.col("date").min().over("person_id"), pl.col("date")), pl.col("y")
    sums = (
        scored.with_columns(x=x)
        .group_by("person_id")
        .agg(
            days=pl.len().cast(pl.Int64),
            first=y.filter(pl.col("x") == 0).sum(),
            last=y.filter(pl.col("x") == pl.col("x").max()).sum(),
            highest=y.max(),
            sx=pl.col("x").sum(),
            sy=y.sum(),
            sxy=(pl.col("x") * y).sum(),
            sxx=(pl.col("x") ** 2).sum(),
        )
    )
    n = pl.col("days")
    spread = n * pl.col("sxx") - pl.col("sx") ** 2
    slope = (n * pl.col("sxy") - pl.col("sx") * pl.col("sy")) / spread * _MONTH / _UNITS
    return sums.select(
        "person_id",
        "days",
        *(pl.col(name) / _UNITS for name in ("first", "last", "highest")),
        mean=pl.col("sy") / n / _UNITS,
        trend=pl.when((n >= minimum) & (spread > 0)).then(slope),
    ).sort("person_id")
