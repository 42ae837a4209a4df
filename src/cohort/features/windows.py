"""Rows around an index date: the one place where a feature may look, and may not."""

from __future__ import annotations

import polars as pl

from cohort.time import Window, days_between


def within(rows: pl.LazyFrame, index: pl.LazyFrame, window: Window, *, date: str = "date") -> pl.LazyFrame:
    """Return the rows of the persons in ``index`` whose date lies in the window, with ``index_date`` added.

    A person with several entries gets the rows of each of them, told apart by ``index_date``.

    Parameters
    ----------
    rows
        ``person_id``, a Date column, and any others.
    index
        ``person_id, index_date``.
    """
    offset = days_between(pl.col("index_date"), pl.col(date))
    return rows.join(index.select("person_id", "index_date"), on="person_id").filter(window.contains(offset))


def up_to_index(rows: pl.LazyFrame, index: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return encounters that start in the window and not after the index date, none lasting beyond it.

    An admission that spans the index date ends in the future: its ``end_date`` is cut there, so that nothing known
    only later can move a feature.
    """
    past = within(rows, index, window).filter(pl.col("date") <= pl.col("index_date"))
    return past.with_columns(end_date=pl.min_horizontal("end_date", "index_date"))
