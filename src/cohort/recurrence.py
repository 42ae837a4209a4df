"""Recurrent events and days free of care of a cohort: frames for the data holder, one row per spell or entry."""

from __future__ import annotations

import functools
from collections.abc import Callable

import polars as pl

from cohort.codes.records import Record, Tables, needed_rows, relative_days
from cohort.engines.local import map_buckets
from cohort.errors import StudyError
from cohort.outcomes.recurrent import EndOfFollowUp, care_of, free_days, recurrent_spells
from cohort.plan import BucketRows, codes_of, select
from cohort.population.cohort import Cohort
from cohort.store.store import Store

Count = Callable[[Tables, pl.LazyFrame], pl.LazyFrame]
"""From a bucket's tables and its entries' follow-up to the rows wanted."""


def recurrent_events(cohort: Cohort, store: Store, record: Record, apart_days: int = 0) -> pl.DataFrame:
    """Return every event of every entry, as spells (start, stop] for `survival.mean_cumulative_function` and Cox.

    Follow-up is the cohort's; an event does not end it. Rows are persons: for the data holder only.

    Parameters
    ----------
    record
        What recurs; a day counts once.
    apart_days
        An event at most so many days after the one before it is still that one.

    Raises
    ------
    StudyError
        If ``apart_days`` is negative.
    """
    if apart_days < 0:
        raise StudyError(f"apart_days is {apart_days}; give 0 days or more")
    return _of_each_entry(cohort, store, record, functools.partial(_spells, record=record, apart_days=apart_days))


def care_free_days(cohort: Cohort, store: Store, record: Record, horizon: int) -> pl.DataFrame:
    """Return, per entry, the days alive and free of a kind of care within a horizon; null where that is not known.

    Rows are persons: for the data holder only.

    Parameters
    ----------
    record
        The care: encounters with a diagnosis count from their first to their last day, supplies as long as they last.
    horizon
        Days after index, the last one included.

    Raises
    ------
    StudyError
        If there is no such horizon, or the cohort is not followed that long.
    """
    longest = cohort.end.max_days
    if horizon < 1 or (longest is not None and longest < horizon):
        raise StudyError(f"horizon is {horizon}; give 1 to {longest or 'any number of'} days, the longest follow-up")
    return _of_each_entry(cohort, store, record, functools.partial(_free, record=record, horizon=horizon))


def _spells(tables: Tables, followed: pl.LazyFrame, *, record: Record, apart_days: int) -> pl.LazyFrame:
    return recurrent_spells(relative_days(record.days(tables), followed), followed, apart_days)


def _free(tables: Tables, followed: pl.LazyFrame, *, record: Record, horizon: int) -> pl.LazyFrame:
    return free_days(care_of(record, tables), followed, horizon)


def _of_each_entry(cohort: Cohort, store: Store, record: Record, count: Count) -> pl.DataFrame:
    outcome = EndOfFollowUp()
    codes = codes_of((*cohort.parts, record))

    def bucket(tables: Tables) -> pl.DataFrame:
        rows = BucketRows(needed_rows(tables, codes), store.data_end)
        followed = select(rows, cohort, outcome, ()).part().rows
        return count(rows.tables, followed.lazy()).collect()

    return pl.concat(map_buckets(store, bucket, "cohort")).sort("person_id", "index_date", maintain_order=True)
