"""Three ways to enter a treatment that starts after index into a Cox model, of which one is wrong.

Taken for known at index, "ever treated" lends the treated the time that they had to survive untreated: immortal time.
A landmark fixes the groups on a day and starts risk there; a time-varying exposure counts each day for what it was.

References
----------
Suissa S (2008), Am J Epidemiol 167:492–499, doi:10.1093/aje/kwm324. Anderson JR, Cain KC, Gelber RD (1983), J Clin
Oncol 1:710–719, doi:10.1200/JCO.1983.1.11.710 (landmark).
"""

from __future__ import annotations

import polars as pl

BEFORE_INDEX = -1
"""Where risk starts on the index date itself: an event on day 0 then lies in ``(-1, 0]``."""


def ever_exposed(rows: pl.LazyFrame, exposure: str) -> pl.LazyFrame:
    """Return rows with the exposure as a Boolean: started by the end of follow-up. This is the error."""
    return rows.with_columns((pl.col(exposure) <= pl.col("time")).fill_null(value=False).alias(exposure))


def at_landmark(rows: pl.LazyFrame, exposure: str, day: int) -> pl.LazyFrame:
    """Return those still at risk after a day, from then on, with the exposure as a Boolean: started by that day."""
    by_then = (pl.col(exposure) <= day).fill_null(value=False).alias(exposure)
    entry = pl.max_horizontal("entry", pl.lit(day, pl.Int64)).alias("entry")
    return rows.filter(pl.col("time") > day).with_columns(by_then, entry)


def split_at_start(
    rows: pl.LazyFrame,
    exposure: str,
    *,
    entry: str = "entry",
    time: str = "time",
    event: str = "event",
    into: str | None = None,
) -> pl.LazyFrame:
    """Return one row per stretch of ``(entry, time]`` that was unexposed or exposed, ``event`` in the last of each.

    The Boolean takes the place of the day of the start, or is added as ``into``; no event is 0 or false.

    Exposed time begins after the day of the start: what happens on that day found the person unexposed. A column
    ``last`` marks the stretch in which a row of the input ends.
    """
    start, told = pl.col(exposure), into or exposure
    begins = (start > pl.col(entry)) & (start < pl.col(time))
    exposed = (start <= pl.col(entry)).fill_null(value=False)
    whole = rows.filter(~begins.fill_null(value=False)).with_columns(exposed.alias(told), last=pl.lit(value=True))
    cut = rows.filter(begins)
    nothing = pl.lit(0).cast(rows.collect_schema()[event])
    before = cut.with_columns(
        start.alias(time), nothing.alias(event), pl.lit(value=False).alias(told), last=pl.lit(value=False)
    )
    after = cut.with_columns(start.alias(entry), pl.lit(value=True).alias(told), last=pl.lit(value=True))
    return pl.concat([whole, before, after], how="vertical_relaxed")
