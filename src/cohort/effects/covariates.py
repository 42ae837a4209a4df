"""Covariates of a model of scores: one matrix, standardised, its rows in an order that the persons' values decide.

Columns are read where the frame has them and written once, into their place: at a million persons and 200 covariates
every further copy would be 1.6 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cohort.errors import NotEstimableError
from cohort.survival.cox_order import canonical_order
from cohort.survival.cox_sums import workers
from cohort.survival.types import Floats, Ints

Matrix = Any
"""Covariates, shape (n, p): a float64 array, or a scipy sparse matrix in rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Standardised:
    """Covariates of n persons in columns of variance 1, which are centred unless they are sparse.

    Row i of ``z`` (n, p) is person ``order[i]`` of the frame, whose covariates are ``centre + scale * z[i]``, both of
    shape (p,).
    """

    z: Matrix
    order: Ints
    centre: Floats
    scale: Floats

    def in_frame_order(self) -> Matrix:
        """Return the standardised rows in the order of the frame, a copy."""
        back = np.empty_like(self.order)
        back[self.order] = np.arange(len(self.order))
        return self.z[back]


def standardise(columns: Sequence[NDArray[Any]], treated: NDArray[np.bool_], names: tuple[str, ...]) -> Standardised:
    """Stack columns of numbers, each (n,), in the order that they and treatment decide, and standardise them.

    Raises
    ------
    NotEstimableError
        ``constant`` or ``overflow``, naming the columns.
    """
    order = canonical_order([*columns, treated])
    z = np.empty((len(order), len(columns)), order="F")

    def one(j: int) -> tuple[float, float]:
        own = z[:, j]  # written in place: sums are taken in the order of the rows
        if columns[j].dtype == np.float64:
            np.take(columns[j], order, out=own, mode="clip")
        else:
            own[:] = columns[j][order]
        with np.errstate(over="ignore", invalid="ignore"):  # refused below
            mean = float(own.mean())
            own -= mean
            spread = float(np.sqrt(own @ own / len(own)))
            own /= spread or 1.0
        return mean, spread

    with workers() as pool:
        moments: Floats = np.array(list(pool.map(one, range(len(columns))))).reshape(-1, 2)
    mean, spread = moments.T
    refuse_unbounded(spread, names)
    _refuse_constant(mean, spread, names)
    return Standardised(z, order, mean, spread)


def standardise_sparse(matrix: Matrix, treated: NDArray[np.bool_], names: tuple[str, ...]) -> Standardised:
    """Scale the columns of a sparse matrix, (n, p); centring would fill it. Two hashes stand for them in the order.

    Raises
    ------
    NotEstimableError
        ``constant``, naming the columns.
    """
    sketch = np.random.default_rng(0).standard_normal((matrix.shape[1], 2))
    order = canonical_order([*np.asarray(matrix @ sketch).T, treated])
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    square = np.asarray(matrix.multiply(matrix).mean(axis=0)).ravel()
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    _refuse_constant(mean, spread, names)
    return Standardised((matrix @ sparse.diags(1 / spread))[order], order, np.zeros_like(mean), spread)


def require_varied(x: Floats, names: tuple[str, ...]) -> None:
    """Refuse columns of a matrix, (n, p), that do not vary, or too far.

    Raises
    ------
    NotEstimableError
        ``constant`` or ``overflow``, naming the columns.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # one column at a time: no copy of all of them
        moments: Floats = np.array([(column.mean(), column.std()) for column in x.T]).reshape(-1, 2)
    refuse_unbounded(moments[:, 1], names)
    _refuse_constant(moments[:, 0], moments[:, 1], names)


def refuse_unbounded(spread: Floats, names: tuple[str, ...]) -> None:
    """Refuse columns whose values are too large to be squared; ``spread`` (p,) is their standard deviation.

    Raises
    ------
    NotEstimableError
        ``overflow``, naming the columns.
    """
    if not (bounded := np.isfinite(spread)).all():
        raise NotEstimableError("overflow", tuple(np.asarray(names)[~bounded]))


def _refuse_constant(mean: Floats, spread: Floats, names: tuple[str, ...]) -> None:
    if (constant := spread <= 1e-12 * np.maximum(np.abs(mean), 1)).any():
        raise NotEstimableError("constant", tuple(np.asarray(names)[constant]))
