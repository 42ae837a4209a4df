"""What happens more than once after index: recurrent events, and days free of care within a horizon.

Neither is a time to a first event, so neither is a study's `Outcome`; both stand beside the follow-up of the same
entries, as a frame for estimators that take one.
"""

from __future__ import annotations

from typing import Literal

import polars as pl

from cohort.codes.records import KEY, Record, Tables
from cohort.features.intervals import days_covered
from cohort.outcomes.base import Event


class EndOfFollowUp(Event):
    """Nothing but the end of follow-up: who is followed until when, whatever else happens."""

    kind: Literal["end_of_follow_up"] = "end_of_follow_up"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return none: it reads no codes."""
        return ()

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return "the end of follow-up alone"

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return no day of any entry."""
        return entries.select(*KEY, day=pl.lit(0, dtype=pl.Int64)).clear()


def recurrent_spells(days: pl.LazyFrame, followed: pl.LazyFrame, apart_days: int = 0) -> pl.LazyFrame:
    """Cut each entry's follow-up at its events: the counting process of Andersen and Gill.

    Parameters
    ----------
    days
        The key and ``day`` (Int64, relative to index) of every event; a day counts once.
    followed
        The key, ``entry``, ``time`` and ``cause`` of each entry (0 censored, 2 dead): at risk in (entry, time].
    apart_days
        An event at most so many days after the one before it (counted or not) is still that one.

    Returns
    -------
    LazyFrame
        The key, ``number`` (1, 2, … per entry), ``start`` and ``stop`` (Int64 days), ``event`` (Boolean) and ``cause``
        (0 or 2: what ends the last spell); sorted. An entry without time at risk does not appear.

    References
    ----------
    Andersen PK, Gill RD. Cox's regression model for counting processes. Ann Stat 1982;10:1100-1120.
    doi:10.1214/aos/1176345976.
    """
    fresh = separate(days, apart_days)
    ends = followed.select(*KEY, "entry", "time", "cause").filter(pl.col("entry") < pl.col("time"))
    inside = fresh.join(ends, on=KEY).filter(pl.col("day") > pl.col("entry"), pl.col("day") <= pl.col("time"))
    events = inside.select(*KEY, "entry", stop="day", event=pl.lit(value=True), cause=pl.lit(0, dtype=pl.Int8))
    last = ends.join(events.select(*KEY, time="stop"), on=[*KEY, "time"], how="anti")
    rest = last.select(*KEY, "entry", stop="time", event=pl.lit(value=False), cause=pl.col("cause").cast(pl.Int8))
    spells = pl.concat([events, rest]).sort(*KEY, "stop")
    start = pl.col("stop").shift().over(KEY, order_by="stop").fill_null(pl.col("entry"))
    number = pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over(KEY, order_by="stop")
    return spells.select(*KEY, number=number, start=start, stop="stop", event="event", cause="cause").sort(*KEY, "stop")


def separate(days: pl.LazyFrame, apart_days: int) -> pl.LazyFrame:
    """Return the key and ``day`` of each event, once a day, that comes more than ``apart_days`` after the one before.

    The one before need not have counted itself: a chain of close events is the first of them.
    """
    before = pl.col("day").shift().over(KEY, order_by="day")
    new = before.is_null() | (pl.col("day") - before > apart_days)
    return days.select(*KEY, "day").unique().filter(new)


def free_days(care: pl.LazyFrame, followed: pl.LazyFrame, horizon: int) -> pl.LazyFrame:
    """Count the days 1 to ``horizon`` after index on which an entry was alive and without care.

    Whoever is censored before the horizon is not counted: fewer days seen are not fewer days free. Days after death
    are not free ones, so the count is of days alive and free, and death within the horizon leaves it known.

    Parameters
    ----------
    care
        ``person_id, start_date, end_date`` of care, both ends included.
    followed
        The key, ``time`` and ``cause`` of each entry (0 censored, 2 dead).

    Returns
    -------
    LazyFrame
        The key and ``free_days`` (Int64, 0 to ``horizon``; null = censored before the horizon); sorted.

    References
    ----------
    Ariti CA et al. Days alive and out of hospital and the patient journey in patients with heart failure. Am Heart J
    2011;162:900-906. doi:10.1016/j.ahj.2011.08.003 (the estimand, there for hospital).
    """
    alive = pl.min_horizontal("time", pl.lit(horizon, dtype=pl.Int64))
    known = (pl.col("time") >= horizon) | (pl.col("cause") == 2)
    entries = followed.select(*KEY, alive=pl.max_horizontal(alive, pl.lit(0, dtype=pl.Int64)), known=known)
    index = pl.col("index_date")
    window = entries.filter(pl.col("alive") > 0).select(
        *KEY, start_date=index + pl.duration(days=1), end_date=index + pl.duration(days=pl.col("alive"))
    )
    spells = entries.select(KEY).join(care, on="person_id").select(*KEY, "start_date", "end_date")
    covered = days_covered(spells, window, by=KEY).select(*KEY, care="days")
    free = pl.col("alive") - pl.col("care").fill_null(0)
    return entries.join(covered, on=KEY, how="left").select(*KEY, free_days=pl.when("known").then(free)).sort(KEY)


def care_of(record: Record, tables: Tables) -> pl.LazyFrame:
    """Return ``person_id, start_date, end_date`` of a record: encounters with their length, supplies with theirs.

    A row whose length is not recorded lasts one day.
    """
    rows = record.rows(tables)
    if record.table == "dispensing":
        last = pl.col("date") + pl.duration(days=pl.col("days_supply").fill_null(1).clip(1) - 1)
    else:
        last = pl.max_horizontal("date", "end_date") if record.table == "diagnosis" else pl.col("date")
    return rows.select("person_id", start_date="date", end_date=last)
