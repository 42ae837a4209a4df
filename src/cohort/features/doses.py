"""Defined daily doses: the unit in which WHO compares the use of different drugs."""

from __future__ import annotations

import polars as pl

_UNITS = 1 << 30  # doses are summed as integers, so that they do not depend on the order of rows


def defined_daily_doses(dispensings: pl.LazyFrame, assigned: pl.LazyFrame) -> pl.LazyFrame:
    """Return the defined daily doses (DDD) dispensed to each person, per agent.

    The DDD is the assumed average maintenance dose per day of a drug used for its main indication in adults: a unit of
    measurement, no recommended dose. WHO assigns and revises the values; this package ships none, give those of the
    year that the study speaks of.

    Parameters
    ----------
    dispensings
        ``person_id, agent, quantity`` (units dispensed) and ``strength`` (per unit), already restricted to a window.
    assigned
        ``agent`` and ``ddd``: the dose of one DDD in the unit of ``strength``, one row per agent and route.

    Returns
    -------
    LazyFrame
        ``person_id, agent, ddds`` (Float64; null where nothing could be converted) and ``unconverted`` (Int64:
        dispensings without quantity, strength or DDD, which count for nothing); sorted.

    References
    ----------
    WHO Collaborating Centre for Drug Statistics Methodology (2025). Guidelines for ATC classification and DDD
    assignment 2025. Oslo.
    """
    amount = pl.col("quantity").cast(pl.Float64) * pl.col("strength").cast(pl.Float64) / pl.col("ddd").cast(pl.Float64)
    units = pl.when(amount.is_finite() & (amount > 0)).then((amount * _UNITS).round()).cast(pl.Int64)
    return (
        dispensings.join(assigned.select("agent", "ddd"), on="agent", how="left", validate="m:1")
        .with_columns(units=units)
        .group_by("person_id", "agent")
        .agg(
            ddds=pl.when(pl.col("units").is_not_null().any()).then(pl.col("units").sum()) / _UNITS,
            unconverted=pl.col("units").is_null().sum().cast(pl.Int64),
        )
        .sort("person_id", "agent")
    )
