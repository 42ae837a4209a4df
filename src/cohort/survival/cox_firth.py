"""Firth's penalised partial likelihood: finite coefficients where the likelihood itself has no maximum.

Half the log-determinant of the information is added to the log partial likelihood. With z the covariates, m their
mean over the risk set of an event, V the inverse information and ``q = z'Vz``, the score gains half of

    sum over events of E[q z] - 2 E[z z'] V m - E[q] m + 2 (m'Vm) m,

where E is the mean over the risk set, thinned for ties after Efron. All but the last summand are sums over rows, with
the same running sums by cell as a score residual, so that a step stays linear in rows and events.

References
----------
Firth D (1993), doi:10.1093/biomet/80.1.27; Heinze G, Schemper M (2001), doi:10.1111/j.0006-341X.2001.00114.x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

from cohort.errors import NotEstimableError
from cohort.survival.cox_newton import Optimum, PartialLikelihood, Point, invert
from cohort.survival.cox_risk import RiskSets
from cohort.survival.cox_sums import RowSums, score_tables

Floats = NDArray[np.float64]

_CONVERGED = 1e-22  # squared length of a step in standard errors
_STALLED = 1e-14  # below this, a length that no longer falls is rounding
_NEAR = 0.1  # squared length below which the score is close to linear
_STEPS = 200
_STRIP = 1 << 15  # rows whose covariates are held at once
_LOST = 30.0  # log hazard ratio of a column's extreme to its mean from which sums of risks have lost their digits
_FAR = 60.0  # standard errors within which a profile limit is looked for; beyond, it is infinite


@dataclass(frozen=True, slots=True)
class FirthProfile:
    """What a penalised fit knows beyond its maximum: values with the penalty, and profile limits.

    ``log_likelihood_null`` and ``log_likelihood`` include the penalty, of the information in the covariates' units.
    ``lower`` and ``upper`` (p,) bound the coefficients; ``statistic`` (p,) tests each against 0, chi-squared on 1.
    """

    log_likelihood_null: float
    log_likelihood: float
    lower: Floats
    upper: Floats
    statistic: Floats

    def signed_root(self, coef: Floats) -> Floats:
        """Return the statistics on the scale of a normal deviate, with the sign of the coefficient, shape (p,)."""
        root: Floats = np.sign(coef) * np.sqrt(self.statistic)
        return root


@dataclass(frozen=True, slots=True)
class _Penalised:
    """The penalised likelihood at a point: its value, score (p,), and the inverse information (p, p)."""

    point: Point
    value: float
    score: Floats
    inverse: Floats


@dataclass(frozen=True, slots=True)
class FirthLikelihood:
    """A partial likelihood of rows in memory with half the log-determinant of its information added."""

    likelihood: PartialLikelihood
    sums: RowSums
    names: tuple[str, ...]

    def at(self, theta: Floats) -> _Penalised | None:
        """Return the penalised likelihood, or None where it overflows or the information vanishes."""
        point = self.likelihood.at(theta)
        if point is None or not (np.diag(point.information) > 0).all():
            return None
        try:
            inverse = invert(point.information)
        except linalg.LinAlgError:
            return None
        value = point.log_likelihood + float(np.linalg.slogdet(point.information)[1]) / 2
        pull = self._pull_of_rows(point, inverse) + _pull_of_means(point, self.likelihood.cells, inverse, self._efron)
        return _Penalised(point, value, point.score + pull / 2, inverse)

    @property
    def _efron(self) -> bool:
        return self.likelihood.ties == "efron"

    def _pull_of_rows(self, point: Point, inverse: Floats) -> Floats:
        """Return the sum over events of ``E[q z] - 2 E[z z'] V m - E[q] m`` as a sum over rows, shape (p,)."""
        rows, total = self.sums.rows, np.zeros(point.theta.size)
        hazard, tied, _, drift, tied_drift = score_tables(point, rows.cells)
        stop, start, event = rows.cells.stop, rows.cells.start, rows.cells.event
        for first in range(0, rows.shape[0], _STRIP):
            own = slice(first, first + _STRIP)
            z = ((rows.x[own] - rows.centre) / rows.scale).T
            expected = hazard[stop[own]] - event[own] * tied[stop[own]]
            means = drift[:, stop[own]] - event[own] * tied_drift[:, stop[own]]
            if start.size:
                expected -= hazard[start[own]]
                means -= drift[:, start[own]]
            risk = self.sums.risk_of_row[own]
            pulled = inverse @ z
            q = np.einsum("ij,ij->j", z, pulled)
            along = np.einsum("ij,ij->j", pulled, means)
            total += z @ (risk * (q * expected - 2 * along)) - means @ (risk * q)
        return total


def _pull_of_means(point: Point, cells: RiskSets, inverse: Floats, efron: bool) -> Floats:
    """Return the sum over events of ``2 (m'Vm) m``, shape (p,); the l-th of d tied events thins them by l / d."""
    deaths = cells.deaths if efron else np.ones_like(cells.deaths)
    cell = np.repeat(np.arange(deaths.size), deaths)
    step = np.arange(cell.size) - np.repeat(np.cumsum(deaths) - deaths, deaths)
    thinned = step / deaths[cell]
    mean = (point.mean_risk[:, cell] - thinned * point.mean_dying[:, cell]) / (
        point.at_risk[cell] - thinned * point.dying[cell]
    )
    square = np.einsum("ij,ij->j", mean, inverse @ mean)
    pull: Floats = 2 * mean @ (square * (cells.weight / deaths)[cell])
    return pull


def maximise_firth(
    likelihood: FirthLikelihood, scale: Floats, check: Callable[[Point], None], level: float
) -> tuple[Optimum, FirthProfile]:
    """Maximise the penalised likelihood, and bound each coefficient by its profile.

    ``scale`` (p,) turns scaled coefficients into those of the covariates; ``check`` is called at the start and raises
    if the information cannot be inverted.

    Raises
    ------
    NotEstimableError
        What ``check`` raises; ``overflow_at_start``; ``not_converged``; ``beyond_precision``, which names the columns
        that order the events so well that hazard ratios leave what sums of float64 can tell apart.
    """
    size = scale.size
    start = likelihood.likelihood.at(np.zeros(size))
    if start is None:
        raise NotEstimableError("overflow_at_start")
    check(start)
    every = np.ones(size, dtype=bool)
    null = _require(likelihood.at(start.theta))
    best, steps = _climb(likelihood, null, every)
    best = _require(likelihood.at(best.point.theta))  # the sums keep the rows' risk of the last point asked for
    reach = float(stats.chi2.isf(1 - level, 1))
    limits = [[_limit(likelihood, best, j, side, reach) for side in (-1, 1)] for j in range(size)]
    statistic = np.array([2 * (best.value - _held_at_zero(likelihood, null, j).value) for j in range(size)])
    best = _require(likelihood.at(best.point.theta))
    lower, upper = np.array(limits).reshape(-1, 2).T / scale
    units = float(np.log(scale).sum())  # of the information in the covariates' own units
    profile = FirthProfile(null.value + units, best.value + units, lower, upper, np.maximum(statistic, 0.0))
    return Optimum(null.point, best.point, best.point.theta, steps), profile


def _climb(likelihood: FirthLikelihood, here: _Penalised, free: NDArray[np.bool_]) -> tuple[_Penalised, int]:
    """Maximise over the coefficients marked ``free`` (p,) from a point, the others held; return how many steps.

    The information stands in for the second derivative of the penalised likelihood, as in Heinze and Schemper; near
    the maximum it is corrected by the change of the score over each step (BFGS), or convergence would be linear.
    """
    if not free.any():
        return here, 0
    before, curvature = np.inf, _inverse(here, free)
    for steps in range(_STEPS):
        score = here.score[free]
        step = curvature @ score
        length = float(step @ score)
        if length < _CONVERGED or (length < _STALLED and length > before / 4):
            return here, steps
        before = length
        following = _uphill(likelihood, here, _spread(step, free))
        if following is None:
            return (here, steps) if length < _STALLED else _give_up(likelihood, here)
        moved, bent = (following.point.theta - here.point.theta)[free], score - following.score[free]
        near = length < _NEAR and moved @ bent > 0
        curvature = _updated(curvature, moved, bent) if near else _inverse(following, free)
        here = following
    return _give_up(likelihood, here)


def _inverse(here: _Penalised, free: NDArray[np.bool_]) -> Floats:
    return invert(here.point.information[np.ix_(free, free)])


def _updated(inverse: Floats, moved: Floats, bent: Floats) -> Floats:
    """Return the inverse second derivative made to agree with a step and the score's change over it (BFGS)."""
    ratio = 1 / float(moved @ bent)
    turn = np.eye(moved.size) - ratio * np.outer(moved, bent)
    updated: Floats = turn @ inverse @ turn.T + ratio * np.outer(moved, moved)
    return updated


def _spread(step: Floats, free: NDArray[np.bool_]) -> Floats:
    whole = np.zeros(free.size)
    whole[free] = step
    return whole


def _uphill(likelihood: FirthLikelihood, here: _Penalised, step: Floats) -> _Penalised | None:
    """Go along a step, halved until the value does not fall by more than rounding.

    No coefficient moves by more than 5 and what the largest already is: far from the maximum steps overshoot.
    """
    step = step / max(1.0, float(np.abs(step).max()) / (5 + float(np.abs(here.point.theta).max())))
    for _ in range(40):
        there = likelihood.at(here.point.theta + step)
        if there is not None and there.value >= here.value - 1e-12 * abs(here.value):
            return there
        step = step / 2
    return None


def _held_at_zero(likelihood: FirthLikelihood, null: _Penalised, column: int) -> _Penalised:
    """Return the maximum with one coefficient 0, the penalty still that of the whole model."""
    free = np.arange(null.score.size) != column
    return _climb(likelihood, null, free)[0]


def _limit(likelihood: FirthLikelihood, best: _Penalised, column: int, side: int, reach: float) -> float:
    """Return where the profile of one coefficient has fallen by ``reach / 2``, on one side of the maximum.

    The signed root of the fall is nearly a straight line, so Newton's method is applied to it: its slope is the
    penalised score divided by the root. A step that leaves the bracket found so far halves it instead.
    """
    target, spread = float(np.sqrt(reach)), float(np.sqrt(best.inverse[column, column]))
    centre = float(best.point.theta[column])
    free = np.arange(best.score.size) != column
    inside, outside = 0.0, np.inf
    away, here = target * spread, best
    for _ in range(60):
        there = _profile(likelihood, here, column, centre + side * away, free)
        if there is None:
            outside, away = away, (inside + away) / 2
            continue
        here = there
        root = float(np.sqrt(max(2 * (best.value - here.value), 0.0)))
        slope = -side * float(here.score[column]) / root if root > 0 else 1 / spread
        if root < target:
            inside = away
        else:
            outside = away
        following = away + (target - root) / slope if slope > 0 else np.inf
        if abs(following - away) < 1e-10 * spread:
            return centre + side * following
        if not inside < following < outside:
            following = (inside + outside) / 2 if np.isfinite(outside) else 2 * away
        if following > _FAR * spread * max(1.0, target) and not np.isfinite(outside):
            return side * np.inf
        away = following
    return side * np.inf if not np.isfinite(outside) else centre + side * away


def _profile(
    likelihood: FirthLikelihood, near: _Penalised, column: int, value: float, free: NDArray[np.bool_]
) -> _Penalised | None:
    """Return the maximum with one coefficient held, or None where the likelihood overflows on the way."""
    theta = near.point.theta.copy()
    theta[free] -= near.inverse[free, column] / near.inverse[column, column] * (theta[column] - value)
    theta[column] = value
    start = likelihood.at(theta)
    return None if start is None else _climb(likelihood, start, free)[0]


def _require(found: _Penalised | None) -> _Penalised:
    if found is None:
        raise NotEstimableError("overflow_at_start")
    return found


def _give_up(likelihood: FirthLikelihood, here: _Penalised) -> NoReturn:
    lost = np.flatnonzero(np.abs(here.point.theta) > _LOST)
    if lost.size:
        raise NotEstimableError("beyond_precision", tuple(likelihood.names[j] for j in lost))
    raise NotEstimableError("not_converged")
