"""The partial likelihood from sums by cell, and Newton's method on it.

With S0, S1 the sums of ``r`` and ``r z`` over those at risk in a cell and D0, D1 over its events, and the tie terms
a, b, a2, b2, c2 (see :func:`cohort.survival.cox_kernels.tie_terms`):

    score        = sum over events of w z - sum over cells of (a S1 - b D1)
    information  = sum over rows of v z z' - sum over cells of (a2 S1 S1' - b2 (S1 D1' + D1 S1') + c2 D1 D1')

where ``v = r (A(stop) - A(start) - b)`` needs only the cumulative sums A of a. Nothing is sorted by row.

References
----------
Cox DR (1972), doi:10.1111/j.2517-6161.1972.tb00899.x; Efron B (1977), doi:10.1080/01621459.1977.10480613.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from cohort.errors import NotEstimableError
from cohort.survival.cox_risk import RiskSets
from cohort.survival.cox_sums import kernels

Floats = NDArray[np.float64]
Ties = Literal["efron", "breslow"]

_CONVERGED = 1e-20  # squared Newton decrement: within 1e-10 standard errors before the last step is added
_STALLED = 1e-12  # below this, a decrement that no longer falls is rounding
_SUSPECT = 10  # Newton needs 4 to 8 steps where a maximum exists
_EXHAUSTED = 1e-6  # share of the information at the start


class Sums(Protocol):
    """Whatever can add up rows: those in memory, or those of many buckets."""

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the events' sum of w eta."""

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot, shape (p, 2 (K + 1)), and the sum of v z z', shape (p, p)."""


@dataclass(frozen=True, slots=True)
class Penalty:
    """What is taken from the log-likelihood: ``sum(ridge b² / 2 + lasso |b|)`` over coefficients b; shapes (p,)."""

    ridge: Floats
    lasso: Floats

    @classmethod
    def none(cls, size: int) -> Penalty:
        """Return a penalty of nothing."""
        return cls(np.zeros(size), np.zeros(size))

    def __bool__(self) -> bool:
        """Return whether anything is penalised."""
        return bool(self.ridge.any() or self.lasso.any())

    def over(self, scale: Floats) -> Penalty:
        """Return the penalty on coefficients that are ``scale`` times as large."""
        return Penalty(self.ridge / scale / scale, self.lasso / scale)

    def of(self, theta: Floats) -> float:
        """Return the penalty at ``theta``."""
        return float(self.ridge @ theta**2 / 2 + self.lasso @ np.abs(theta))

    def bread(self, optimum: Optimum) -> Floats:
        """Return the inverse of the penalised information; lassoed coefficients of 0 have no variance (NaN)."""
        if not self.ridge.size:
            return np.empty((0, 0))
        free = ~((self.lasso > 0) & (optimum.theta == 0))
        inverse = np.full(optimum.point.information.shape, np.nan)
        matrix = optimum.point.information + np.diag(self.ridge)
        inverse[np.ix_(free, free)] = invert(matrix[np.ix_(free, free)])
        return inverse


@dataclass(frozen=True, slots=True)
class Point:
    """The partial likelihood at ``theta`` (p,): its value, score (p,) and information (p, p), and what it is made of.

    ``ties`` holds a, b, a2, b2, c2 by cell, (5, K); ``at_risk`` and ``dying`` are S0 and D0, (K,); ``mean_risk`` and
    ``mean_dying`` are S1 and D1, (p, K); ``second`` is the sum of v z z', (p, p).
    """

    theta: Floats
    log_likelihood: float
    score: Floats
    information: Floats
    second: Floats
    ties: Floats
    at_risk: Floats
    dying: Floats
    mean_risk: Floats
    mean_dying: Floats


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where Newton's method started (``null``) and ended (``point``), and in how many steps."""

    null: Point
    point: Point
    theta: Floats
    steps: int

    @property
    def score_test(self) -> float:
        """Return the score statistic of "no covariate matters", chi-squared on p degrees of freedom."""
        return float(self.null.score @ invert(self.null.information) @ self.null.score)


