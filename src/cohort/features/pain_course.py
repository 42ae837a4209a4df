"""The course of pain: how long, how often, how widely, how unevenly; each as known on the index date.

Claims show care, not pain: every measure here is one of care for pain, and an interval without care is no proof of
recovery (Smith 2010). Give windows of equal length when persons are compared.
"""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import label, matches
from cohort.errors import StudyError
from cohort.features.blocks import EPISODE, count_blocks
from cohort.features.episodes import bridge_episodes
from cohort.features.intervals import complement, days_covered
from cohort.features.pain import UNSPECIFIED
from cohort.features.windows import up_to_index, within
from cohort.time import Window, days_between

WIDESPREAD = "widespread"
"""Body region of codes for pain all over the body, such as fibromyalgia."""

_ENTRY = ["person_id", "index_date"]


def pain_history(
    diagnoses: pl.LazyFrame,
    index: pl.LazyFrame,
    codelist: Codelist,
    *,
    window: Window = Window(None, 0),  # noqa: B008 -- a frozen value
    gap_days: int = 90,
) -> pl.LazyFrame:
    """Return the duration of the current episode and the number and length of earlier ones, as known at index.

    The episode is current when its last encounter lies at most ``gap_days`` days before the index date.

    Parameters
    ----------
    diagnoses
        ``person_id, date, end_date, system, code``.
    index
        ``person_id, index_date``; each row gets a result row.
    codelist
        What counts; all its codes belong to one condition.

    Returns
    -------
    LazyFrame
        ``person_id, index_date``, ``current_days`` (start to index, both included; 0 = no current episode),
        ``previous_episodes`` and ``previous_days``; Int64; sorted.
    """
    encounters = up_to_index(matches(diagnoses, codelist), index, window)
    episodes = bridge_episodes(encounters, by=_ENTRY, gap_days=gap_days)
    current = days_between(pl.col("end"), pl.col("index_date")) <= gap_days
    duration = days_between(pl.col("start"), pl.col("index_date")) + 1
    measured = episodes.group_by(_ENTRY).agg(
        current_days=duration.filter(current).sum(),
        previous_episodes=(~current).sum().cast(pl.Int64),
        previous_days=pl.col("days").filter(~current).sum(),
    )
    return _per_entry(index, measured).with_columns(pl.exclude(_ENTRY).fill_null(0)).sort(_ENTRY)


def pain_spread(
    diagnoses: pl.LazyFrame,
    index: pl.LazyFrame,
    *,
    window: Window = Window(-179, 0),  # noqa: B008 -- a frozen value
    widespread_regions: int = 3,
    codelist: Codelist | None = None,
) -> pl.LazyFrame:
    """Return the body regions with pain codes in a window, and whether that is widespread pain.

    Returns
    -------
    LazyFrame
        ``person_id, index_date``, ``regions`` (Int64, distinct, ``unspecified`` not counted) and ``widespread``
        (Boolean: ``widespread_regions`` or more, or a code that says so); one row per entry, sorted.

    References
    ----------
    Kindler LL, Jones KD, Perrin N, Bennett RM (2010). Risk factors predicting the development of widespread pain from
    chronic back or neck pain. J Pain 11(12):1320-1328. doi:10.1016/j.jpain.2010.03.007.
    """
    regions = within(_regions(diagnoses, codelist), index, window)
    counted = regions.group_by(_ENTRY).agg(
        regions=pl.col("region").n_unique().cast(pl.Int64), _said=(pl.col("region") == WIDESPREAD).any()
    )
    filled = _per_entry(index, counted).with_columns(
        pl.col("regions").fill_null(0), pl.col("_said").fill_null(value=False)
    )
    widespread = (pl.col("regions") >= widespread_regions) | pl.col("_said")
    return filled.select(*_ENTRY, "regions", widespread=widespread).sort(_ENTRY)


def first_new_region(
    diagnoses: pl.LazyFrame, index: pl.LazyFrame, *, look_back_days: int = 365, codelist: Codelist | None = None
) -> pl.LazyFrame:
    """Return the first body region after index that had no pain code from ``look_back_days`` before index to index.

    An outcome (spread), dated where it is observed. Entries without a new region do not appear.

    Returns
    -------
    LazyFrame
        ``person_id, index_date, date, region`` (alphabetically first of several on one day); sorted.
    """
    rows = _regions(diagnoses, codelist)
    known = within(rows, index, Window(-look_back_days, 0)).select(*_ENTRY, "region").unique()
    new = within(rows, index, Window(1, None)).join(known, on=[*_ENTRY, "region"], how="anti")
    earliest = new.filter(pl.col("date") == pl.col("date").min().over(_ENTRY))
    return earliest.group_by(_ENTRY).agg(pl.col("date", "region").min()).sort(_ENTRY)


