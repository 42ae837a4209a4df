"""Two proportional-hazards likelihoods with a parametric baseline: pieces of constant hazard, and a spline.

References
----------
Holford TR (1980), doi:10.2307/2529982; Laird N, Olivier D (1981), doi:10.1080/01621459.1981.10477634 (pieces);
Royston P, Parmar MKB (2002), doi:10.1002/sim.1203 (the log cumulative hazard as a spline of log time).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cohort.survival.climbing import Slope
from cohort.survival.types import Floats


def poisson(events: Floats, person_time: Floats, x: Floats) -> Callable[[Floats], Slope | None]:
    """Return the log-likelihood ``sum(d eta - T exp(eta))`` of counts (n,) with eta = x theta, x (n, p)."""
    towards = events @ x

    def at(theta: Floats) -> Slope | None:
        with np.errstate(over="ignore", invalid="ignore"):
            expected = person_time * np.exp(x @ theta)
            value = float(towards @ theta - expected.sum())
            information = (x * expected[:, None]).T @ x
        if not (np.isfinite(value) and np.isfinite(information).all()):
            return None
        return Slope(theta, value, towards - expected @ x, information)

    return at


@dataclass(frozen=True, slots=True)
class Spline:
    """A natural cubic spline of log time; ``knots`` are ascending log times, the outer two the boundaries."""

    knots: Floats

    def basis(self, log_time: Floats) -> Floats:
        """Return 1, log time and one column per inner knot, shape (n, knots); linear beyond the boundaries."""
        return self._columns(log_time, lambda v: np.maximum(v, 0) ** 3, np.ones_like(log_time), log_time)

    def slope(self, log_time: Floats) -> Floats:
        """Return the derivative of the basis by log time, shape (n, knots)."""
        zero = np.zeros_like(log_time)
        return self._columns(log_time, lambda v: 3 * np.maximum(v, 0) ** 2, zero, zero + 1)

    def lowest_slope(self, gamma: Floats) -> float:
        """Return the least derivative of the spline by log time anywhere, exactly: it is a quadratic between knots."""
        left, right = self.knots[:-1], self.knots[1:]
        ends, middle = self.slope(self.knots) @ gamma, self.slope((left + right) / 2) @ gamma
        # through (0, a), (1/2, m), (1, b): 2 (a - 2 m + b) u² + (4 m - 3 a - b) u + a
        square, linear = 2 * (ends[:-1] - 2 * middle + ends[1:]), 4 * middle - 3 * ends[:-1] - ends[1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            at = -linear / (2 * square)
            turning = ends[:-1] - square * at * at
        inside = (square > 0) & (at > 0) & (at < 1)
        return float(min(ends.min(), turning[inside].min(initial=np.inf)))

    def _columns(self, at: Floats, power: Callable[[Floats], Floats], first: Floats, second: Floats) -> Floats:
        low, high = self.knots[0], self.knots[-1]
        columns = [first, second]
        for knot in self.knots[1:-1]:
            share = (high - knot) / (high - low)
            columns.append(power(at - knot) - share * power(at - low) - (1 - share) * power(at - high))
        return np.column_stack(columns)


def royston_parmar(
    time: Floats, event: Floats, entry: Floats, x: Floats, weight: Floats, spline: Spline
) -> Callable[[Floats], Slope | None]:
    """Return the log-likelihood of ``log H(t) = spline(log t) + x beta`` as a function of (gamma, beta).

    Arrays of shape (n,), times positive and entries 0 for none; ``x`` (n, p) without a constant.
    """
    log_time = np.log(time)
    design = np.hstack([spline.basis(log_time), x])
    rising = np.hstack([spline.slope(log_time), np.zeros_like(x)])[event > 0]
    late = entry > 0
    entering = np.hstack([spline.basis(np.log(entry[late])), x[late]])
    died, mass = event > 0, weight * event
    constant = -float(mass @ log_time)

    def at(theta: Floats) -> Slope | None:
        with np.errstate(over="ignore", invalid="ignore"):
            eta, slope = design @ theta, rising @ theta
            if not (slope > 0).all():  # a cumulative hazard that falls is none
                return None
            hazard, before = weight * np.exp(eta), weight[late] * np.exp(entering @ theta)
            value = float(mass @ eta + mass[died] @ np.log(slope) - hazard.sum() + before.sum()) + constant
            pull = rising / slope[:, None]
            score = (mass - hazard) @ design + mass[died] @ pull + before @ entering
            information = (design * hazard[:, None]).T @ design - (entering * before[:, None]).T @ entering
            information += (pull * mass[died][:, None]).T @ pull
        if not (np.isfinite(value) and np.isfinite(information).all()):
            return None
        return Slope(theta, value, score, information)

    return at
