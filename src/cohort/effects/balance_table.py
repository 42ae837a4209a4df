"""Balance: how far apart the arms are in each covariate, before and after weighting, from sums that add up.

``count_balance(bucket) + count_balance(next bucket)`` and one ``finish()``, as Table 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from cohort.effects.covariates import Matrix, Standardised
from cohort.effects.weights import BalancingWeights
from cohort.errors import CohortError, StudyError
from cohort.frames import as_lazy
from cohort.survival.cox_sums import Arrays, add, workers
from cohort.survival.design import Design, design_matrix, has_text
from cohort.survival.types import Floats

IMBALANCED = 0.1
"""Standardised differences beyond this ask for an explanation (Austin 2009)."""
_CHUNK, _STRIP = 1 << 16, 2048
"""Rows that one thread adds up, and rows added at once: they stay in the cache."""


@dataclass(frozen=True, slots=True, eq=False)
class BalanceSums:
    """Sums over persons of either arm, untreated first.

    ``plain`` and ``weighted`` have shape (2, 3, p): sums of 1, of x and of x² for each of p columns, weighted or not.
    x is measured from ``origin`` (p,), so that squares of large numbers keep their digits.
    """

    columns: tuple[str, ...]
    origin: Floats
    plain: Floats
    weighted: Floats

    def __add__(self, other: BalanceSums) -> BalanceSums:
        """Add the sums of other persons."""
        if self.columns != other.columns or not np.array_equal(self.origin, other.origin):
            raise CohortError("balance sums of different columns or origins cannot be added")
        return BalanceSums(self.columns, self.origin, self.plain + other.plain, self.weighted + other.weighted)

    def finish(self) -> pl.DataFrame:
        """Return one row per column: means of the arms, difference and variance ratio, before and after weighting.

        Columns ``column``, then ``mean_treated, mean_untreated, difference, variance_ratio`` and the same with the
        suffix ``_weighted``. Differences are standardised by the unweighted arms' mean variance both times: weighting
        must not make a difference small by making the arms more varied. A difference is null where neither arm varies.

        References
        ----------
        Austin PC (2009), Stat Med 28:3083–3107, doi:10.1002/sim.3697. Austin PC, Stuart EA (2015), Stat Med
        34:3661–3679, doi:10.1002/sim.6607. Stuart EA, Lee BK, Leacy FP (2013), J Clin Epidemiol 66:S84–S90,
        doi:10.1016/j.jclinepi.2013.01.013 (the denominator).
        """
        mean, variance = _moments(self.plain)
        spread = np.sqrt((variance[0] + variance[1]) / 2)
        table = {"column": pl.Series(self.columns, dtype=pl.String)}
        for suffix, sums in (("", self.plain), ("_weighted", self.weighted)):
            mean, variance = _moments(sums)
            with np.errstate(divide="ignore", invalid="ignore"):
                difference, ratio = (mean[1] - mean[0]) / spread, variance[1] / variance[0]
            found = {
                "mean_treated": mean[1] + self.origin,
                "mean_untreated": mean[0] + self.origin,
                "difference": np.where(spread > 0, difference, np.nan),
                "variance_ratio": np.where(variance[0] > 0, ratio, np.nan),
            }
            table |= {f"{name}{suffix}": pl.Series(values) for name, values in found.items()}
        return pl.DataFrame(table).with_columns(pl.selectors.float().fill_nan(None))


def balance(frame: Any, weights: BalancingWeights, terms: str | None = None) -> pl.DataFrame:
    """Return the balance of covariates between the arms, before and after weighting; see `BalanceSums.finish`.

    Parameters
    ----------
    frame
        The frame the propensity scores came from, in the same order.
    terms
        Covariates and products, also such as the propensity model left out; by default those of the model. Text gives
        one row per level, the reference too where there are more than two.

    Raises
    ------
    StudyError
        Without ``terms``, if the scores came from a matrix.
    """
    scores = weights.propensity
    if not (terms or scores.terms):
        raise StudyError("the scores came from a matrix, which names no terms; name the terms whose balance to show")
    if terms is None and scores.design is not None and not has_text(frame, scores.terms):
        return _of_model(weights, scores.design).finish()
    design = design_matrix(_rows(frame, scores.kept), terms or scores.terms)
    names, matrix = _with_references(design)
    return count_balance(matrix, names, weights).finish()


def _with_references(design: Design) -> tuple[tuple[str, ...], Floats]:
    """Return the columns with those of reference levels before the others, where there are more than two levels."""
    names, matrix = list(design.names), design.matrix
    for variable, levels in design.levels.items():
        others = [names.index(name) for level in levels[1:] if (name := f"{variable}[{level}]") in names]
        if len(others) > 1:
            matrix = np.insert(matrix, others[0], 1 - matrix[:, others].sum(axis=1), axis=1)
            names.insert(others[0], f"{variable}[{levels[0]}]")
    return tuple(names), matrix


def _of_model(weights: BalancingWeights, design: Standardised) -> BalanceSums:
    """Return the sums of the model's columns from their standardised rows."""
    treated, weight = weights.propensity.treated[design.order], weights.weight[design.order]
    total = _arm_sums(design.z, treated, weight, np.zeros_like(design.centre))
    total *= np.stack([np.ones_like(design.scale), design.scale, design.scale**2])
    return BalanceSums(weights.propensity.columns, design.centre, total[0], total[1])


