"""Recurrent events, days free of care and responses of a cohort: frames for the data holder, by spell or entry."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import polars as pl

from cohort.codes.records import KEY, Record, Tables, needed_rows, relative_days
from cohort.engines.local import local
from cohort.errors import StudyError
from cohort.features.covariates import Covariate
from cohort.outcomes.recurrent import EndOfFollowUp, care_of, free_days, recurrent_spells
from cohort.outcomes.registry import RegistryResponse
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


def registry_responses(
    cohort: Cohort, store: Store, response: RegistryResponse, covariates: Iterable[Covariate] = ()
) -> pl.DataFrame:
    """Return, per entry with a baseline, whether it responded (null = not measured), with covariates.

    For `effects.response_shares`: observed, non-responder and weighted versions. Rows are persons: for the data holder
    only.
    """
    return _of_each_entry(cohort, store, response, response.judged, tuple(covariates))


def _spells(tables: Tables, followed: pl.LazyFrame, *, record: Record, apart_days: int) -> pl.LazyFrame:
    return recurrent_spells(relative_days(record.days(tables), followed), followed, apart_days)


def _free(tables: Tables, followed: pl.LazyFrame, *, record: Record, horizon: int) -> pl.LazyFrame:
    return free_days(care_of(record, tables), followed, horizon)


def _of_each_entry(
    cohort: Cohort, store: Store, reads: Any, count: Count, covariates: tuple[Covariate, ...] = ()
) -> pl.DataFrame:
    outcome = EndOfFollowUp()
    codes = codes_of((*cohort.parts, reads, *covariates))

    def bucket(tables: Tables) -> pl.DataFrame:
        rows = BucketRows(needed_rows(tables, codes), store.data_end)
        followed = select(rows, cohort, outcome, covariates).part().rows
        known = followed.drop("entry", "time", "cause", "exit_reason")
        found = count(rows.tables, followed.lazy()).collect()
        return found.join(known, on=KEY, how="left", maintain_order="left") if covariates else found

    return pl.concat(local().map(store, bucket, "cohort")).sort(KEY, maintain_order=True)
