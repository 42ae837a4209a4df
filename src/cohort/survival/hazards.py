"""Nelson–Aalen and Fleming–Harrington: the cumulative hazard, and survival from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.errors import StudyError
from cohort.survival.clusters import Persons, clustered_influence, spells_of
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import Curves, Estimate, Layout, is_robust, lay_out
from cohort.survival.influence import hazard_influence, ratio
from cohort.survival.intervals import hazard_limits, probability_limits
from cohort.survival.observations import By
from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats, Ints


def nelson_aalen(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
    id: str | None = None,
) -> Curves:
    """Estimate the cumulative hazard; parameters are those of ``kaplan_meier``."""
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    persons = spells_of(frame, id, entry, time, event, by, weights, start)
    return nelson_aalen_from(counts, conf_type, level, variance=variance, start=start, persons=persons)


def nelson_aalen_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
    persons: Persons | None = None,
) -> Curves:
    """Estimate the cumulative hazard from counts, ties taken together: the sum of d/Y with variance d/Y².

    Parameters
    ----------
    conf_type
        ``plain`` or ``log``.
    variance
        ``aalen`` (default) or ``robust`` (default with weights).
    persons
        Spells by person, for a variance robust to several rows of one person.

    References
    ----------
    Nelson W (1972), Technometrics 14:945–966, doi:10.1080/00401706.1972.10488991; Aalen O (1978), Ann Stat
    6:701–726, doi:10.1214/aos/1176344247.
    """
    robust = is_robust(counts, variance, "aalen")

    def estimate(risk: RiskTable) -> list[Estimate]:
        hazard = ratio(risk.n_any, risk.n_risk)
        drift = ratio(hazard, risk.n_risk)
        jump = ratio(1.0, risk.n_risk)
        if persons is not None:
            squared = clustered_influence(risk, persons[risk.group], drift, jump)
        else:
            squared = hazard_influence(risk, drift, jump) if robust else np.cumsum(drift)
        return [Estimate(1, risk.n_any, np.cumsum(hazard), np.sqrt(squared))]

    return lay_out(counts.any_cause(), estimate, Layout("cumulative_hazard", hazard_limits, conf_type, level, start))


def fleming_harrington(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    ties: str = "together",
    start: float | None = None,
) -> Curves:
    """Estimate survival as exp(-cumulative hazard); parameters of ``count_days`` and ``fleming_harrington_from``."""
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    return fleming_harrington_from(counts, conf_type, level, ties=ties, start=start)


def fleming_harrington_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    ties: str = "together",
    start: float | None = None,
) -> Curves:
    """Estimate survival as exp(-cumulative hazard) from counts, with Aalen's variance.

    Parameters
    ----------
    ties
        ``together`` adds d/Y per time (Nelson–Aalen); ``one_by_one`` adds 1/Y + 1/(Y-1) + …, as if tied events had
        followed one another.

    References
    ----------
    Fleming TR, Harrington DP (1984), Commun Stat 13:2469–2486, doi:10.1080/03610928408828837.
    """
    if ties not in ("together", "one_by_one"):
        raise StudyError(f"ties = {ties!r}; together or one_by_one")
    if ties == "one_by_one" and counts.weighted:
        raise StudyError("ties = 'one_by_one' counts tied persons; it has no weighted form")

    def estimate(risk: RiskTable) -> list[Estimate]:
        hazard, increment = _hazard(risk, one_by_one=ties == "one_by_one")
        survival = np.exp(-np.cumsum(hazard))
        return [Estimate(1, risk.n_any, survival, survival * np.sqrt(np.cumsum(increment)))]

    layout = Layout("survival", probability_limits, conf_type, level, start)
    return lay_out(counts.any_cause(), estimate, layout)


def _hazard(risk: RiskTable, *, one_by_one: bool) -> tuple[Floats, Floats]:
    """Return the hazard increments and the increments of their variance, (T,) each."""
    if not one_by_one:
        hazard = ratio(risk.n_any, risk.n_risk)
        return hazard, ratio(hazard, risk.n_risk)
    events: Ints = risk.n_any
    position = np.repeat(np.arange(len(events)), events)
    rank = np.arange(len(position)) - np.repeat(np.cumsum(events) - events, events)
    share = 1.0 / (risk.n_risk[position] - rank)
    # without any event bincount gives integers
    return np.bincount(position, share, len(events)).astype(np.float64), np.bincount(
        position, share**2, len(events)
    ).astype(np.float64)
