"""Point and period prevalence from spells of observation and spells of a condition."""

from __future__ import annotations

from typing import Any

import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.observations import By
from cohort.survival.proportions import proportion_from

_DAY, _HAS = "day of a prevalence", "has the condition"


def prevalence(
    observed: Any,
    condition: Any,
    first: Any,
    last: Any = None,
    person: str = "person_id",
    start: str = "start",
    end: str = "end",
    by: By = None,
    level: float = 0.95,
) -> pl.DataFrame:
    """Estimate the share of persons under observation who have a condition on a day or in a period.

    Parameters are those of ``count_prevalence``; the table and its Wilson limits those of ``proportion_from``.
    """
    return proportion_from(count_prevalence(observed, condition, first, last, person, start, end, by), level)


def count_prevalence(
    observed: Any,
    condition: Any,
    first: Any,
    last: Any = None,
    person: str = "person_id",
    start: str = "start",
    end: str = "end",
    by: By = None,
) -> DayCounts:
    """Count a (bucket's) persons under observation from ``first`` to ``last``, and those with the condition then.

    Parameters
    ----------
    observed, condition
        Frames of spells ``[start, end]`` of persons, both ends included, as dates or days.
    first, last
        The period, both ends included, as the spells are dated; without ``last`` the one day ``first``.
    by
        Columns of ``observed``, constant within a person.

    Raises
    ------
    StudyError
        If the period ends before it starts.

    References
    ----------
    Rothman KJ, Greenland S, Lash TL (2008), Modern Epidemiology, 3rd ed., chapter 3.
    """
    last = first if last is None else last
    if last < first:
        raise StudyError("the period of a prevalence ends before it starts")
    spells = {"person": person, "start": start, "end": end}
    frames = [as_lazy(observed), as_lazy(condition)]
    for frame in frames:
        require_columns(frame, spells)
    names = [by] if isinstance(by, str) else list(by or [])
    in_period = (pl.col(start) <= last) & (pl.col(end) >= first)
    here = frames[0].filter(in_period)
    cases = frames[1].filter(in_period).select(person, _from=pl.col(start), _to=pl.col(end))
    # a case counts on days on which the person is observed: all three intervals must share one
    shared = here.join(cases, on=person).filter(
        pl.max_horizontal(pl.col(start), "_from", pl.lit(first)) <= pl.min_horizontal(pl.col(end), "_to", pl.lit(last))
    )
    persons = here.select(person, *names).unique()
    marked = persons.join(shared.select(person, pl.lit(True).alias(_HAS)).unique(), on=person, how="left")
    rows = marked.with_columns(pl.col(_HAS).fill_null(False), pl.lit(0).alias(_DAY))
    return count_days(rows, _DAY, _HAS, by, causes=[1])
