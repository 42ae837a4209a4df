"""How uncertain the incidence predicted by a set of cause-specific Cox models is: sums of squared influences.

A person moves the hazard of every cause at every event time, and through the coefficients that of everybody; the
incidence of one cause by t depends on all of those hazards. The derivative by each hazard times what the person does
to it, added up, is the person's influence; persons are independent, so squares add up to the variance.

References
----------
Ozenne B et al. (2017), doi:10.32614/RJ-2017-062; Cheng SC, Fine JP, Wei LJ (1998), doi:10.2307/2534006.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.survival.cox_model import CoxEstimate
from cohort.survival.cox_residuals import baseline_hazard
from cohort.survival.cox_sums import RowSums, never_at_risk, score_tables, workers
from cohort.survival.types import Floats, Ints


@dataclass(frozen=True, slots=True)
class Cause:
    """One model as influences need it: by cell (K,), by row (n,), and in the units of the covariates.

    ``clock`` places the cells among the event times of all causes; ``a2`` and ``b2`` are the tie terms, ``drift``
    (p, K) the hazard-weighted mean covariate less ``centre``; ``on_coef`` (n, p) is each row's influence on the
    coefficients.
    """

    clock: Ints
    hazard: Floats
    a2: Floats
    b2: Floats
    per_event: Floats
    drift: Floats
    stop: Ints
    start: Ints
    event: Floats
    weight: Floats
    risk: Floats
    on_coef: Floats
    coef: Floats
    centre: Floats

    @classmethod
    def of(cls, fit: CoxEstimate, clock: Floats) -> Cause:
        """Take what is needed from a fitted model; ``clock`` are the event times of all causes."""
        rows, cells = fit.rows, fit.rows.cells
        with workers() as pool:
            sums = RowSums(rows, pool)
            sums.risk(fit.point.theta)
            scores = sums.all_scores(score_tables(fit.point, cells)).T * rows.scale
        _, _, a2, b2, _ = fit.point.ties
        hazard = baseline_hazard(fit, fit.ties)
        return cls(
            clock=np.searchsorted(clock, cells.time),
            hazard=hazard,
            a2=a2,
            b2=b2,
            per_event=hazard / cells.weight,
            drift=(a2 * fit.point.mean_risk - b2 * fit.point.mean_dying) * rows.scale[:, None],
            stop=cells.stop.astype(np.int64),
            start=cells.start.astype(np.int64),
            event=cells.event.astype(np.float64),
            weight=rows.weight if rows.weight.size else np.ones(rows.shape[0]),
            risk=sums.risk_of_row,
            on_coef=scores @ fit.model_covariance,
            coef=fit.coef,
            centre=rows.centre,
        )

    def influence(self, slope: Floats, x: Floats) -> Floats:
        """Return each row's influence, (n,), on a quantity whose derivative by the hazard at each time is ``slope``.

        ``slope`` has the length of the clock, 0 beyond the time asked for; ``x`` (p,) is the person predicted.
        """
        own = slope[self.clock]
        spent = never_at_risk(np.cumsum(own * self.a2))
        moved = self.event * (
            self.weight * never_at_risk(own * self.per_event)[self.stop]
            + self.risk * never_at_risk(own * self.b2)[self.stop]
        )
        moved -= self.risk * (spent[self.stop] - (spent[self.start] if self.start.size else 0.0))
        z = x - self.centre
        through = self.on_coef @ (z * float(own @ self.hazard) - self.drift @ own)
        influence: Floats = np.exp(z @ self.coef) * (moved + through)
        return influence


def incidence_variance(causes: list[Cause], x: Floats, hazards: Floats, at: int) -> Floats:
    """Return the variance of each cause's incidence, (causes,), for one row of covariates up to clock position ``at``.

    ``hazards`` (causes, clock) are the row's hazards.
    """
    total = hazards.sum(axis=0)
    survival = np.exp(-np.cumsum(total))
    before = np.append(1.0, survival[:-1])
    share = np.divide(hazards, total, out=np.zeros_like(hazards), where=total > 0)
    lost = -np.expm1(-total)
    incidence = np.cumsum(before * lost * share, axis=1)
    per_hazard = np.divide(lost, total, out=np.ones_like(total), where=total > 0)
    variances = []
    for k in range(len(causes)):
        reached = incidence[k, at - 1] if at else 0.0
        influence = np.zeros(causes[k].risk.size)
        for j, cause in enumerate(causes):
            slope = before * (np.exp(-total) * share[k] + per_hazard * ((j == k) - share[k]))
            slope -= reached - incidence[k]
            slope[at:] = 0.0
            influence += cause.influence(slope, x)
        variances.append(float(influence @ influence))
    return np.array(variances)
