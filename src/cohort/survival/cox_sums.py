"""Sums over rows that a Newton step needs, taken in chunks whose number depends on the data's shape alone.

Two passes: the first gives the risk in each cell (S0, D0), the second, knowing the hazard, the first moments by cell
(S1, D1) and one p × p matrix (H1). Chunks run on as many threads as there are and are added in order, so the bits do
not depend on the threads; BLAS runs single-threaded inside a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from cohort.survival.cox_risk import RiskSets

if TYPE_CHECKING:
    from cohort.survival.cox_newton import Point

Floats = NDArray[np.float64]
T = TypeVar("T")

_CHUNK = 1 << 16  # rows
_CELLS = 1 << 23  # numbers that all chunks' tables may hold together: 64 MB
_STRIP = 4096  # rows whose weighted covariates are held for one rank-p update: 1 MB at p = 30


def kernels() -> ModuleType:
    """Return the compiled loops; importing them loads numba, which `import cohort` must not."""
    return import_module("cohort.survival.cox_kernels")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a Cox model: covariates ``x`` (n, p), column-major, and each column's ``centre`` and ``scale`` (p,).

    ``weight`` and ``offset`` have length n, or 0 where the model has none; ``cells`` places the rows in time.
    """

    x: Floats
    centre: Floats
    scale: Floats
    weight: Floats
    offset: Floats
    cells: RiskSets

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the numbers of rows, columns and cells."""
        return self.x.shape[0], self.x.shape[1], self.cells.time.size


@dataclass(slots=True)
class RowSums:
    """The sums of rows held in memory; ``risk`` keeps each row's ``w exp(eta)`` of the last call for ``moments``."""

    rows: Rows
    pool: ThreadPoolExecutor
    risk_of_row: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.risk_of_row = np.empty(self.rows.shape[0])

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the sum of w eta over events, at scaled coefficients."""
        rows, (_, _, cells) = self.rows, self.rows.shape
        slope = theta / rows.scale

        def one(first: int, last: int) -> tuple[Floats, float]:
            table = np.zeros(2 * (cells + 1))
            total = kernels().risk_sums(
                rows.x, rows.centre, slope, rows.offset, rows.weight, rows.cells.slot, rows.cells.start,
                first, last, self.risk_of_row, table,
            )  # fmt: skip
            return table, total

        table, total = np.zeros(2 * (cells + 1)), 0.0
        for part, events in self._each(one):
            table += part
            total += events
        return table, total

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot (p, 2 (K + 1)) and the sum of v z z' (p, p) for the hazard given.

        ``hazard`` is the cumulative hazard by cell with 0 appended, ``tied`` the part taken back from tied events,
        both of shape (K + 1,).
        """
        rows, (_, p, cells) = self.rows, self.rows.shape

        def one(first: int, last: int) -> tuple[Floats, Floats]:
            table, square = np.zeros((p, 2 * (cells + 1))), np.zeros((p, p))
            root, strip = np.empty(_STRIP), np.empty((p, _STRIP))
            for low in range(first, last, _STRIP):
                high = min(low + _STRIP, last)
                kernels().moment_strip(
                    rows.x, rows.centre, rows.scale, self.risk_of_row, rows.cells.slot, rows.cells.start,
                    hazard, tied, low, high, root, strip, table,
                )  # fmt: skip
                part = strip[:, : high - low]
                square += part @ part.T
            return table, square

        table, square = np.zeros((p, 2 * (cells + 1))), np.zeros((p, p))
        for part, outer in self._each(one):
            table += part
            square += outer
        return table, square

    def events(self) -> Floats:
        """Return the sum of w z over events, shape (p,)."""
        rows, (_, p, cells) = self.rows, self.rows.shape

        def one(first: int, last: int) -> Floats:
            out = np.zeros(p)
            kernels().event_strip(
                rows.x, rows.centre, rows.scale, rows.weight, rows.cells.slot, cells, first, last, out
            )
            return out

        total = np.zeros(p)
        for part in self._each(one):
            total += part
        return total

    def scores(self, point: Point, first: int, last: int) -> Floats:
        """Return the weighted score residuals of some rows at a point, in scaled units, shape (p, rows).

        ``risk_of_row`` must stem from that point, as it does right after it was computed.
        """
        rows, out = self.rows, np.empty((self.rows.shape[1], last - first))
        kernels().score_strip(
            rows.x, rows.centre, rows.scale, self.risk_of_row, rows.weight, rows.cells.slot, rows.cells.start,
            score_tables(point, rows.cells), first, last, out,
        )  # fmt: skip
        return out

    def score_products(self, point: Point, group: NDArray[np.int64] | None = None) -> Floats:
        """Return the sum over groups (by default: rows) of the outer product of their scores, shape (p, p)."""
        if group is None:
            total = np.zeros((self.rows.shape[1],) * 2)
            for part in self._each(lambda first, last: self._strip_products(point, first, last)):
                total += part
            return total
        columns = np.concatenate(list(self._each(lambda first, last: self.scores(point, first, last))), axis=1)
        by_group = np.stack([np.bincount(group, weights=column).astype(np.float64) for column in columns])
        products: Floats = by_group @ by_group.T
        return products

    def _strip_products(self, point: Point, first: int, last: int) -> Floats:
        total = np.zeros((self.rows.shape[1],) * 2)
        for low in range(first, last, _STRIP):
            part = self.scores(point, low, min(low + _STRIP, last))
            total += part @ part.T
        return total

    def _each(self, one: Callable[[int, int], T]) -> Iterator[T]:
        bounds = chunk_bounds(*self.rows.shape)
        return self.pool.map(one, bounds[:-1], bounds[1:])


def score_tables(point: Point, cells: RiskSets) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return the tables of a score residual: A, b (K + 1,) and m, C, c (p, K + 1); see the kernel ``score_strip``."""
    a, b, a2, b2, c2 = point.ties
    s1, d1 = point.mean_risk, point.mean_dying
    hazard, drift = a.copy(), a2 * s1 - b2 * d1
    kernels().forward_sums(hazard[None, :], cells.head)
    kernels().forward_sums(drift, cells.head)
    tables = (hazard, b, (a * s1 - b * d1) / cells.weight, drift, b2 * s1 - c2 * d1)
    never = [np.concatenate([table, np.zeros((*table.shape[:-1], 1))], axis=-1) for table in tables]
    return never[0], never[1], never[2], never[3], never[4]


def chunk_bounds(rows: int, columns: int, cells: int) -> list[int]:
    """Return where chunks begin and end: a function of the shape of the problem, never of the machine."""
    wanted = -(-rows // _CHUNK)
    count = max(1, min(wanted, _CELLS // max(1, 2 * cells * columns)))
    return [rows * k // count for k in range(count + 1)]


def centre_and_scale(x: Floats, weight: Floats | None = None) -> tuple[Floats, Floats]:
    """Return each column's mean and largest distance from it (1 for a constant column), overflow-safe, shape (p,)."""
    low = x.min(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.array([low[j] + np.average(x[:, j] - low[j], weights=weight) for j in range(x.shape[1])])
        reach = np.maximum(x.max(axis=0) - mean, mean - low)
    constant = (low == x.max(axis=0)) | ~(reach >= np.finfo(np.float64).tiny)
    return np.where(constant, low, mean), np.where(constant, 1.0, reach)


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads, one per available core (at most 8), with BLAS held to one thread each."""
    from_system = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = import_module("threadpoolctl").threadpool_limits
    with limits(limits=1, user_api="blas"), ThreadPoolExecutor(min(8, from_system)) as pool:
        yield pool
