"""Newton's method for the likelihoods of parametric models, and the search for directions in which they never end.

References
----------
Albert A, Anderson JA (1984), doi:10.1093/biomet/71.1.1 (separation); Burridge J (1981),
doi:10.1111/j.2517-6161.1981.tb01152.x (when a censored likelihood has one maximum).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from cohort.errors import NotEstimableError
from cohort.survival.cox_checks import dependent_columns, require_reach
from cohort.survival.cox_newton import invert
from cohort.survival.types import Floats

_CONVERGED = 1e-20  # squared Newton decrement per unit of weight, as for Cox models
_STALLED = 1e-12
_SUSPECT = 15  # Newton needs fewer steps where a maximum exists


@dataclass(frozen=True, slots=True)
class Slope:
    """A log-likelihood at ``theta`` (p,): its value, score (p,) and observed information (p, p)."""

    theta: Floats
    value: float
    score: Floats
    information: Floats


def climb(at: Callable[[Floats], Slope | None], start: Floats, suspect: Callable[[], None], weight: float) -> Slope:
    """Maximise a log-likelihood by Newton's method, damped where it is not concave, with step halving.

    ``at`` returns None where the likelihood is not finite; ``suspect`` is called when the steps become many, and
    raises if there is no maximum; ``weight`` is the number of observations.

    Raises
    ------
    NotEstimableError
        What ``suspect`` raises; ``overflow_at_start``, ``not_converged``.
    """
    here = at(start)
    if here is None:
        raise NotEstimableError("overflow_at_start")
    before = np.inf
    for steps in range(100):
        if steps == _SUSPECT:
            suspect()
        step, gain, concave = _step(here)
        if concave and (gain < _CONVERGED * max(1.0, weight) or (gain < _STALLED and gain > before / 4)):
            return at(here.theta + step) or here
        before = gain
        following = _uphill(at, here, step)
        if following is None:
            break
        here = following
    suspect()
    raise NotEstimableError("not_converged")


def _step(here: Slope) -> tuple[Floats, float, bool]:
    """Return the Newton step, its squared decrement, and whether the likelihood is concave there."""
    unit = 1 / np.sqrt(np.maximum(np.abs(np.diag(here.information)), np.finfo(np.float64).tiny))
    scaled, score = here.information * np.outer(unit, unit), here.score * unit
    damping = 0.0
    while True:
        try:
            factor = linalg.cho_factor(scaled + damping * np.eye(unit.size))
            break
        except linalg.LinAlgError:
            damping = max(1e-3, 4 * damping)
    solved = linalg.cho_solve(factor, score)
    return unit * solved, float(score @ solved), damping == 0


def _uphill(at: Callable[[Floats], Slope | None], here: Slope, step: Floats) -> Slope | None:
    for _ in range(40):
        there = at(here.theta + step)
        if there is not None and there.value >= here.value - 1e-13 * abs(here.value):
            return there
        step = step / 2
    return None


def covariance_of(best: Slope) -> Floats:
    """Return the inverse information at a maximum, (p, p)."""
    return invert(best.information)


def require_full_rank(x: Floats, weight: Floats, names: tuple[str, ...]) -> tuple[Floats, Floats]:
    """Return centre and spread of columns (n, p), refusing those that are constant or that others determine.

    Raises
    ------
    NotEstimableError
        ``overflow``, ``constant`` or ``collinear``, naming the columns.
    """
    if not len(x):
        raise NotEstimableError("no_events")
    with np.errstate(over="ignore", invalid="ignore"):
        centre = weight @ x / weight.sum()
        spread = np.abs(x - centre).max(axis=0)
    require_reach(names, spread)
    size = np.abs(x).max(axis=0, initial=0.0)
    if (flat := ~(spread > 1e-12 * size)).any():
        raise NotEstimableError("constant", tuple(names[j] for j in np.flatnonzero(flat)))
    z = (x - centre) / spread
    if z.shape[1]:
        gram = (z * weight[:, None]).T @ z
        unit = 1 / np.sqrt(np.diag(gram))
        if dependent := dependent_columns(gram * np.outer(unit, unit)):
            raise NotEstimableError("collinear", tuple(names[j] for j in dependent))
    return centre, spread


def require_bounded_by_events(z: Floats, held: Floats, freed: Floats, names: tuple[str, ...]) -> None:
    """Refuse covariates along which the censored can be moved out of reach while no event is.

    Parameters
    ----------
    z
        Covariates with a column of ones first, (n, p + 1).
    held, freed
        Masks (n,): rows known to have had the event at a time, and rows censored to one side (1 right, -1 left, 0).

    Raises
    ------
    NotEstimableError
        ``monotone_likelihood``, naming the columns of the direction.
    """
    fixed = np.unique(z[held > 0], axis=0)
    signed = np.unique(z[freed != 0] * freed[freed != 0][:, None], axis=0)
    if not len(signed):
        return
    solved = optimize.linprog(
        -signed.sum(axis=0), A_ub=-signed, b_ub=np.zeros(len(signed)),
        A_eq=fixed if len(fixed) else None, b_eq=np.zeros(len(fixed)) if len(fixed) else None,
        bounds=[(-1.0, 1.0)] * z.shape[1], method="highs",
    )  # fmt: skip
    if solved.success and -solved.fun > 1e-7:
        part = np.abs(solved.x[1:]) > 1e-6
        raise NotEstimableError("monotone_likelihood", tuple(names[j] for j in np.flatnonzero(part)))
