"""Aalen–Johansen: cumulative incidence of competing causes, from day counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.errors import StudyError
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import Curves, Estimate, Layout, is_robust, lay_out
from cohort.survival.influence import aalen_variance, incidence_influence, ratio
from cohort.survival.intervals import probability_limits
from cohort.survival.observations import By
from cohort.survival.product_limit import product_limit
from cohort.survival.risk import RiskTable


def cumulative_incidence(
    frame: Any,
    time: str = "t",
    cause: str = "c",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence; ``cause`` is 0 = censored, 1…k as coded.

    Parameters are those of ``count_days`` and ``cumulative_incidence_from``.
    """
    counts = count_days(frame, time, cause, by, entry, weights)
    return cumulative_incidence_from(counts, conf_type, level, variance=variance, start=start)


def cumulative_incidence_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence from counts (Aalen–Johansen); ties of different causes are exact.

    Parameters
    ----------
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``.
    variance
        ``robust`` (default: the infinitesimal jackknife, as R's ``survfit``) or ``delta`` (Aalen, as
        ``cmprsk::cuminc``; without weights).

    References
    ----------
    Aalen OO, Johansen S (1978), Scand J Stat 5:141–150.
    """
    robust = is_robust(counts, variance or "robust", "delta")
    if counts.weighted and not robust:
        raise StudyError("variance = 'delta' has no weighted form; use 'robust'")
    spread = incidence_influence if robust else aalen_variance

    def estimate(risk: RiskTable) -> list[Estimate]:
        free = product_limit(risk)
        before = np.concatenate([[1.0], free])[:-1]
        results = []
        for position, (code, events) in enumerate(zip(counts.causes, risk.n_event, strict=True)):
            value = np.cumsum(before * ratio(events, risk.n_risk))
            certain = (free == 0) & (
                np.cumsum(before * (risk.n_any - events)) == 0
            )  # 1 whatever the weights: no variance at all
            squared = np.where(certain, 0.0, np.maximum(spread(risk, before, value, position), 0.0))
            results.append(Estimate(code, events, value, np.sqrt(squared)))
        return results

    layout = Layout("cumulative_incidence", probability_limits, conf_type, level, start)
    return lay_out(counts, estimate, layout)
