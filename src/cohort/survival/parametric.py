"""Parametric survival models: accelerated failure times, a spline, pieces of constant hazard; censored in any way.

Rows that agree in every column a model reads are one row with a count: days are integers, so that millions of persons
are a few thousand rows, and the likelihood is exactly the same. The maxima are found by Newton's method on exact
derivatives; lifelines' fitters stop at three to five digits on the same likelihoods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import stats

from cohort.errors import StudyError
from cohort.survival.climbing import Slope, covariance_of
from cohort.survival.design import Design, design_matrix
from cohort.survival.generalised_gamma import error_of
from cohort.survival.location_scale import ERRORS
from cohort.survival.types import Floats

Family = Literal["weibull", "exponential", "log_normal", "log_logistic", "generalised_gamma"]
SHAPES: dict[Family, tuple[str, ...]] = {
    "weibull": ("log(scale)",),
    "exponential": (),
    "log_normal": ("log(scale)",),
    "log_logistic": ("log(scale)",),
    "generalised_gamma": ("log(scale)", "shape"),
}
"""Parameters of each family besides the coefficients."""
LogHazard = Callable[[Floats, Floats, Floats], Floats]
"""(theta, covariates (n, p), times (m,)) → log cumulative hazard, shape (m, n)."""


@dataclass(frozen=True, slots=True)
class ParametricFit:
    """A fitted parametric model; arrays have one entry per parameter, ``covariance`` is (p, p).

    ``n`` counts the rows used, ``n_rows`` the distinct ones the likelihood was computed from; ``n_exact`` those with
    an event at a known time.
    """

    parameters: tuple[str, ...]
    coef: Floats
    std_error: Floats
    covariance: Floats
    log_likelihood: float
    n: int
    n_exact: int
    n_rows: int
    n_missing: int
    level: float
    method: str
    design: Design
    log_hazard: LogHazard

    @property
    def aic(self) -> float:
        """Return Akaike's criterion, 2 p - 2 log-likelihood."""
        return 2 * len(self.parameters) - 2 * self.log_likelihood

    def to_polars(self) -> pl.DataFrame:
        """Return one row per parameter: parameter, coef, std_error, lower, upper, z, p_value."""
        reach = stats.norm.isf((1 - self.level) / 2) * self.std_error
        z = self.coef / self.std_error
        columns = {
            "coef": self.coef,
            "std_error": self.std_error,
            "lower": self.coef - reach,
            "upper": self.coef + reach,
            "z": z,
            "p_value": 2 * stats.norm.sf(np.abs(z)),
        }
        return pl.DataFrame({"parameter": list(self.parameters), **columns})

    def survival(self, frame: Any, times: Sequence[float]) -> pl.DataFrame:
        """Return predicted survival of each row of a frame at ``times``, with limits on the log(-log) scale.

        Columns ``row, time, estimate, lower, upper``; at time 0 everybody is alive.
        """
        x = design_matrix(frame, self.design.terms, levels=self.design.levels).matrix
        at = np.asarray(times, dtype=float)
        value = self.log_hazard(self.coef, x, at)
        spread = np.sqrt(np.maximum(self._variance(x, at), 0.0))
        reach = stats.norm.isf((1 - self.level) / 2) * spread
        with np.errstate(over="ignore"):
            bounds = {"estimate": value, "lower": value + reach, "upper": value - reach}
            shown = {name: np.exp(-np.exp(log_hazard)).T.ravel() for name, log_hazard in bounds.items()}
        rows = np.repeat(np.arange(len(x)), at.size)
        return pl.DataFrame({"row": rows, "time": np.tile(at, len(x)), **shown})

    def _variance(self, x: Floats, times: Floats) -> Floats:
        """Return the variance of the log cumulative hazard by the delta method, central differences, (m, n)."""
        slopes = []
        for j, spread in enumerate(self.std_error):
            step = np.zeros_like(self.coef)
            step[j] = 1e-5 * spread
            up, down = (self.log_hazard(self.coef + side * step, x, times) for side in (1, -1))
            with np.errstate(invalid="ignore"):
                slopes.append(np.where(np.isfinite(up), (up - down) / (2e-5 * spread), 0.0))
        stacked = np.stack(slopes)
        variance: Floats = np.einsum("imn,ij,jmn->mn", stacked, self.covariance, stacked)
        return variance


def log_hazard_of_family(theta: Floats, x: Floats, times: Floats, *, family: Family) -> Floats:
    """Return the log cumulative hazard of an accelerated failure time; theta = (intercept, beta, shapes)."""
    own = len(SHAPES[family])
    beta, shape = theta[: theta.size - own], theta[theta.size - own :]
    scale = float(np.exp(shape[0])) if own else 1.0
    error = error_of(float(shape[1])) if own == 2 else ERRORS[family]
    with np.errstate(divide="ignore", over="ignore"):
        z = (np.log(times)[:, None] - beta[0] - x @ beta[1:]) / scale
        value: Floats = np.log(-error.survival(z))
    return value


def finished(
    best: Slope,
    move: Floats,
    parameters: tuple[str, ...],
    log_hazard: LogHazard,
    design: Design,
    **described: Any,
) -> ParametricFit:
    """Return a fit; ``move`` (p, p) turns parameters for centred and scaled columns into those of the columns."""
    covariance = move @ covariance_of(best) @ move.T
    return ParametricFit(
        parameters=parameters,
        coef=move @ best.theta,
        std_error=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        log_likelihood=best.value,
        design=design,
        log_hazard=log_hazard,
        **described,
    )


def uncentred(centre: Floats, spread: Floats, before: int, after: int, intercepts: Sequence[int]) -> Floats:
    """Return the matrix from parameters of ``(x - centre) / spread`` to those of x.

    ``before`` and ``after`` count the parameters around the p of x; ``intercepts`` are those that take up the shift.
    """
    size = before + centre.size + after
    move = np.eye(size)
    own = slice(before, before + centre.size)
    move[own, own] = np.diag(1 / spread)
    for k in intercepts:
        move[k, own] = -centre / spread
    return move


def require_options(level: float, model: str, known: Sequence[str]) -> None:
    """Refuse a level outside (0, 1) and a model that does not exist."""
    if not 0 < level < 1:
        raise StudyError("level must lie between 0 and 1")
    if model not in known:
        raise StudyError(f"model must be one of {', '.join(known)}")


def family_hazard(family: Family) -> LogHazard:
    """Return the log cumulative hazard of one family, as a function that can be pickled."""
    return partial(log_hazard_of_family, family=family)
