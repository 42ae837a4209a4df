"""Is there a maximum? Constant and collinear columns, and directions in which the likelihood rises for ever.

The partial likelihood is monotone along a direction u exactly if every event has the largest ``u'z`` of its risk
set. Such a u solves a linear programme with one constraint for every pair (event, person at risk); only the
constraints that a candidate u violates are ever written down.

References
----------
Albert A, Anderson JA (1984), doi:10.1093/biomet/71.1.1;
Bryson MC, Johnson ME (1981), doi:10.1080/00401706.1981.10487683.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from cohort.errors import NotEstimableError
from cohort.survival.cox_newton import Penalty, Point
from cohort.survival.cox_sums import Rows, kernels

Floats = NDArray[np.float64]

_DEPENDENT = 1e-11  # share of a column's information that must be its own; R's coxph stops at 1.8e-12
_TOLERANCE = 1e-7  # HiGHS' own feasibility tolerance
_ROUNDS = 60


def require_reach(names: tuple[str, ...], scale: Floats) -> None:
    """Refuse columns whose values lie farther apart than float64 can say; ``scale`` (p,) is each one's reach.

    Raises
    ------
    NotEstimableError
        ``overflow``, naming the columns.
    """
    if unbounded := tuple(str(name) for name, reach in zip(names, scale, strict=True) if not np.isfinite(reach)):
        raise NotEstimableError("overflow", unbounded)


def require_identified(point: Point, names: tuple[str, ...], penalty: Penalty) -> None:
    """Refuse columns that do not vary within risk sets, and columns that others determine and no penalty splits.

    Raises
    ------
    NotEstimableError
        ``constant`` or ``collinear``, naming the columns.
    """
    diagonal, whole = np.diag(point.information), np.diag(point.second)
    flat = ~(diagonal > _DEPENDENT * whole)
    if flat.any():
        raise NotEstimableError("constant", tuple(str(names[j]) for j in np.flatnonzero(flat)))
    if penalty.ridge.all():
        return
    unit = 1.0 / np.sqrt(diagonal)
    dependent = dependent_columns(point.information * np.outer(unit, unit))
    if dependent:
        raise NotEstimableError("collinear", tuple(str(names[j]) for j in dependent))


def dependent_columns(correlation: Floats) -> list[int]:
    """Return the columns of a unit-diagonal matrix that take part in a linear dependence, in order."""
    factor, pivots, rank, _ = linalg.lapack.dpstrf(correlation, tol=_DEPENDENT, lower=0)
    if rank == correlation.shape[0]:
        return []
    pivots = pivots - 1
    free, bound = pivots[:rank], pivots[rank:]
    weights = linalg.solve_triangular(factor[:rank, :rank], factor[:rank, rank:])
    involved = free[(np.abs(weights) > 1e-6).any(axis=1)]
    return sorted({*involved.tolist(), *bound.tolist()})


@dataclass(frozen=True, slots=True)
class Extremes:
    """In each cell, the highest ``u'z`` at risk and the lowest of an event, with the z of one such row.

    ``top`` and ``low`` have shape (K,), -inf and inf where there is none; ``top_z`` and ``low_z`` (K, p).
    """

    top: Floats
    top_z: Floats
    low: Floats
    low_z: Floats

    def __add__(self, other: Extremes) -> Extremes:
        """Return the extremes of both sets of rows."""
        higher, lower = other.top > self.top, other.low < self.low
        return Extremes(
            np.where(higher, other.top, self.top),
            np.where(higher[:, None], other.top_z, self.top_z),
            np.where(lower, other.low, self.low),
            np.where(lower[:, None], other.low_z, self.low_z),
        )


def require_bounded(
    look: Callable[[Floats], Extremes], score: Floats, names: tuple[str, ...], penalty: Penalty
) -> None:
    """Refuse a likelihood without a maximum; a penalty on every column gives it one.

    ``look`` returns the extremes along a direction.

    Raises
    ------
    NotEstimableError
        ``monotone_likelihood``, naming the columns of the direction.
    """
    if (penalty.ridge + penalty.lasso).all():
        return
    direction = rising_direction(look, score)
    if direction is not None:
        part = np.abs(direction) > 1e-6 * np.abs(direction).max()
        raise NotEstimableError("monotone_likelihood", tuple(str(names[j]) for j in np.flatnonzero(part)))


def rising_direction(look: Callable[[Floats], Extremes], score: Floats) -> Floats | None:
    """Return u with every event highest in its risk set and ``score'u > 0``, or None if there is none, shape (p,).

    ``score`` is the score at any point: for such a u it is positive unless all at risk are equal along u.
    """
    p = score.size
    pairs = np.empty((0, p))
    goal = score / max(float(np.abs(score).max()), np.finfo(np.float64).tiny)
    for _ in range(_ROUNDS):
        solved = optimize.linprog(
            -goal, A_ub=-pairs if len(pairs) else None, b_ub=np.zeros(len(pairs)) if len(pairs) else None,
            bounds=[(-1.0, 1.0)] * p, method="highs",
        )  # fmt: skip
        if not solved.success or -solved.fun <= _TOLERANCE:
            return None
        direction: Floats = solved.x
        violated = _violated_pairs(look(direction))
        if not len(violated):
            return direction
        pairs = np.unique(np.vstack([pairs, violated]), axis=0)
    return None


def extremes(rows: Rows, direction: Floats) -> Extremes:
    """Return the extremes of rows in memory along a direction."""
    cells = rows.cells
    count = cells.time.size
    height = rows.x.combined(rows.centre, direction / rows.scale)
    at_risk = np.flatnonzero(cells.stop < count)
    first = np.maximum.accumulate(np.where(cells.head, np.arange(count), 0)).astype(np.int32)
    low = np.full(height.size, count, dtype=np.int32)
    low[at_risk] = first[cells.stop[at_risk]]
    if cells.start.size:
        inside = at_risk[cells.start[at_risk] < count]
        low[inside] = cells.start[inside] + 1
    order = at_risk[np.argsort(-height[at_risk], kind="stable")]
    highest = kernels().highest_at_risk(order, low, cells.stop, count)
    events = np.flatnonzero(cells.event)
    events = events[np.argsort(height[events], kind="stable")][::-1]
    lowest = np.full(count, -1, dtype=np.int64)
    lowest[cells.stop[events]] = events  # the last one written is the lowest
    z_top, z_low = ((rows.x[chosen] - rows.centre) / rows.scale for chosen in (highest, lowest))
    return Extremes(
        np.where(highest < 0, -np.inf, height[highest]),
        np.where((highest < 0)[:, None], 0.0, z_top),
        np.where(lowest < 0, np.inf, height[lowest]),
        np.where((lowest < 0)[:, None], 0.0, z_low),
    )


def _violated_pairs(found: Extremes) -> Floats:
    """Return ``z(lowest event) - z(highest at risk)`` of the cells where someone is above an event, worst 500 first."""
    shortfall = found.top - found.low
    wrong = np.flatnonzero(shortfall > _TOLERANCE * max(1.0, float(np.abs(found.low).max())))
    wrong = wrong[np.argsort(-shortfall[wrong], kind="stable")][:500]
    difference: Floats = found.low_z[wrong] - found.top_z[wrong]
    return difference
