"""Episodes: a person's encounters joined into intervals by a gap rule, with their censoring flagged, not hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from cohort.errors import StudyError
from cohort.features.intervals import PERSON, join_runs
from cohort.frames import as_lazy, like, require_kinds
from cohort.time import days_between


def episodes(frame: Any, person: str = "id", start: str = "date", end: str | None = None, gap_days: int = 90) -> Any:
    """Join the encounters of each person into episodes.

    Parameters
    ----------
    frame
        Any tabular object, one row per encounter; rows without person or start date are left out.
    person, start, end
        Columns: identifier; first day (Date or Datetime); last day, included. Without ``end``, or where it is null
        or before the start, an encounter lasts one day.
    gap_days
        Longest distance in days from an episode's latest end to the next start that continues it.

    Returns
    -------
    frame
        ``person, episode`` (1, 2, … per person), ``start, end, days`` (end − start + 1) and ``encounters`` (distinct
        start days), sorted; lazy if the input was.

    References
    ----------
    de Vet HCW, Heymans MW, Dunn KM, et al. (2002). Episodes of low back pain. Spine 27(21):2409-2416.
    doi:10.1097/01.BRS.0000030307.34002.BE.
    """
    rows = as_lazy(frame)
    kinds = {"person": (person, "any"), "start": (start, "date")}
    require_kinds(rows, kinds | ({"end": (end, "date")} if end else {}))
    encounters = rows.select(
        person=pl.col(person), date=pl.col(start).cast(pl.Date), end_date=pl.col(end or start).cast(pl.Date)
    )
    found = bridge_episodes(encounters, by=("person",), gap_days=gap_days)
    numbered = found.with_columns(episode=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("person"))
    return like(frame, numbered.select("person", "episode", "start", "end", "days", "encounters"))


def bridge_episodes(rows: pl.LazyFrame, *, by: Sequence[str] = PERSON, gap_days: int = 90) -> pl.LazyFrame:
    """Join encounters of one key into episodes: same episode if start − latest end so far <= ``gap_days``.

    Parameters
    ----------
    rows
        Columns ``by``, ``date`` and ``end_date`` (Dates); further columns are ignored.
    by
        Key of an episode: the person, or the person and a body region, an agent, …

    Returns
    -------
    LazyFrame
        ``by, start, end, days, encounters``; sorted by key and start; days and encounters Int64.

    Raises
    ------
    StudyError
        If ``gap_days`` is negative.
    """
    if gap_days < 0:
        raise StudyError(f"gap_days is {gap_days}; a gap rule needs 0 days or more")
    encounters = (
        rows.select(*by, "date", "end_date")
        .drop_nulls([*by, "date"])
        .with_columns(end_date=pl.max_horizontal("date", "end_date"))
    )
    runs = join_runs(encounters, by=by, start="date", end="end_date", gap_days=gap_days)
    days = days_between(pl.col("date"), pl.col("end_date")) + 1
    return runs.select(*by, start="date", end="end_date", days=days, encounters="starts")


def flag_censoring(
    episodes: pl.LazyFrame, enrolment: pl.LazyFrame, *, gap_days: int = 90, washout_days: int = 180
) -> pl.LazyFrame:
    """Add ``left_censored`` and ``right_censored`` (Boolean) to episodes.

    Left-censored: the ``washout_days`` days before the start are not all observed, so the episode may have begun
    earlier. Right-censored: the ``gap_days`` days after the end are not all observed, so it may have gone on. Null for
    a person without any enrolment, about whom neither can be known.

    Parameters
    ----------
    episodes
        ``person_id, start, end`` and any other columns, as from `bridge_episodes`.
    enrolment
        ``person_id, start_date, end_date``, disjoint and already bridged (`intervals.union`).
    """
    gap, washout = pl.duration(days=gap_days), pl.duration(days=washout_days)
    known = episodes.join(enrolment.select("person_id").unique().with_columns(_known=True), on="person_id", how="left")
    left = _observed(known, enrolment, pl.col("start") - washout, pl.col("start"), "left_censored")
    both = _observed(left, enrolment, pl.col("end"), pl.col("end") + gap, "right_censored")
    flags = [
        pl.when("_known").then(~pl.col(name).fill_null(value=False)).alias(name)
        for name in ("left_censored", "right_censored")
    ]
    names = episodes.collect_schema().names()
    return both.with_columns(flags).drop("_known").sort(names[: names.index("start") + 1])


def _observed(
    episodes: pl.LazyFrame, enrolment: pl.LazyFrame, first: pl.Expr, last: pl.Expr, into: str
) -> pl.LazyFrame:
    """Add whether one enrolment span covers every day from ``first`` to ``last``.

    Spans are disjoint and do not touch, so only the latest that starts by ``first`` can.
    """
    spans = enrolment.select("person_id", _from="start_date", _to="end_date").sort("_from")
    return (
        episodes.with_columns(_first=first, _last=last)
        .sort("_first")
        .join_asof(
            spans, left_on="_first", right_on="_from", by="person_id", strategy="backward", check_sortedness=False
        )
        .with_columns((pl.col("_to") >= pl.col("_last")).alias(into))
        .drop("_first", "_last", "_from", "_to", strict=False)
    )
