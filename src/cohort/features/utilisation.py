"""Use of care within a window: encounter days by setting, admissions, days in hospital, procedures."""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import matches
from cohort.features.episodes import bridge_episodes
from cohort.features.intervals import days_covered, intersect
from cohort.store.tables import SETTINGS


def encounter_days(diagnoses: pl.LazyFrame, procedures: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the distinct days with an encounter that starts in the window, by setting.

    Several claim lines of one day and setting are one encounter day; diagnoses and procedures count alike.

    Parameters
    ----------
    diagnoses, procedures
        ``person_id, date, setting`` and others.
    windows
        ``person_id, start_date, end_date``: one window per person, ends included.

    Returns
    -------
    LazyFrame
        ``person_id`` and one Int64 column per setting of the store, ``unknown`` including null; one row per person of
        ``windows``; sorted.
    """
    setting = pl.col("setting").fill_null("unknown")
    days = pl.concat([table.select("person_id", "date", setting=setting) for table in (diagnoses, procedures)]).unique()
    inside = days.join(windows, on="person_id").filter(pl.col("date").is_between("start_date", "end_date"))
    counted = inside.group_by("person_id").agg(
        (pl.col("setting") == name).sum().cast(pl.Int64).alias(name) for name in SETTINGS
    )
    return _everybody(windows, counted, list(SETTINGS))


def admissions(diagnoses: pl.LazyFrame, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Return hospital admissions that start in the window, and the days in hospital within it.

    Inpatient encounters that share a day are one stay: a transfer on the day of discharge is no second admission.

    Parameters
    ----------
    diagnoses
        ``person_id, date, end_date, setting``.
    windows
        ``person_id, start_date, end_date``: one window per person, ends included.

    Returns
    -------
    LazyFrame
        ``person_id, admissions, inpatient_days`` (Int64); one row per person of ``windows``; sorted.
    """
    inpatient = diagnoses.filter(pl.col("setting") == "inpatient")
    stays = bridge_episodes(inpatient, gap_days=0).select("person_id", start_date="start", end_date="end")
    started = (
        stays.select("person_id", date="start_date")
        .join(windows, on="person_id")
        .filter(pl.col("date").is_between("start_date", "end_date"))
        .group_by("person_id")
        .agg(admissions=pl.len().cast(pl.Int64))
    )
    days = days_covered(intersect(stays, windows)).rename({"days": "inpatient_days"})
    counted = started.join(days, on="person_id", how="full", coalesce=True)
    return _everybody(windows, counted, ["admissions", "inpatient_days"])


def procedure_days(procedures: pl.LazyFrame, codelist: Codelist, windows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the distinct days with a listed procedure in the window (Int64 ``procedure_days``), 0 included; sorted.

    Parameters
    ----------
    procedures
        ``person_id, date, system, code``.
    windows
        ``person_id, start_date, end_date``: one window per person, ends included.
    """
    days = matches(procedures, codelist).select("person_id", "date").unique()
    inside = days.join(windows, on="person_id").filter(pl.col("date").is_between("start_date", "end_date"))
    counted = inside.group_by("person_id").agg(procedure_days=pl.len().cast(pl.Int64))
    return _everybody(windows, counted, ["procedure_days"])


def _everybody(windows: pl.LazyFrame, counted: pl.LazyFrame, columns: list[str]) -> pl.LazyFrame:
    """Return one row per person of ``windows``; who was not counted used no care in the window, which is 0."""
    persons = windows.select("person_id").unique().join(counted, on="person_id", how="left")
    return persons.select("person_id", pl.col(columns).fill_null(0)).sort("person_id")
