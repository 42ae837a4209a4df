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
        raise NotEstimableError("constant", tuple(np.array(names)[flat].tolist()))
    if penalty.ridge.all():
        return
    unit = 1.0 / np.sqrt(diagonal)
    dependent = dependent_columns(point.information * np.outer(unit, unit))
    if dependent:
        raise NotEstimableError("collinear", tuple(names[j] for j in dependent))


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


def require_bounded(rows: Rows, score: Floats, names: tuple[str, ...], penalty: Penalty) -> None:
    """Refuse a likelihood without a maximum; a penalty on every column gives it one.

    Raises
    ------
    NotEstimableError
        ``monotone_likelihood``, naming the columns of the direction.
    """
    if (penalty.ridge + penalty.lasso).all():
        return
    direction = rising_direction(rows, score)
    if direction is not None:
        part = np.abs(direction) > 1e-6 * np.abs(direction).max()
        raise NotEstimableError("monotone_likelihood", tuple(np.array(names)[part].tolist()))


def rising_direction(rows: Rows, score: Floats) -> Floats | None:
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
        violated = _violated_pairs(rows, direction)
        if not len(violated):
            return direction
        pairs = np.unique(np.vstack([pairs, violated]), axis=0)
    return None


def _violated_pairs(rows: Rows, direction: Floats) -> Floats:
    """Return ``z(event) - z(highest at risk)`` of the cells where someone is above an event, worst 500 first."""
    cells = rows.cells
    count = cells.time.size
    height = (rows.x - rows.centre) @ (direction / rows.scale)
    at_risk = np.flatnonzero(cells.stop < count)
    first = np.maximum.accumulate(np.where(cells.head, np.arange(count), 0)).astype(np.int32)
    low = np.full(height.size, count, dtype=np.int32)
    low[at_risk] = first[cells.stop[at_risk]]
    if cells.start.size:
        inside = at_risk[cells.start[at_risk] < count]
        low[inside] = cells.start[inside] + 1
    order = at_risk[np.argsort(-height[at_risk], kind="stable")]
    top = kernels().highest_at_risk(order, low, cells.stop, count)
    events = np.flatnonzero(cells.event)
    shortfall = height[top[cells.stop[events]]] - height[events]
    wrong = np.flatnonzero(shortfall > _TOLERANCE * max(1.0, float(np.abs(height).max())))
    wrong = wrong[np.argsort(-shortfall[wrong], kind="stable")][:500]
    lower, upper = events[wrong], top[cells.stop[events[wrong]]]
    difference: Floats = (rows.x[lower] - rows.x[upper]) / rows.scale
    return difference
