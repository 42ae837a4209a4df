"""Kaplan–Meier: the probability of being event-free, from day counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.survival.clusters import Persons, clustered_influence, spells_of
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import Curves, Estimate, Layout, is_robust, lay_out
from cohort.survival.influence import hazard_influence, ratio
from cohort.survival.intervals import probability_limits
from cohort.survival.observations import By
from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats


def kaplan_meier(
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
    """Estimate the probability of being event-free; ``event`` is 0/1 or boolean.

    Parameters are those of ``count_days`` and ``kaplan_meier_from``; ``id`` names the persons where they have several
    rows, and makes the variance robust to what those rows have in common.
    """
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    persons = spells_of(frame, id, entry, time, event, by, weights, start)
    return kaplan_meier_from(counts, conf_type, level, variance=variance, start=start, persons=persons)


def kaplan_meier_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
    persons: Persons | None = None,
) -> Curves:
    """Estimate the probability of being event-free from counts; several causes count as one event.

    Parameters
    ----------
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``.
    variance
        ``greenwood`` (default; with weights it takes them for numbers of persons) or ``robust`` (default with weights).
    start
        Landmark day: the curve is conditional on being under observation then.
    persons
        Spells by person, for a variance robust to several rows of one person.

    References
    ----------
    Kaplan EL, Meier P (1958), JASA 53:457–481, doi:10.1080/01621459.1958.10501452; Greenwood M (1926).
    """
    robust = is_robust(counts, variance, "greenwood")

    def estimate(risk: RiskTable) -> list[Estimate]:
        survival = product_limit(risk)
        log_variance = _log_survival_variance(risk, persons, robust=robust)
        with np.errstate(invalid="ignore"):
            # at 0 nobody's weight moves the curve; Greenwood's formula has no value there
            std_error = np.where(survival > 0, survival * np.sqrt(log_variance), 0.0 if robust else np.nan)
        return [Estimate(1, risk.n_any, survival, std_error)]

    layout = Layout("survival", probability_limits, conf_type, level, start)
    return lay_out(counts.any_cause(), estimate, layout)


def product_limit(risk: RiskTable) -> Floats:
    """Return the Kaplan–Meier curve of one group, (T,)."""
    kept: Floats = np.where(risk.n_risk > 0, ratio(risk.n_survivors, risk.n_risk), 1.0)
    return np.cumprod(kept, dtype=np.float64)


def _log_survival_variance(risk: RiskTable, persons: Persons | None, *, robust: bool) -> Floats:
    drift, jump = ratio(ratio(risk.n_any, risk.n_risk), risk.n_survivors), ratio(1.0, risk.n_survivors)
    if persons is not None:
        return clustered_influence(risk, persons[risk.group], drift, jump)
    return hazard_influence(risk, drift, jump) if robust else np.cumsum(drift)
