"""Lasso-penalised logistic regression of thousands of sparse columns, its penalty chosen by cross-validation.

Coordinate descent on quadratic approximations, along a path of falling penalties: each fit starts from the one before
and visits only columns that can enter.

References
----------
Friedman J, Hastie T, Tibshirani R (2010), J Stat Softw 33:1–22, doi:10.18637/jss.v033.i01. Tibshirani R et al. (2012),
J R Stat Soc B 74:245–266, doi:10.1111/j.1467-9868.2011.01004.x (which columns can enter).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit

from cohort.errors import NotEstimableError
from cohort.survival.types import Floats, Ints

_PENALTIES, _LOWEST = 40, 1e-3
"""Penalties tried, and the last one as a share of the first, under which no column enters."""
_PATIENCE = 3
"""Penalties in a row that predict worse than the best one and end the search."""
_CLOSE = 1e-13
_STILL = 1e-6
"""Sums of weighted squares, and coefficients, that move less than these stand still."""
_PASSES, _APPROXIMATIONS = 1000, 100
_FLAT = 1e-5
"""Fitted variances below this are taken for it."""


@dataclass(frozen=True, slots=True, eq=False)
class LassoFit:
    """Intercept and coefficients (p,) at the ``penalty`` chosen, for columns as they were given."""

    intercept: float
    slope: Floats
    penalty: float

    def predict(self, x: Any) -> Floats:
        """Return the fitted probabilities of some rows, (n,)."""
        chance: Floats = expit(self.intercept + x @ self.slope)
        return chance


def fit_lasso(x: Any, outcome: Floats, fold: Ints) -> LassoFit:
    """Fit the path in every fold's complement, choose the penalty of the smallest mean log-loss, and fit all rows.

    Parameters
    ----------
    x
        Columns of unit variance, dense or scipy sparse, shape (n, p); a model with an intercept needs no centring.
    outcome, fold
        0 or 1, and the fold of each row, shape (n,).

    Raises
    ------
    NotEstimableError
        ``not_converged``, or ``single_arm`` where a fold's complement lacks one.
    """
    thin = sparse.csr_matrix(x)
    penalties = path_of_penalties(thin, outcome)
    best = _best(thin, outcome, fold, penalties)
    intercept, slope = list(lasso_path(thin, outcome, penalties[: best + 1]))[-1]
    return LassoFit(intercept, slope, float(penalties[best]))


def _best(thin: Any, outcome: Floats, fold: Ints, penalties: Floats) -> int:
    """Return which penalty predicts held-out rows best; smaller ones are not tried once they do worse for a while."""
    held, paths = [np.flatnonzero(fold == k) for k in np.unique(fold)], []
    for rows in held:
        rest = np.setdiff1d(np.arange(len(outcome)), rows)
        if len({*outcome[rest]}) < 2:
            raise NotEstimableError("single_arm: the complement of a fold lacks one")
        paths.append(lasso_path(thin[rest], outcome[rest], penalties))
    losses: list[float] = []
    for fits in zip(*paths, strict=True):
        loss = 0.0
        for rows, (intercept, slope) in zip(held, fits, strict=True):
            eta = intercept + thin[rows] @ slope
            loss += float((np.logaddexp(0, eta) - outcome[rows] * eta).sum())
        losses.append(loss)
        if len(losses) - int(np.argmin(losses)) > _PATIENCE:
            break
    return int(np.argmin(losses))


def path_of_penalties(x: Any, outcome: Floats) -> Floats:
    """Return falling penalties, the first the smallest under which no column enters."""
    highest = float(np.abs(x.T @ (outcome - outcome.mean())).max()) / len(outcome)
    penalties: Floats = highest * np.geomspace(1, _LOWEST, _PENALTIES)
    return penalties


def lasso_path(x: Any, outcome: Floats, penalties: Floats) -> Iterator[tuple[float, Floats]]:
    """Give intercept and coefficients (p,) at one falling penalty after another."""
    thin = sparse.csc_matrix(x)
    mean = float(outcome.mean())
    intercept, slope, before = float(np.log(mean / (1 - mean))), np.zeros(thin.shape[1]), float(penalties[0])
    for penalty in penalties:
        intercept = _at(thin, outcome, intercept, slope, float(penalty), before)
        before = float(penalty)
        yield intercept, slope.copy()


def _at(thin: Any, outcome: Floats, intercept: float, slope: Floats, penalty: float, before: float) -> float:
    """Move ``slope`` to the minimum at a penalty and return the intercept there."""
    loops = import_module("cohort.effects.lasso_kernels")
    columns = thin.data, thin.indices, thin.indptr
    pull = loops.gradients(*columns, outcome - expit(intercept + thin @ slope))
    chosen: NDArray[np.bool_] = (slope != 0) | (np.abs(pull) >= 2 * penalty - before)
    for _ in range(_APPROXIMATIONS):
        chance = expit(intercept + thin @ slope)
        weight = np.maximum(chance * (1 - chance), _FLAT)
        residual, old = (outcome - chance) / weight, slope.copy()
        places = np.flatnonzero(chosen)
        moved = loops.descend(*columns, places, weight, residual, penalty, slope, _CLOSE, _PASSES)
        intercept += moved
        if max(abs(moved), float(np.abs(slope - old).max(initial=0.0))) < _STILL:
            pull = loops.gradients(*columns, outcome - expit(intercept + thin @ slope))
            missed = ~chosen & (np.abs(pull) > penalty * (1 + 1e-9))
            if not missed.any():
                return intercept
            chosen |= missed
    raise NotEstimableError("not_converged")
