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


class Sums(Protocol):
    """Whatever can add up rows: those in memory, or those of many buckets."""

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the events' sum of w eta."""

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot, shape (p, 2 (K + 1)), and the sum of v z z', shape (p, p)."""

    def events(self) -> Floats:
        """Return the sum of w z over events, shape (p,)."""


@dataclass(frozen=True, slots=True)
class Ridge:
    """A penalty on scaled coefficients, ``sum(curvature theta²) / 2``; all zeros is none. Shape (p,)."""

    curvature: Floats


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
        terms = np.zeros((5, count))
        logs = kernels().tie_terms(at_risk, dying, self.cells.deaths, self.cells.weight, self.ties == "efron", terms)
        value = events - logs
        return (value if np.isfinite(value) and np.isfinite(terms).all() else -np.inf), terms, at_risk, dying

    def at(self, theta: Floats) -> Point | None:
        """Return the likelihood with its derivatives, or None where it overflows."""
        value, terms, at_risk, dying = self.value(theta)
        if value == -np.inf:
            return None
        return self._derive(theta, value, terms, at_risk, dying)

    def _derive(self, theta: Floats, value: float, terms: Floats, at_risk: Floats, dying: Floats) -> Point:
        count = self.cells.time.size
        a, b, a2, b2, c2 = terms
        hazard = np.zeros(count + 1)
        hazard[:count] = a
        kernels().forward_sums(hazard[None, :count], self.cells.head)
        table, second = self.sums.moments(hazard, np.append(b, 0.0))
        d1 = table[:, count + 1 : 2 * count + 1]
        s1 = table[:, :count] + d1
        kernels().reversed_sums(s1, self.cells.head)
        cross = (s1 * b2) @ d1.T
        spread = (s1 * a2) @ s1.T - cross - cross.T + (d1 * c2) @ d1.T
        score = self.event_sum - (s1 @ a - d1 @ b)
        return Point(theta, value, score, second - spread, second, terms, at_risk, dying, s1, d1)


def maximise(
    likelihood: PartialLikelihood,
    ridge: Ridge,
    check: Callable[[Point], None],
    suspect: Callable[[Point], None],
    limit: int = 60,
) -> Optimum:
    """Maximise from 0 by Newton's method with step halving.

    ``check`` is called at the start and raises if the information cannot be inverted; ``suspect`` when the steps
    become many, and raises if the likelihood has no maximum.

    Raises
    ------
    NotEstimableError
        What the two checks raise, or ``not_converged``.
    """
    null = point = _require(likelihood.at(np.zeros(ridge.curvature.size)))
    check(point)
    before = np.inf
    for steps in range(limit):
        step = newton_step(point, ridge)
        if step is None:
            break
        gain = float(step @ (point.score - ridge.curvature * point.theta))
        if steps == _SUSPECT:
            suspect(point)
        if gain < _CONVERGED or (gain < _STALLED and gain > before / 4):
            return Optimum(null, point, point.theta + step, steps)
        before = gain
        following = _uphill(likelihood, ridge, point, step)
        if following is None:
            break
        point = following
    suspect(point)
    raise NotEstimableError("not_converged")


def newton_step(point: Point, ridge: Ridge) -> Floats | None:
    """Solve the information, scaled to a unit diagonal, for the score; None if it is not positive definite."""
    matrix = point.information + np.diag(ridge.curvature)
    diagonal = np.diag(matrix)
    if not (diagonal > 0).all():
        return None
    unit = 1.0 / np.sqrt(diagonal)
    try:
        factor = linalg.cho_factor(matrix * np.outer(unit, unit))
    except linalg.LinAlgError:
        return None
    solved: Floats = linalg.cho_solve(factor, unit * (point.score - ridge.curvature * point.theta)) * unit
    return solved


def invert(information: Floats) -> Floats:
    """Invert a positive definite matrix through its unit-diagonal form."""
    unit = 1.0 / np.sqrt(np.diag(information))
    inverse = linalg.cho_solve(linalg.cho_factor(information * np.outer(unit, unit)), np.eye(unit.size)) * np.outer(
        unit, unit
    )
    symmetric: Floats = (inverse + inverse.T) / 2
    return symmetric


def _uphill(likelihood: PartialLikelihood, ridge: Ridge, point: Point, step: Floats) -> Point | None:
    """Go along the step, halved until the penalised likelihood does not fall by more than its rounding."""
    floor = point.log_likelihood - ridge.curvature @ point.theta**2 / 2
    floor -= 1e-11 * abs(floor)
    for _ in range(30):
        theta = point.theta + step
        value, terms, at_risk, dying = likelihood.value(theta)
        if value - ridge.curvature @ theta**2 / 2 >= floor:
            return likelihood._derive(theta, value, terms, at_risk, dying)
        step = step / 2
    return None


def _require(point: Point | None) -> Point:
    if point is None:
        raise NotEstimableError("overflow_at_start")
    return point
