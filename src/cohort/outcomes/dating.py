"""From the days on which a definition is met to one exit per entry: event, or the day it can no longer be judged."""

from __future__ import annotations

import polars as pl

from cohort.codes.records import KEY

UNJUDGED = "outcome not observed long enough"
"""Exit reason of entries whose follow-up ends before a rule can be judged."""


def dated(days: pl.LazyFrame, ends: pl.LazyFrame) -> pl.LazyFrame:
    """Return, per entry with either, ``event_day``, ``event_reason`` and ``unjudged_day``.

    An event dated at ``day`` is known from ``known_day`` on (the same day unless the outcome says otherwise, null =
    never). It counts when follow-up reaches that day. When censoring comes first, nobody can tell whether it happened,
    so the entry is censored at ``day``: staying at risk any longer would let only those stay who have no such day.
    When death comes first the definition was never met, and death stands.

    Parameters
    ----------
    days
        The key, ``day``, and optionally ``known_day``, ``reason`` (String) and ``position`` (Int64, which of several
        reasons on one day is named).
    ends
        The key, ``censor_day`` and ``death_day`` (null for the living).
    """
    given = days.collect_schema().names()
    if not {"known_day", "reason"} & set(given):
        return _first(days, ends)
    rows = days.with_columns(
        ([] if "known_day" in given else [pl.col("day").alias("known_day")])
        + ([] if "reason" in given else [pl.lit(None, dtype=pl.String).alias("reason")])
        + ([] if "position" in given else [pl.lit(0, dtype=pl.Int64).alias("position")])
    ).join(ends.select(*KEY, "censor_day", "death_day"), on=KEY)
    known, never = pl.col("known_day"), pl.col("known_day").is_null()
    died = (pl.col("death_day") <= pl.col("censor_day")).fill_null(value=False)
    judged = (known <= pl.min_horizontal("censor_day", "death_day")).fill_null(value=False)
    lost = ~judged & (never | ~died)
    counts = pl.col("reason").sort_by("day", "position").filter(judged.sort_by("day", "position"))
    return rows.group_by(KEY).agg(
        event_day=pl.col("day").filter(judged).min(),
        event_reason=counts.first(),
        unjudged_day=pl.col("day").filter(lost).min(),
    )


def _first(days: pl.LazyFrame, ends: pl.LazyFrame) -> pl.LazyFrame:
    """Return the earliest day in follow-up, of an event that is known on its own day: nothing there is unjudged."""
    stop = ends.select(*KEY, stop=pl.min_horizontal("censor_day", "death_day"))
    inside = days.select(*KEY, "day").join(stop, on=KEY).filter(pl.col("day") <= pl.col("stop"))
    return inside.group_by(KEY).agg(
        event_day=pl.col("day").min(),
        event_reason=pl.lit(None, dtype=pl.String),
        unjudged_day=pl.lit(None, dtype=pl.Int64),
    )


def bounded(table: pl.LazyFrame, free: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``lower`` and ``upper``: the event lies in (lower, upper], interval-censored; upper is null without one.

    Parameters
    ----------
    table
        The key, ``entry``, ``time`` and ``cause`` (1 = the outcome).
    free
        The key and the ``day`` of every visit at which the entry was seen free; never that of a visit with the event.

    References
    ----------
    Lindsey JC, Ryan LM. Tutorial in biostatistics: methods for interval-censored data. Stat Med 1998;17:219-238.
    doi:10.1002/(SICI)1097-0258(19980130)17:2<219::AID-SIM735>3.0.CO;2-O.
    """
    seen = free.join(table, on=KEY).filter(pl.col("day") <= pl.col("time"))
    last = seen.group_by(KEY).agg(lower=pl.col("day").max())
    return table.join(last, on=KEY, how="left").with_columns(
        lower=pl.max_horizontal("entry", "lower"), upper=pl.when(pl.col("cause") == 1).then("time")
    )