def gap_variation(encounters: pl.LazyFrame, *, by: tuple[str, ...] = ("person_id",), minimum: int = 4) -> pl.LazyFrame:
    """Return the coefficient of variation of the gaps between encounter days: how unpredictable care is.

    Parameters
    ----------
    encounters
        Columns ``by`` and ``date``, already restricted to a window.
    minimum
        Fewest gaps for a value; with fewer it is null.

    Returns
    -------
    LazyFrame
        ``by, gaps`` (Int64) and ``gap_cv`` (Float64, sample standard deviation over mean); sorted.
    """
    if minimum < 2:
        raise StudyError(f"minimum is {minimum}; a standard deviation needs two gaps or more")
    gap = days_between(pl.col("date").shift(1).over(*by), pl.col("date"))
    days = encounters.select(*by, "date").drop_nulls().unique().sort(*by, "date").with_columns(gap=gap)
    sums = days.group_by(*by).agg(
        gaps=pl.col("gap").count().cast(pl.Int64), total=pl.col("gap").sum(), squares=(pl.col("gap") ** 2).sum()
    )
    n, total = pl.col("gaps"), pl.col("total")
    variance = (n * pl.col("squares") - total**2) / (n * (n - 1))
    return sums.select(*by, "gaps", gap_cv=pl.when(n >= minimum).then(variance.sqrt() * n / total)).sort(*by)


def amplification(encounters: pl.LazyFrame, *, gap_days: int = 90, minimum_blocks: int = 3) -> pl.LazyFrame:
    """Return the trend of care within each episode: whether pain asks for more and more of it.

    Parameters
    ----------
    encounters
        ``person_id, date, end_date`` of care for the pain studied, already restricted to a window.
    gap_days
        See `cohort.features.episodes.bridge_episodes`.
    minimum_blocks
        Fewest blocks of 28 days for a trend; with fewer it is null.

    Returns
    -------
    LazyFrame
        ``person_id, start, blocks`` (Int64) and ``trend`` (Float64): the least-squares slope of encounter days per
        block, in encounter days per block; one row per episode; sorted.
    """
    if minimum_blocks < 2:
        raise StudyError(f"minimum_blocks is {minimum_blocks}; a trend needs two blocks or more")
    episodes = bridge_episodes(encounters, gap_days=gap_days).select(
        "person_id", episode_start="start", episode_end="end"
    )
    inside = pl.col("date").is_between("episode_start", "episode_end")
    days = encounters.select("person_id", "date").unique().join(episodes, on="person_id").filter(inside)
    x, y = pl.col("block"), pl.col("count")
    sums = (
        count_blocks(days, episodes)
        .group_by(EPISODE)
        .agg(blocks=pl.len().cast(pl.Int64), x=x.sum(), y=y.sum(), xy=(x * y).sum(), xx=(x * x).sum())
    )
    n = pl.col("blocks")
    slope = (n * pl.col("xy") - pl.col("x") * pl.col("y")) / (n * pl.col("xx") - pl.col("x") ** 2)
    return (
        sums.select("person_id", "blocks", start="episode_start", trend=pl.when(n >= minimum_blocks).then(slope))
        .select("person_id", "start", "blocks", "trend")
        .sort("person_id", "start")
    )


def visit_intensity(diagnoses: pl.LazyFrame, spans: pl.LazyFrame) -> pl.LazyFrame:
    """Return encounter days outside hospital per 30 days at risk of one: observed, alive and not an inpatient.

    Parameters
    ----------
    diagnoses
        ``person_id, date, end_date, setting``, already restricted to the codes that count.
    spans
        ``person_id, start_date, end_date``: enrolment within the window, ended by death.

    Returns
    -------
    LazyFrame
        ``person_id``, ``encounter_days`` and ``days_at_risk`` (Int64), ``per_30_days`` (Float64; null without a day at
        risk); one row per person of ``spans``; sorted.
    """
    inpatient = pl.col("setting").eq_missing("inpatient")
    stays = diagnoses.filter(inpatient).select("person_id", start_date="date", end_date="end_date")
    at_risk = complement(stays, spans)
    visits = (
        diagnoses.filter(~inpatient)
        .select("person_id", "date")
        .unique()
        .join(at_risk, on="person_id")
        .filter(pl.col("date").is_between("start_date", "end_date"))
        .group_by("person_id")
        .agg(encounter_days=pl.len().cast(pl.Int64))
    )
    days = days_covered(at_risk, spans).rename({"days": "days_at_risk"})
    rate = pl.col("encounter_days") * 30 / pl.when(pl.col("days_at_risk") > 0).then("days_at_risk")
    return (
        days.join(visits, on="person_id", how="left")
        .with_columns(pl.col("encounter_days").fill_null(0))
        .select("person_id", "encounter_days", "days_at_risk", per_30_days=rate)
        .sort("person_id")
    )


def _regions(diagnoses: pl.LazyFrame, codelist: Codelist | None) -> pl.LazyFrame:
    """Return pain rows with a stated body region."""
    rows = label(diagnoses, codelist or Codelist.shipped("pain_regions"), into="region")
    return rows.filter(pl.col("region") != UNSPECIFIED)


def _per_entry(index: pl.LazyFrame, measured: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per entry of the index, whether measured or not."""
    return index.select(_ENTRY).unique().join(measured, on=_ENTRY, how="left")
