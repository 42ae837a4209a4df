"""Aalen–Johansen: cumulative incidence of competing causes, from day counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.errors import StudyError
from cohort.survival.clusters import Persons, clustered_incidence, spells_of
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import Curves, Estimate, Layout, is_robust, lay_out
from cohort.survival.influence import aalen_variance, incidence_influence, ratio
from cohort.survival.intervals import probability_limits
from cohort.survival.observations import By
from cohort.survival.product_limit import product_limit
from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats


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
    id: str | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence; ``cause`` is 0 = censored, 1…k as coded.

    Parameters are those of ``count_days`` and ``cumulative_incidence_from``; ``id`` names the persons where they have
    several rows, and makes the variance robust to what those rows have in common.
    """
    counts = count_days(frame, time, cause, by, entry, weights)
    persons = spells_of(frame, id, entry, time, cause, by, weights, start)
    return cumulative_incidence_from(counts, conf_type, level, variance=variance, start=start, persons=persons)


def cumulative_incidence_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
    persons: Persons | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence from counts (Aalen–Johansen); ties of different causes are exact.

    Parameters
    ----------
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``.
    variance
        ``robust`` (default: the infinitesimal jackknife, as R's ``survfit``) or ``delta`` (Aalen, as
        ``cmprsk::cuminc``; without weights).
    persons
        Spells by person, for a variance robust to several rows of one person.

    References
    ----------
    Aalen OO, Johansen S (1978), Scand J Stat 5:141–150.
    """
    robust = is_robust(counts, variance or "robust", "delta")
    if not robust and (counts.weighted or persons is not None):
        raise StudyError("variance = 'delta' has no form for weights or several rows of a person; use 'robust'")

    def spread(risk: RiskTable, before: Floats, value: Floats, position: int) -> Floats:
        if persons is not None:
            return clustered_incidence(risk, persons[risk.group], before, value, counts.causes[position])
        return (incidence_influence if robust else aalen_variance)(risk, before, value, position)

    def estimate(risk: RiskTable) -> list[Estimate]:
        free = product_limit(risk)
        before = np.concatenate([[1.0], free])[:-1]
        results = []
        for position, (code, events) in enumerate(zip(counts.causes, risk.n_event, strict=True)):
            value = np.cumsum(before * ratio(events, risk.n_risk))
            others = np.cumsum(before * (risk.n_any - events))
            certain = (free == 0) & (others == 0)  # it is 1 whatever the weights: no variance at all
            squared = np.where(certain, 0.0, np.maximum(spread(risk, before, value, position), 0.0))
            results.append(Estimate(code, events, value, np.sqrt(squared)))
        return results

    return lay_out(counts, estimate, Layout("cumulative_incidence", probability_limits, conf_type, level, start))
