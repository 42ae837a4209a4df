"""The nonparametric estimate of survival from intervals known to hold the event.

The likelihood depends only on the mass in the innermost intervals, those between a left end and the right end that
follows it at once. The masses maximise a concave function on a simplex; they are found by constrained Newton steps
(least squares with masses not negative) and accepted only when no interval's gradient exceeds the number of rows.

References
----------
Turnbull BW (1976), doi:10.1111/j.2517-6161.1976.tb01597.x; Peto R (1973), doi:10.2307/2346307;
Gentleman R, Geyer CJ (1994), doi:10.1093/biomet/81.3.618 (the condition); Wang Y (2007),
doi:10.1111/j.1467-9868.2007.00583.x (the steps).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from scipy import optimize

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox_model import positive
from cohort.survival.types import Floats

_GAP = 1e-9  # how far, as a share of the rows, a gradient may exceed the number of rows at the maximum
_DUST = 1e-7  # masses below this are tried as 0


def turnbull(
    frame: Any, lower: str = "lower", upper: str = "upper", by: str | None = None, weights: str | None = None
) -> pl.DataFrame:
    """Estimate survival of each group from events known to lie in ``(lower, upper]``.

    Equal bounds are an event at that time, a lower bound of 0 is left-censored, a missing or infinite upper bound
    right-censored; ``weights`` count rows.

    Returns
    -------
    Columns ``group, lower, upper, mass, survival``: the mass that each innermost interval holds, and survival after
    it. Inside an interval survival is not determined; the last may be open (``upper`` infinite).

    Raises
    ------
    InputRefusedError
        For missing lower bounds and bounds that are negative or in the wrong order.
    """
    lazy = as_lazy(frame)
    asked = {"lower": lower, "upper": upper} | ({"by": by} if by else {}) | ({"weights": weights} if weights else {})
    require_columns(lazy, asked)
    rows = lazy.select(
        (pl.col(by).cast(pl.String) if by else pl.lit("all")).alias("group"),
        pl.col(lower).cast(pl.Float64).alias("lower"),
        pl.col(upper).cast(pl.Float64).fill_null(np.inf).alias("upper"),
        (pl.col(weights).cast(pl.Float64) if weights else pl.lit(1.0)).alias("weight"),
    ).collect()
    low, high = rows["lower"].fill_null(np.nan).to_numpy(), rows["upper"].to_numpy()
    if wrong := int((~((low >= 0) & (low < np.inf) & (low <= high))).sum()):
        raise InputRefusedError(f"the bounds are missing, negative or in the wrong order in {wrong} rows")
    rows = rows.filter(pl.Series(positive(rows["weight"].fill_null(np.nan).to_numpy()), dtype=pl.Boolean))
    # sorted before they are summed: sums of weights then do not depend on the order of rows
    distinct = rows.sort(pl.all()).group_by("group", "lower", "upper", maintain_order=True).agg(pl.col("weight").sum())
    tables = [_estimate(part) for part in distinct.partition_by("group", maintain_order=True)]
    return pl.concat(tables) if tables else _table("", np.empty(0), np.empty(0), np.empty(0))


def _estimate(rows: pl.DataFrame) -> pl.DataFrame:
    low, high, weight = (rows[name].to_numpy() for name in ("lower", "upper", "weight"))
    left, right = innermost(low, high)
    exact = (low == high)[:, None]
    # (low, high] holds (left, right] if it starts no later; an exact time holds only itself
    inside = np.where(exact, (left == right) & (left == low[:, None]), _holds(low, high, left, right))
    mass = maximum_mass(inside.astype(float), weight)
    kept = mass > 0
    return _table(str(rows["group"][0]), left[kept], right[kept], mass[kept])


def _holds(low: Floats, high: Floats, left: Floats, right: Floats) -> np.ndarray:
    point = left == right
    after_start = np.where(point, left > low[:, None], left >= low[:, None])
    return after_start & (right <= high[:, None])


def innermost(low: Floats, high: Floats) -> tuple[Floats, Floats]:
    """Return the ends of the innermost intervals, ascending; points where an event time is known.

    On one day a known event ``[t, t]`` begins before an interval ``(t, u]`` begins and before ``(s, t]`` ends.
    """
    exact = low == high
    starts = np.unique(np.column_stack([low, np.where(exact, 0, 2)]), axis=0)
    ends = np.unique(np.column_stack([high, np.where(exact, 1, 1.5)]), axis=0)
    marks = np.vstack([np.column_stack([starts, np.zeros(len(starts))]), np.column_stack([ends, np.ones(len(ends))])])
    marks = marks[np.lexsort((marks[:, 1], marks[:, 0]))]
    inner = np.flatnonzero((marks[:-1, 2] == 0) & (marks[1:, 2] == 1))
    return marks[inner, 0], marks[inner + 1, 0]


def maximum_mass(inside: Floats, weight: Floats) -> Floats:
    """Return the masses (m,) that maximise ``sum(weight log(inside mass))``; ``inside`` is 0/1, (n, m).

    Raises
    ------
    NotEstimableError
        ``not_converged`` if the condition of a maximum cannot be met.
    """
    total, mass = float(weight.sum()), np.full(inside.shape[1], 1 / inside.shape[1])
    root = np.sqrt(weight)
    for _ in range(200):
        ratio = inside / (inside @ mass)[:, None]
        if _is_maximum(weight @ ratio, total):
            return _without_dust(inside, weight, mass)
        # the quadratic at the current masses: least squares of ratio @ mass against 2, with masses that add up to 1
        heavy = 1e3 * np.sqrt(total)
        solved, _ = optimize.nnls(
            np.vstack([root[:, None] * ratio, np.full(mass.size, heavy)]),
            np.append(2 * root, heavy),
            maxiter=50 * mass.size,
        )
        mass = _uphill(inside, weight, mass, solved / solved.sum())
    raise NotEstimableError("not_converged")


def _is_maximum(gradient: Floats, total: float) -> bool:
    return bool(gradient.max() <= total * (1 + _GAP))


def _without_dust(inside: Floats, weight: Floats, mass: Floats) -> Floats:
    """Return the masses with those that rounding keeps from 0 set to 0, if the condition of a maximum still holds."""
    cleaned = np.where(mass > _DUST, mass, 0.0)
    cleaned = cleaned / cleaned.sum()
    probability = inside @ cleaned
    held = (probability > 0).all() and _is_maximum(weight @ (inside / probability[:, None]), float(weight.sum()))
    return cleaned if held else mass


def _uphill(inside: Floats, weight: Floats, mass: Floats, target: Floats) -> Floats:
    """Return masses on the way to ``target`` with a higher likelihood, after a step of self-consistency."""
    before, share = weight @ np.log(inside @ mass), 1.0
    for _ in range(40):
        moved = (1 - share) * mass + share * target
        with np.errstate(divide="ignore"):
            value = weight @ np.log(inside @ moved)
        if value >= before:
            mass = moved
            break
        share /= 2
    stepped: Floats = mass * (weight @ (inside / (inside @ mass)[:, None])) / weight.sum()
    return stepped


def _table(group: str, left: Floats, right: Floats, mass: Floats) -> pl.DataFrame:
    survival = np.maximum(1 - np.cumsum(mass), 0.0)
    survival[survival < 1e-12] = 0.0
    columns = {"lower": left, "upper": right, "mass": mass, "survival": survival}
    return pl.DataFrame({"group": pl.Series([group] * left.size, dtype=pl.String), **columns})