class Likelihood(Protocol):
    """What Newton's method asks of a likelihood."""

    @property
    def cells(self) -> RiskSets:
        """Return the event times."""

    def value(self, theta: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Return the log-likelihood (-inf where it overflows), the tie terms, S0 and D0."""

    def at(self, theta: Floats) -> Point | None:
        """Return the likelihood with its derivatives, or None where it overflows."""

    def derive(self, theta: Floats, value: float, terms: Floats, at_risk: Floats, dying: Floats) -> Point:
        """Return the likelihood with its derivatives, given what :meth:`value` returned at ``theta``."""


@dataclass(frozen=True, slots=True)
class PartialLikelihood:
    """The partial likelihood of rows that ``sums`` adds up, with tied events after Efron or Breslow."""

    sums: Sums
    cells: RiskSets
    ties: Ties
    event_sum: Floats

    def value(self, theta: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Return the log-likelihood (-inf where it overflows), the tie terms, S0 and D0."""
        count = self.cells.time.size
        table, events = self.sums.risk(theta)
        dying = table[count + 1 : 2 * count + 1]
        at_risk = table[:count] + dying
        kernels().reversed_sums(at_risk[None, :], self.cells.head)
        return *tied_terms(events, at_risk, dying, self.cells, self.ties), at_risk, dying

    def at(self, theta: Floats) -> Point | None:
        """Return the likelihood with its derivatives, or None where it overflows."""
        value, terms, at_risk, dying = self.value(theta)
        if value == -np.inf:
            return None
        return self.derive(theta, value, terms, at_risk, dying)

    def derive(self, theta: Floats, value: float, terms: Floats, at_risk: Floats, dying: Floats) -> Point:
        """Return the likelihood with its derivatives, given what :meth:`value` returned at ``theta``."""
        count = self.cells.time.size
        hazard = np.append(terms[0], 0.0)
        kernels().forward_sums(hazard[None, :count], self.cells.head)
        table, second = self.sums.moments(hazard, np.append(terms[1], 0.0))
        d1 = table[:, count + 1 : 2 * count + 1]
        s1 = table[:, :count] + d1
        kernels().reversed_sums(s1, self.cells.head)
        tables = (at_risk, dying, s1, d1)
        return assemble(theta, value, terms, tables, second=second, event_sum=self.event_sum)


def tied_terms(events: float, at_risk: Floats, dying: Floats, cells: RiskSets, ties: Ties) -> tuple[float, Floats]:
    """Return the log-likelihood and the terms a, b, a2, b2, c2 (5, K) from the events' sum of w eta, S0 and D0."""
    terms = np.zeros((5, at_risk.size))
    value = events - kernels().tie_terms(at_risk, dying, cells.deaths, cells.weight, ties == "efron", terms)
    return (value if np.isfinite(value) and np.isfinite(terms).all() else -np.inf), terms


def assemble(
    theta: Floats,
    value: float,
    terms: Floats,
    tables: tuple[Floats, Floats, Floats, Floats],
    *,
    second: Floats,
    event_sum: Floats,
) -> Point:
    """Put score and information together from the tie terms, ``tables`` (S0, D0, S1, D1) and the sum of v z z'."""
    a, b, a2, b2, c2 = terms
    at_risk, dying, s1, d1 = tables
    cross = (s1 * b2) @ d1.T
    spread = (s1 * a2) @ s1.T - cross - cross.T + (d1 * c2) @ d1.T
    score = event_sum - (s1 @ a - d1 @ b)
    return Point(theta, value, score, second - spread, second, terms, at_risk, dying, s1, d1)


def maximise(
    likelihood: Likelihood,
    penalty: Penalty,
    check: Callable[[Point], None],
    suspect: Callable[[Point], None],
    limit: int = 100,
) -> Optimum:
    """Maximise from 0 by Newton's method with step halving.

    ``check`` is called at the start and raises if the information cannot be inverted; ``suspect`` when the steps
    become many or little of a column's information is left, and raises if the likelihood has no maximum.

    Raises
    ------
    NotEstimableError
        What the two checks raise, or ``not_converged``.
    """
    null = point = _require(likelihood.at(np.zeros(penalty.ridge.size)))
    if not penalty.ridge.size:
        return Optimum(null, null, null.theta, 0)
    check(point)
    close = _CONVERGED * max(1.0, float(likelihood.cells.weight.sum()))
    before = np.inf
    for steps in range(limit):
        step = newton_step(point, penalty)
        if step is None:
            break
        gain = float(step @ (point.information + np.diag(penalty.ridge)) @ step)
        if steps == _SUSPECT:
            suspect(point)
        if gain < close or (gain < _STALLED and gain > before / 4):
            if (np.diag(point.information) < _EXHAUSTED * np.diag(null.information)).any():
                suspect(point)  # one step may lead to where the likelihood is flat
            return Optimum(null, point, point.theta + step, steps)
        before = gain
        following = _uphill(likelihood, penalty, point, step)
        if following is None:
            break
        point = following
    suspect(point)
    raise NotEstimableError("not_converged")


def newton_step(point: Point, penalty: Penalty) -> Floats | None:
    """Solve the information, scaled to a unit diagonal, for the score; None if it is not positive definite."""
    matrix = point.information + np.diag(penalty.ridge)
    diagonal = np.diag(matrix)
    if not (diagonal > 0).all():
        return None
    score = point.score - penalty.ridge * point.theta
    if penalty.lasso.any():
        return lasso_step(matrix, score, penalty.lasso, point.theta)
    unit = 1.0 / np.sqrt(diagonal)
    try:
        factor = linalg.cho_factor(matrix * np.outer(unit, unit))
    except linalg.LinAlgError:
        return None
    solved: Floats = linalg.cho_solve(factor, unit * score) * unit
    return solved


def lasso_step(matrix: Floats, score: Floats, lasso: Floats, theta: Floats, sweeps: int = 10_000) -> Floats:
    """Maximise ``score's - s'matrix s / 2 - sum(lasso |theta + s|)`` over steps s by coordinate ascent, shape (p,).

    References
    ----------
    Simon N, Friedman J, Hastie T, Tibshirani R (2011), doi:10.18637/jss.v039.i05.
    """
    step = np.zeros_like(theta)
    rest = score.copy()  # score - matrix @ step, kept up to date
    for _ in range(sweeps):
        moved = 0.0
        for j, curvature in enumerate(np.diag(matrix)):
            pull = rest[j] + curvature * (theta[j] + step[j])
            target = np.sign(pull) * max(abs(pull) - lasso[j], 0.0) / curvature
            change = target - theta[j] - step[j]
            if change:
                # an exact 0 must stay exact: theta + step is what is reported
                step[j] = target - theta[j]
                rest -= change * matrix[:, j]
                moved = max(moved, change * change * curvature)
        if moved < 1e-26:
            break
    return step


def invert(information: Floats) -> Floats:
    """Invert a positive definite matrix through its unit-diagonal form."""
    unit = 1.0 / np.sqrt(np.diag(information))
    inverse = linalg.cho_solve(linalg.cho_factor(information * np.outer(unit, unit)), np.eye(unit.size)) * np.outer(
        unit, unit
    )
    symmetric: Floats = (inverse + inverse.T) / 2
    return symmetric


def _uphill(likelihood: Likelihood, penalty: Penalty, point: Point, step: Floats) -> Point | None:
    """Go along the step, halved until the penalised likelihood does not fall by more than its rounding."""
    floor = point.log_likelihood - penalty.of(point.theta)
    floor -= 1e-11 * abs(floor)
    for _ in range(30):
        theta = point.theta + step
        value, *made_of = likelihood.value(theta)
        if value - penalty.of(theta) >= floor:
            return likelihood.derive(theta, value, *made_of)
        step = step / 2
    return None


def _require(point: Point | None) -> Point:
    if point is None:
        raise NotEstimableError("overflow_at_start")
    return point
