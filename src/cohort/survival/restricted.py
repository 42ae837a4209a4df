"""Restricted mean survival time, and time lost to each cause, up to a horizon ``tau``.

The area under a curve has an exact variance from the same sums as the curve: what one person changes in it is a drift
while at risk and a jump at the event, both weighted by the area that is still to come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import StudyError
from cohort.survival.contrasts import against_reference
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import is_robust
from cohort.survival.functionals import incidence_functional, until
from cohort.survival.influence import ratio, total_influence
from cohort.survival.intervals import normal_quantile
from cohort.survival.observations import By
from cohort.survival.product_limit import product_limit
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.types import Floats, Numbers


@dataclass(frozen=True, slots=True)
class RestrictedMeans:
    """Areas under curves up to ``tau``, in the unit of the times.

    ``table`` has columns ``group, (cause,) estimate, std_error, lower, upper``: missing where a group's follow-up ends
    before ``tau`` with the event-free probability above 0, because the curve is then not known up to ``tau``.
    """

    table: pl.DataFrame
    tau: float
    level: float

    def to_polars(self) -> pl.DataFrame:
        """Return one row per group (and cause)."""
        return self.table

    def contrasts(self, reference: str | None = None) -> pl.DataFrame:
        """Return each group against ``reference`` (default: the first group), as difference and as ratio.

        Columns ``group, reference, (cause,) contrast, estimate, std_error, lower, upper, p_value``. Groups are taken
        as independent; a ratio's limits come from the log scale, and its ``std_error`` is that of the log.
        """
        return against_reference(self.table, self.level, reference)


def rmst(
    frame: Any,
    time: str,
    event: str,
    by: By = None,
    tau: float | None = None,
    *,
    entry: str | None = None,
    weights: str | None = None,
    level: float = 0.95,
    variance: str | None = None,
) -> RestrictedMeans:
    """Estimate the mean event-free time up to ``tau``; parameters of ``count_days`` and ``rmst_from``."""
    return rmst_from(count_days(frame, time, event, by, entry, weights, causes=[1]), tau, level, variance=variance)


def rmst_from(
    counts: DayCounts, tau: float | None, level: float = 0.95, *, variance: str | None = None
) -> RestrictedMeans:
    """Estimate the mean event-free time up to ``tau`` from counts.

    Parameters
    ----------
    tau
        Horizon in the unit of the times; always stated, because the estimand depends on it.
    variance
        ``greenwood`` (default) or ``robust`` (default with weights).

    References
    ----------
    Klein JP, Moeschberger ML (2003), Survival Analysis, section 4.5, doi:10.1007/b97377. Royston P, Parmar MKB
    (2013), BMC Med Res Methodol 13:152, doi:10.1186/1471-2288-13-152.
    """
    horizon, robust = _horizon(tau), is_robust(counts, variance, "greenwood")
    rows = []
    for risk in risk_tables(counts.any_cause()):
        survival = product_limit(risk)
        area, ahead = _area(risk.time, survival, horizon)
        survivors, hazard = risk.n_survivors, ratio(risk.n_any, risk.n_risk)
        if robust:
            jump = np.where(risk.cause > 0, ratio(ahead, survivors)[risk.exit], 0.0)
            squared = total_influence(risk, ratio(hazard * ahead, survivors), jump)
        else:
            squared = float((ratio(hazard, survivors) * ahead**2).sum())
        rows.append({"group": risk.group} | _if_known(risk, survival, horizon, area, squared))
    return _means(rows, horizon, level)


def restricted_time_lost(
    frame: Any,
    time: str,
    cause: str,
    by: By = None,
    tau: float | None = None,
    *,
    entry: str | None = None,
    weights: str | None = None,
    level: float = 0.95,
) -> RestrictedMeans:
    """Estimate the time lost to each cause up to ``tau``; parameters of ``count_days`` and the ``_from`` form."""
    return restricted_time_lost_from(count_days(frame, time, cause, by, entry, weights), tau, level)


def restricted_time_lost_from(counts: DayCounts, tau: float | None, level: float = 0.95) -> RestrictedMeans:
    """Estimate the time lost to each cause up to ``tau`` from counts: the area under its cumulative incidence.

    Over all causes it adds up to ``tau`` minus the restricted mean. The variance is the infinitesimal jackknife.

    References
    ----------
    Andersen PK (2013), Stat Med 32:5278–5285, doi:10.1002/sim.5903.
    """
    horizon, rows = _horizon(tau), []
    for risk in risk_tables(counts):
        survival = product_limit(risk)
        for position, code in enumerate(counts.causes):
            lost, squared = _time_lost(risk, position, horizon)
            known = _if_known(risk, survival, horizon, lost, squared)
            rows.append({"group": risk.group, "cause": code} | known)
    return _means(rows, horizon, level)


def _horizon(tau: float | None) -> float:
    if tau is None or not 0 < tau < np.inf:
        raise StudyError(f"tau = {tau}; a restricted mean needs a positive horizon in the unit of the times")
    return float(tau)


def _area(time: Numbers, curve: Floats, tau: float) -> tuple[float, Floats]:
    """Return the area under a step curve that starts at 1, and the area from each of its times to ``tau``, (T,)."""
    knots = np.minimum(np.concatenate([[0.0], time, [tau]]), tau)
    width = np.diff(knots)
    ahead = np.cumsum((curve * width[1:])[::-1])[::-1]
    return float(width[0] + ahead[:1].sum()), ahead


def _time_lost(risk: RiskTable, position: int, tau: float) -> tuple[float, float]:
    """Return the time lost to one cause and its variance."""
    lost = incidence_functional(risk, position, until(risk, tau))
    jump = np.where(risk.cause > 0, lost.any_event[risk.exit], 0.0)
    jump -= np.where(risk.cause == position + 1, lost.own_event[risk.exit], 0.0)
    return lost.value, total_influence(risk, lost.drift, jump)


def _if_known(risk: RiskTable, survival: Floats, tau: float, area: float, squared: float) -> dict[str, float | None]:
    if risk.time[-1] < tau and survival[-1] > 0:
        return {"estimate": None, "std_error": None}
    return {"estimate": area, "std_error": float(np.sqrt(squared))}


def _means(rows: list[dict[str, Any]], tau: float, level: float) -> RestrictedMeans:
    keys = {"group": pl.String} | ({"cause": pl.Int64} if rows and "cause" in rows[0] else {})
    table = pl.DataFrame(rows, schema=keys | {"estimate": pl.Float64, "std_error": pl.Float64}, orient="row")
    half = normal_quantile(level) * pl.col("std_error")
    table = table.with_columns(lower=pl.col("estimate") - half, upper=pl.col("estimate") + half)
    return RestrictedMeans(table, tau, level)
