"""Rows and observation of an entry: a person at an index date, numbered so that builders per person count per entry.

A person who enters twice has two windows. Every builder that counts per ``person_id`` therefore gets the entry's
number in that column, and its answer is brought back to person and index date at the end.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from cohort.codes.records import Tables
from cohort.features.intervals import intersect, union
from cohort.time import Window, days_between

BRIDGE_DAYS = 31
"""Longest enrolment gap, in days, that does not end observation; as in the cohort's own rules."""

ENTRY = ("person_id", "index_date")


def number_entries(entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``person_id, index_date`` and ``entry`` (Int64, from 0 in the order of the two)."""
    numbered = entries.select(ENTRY).unique().sort(ENTRY).with_row_index("entry")
    return numbered.with_columns(pl.col("entry").cast(pl.Int64))


def rows_of(rows: pl.LazyFrame, numbers: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return the rows of each entry's person in its window, ``person_id`` being the entry's number.

    An encounter that outlasts the window ends in the future: its ``end_date`` is cut at the window's last day, so that
    nothing known only later can move a feature.

    Parameters
    ----------
    rows
        ``person_id, date`` and any others.
    numbers
        As from `number_entries`.
    """
    inside = window.contains(days_between(pl.col("index_date"), pl.col("date")))
    found = rows.join(numbers, on="person_id").filter(inside)
    if window.last is not None and "end_date" in rows.collect_schema().names():
        last = pl.col("index_date") + pl.duration(days=window.last)
        found = found.with_columns(end_date=pl.min_horizontal("end_date", last))
    return found.drop("person_id").rename({"entry": "person_id"})


def spans_of(numbers: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return each entry's window as dates, both ends included; ``person_id`` is the entry's number.

    An open end is the first or last day that the store could hold.
    """
    first = pl.lit(dt.date.min) if window.first is None else pl.col("index_date") + pl.duration(days=window.first)
    last = pl.lit(dt.date.max) if window.last is None else pl.col("index_date") + pl.duration(days=window.last)
    return numbers.select(person_id="entry", start_date=first, end_date=last)


def enrolled_spans(enrolment: pl.LazyFrame, numbers: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return each entry's enrolment, gaps bridged, as known on the last day of its window or at index if later.

    A return that bridges a gap counts only once it has happened.
    """
    known = pl.col("index_date") + pl.duration(days=max(window.last or 0, 0)) if window.last is not None else None
    spans = enrolment.select("person_id", "start_date", "end_date").join(numbers, on="person_id")
    if known is not None:
        spans = spans.filter(pl.col("start_date") <= known).with_columns(
            end_date=pl.min_horizontal(pl.col("end_date"), known)
        )
    return union(spans.drop("person_id").rename({"entry": "person_id"}), bridge_days=BRIDGE_DAYS)


def alive_spans(tables: Tables, numbers: pl.LazyFrame, window: Window, *, enrolled: bool) -> pl.LazyFrame:
    """Return each entry's window up to death, and with ``enrolled`` only the days of it that are enrolled."""
    spans = spans_of(numbers, window)
    if enrolled:
        spans = intersect(spans, enrolled_spans(tables["enrolment"], numbers, window))
    deaths = numbers.join(tables["person"].select("person_id", "death_date"), on="person_id", how="left")
    alive = spans.join(deaths.select("death_date", person_id="entry"), on="person_id")
    alive = alive.with_columns(end_date=pl.min_horizontal("end_date", "death_date")).drop("death_date")
    return alive.filter(pl.col("start_date") <= pl.col("end_date"))


def observed_throughout(enrolment: pl.LazyFrame, numbers: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return the numbers (``person_id``) of the entries that are enrolled on every day of their window.

    Of a window without a first day, enrolment on its last day is asked: it takes what history there is.
    """
    last = pl.col("index_date") + pl.duration(days=window.last or 0)
    first = last if window.first is None else pl.col("index_date") + pl.duration(days=window.first)
    wanted = numbers.select(person_id="entry", _first=first, _last=last)
    covered = (pl.col("start_date") <= pl.col("_first")) & (pl.col("end_date") >= pl.col("_last"))
    return wanted.join(enrolled_spans(enrolment, numbers, window), on="person_id").filter(covered).select("person_id")
