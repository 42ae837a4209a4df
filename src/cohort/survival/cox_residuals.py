"""Residuals, linear predictors and baseline hazards of a fitted Cox model, all linear in the number of rows.

References
----------
Therneau TM, Grambsch PM, Fleming TR (1990), doi:10.1093/biomet/77.1.147 (martingale, deviance, score);
Schoenfeld D (1982), doi:10.1093/biomet/69.1.239; Grambsch PM, Therneau TM (1994), doi:10.1093/biomet/81.3.515.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cohort.survival.cox_model import CoxEstimate
from cohort.survival.cox_sums import RowSums, kernels, score_tables, workers

Floats = NDArray[np.float64]


def linear_predictor(fit: CoxEstimate) -> Floats:
    """Return ``(x - mean)'coef`` plus the offset of each row used, shape (n,)."""
    rows = fit.rows
    eta = rows.x.combined(rows.centre, fit.coef)
    return eta + rows.offset if rows.offset.size else eta


def martingale(fit: CoxEstimate) -> Floats:
    """Return events minus expected events of each row used, tied events after Efron where the fit is, shape (n,)."""
    rows = fit.rows
    hazard, tied, *_ = score_tables(fit.point, rows.cells)
    stop, event = rows.cells.stop, rows.cells.event
    expected = hazard[stop] - np.where(event, tied[stop], 0.0)
    if rows.cells.start.size:
        expected -= hazard[rows.cells.start]
    residual: Floats = event - np.exp(linear_predictor(fit)) * expected
    return residual


def deviance(fit: CoxEstimate) -> Floats:
    """Return the deviance residual of each row used, shape (n,)."""
    residual, event = martingale(fit), fit.rows.cells.event
    logs = np.zeros_like(residual)
    logs[event] = np.log(np.maximum(1.0 - residual[event], np.finfo(np.float64).tiny))
    signed: Floats = np.sign(residual) * np.sqrt(np.maximum(-2 * (residual + logs), 0.0))
    return signed


def score_residuals(fit: CoxEstimate, *, weighted: bool = False) -> Floats:
    """Return each row's part of the score, in the units of the covariates, shape (n, p)."""
    rows = fit.rows
    with workers() as pool:
        sums = RowSums(rows, pool)
        sums.risk(fit.point.theta)
        scores = sums.all_scores(score_tables(fit.point, rows.cells)).T * rows.scale
    return scores if weighted or not rows.weight.size else scores / rows.weight[:, None]


def delta_beta(fit: CoxEstimate, *, weighted: bool = False) -> Floats:
    """Return the approximate change of each coefficient when a row is left out, shape (n, p)."""
    changes: Floats = score_residuals(fit, weighted=weighted) @ fit.model_covariance
    return changes


def schoenfeld(fit: CoxEstimate) -> tuple[Floats, NDArray[np.int64]]:
    """Return covariates minus their mean over the risk set for each event, and the events' rows.

    Events are in order of stratum, time and row; shapes (events, p) and (events,).
    """
    rows = fit.rows
    mean = score_tables(fit.point, rows.cells)[2]
    events = np.flatnonzero(rows.cells.event)
    events = events[np.argsort(rows.cells.stop[events], kind="stable")]
    cell = rows.cells.stop[events]
    residual: Floats = (rows.x[events] - rows.centre) - mean[:, cell].T * rows.scale
    return residual, events


def scaled_schoenfeld(fit: CoxEstimate) -> tuple[Floats, NDArray[np.int64]]:
    """Return Schoenfeld residuals times events times covariance; adding ``coef`` estimates coef(t)."""
    residual, events = schoenfeld(fit)
    return residual @ fit.model_covariance * len(events), events


def baseline_hazard(fit: CoxEstimate, kind: Literal["breslow", "efron"]) -> Floats:
    """Return the hazard increment of each cell for a row at the covariate means, shape (K,).

    ``"breslow"`` is events over risk; ``"efron"`` thins the risk set over tied events, as R's ``survfit`` does after
    an Efron fit. Delayed entry is in the risk sets.
    """
    cells = fit.rows.cells
    if kind == "breslow":
        increments: Floats = cells.weight / fit.point.at_risk
        return increments
    terms = np.zeros((5, cells.time.size))
    kernels().tie_terms(fit.point.at_risk, fit.point.dying, cells.deaths, cells.weight, True, terms)
    efron: Floats = terms[0]
    return efron