def count_balance(
    matrix: Matrix, columns: tuple[str, ...], weights: BalancingWeights, origin: Floats | None = None
) -> BalanceSums:
    """Sum the columns of a matrix, (n, p), by arm.

    Parameters
    ----------
    matrix
        Dense, or scipy sparse as the thousands of `CodeIndicators`, which stays so.
    origin
        From where x is measured, (p,): the same for all buckets, and 0 for a sparse matrix (default: 0).
    """
    if matrix.shape[0] != len(weights.weight):
        raise StudyError(f"the matrix has {matrix.shape[0]} rows, the weights {len(weights.weight)}")
    start = np.zeros(matrix.shape[1]) if origin is None else np.asarray(origin, dtype=np.float64)
    if sparse.issparse(matrix):
        if start.any():
            raise StudyError("a sparse matrix is measured from 0; leave out the origin")
        total = _sparse_sums(matrix, weights)
    else:
        total = _arm_sums(np.asfortranarray(matrix, np.float64), weights.propensity.treated, weights.weight, start)
    return BalanceSums(columns, start, total[0], total[1])


def _sparse_sums(matrix: Matrix, weights: BalancingWeights) -> Floats:
    """Return the sums of 1, x and x² of a sparse matrix as `_arm_sums` does."""
    arms = np.stack([~weights.propensity.treated, weights.propensity.treated]).astype(np.float64)
    each = np.concatenate([arms, arms * weights.weight])
    persons = np.broadcast_to(each.sum(axis=1)[:, None], (len(each), matrix.shape[1]))
    powers = np.stack([persons, (matrix.T @ each.T).T, (matrix.multiply(matrix).T @ each.T).T], axis=1)
    return powers.reshape(2, 2, 3, -1)


def _arm_sums(x: Floats, treated: NDArray[np.bool_], weight: Floats, origin: Floats) -> Floats:
    """Return the sums of 1, x and x², x from its origin, unweighted and weighted, of either arm: (2, 2, 3, p)."""
    loops = import_module("cohort.effects.balance_kernels")

    def one(chunk: int) -> Arrays:
        total = np.zeros((2, 2, 3, x.shape[1]))
        for low in range(chunk, min(chunk + _CHUNK, len(x)), _STRIP):
            loops.arm_sums(x, origin, treated, weight, low, min(low + _STRIP, len(x)), total)
        return (total,)

    with workers() as pool:
        return add(pool.map(one, range(0, len(x), _CHUNK)))[0]


def worst(table: pl.DataFrame) -> tuple[str, float] | None:
    """Return the column with the largest weighted difference, and its size; None where no column varies."""
    known = table.drop_nulls("difference_weighted").sort(pl.col("difference_weighted").abs(), "column")
    if known.is_empty():
        return None
    return str(known["column"][-1]), abs(float(known["difference_weighted"][-1]))


def _moments(sums: Floats) -> tuple[Floats, Floats]:
    """Return means and variances, (2, p) each, of either arm; the divisor of a variance is the number of persons."""
    n, total, squares = sums[:, 0], sums[:, 1], sums[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / n
        return mean, np.maximum(squares / n - mean**2, 0.0)


def _rows(frame: Any, kept: Any) -> pl.DataFrame:
    rows = as_lazy(frame).collect()
    return rows if kept.all() else rows.filter(pl.Series(kept))
