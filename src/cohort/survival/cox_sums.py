"""Sums over rows that a Newton step needs, taken in chunks whose number depends on the data's shape alone.

Two passes: the first gives the risk in each cell (S0, D0), the second, knowing the hazard, the first moments by cell
(S1, D1) and one p × p matrix (H1). Chunks run on as many threads as there are and are added in order, so the bits do
not depend on the threads; BLAS runs single-threaded inside a chunk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cohort.survival.cox_columns import Columns
from cohort.survival.cox_risk import RiskSets

if TYPE_CHECKING:
    from cohort.survival.cox_newton import Point

Floats = NDArray[np.float64]
T = TypeVar("T")
Arrays = tuple[Floats, ...]
ScoreTables = tuple[Floats, Floats, Floats, Floats, Floats]

_CHUNK = 1 << 17  # rows
_CELLS = 1 << 23  # numbers that all chunks' tables may hold together: 64 MB
_STRIP = 4096  # rows whose weighted covariates are held for one rank-p update: 1 MB at p = 30


def kernels() -> ModuleType:
    """Return the compiled loops; importing them loads numba, which `import cohort` must not."""
    return import_module("cohort.survival.cox_kernels")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a Cox model: covariates ``x`` (n, p), and each column's ``centre`` and ``scale`` (p,).

    ``weight`` and ``offset`` have length n, or 0 where the model has none; ``cells`` places the rows in time.
    """

    x: Columns
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
    """The sums of rows held in memory, part by part; ``bounds`` are the parts' first rows, and the end.

    ``risk_of_row`` keeps each row's ``w exp(eta)`` of the last call for the passes that follow it.
    """

    rows: Rows
    pool: ThreadPoolExecutor
    bounds: list[int] = field(default_factory=list)
    risk_of_row: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.risk_of_row = np.empty(self.rows.shape[0])
        self.bounds = self.bounds or chunk_bounds(*self.rows.shape)

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the sum of w eta over events, at scaled coefficients."""
        table, total = add(self.risk_parts(theta))
        return table, float(total[0])

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot (p, 2 (K + 1)) and the sum of v z z' (p, p) for the hazard given.

        ``hazard`` is the cumulative hazard by cell with 0 appended, ``tied`` the part taken back from tied events,
        both of shape (K + 1,).
        """
        table, square = add(self.moment_parts(hazard, tied, backwards=True))
        return by_column(table, square, self.rows.shape[1])

    def events(self) -> Floats:
        """Return the sum of w z over events, shape (p,)."""
        return add(self.event_parts())[0]

    def risk_parts(self, theta: Floats) -> Iterator[Arrays]:
        """Return what :meth:`risk` adds up."""
        rows, (_, _, cells) = self.rows, self.rows.shape
        slope = theta / rows.scale

        def one(first: int, last: int) -> Arrays:
            table, risk = np.zeros(2 * (cells + 1)), self.risk_of_row
            total = kernels().predictors(
                rows.x.addresses,
                rows.centre,
                slope,
                rows.offset,
                rows.weight,
                rows.cells.slot,
                first,
                last,
                risk,
                cells + 1,
            )
            with np.errstate(over="ignore", invalid="ignore"):  # an overflow shows in the likelihood
                np.exp(risk[first:last], out=risk[first:last])
            kernels().risk_sums(risk, rows.weight, rows.cells.slot, rows.cells.start, first, last, table)
            return table, np.array([total])

        return self._each(one)

    def moment_parts(self, hazard: Floats, tied: Floats, *, backwards: bool = False) -> Iterator[Arrays]:
        """Return what :meth:`moments` adds up, by slot (2 (K + 1), P) and (P, P), P being p in whole blocks.

        Going ``backwards``, the rows that were read last are still in the processor's cache.
        """
        rows, (_, p, cells) = self.rows, self.rows.shape
        block = kernels().BLOCK
        padded = -(-p // block) * block

        def one(first: int, last: int) -> Arrays:
            table, square = np.zeros((2 * (cells + 1), padded)), np.zeros((padded, padded))
            kernels().moment_sums(
                rows.x.addresses, rows.centre, rows.scale, self.risk_of_row, rows.cells.slot, rows.cells.start,
                hazard, tied, first, last, table, square,
            )  # fmt: skip
            return table, square

        return self._each(one, backwards=backwards)

    def event_parts(self) -> Iterator[Arrays]:
        """Return what :meth:`events` adds up."""
        rows, (_, p, cells) = self.rows, self.rows.shape

        def one(first: int, last: int) -> Arrays:
            out = np.zeros(p)
            events = first + np.flatnonzero(rows.cells.slot[first:last] > cells)
            kernels().event_strip(rows.x.addresses, rows.centre, rows.scale, rows.weight, events, out)
            return (out,)

        return self._each(one)

    def spread_parts(self) -> Iterator[Arrays]:
        """Return the parts of the sums over rows of z and of z², each of shape (p,)."""
        rows = self.rows

        def one(first: int, last: int) -> Arrays:
            z = (rows.x[first:last] - rows.centre) / rows.scale
            return z.sum(axis=0), (z * z).sum(axis=0)

        return self._each(one)

    def product_parts(self, tables: ScoreTables) -> Iterator[Arrays]:
        """Return the parts of the sum over rows of the outer product of their scores, each (p, p)."""
        return self._each(lambda first, last: (self._strip_products(tables, first, last),))

    def scores(self, tables: ScoreTables, first: int, last: int) -> Floats:
        """Return the weighted score residuals of some rows, in scaled units, shape (p, rows).

        ``risk_of_row`` must stem from the point of the tables, as it does right after that was computed.
        """
        rows, out = self.rows, np.empty((self.rows.shape[1], last - first))
        kernels().score_strip(
            rows.x.addresses, rows.centre, rows.scale, self.risk_of_row, rows.weight, rows.cells.slot, rows.cells.start,
            tables, first, last, out,
        )  # fmt: skip
        return out

    def all_scores(self, tables: ScoreTables) -> Floats:
        """Return the weighted score residuals of every row, shape (p, n)."""
        return np.concatenate(list(self._each(lambda first, last: self.scores(tables, first, last))), axis=1)

    def score_products(self, tables: ScoreTables, group: NDArray[np.int64] | None = None) -> Floats:
        """Return the sum over groups (by default: rows) of the outer product of their scores, shape (p, p)."""
        return add(self.product_parts(tables))[0] if group is None else products(self.all_scores(tables), group)

    def person_product_parts(self, tables: ScoreTables, person: NDArray[np.int64]) -> Iterator[Arrays]:
        """Return the parts of the sum over persons of the outer product of their summed scores, each (p, p).

        ``person`` (n,) is sorted within each part, and nobody is in two parts.
        """

        def one(first: int, last: int) -> Arrays:
            own = person[first:last]
            starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
            summed = np.add.reduceat(self.scores(tables, first, last), starts, axis=1)
            return (summed @ summed.T,)

        return self._each(one)

    def _strip_products(self, tables: ScoreTables, first: int, last: int) -> Floats:
        total = np.zeros((self.rows.shape[1],) * 2)
        for low in range(first, last, _STRIP):
            part = self.scores(tables, low, min(low + _STRIP, last))
            total += part @ part.T
        return total

    def _each(self, one: Callable[[int, int], T], *, backwards: bool = False) -> Iterator[T]:
        each = map if len(self.bounds) == 2 else self.pool.map  # a single part needs no thread
        order = slice(None, None, -1 if backwards else 1)
        return each(one, self.bounds[:-1][order], self.bounds[1:][order])


def add(parts: Iterable[Arrays]) -> Arrays:
    """Add parts in the order they come."""
    every = iter(parts)
    total = next(every)
    for part in every:
        for have, more in zip(total, part, strict=True):
            np.add(have, more, out=have)
    return total


def by_column(table: Floats, square: Floats, columns: int) -> tuple[Floats, Floats]:
    """Return first moments by slot (p, 2 (K + 1)) and the whole of v z z' (p, p) from padded sums."""
    upper = np.triu(square[:columns, :columns])
    return np.ascontiguousarray(table[:, :columns].T), upper + np.triu(upper, 1).T


def products(scores: Floats, group: NDArray[np.int64]) -> Floats:
    """Return the sum over groups of the outer product of their summed scores; scores (p, n), result (p, p)."""
    by_group = np.stack([np.bincount(group, weights=column).astype(np.float64) for column in scores])
    outer: Floats = by_group @ by_group.T
    return outer


def score_tables(point: Point, cells: RiskSets) -> ScoreTables:
    """Return the tables of a score residual: A, b (K + 1,) and m, C, c (p, K + 1); see the kernel ``score_strip``."""
    a, b, a2, b2, c2 = point.ties
    s1, d1 = point.mean_risk, point.mean_dying
    hazard, drift = a.copy(), a2 * s1 - b2 * d1
    kernels().forward_sums(hazard[None, :], cells.head)
    kernels().forward_sums(drift, cells.head)
    mean = (a * s1 - b * d1) / cells.weight
    ends = [never_at_risk(table) for table in (hazard, b, mean, drift, b2 * s1 - c2 * d1)]
    return ends[0], ends[1], ends[2], ends[3], ends[4]


def never_at_risk(table: Floats) -> Floats:
    """Append the 0 that rows without any cell read, along the last axis."""
    return np.concatenate([table, np.zeros((*table.shape[:-1], 1))], axis=-1)


def chunk_bounds(rows: int, columns: int, cells: int) -> list[int]:
    """Return where chunks begin and end: a function of the shape of the problem, never of the machine."""
    wanted = -(-rows // _CHUNK)
    count = max(1, min(wanted, _CELLS // max(1, 2 * cells * columns)))
    return [rows * k // count for k in range(count + 1)]


def centre_and_scale(x: Columns, weight: Floats, pool: ThreadPoolExecutor) -> tuple[Floats, Floats]:
    """Return each column's (weighted) mean and the largest distance from it, 1 for a constant column, shape (p,)."""
    spans = list(pool.map(lambda column: kernels().column_span(column, weight), x.parts))
    low, high, mean = np.array(spans, dtype=np.float64).reshape(-1, 3).T
    return centre_of(low, high, mean)


def centre_of(low: Floats, high: Floats, mean: Floats) -> tuple[Floats, Floats]:
    """Return centre and scale of columns from their range and mean, each of shape (p,)."""
    reach = np.maximum(high - mean, mean - low)
    constant = (low == high) | (reach < np.finfo(np.float64).tiny)  # a sum that overflowed leaves no reach: NaN
    return np.where(constant, low, mean), np.where(constant, 1.0, reach)


@dataclass(slots=True)
class _SingleThreadedBlas:
    """Holds BLAS to one thread while any fit runs: the limit belongs to the process, and fits may run side by side."""

    lock: Lock = field(default_factory=Lock)
    running: int = 0
    libraries: Any = None
    limit: Any = None

    def __enter__(self) -> None:
        with self.lock:
            if not self.running:
                # looking for the libraries takes milliseconds, and all that we call are loaded by now
                self.libraries = self.libraries or import_module("threadpoolctl").ThreadpoolController()
                self.limit = self.libraries.limit(limits=1, user_api="blas")
            self.running += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.running -= 1
            if not self.running:
                self.limit.restore_original_limits()


_BLAS = _SingleThreadedBlas()


@contextmanager
def workers(parts: int = 8) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads, one per available core (at most 8, or ``parts``), with BLAS held to one thread each."""
    from_system = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _BLAS, ThreadPoolExecutor(max(1, min(8, parts, from_system))) as pool:
        yield pool
