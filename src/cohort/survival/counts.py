"""Counts per (group, entry, exit day, cause): the only input of curves and tests, and additive over buckets.

Days are integers, so Kaplan–Meier, Nelson–Aalen, Aalen–Johansen, log-rank, Gray, RMST and rates are functions of how
many persons of each group left on each day, why, and when they had joined. Counting is linear in rows, the sum of two
counts is exact (weights are summed as integers, see ``exact``), and whatever is computed from it has the same bits for
1 bucket or 256, for any row order and any number of threads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError
from cohort.survival.exact import limbs
from cohort.survival.observations import By, observe
from cohort.survival.types import Floats, Ints

KEYS = ["stratum", "group", "entry", "time", "cause"]
FROM_START = -1
"""Entry of a person without delayed entry: the risk set (-1, time] holds day 0."""
DENSE_CELLS = 1 << 22
"""Up to this many cells one ``bincount`` beats a hash table."""
BLOCK = 1 << 17
"""Rows counted at a time."""
MANY_ROWS = 1 << 22
"""From here on rows are counted by compiled loops on all cores: loading those costs a quarter of a second, once."""
EVERYBODY = "all"
"""Name of the only group without ``by``, and of the only stratum."""


@dataclass(frozen=True, slots=True)
class DayCounts:
    """Persons per (stratum, group, entry, time, cause), sorted by those keys.

    ``cells`` has columns ``stratum, group`` (text), ``entry, time`` (Int64 days, or Float64), ``cause`` (0 =
    censored), ``n`` (rows, Int64) and, with weights, limbs of their sums (``w…``) and sums of squares (``v…``).
    ``causes`` are the event codes that were declared or found.
    """

    cells: pl.DataFrame
    causes: tuple[int, ...]
    weighted: bool = False

    def __add__(self, other: DayCounts | int) -> DayCounts:
        """Return the counts of both; ``0 + counts`` lets ``sum`` start."""
        if isinstance(other, int):
            return self
        causes = tuple(sorted({*self.causes, *other.causes}))
        return DayCounts(_sum_cells([self.cells, other.cells]), causes, self.weighted or other.weighted)

    __radd__ = __add__

    @property
    def groups(self) -> list[str]:
        """The groups in the order of every result: sorted as text."""
        return list(self.cells["group"].unique().sort())

    def pooled(self) -> DayCounts:
        """Return the counts of all groups together, as if there had been no ``by``."""
        everybody = self.cells.with_columns(pl.lit(EVERYBODY).alias("group"))
        return DayCounts(_sum_cells([everybody]), self.causes, self.weighted)

    def landmark(self, day: float) -> DayCounts:
        """Return the counts of those still under observation on ``day`` (they survived to it by definition)."""
        return DayCounts(self.cells.filter(pl.col("time") >= day), self.causes, self.weighted)

    def any_cause(self) -> DayCounts:
        """Return the counts with every cause taken as the event 1; its cells may come in parts."""
        recoded = self.cells.with_columns((pl.col("cause") != 0).cast(pl.Int64).alias("cause"))
        return DayCounts(recoded, (1,), self.weighted)


def count_days(
    frame: Any,
    time: str,
    cause: str,
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    causes: Sequence[int] | None = None,
    strata: By = None,
) -> DayCounts:
    """Count a (bucket's) frame: rows per group, entry, time and cause.

    Parameters are those of ``observations.observe``: ``cause`` 0 is censored, ``causes`` the codes allowed besides
    (those found when ``None``), groups are the text of ``by``, several joined by ``", "``, and so are strata.

    Raises
    ------
    InputRefusedError
        On input that cannot be counted.
    """
    seen = observe(frame, time, cause, by, entry, weights, causes, strata)
    groups, layers = _labelled(seen.rows, seen.by), _labelled(seen.rows, seen.strata)
    rows = seen.rows.with_columns([*groups.coded, *layers.coded])
    parts = [*layers.axes, *groups.axes]  # a row belongs to part ``stratum · groups + group``
    cells = _count_whole_days(rows, parts)
    if cells is None:
        cells = _count_times(rows, parts)
    cells = cells.with_columns(
        layers.labels.gather(cells["part"] // len(groups.labels)).alias("stratum"),
        groups.labels.gather(cells["part"] % len(groups.labels)).alias("group"),
    ).drop("part")
    declared = (
        seen.causes if seen.causes is not None else tuple(cells["cause"].filter(cells["cause"] != 0).unique().sort())
    )
    return DayCounts(_in_order(cells), declared, seen.weighted)


class _Axis(NamedTuple):
    """A column of whole numbers ``low`` … ``low + size - 1``."""

    column: str
    low: int
    size: int


class _Labelled(NamedTuple):
    """Columns coded as whole numbers, their axes, and the text of every combination."""

    coded: list[pl.Series]
    axes: list[_Axis]
    labels: pl.Series


def _labelled(rows: pl.DataFrame, columns: Sequence[str]) -> _Labelled:
    found = _Labelled([], [], pl.Series([EVERYBODY]))
    for i, name in enumerate(columns):
        codes, low, levels = _levels(rows[name])
        labels = levels if i == 0 else pl.Series([f"{left}, {right}" for left in found.labels for right in levels])
        found = _Labelled([*found.coded, codes], [*found.axes, _Axis(name, low, len(levels))], labels)
    if found.labels.n_unique() < len(found.labels):
        raise InputRefusedError("values with ', ' in them give two groups one name; write them without")
    return found


def _levels(column: pl.Series) -> tuple[pl.Series, int, pl.Series]:
    """Return the column as whole numbers, the lowest of them, and the text of each from the lowest on."""
    if column.dtype.is_integer() and len(column):
        low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]  # numbers, and none is missing
        if high - low < 1000 and abs(low) < 1 << 30:
            return column, low, pl.int_range(low, high + 1, eager=True).cast(pl.String)
    text = column.cast(pl.String)
    levels = text.unique().sort()
    return text.cast(pl.Enum(levels)).to_physical(), 0, levels


def _count_whole_days(rows: pl.DataFrame, parts: list[_Axis]) -> pl.DataFrame | None:
    """Count whole days by one number per (part, entry, cause, time); None where there is no such number."""
    if not rows.schema["time"].is_integer() or rows.is_empty():
        return None
    days, kinds = (int(rows[name].max()) + 1 for name in ("time", "cause"))  # type: ignore[arg-type]  # none is missing
    entry = [_Axis("entry", FROM_START, days + 1)] if "entry" in rows.columns else []
    axes = [*parts, *entry, _Axis("cause", 0, kinds), _Axis("time", 0, days)]
    shape = (math.prod(axis.size for axis in parts), math.prod(axis.size for axis in entry), kinds, days)
    if math.prod(shape) >= 1 << 62:
        return None
    sums = _in_table(rows, axes, math.prod(shape)) if math.prod(shape) <= DENSE_CELLS else _in_hash(rows, axes)
    part, joined, cause, day = np.unravel_index(sums["cell"].to_numpy(), shape)
    keys = pl.DataFrame({"part": part, "entry": joined + FROM_START, "time": day, "cause": cause})
    return keys.hstack(sums.drop("cell"))


def _count_times(rows: pl.DataFrame, parts: list[_Axis]) -> pl.DataFrame:
    """Count by all keys: times that are not whole days, or days too far apart for one number."""
    clock = pl.Float64 if rows.schema["time"].is_float() else pl.Int64
    entry = pl.col("entry") if "entry" in rows.columns else pl.lit(FROM_START)
    keys = [entry.cast(clock).alias("entry"), pl.col("time").cast(clock), pl.col("cause").cast(pl.Int64)]
    return _in_hash(rows, parts, keys).rename({"cell": "part"})


def _numbered(rows: pl.DataFrame, axes: list[_Axis], dtype: Any) -> Any:
    """Return each row's position in the box of ``axes``, (n,), the last axis running fastest."""
    number, stride = np.zeros(len(rows), dtype=dtype), 1
    for axis in reversed(axes):
        place = rows[axis.column].to_numpy().astype(dtype)
        if axis.low:
            place -= dtype(axis.low)
        if stride > 1:
            place *= dtype(stride)
        number += place
        stride *= axis.size
    return number


def _in_table(rows: pl.DataFrame, axes: list[_Axis], cells: int) -> pl.DataFrame:
    """Sum each cell in a table, in blocks of rows that stay in the processor's cache; many rows on all cores."""
    cores = os.cpu_count() or 1 if len(rows) >= MANY_ROWS else 1
    if cores == 1:
        parts = [_tabulated(rows, axes, cells, fast=False)]
    else:
        with ThreadPoolExecutor(cores) as pool:
            spans = rows.iter_slices(-(-len(rows) // cores))
            parts = list(pool.map(lambda span: _tabulated(span, axes, cells, fast=True), spans))
    sums: dict[str, Ints] = {}
    for part in parts:  # of limbs, which one span may have and another not
        for name, total in part.items():
            sums[name] = sums[name] + total if name in sums else total
    found = np.flatnonzero(sums["n"])
    return pl.DataFrame({"cell": found} | {name: total[found] for name, total in sums.items()})


def _tabulated(rows: pl.DataFrame, axes: list[_Axis], cells: int, *, fast: bool) -> dict[str, Ints]:
    """Return the sums of each amount by cell, (cells,)."""
    sums: dict[str, Ints] = {}
    reach = max(cells, *(abs(axis.low) + axis.size for axis in axes))
    number = np.int16 if reach < 1 << 15 else np.int32  # half the bytes take half the time
    for block in rows.iter_slices(max(BLOCK, cells)):
        place = _numbered(block, axes, number)
        for name, amount in _amounts(block):
            total = sums.setdefault(name, np.zeros(cells, dtype=np.int64))
            if fast and amount is None:
                import_module("cohort.survival.tally").tally(place, total)
            else:
                total += np.bincount(place, amount, cells).astype(np.int64)  # whole numbers below 2**53: exact
    return sums


def _in_hash(rows: pl.DataFrame, axes: list[_Axis], keys: Sequence[pl.Expr] = ()) -> pl.DataFrame:
    """Sum each cell in a hash table, where cells are many."""
    table = rows.select(pl.Series("cell", _numbered(rows, axes, np.int64)), *keys)
    amounts = [pl.Series(name, digit if digit is not None else np.ones(len(rows))) for name, digit in _amounts(rows)]
    summed = table.with_columns(amount.cast(pl.Int64) for amount in amounts)
    return summed.group_by(table.columns).agg(pl.all().sum())


def _amounts(rows: pl.DataFrame) -> Iterator[tuple[str, Floats | None]]:
    """Yield what is summed in each cell: rows (``None``), and the limbs of weights and of their squares."""
    yield "n", None
    if "weight" in rows.columns:
        weight = rows["weight"].cast(pl.Float64).to_numpy()
        for kind, values in (("w", weight), ("v", weight * weight)):
            for exponent, digit in limbs(values):
                yield f"{kind}{exponent:+d}", digit


def _sum_cells(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the cell-wise sum, sorted; the columns of limbs that one table lacks count as 0."""
    table = pl.concat(tables, how="diagonal_relaxed")
    return _in_order(table.group_by(KEYS).agg(pl.all().fill_null(0).sum()))


def _in_order(cells: pl.DataFrame) -> pl.DataFrame:
    """Return the cells sorted, their columns in one order whatever was counted first."""
    weights = sorted(name for name in cells.columns if name not in KEYS and name != "n")
    return cells.select([*KEYS, "n", *weights]).sort(KEYS)
