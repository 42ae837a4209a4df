"""Covariates as columns that stay where the frame has them: at 5 million rows × 30 a copy would be another 1.2 GB."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of one length, each float64 and contiguous, shape (n,); ``rows`` is n.

    ``addresses`` (p,) tell compiled loops where the columns lie, since numba knows no array of arrays; they hold as
    long as this object, which owns or borrows the columns, lives.
    """

    parts: tuple[Floats, ...]
    rows: int
    addresses: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        contiguous = tuple(np.ascontiguousarray(part, dtype=np.float64) for part in self.parts)
        addresses = np.array([part.__array_interface__["data"][0] for part in contiguous], dtype=np.int64)
        object.__setattr__(self, "parts", contiguous)
        object.__setattr__(self, "addresses", addresses)

    @classmethod
    def of(cls, matrix: Floats | Columns) -> Columns:
        """Take the columns of a matrix (n, p), without a copy if it is column-major."""
        return matrix if isinstance(matrix, cls) else cls(tuple(matrix.T), matrix.shape[0])  # type: ignore[union-attr]  # a matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Return the numbers of rows and columns."""
        return self.rows, len(self.parts)

    def __getitem__(self, rows: slice | NDArray[np.integer] | NDArray[np.bool_]) -> Floats:
        """Return some rows as a column-major matrix."""
        chosen = [part[rows] for part in self.parts]
        matrix = np.empty((chosen[0].size if chosen else 0, len(chosen)), order="F")
        for j, values in enumerate(chosen):
            matrix[:, j] = values
        return matrix

    def each(self, function: Callable[[Floats], float]) -> Floats:
        """Return a number for each column, shape (p,)."""
        return np.array([function(part) for part in self.parts], dtype=np.float64)

    def combined(self, centre: Floats, slope: Iterable[float]) -> Floats:
        """Return ``(x - centre) @ slope``, shape (n,)."""
        total = np.zeros(self.rows)
        for part, middle, factor in zip(self.parts, centre, slope, strict=True):
            total += (part - middle) * factor
        return total
