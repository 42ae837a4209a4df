"""Counts per (group, entry, exit day, cause): the only input of curves and tests, and additive over buckets.

Days are integers, so Kaplan–Meier, Nelson–Aalen, Aalen–Johansen, log-rank, Gray, RMST and rates are functions of how
many persons of each group left on each day, why, and when they had joined. Counting is linear in rows, the sum of two
counts is exact (weights are summed as integers, see ``exact``), and whatever is computed from it has the same bits for
1 bucket or 256, for any row order and any number of threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cohort.survival.exact import limbs
from cohort.survival.observations import By, Observations, observe
from cohort.survival.types import Floats

KEYS = ["stratum", "group", "entry", "time", "cause"]
FROM_START = -1
"""Entry of a person without delayed entry: the risk set (-1, time] holds day 0."""
DENSE_CELLS = 1 << 22
"""Up to this many cells one ``bincount`` beats a hash table."""
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

    def landmark(self, day: float) -> DayCounts:
        """Return the counts of those still under observation on ``day`` (they survived to it by definition)."""
        return DayCounts(self.cells.filter(pl.col("time") >= day), self.causes, self.weighted)

    def any_cause(self) -> DayCounts:
        """Return the counts with every cause taken as the event 1."""
        merged = self.cells.with_columns((pl.col("cause") != 0).cast(pl.Int64).alias("cause"))
        return DayCounts(_sum_cells([merged]), (1,), self.weighted)


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
    # one number for (stratum, group): a row belongs to part ``stratum · groups + group``
    part = groups.number if not seen.strata else layers.number * len(groups.labels) + groups.number
    cells = _count_whole_days(seen, part, len(layers.labels) * len(groups.labels))
    if cells is None:
        cells = _count_times(seen, part)
    cells = cells.with_columns(
        layers.labels.gather(cells["part"] // len(groups.labels)).alias("stratum"),
        groups.labels.gather(cells["part"] % len(groups.labels)).alias("group"),
    ).drop("part")
    return DayCounts(_sum_cells([cells]), seen.causes, seen.weighted)


class _Labelled(NamedTuple):
    number: pl.Series
    labels: pl.Series


def _labelled(rows: pl.DataFrame, columns: Sequence[str]) -> _Labelled:
    """Return each row's group number, Int64 (n,), or (1,) without columns, and the text of every number."""
    number, labels = pl.Series([0], dtype=pl.Int64), pl.Series([EVERYBODY])
    for i, name in enumerate(columns):
        position, levels = _levels(rows[name])
        number = position if i == 0 else number * len(levels) + position
        labels = levels if i == 0 else pl.Series([f"{left}, {right}" for left in labels for right in levels])
    return _Labelled(number, labels)


def _levels(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return each value's position among the sorted texts of the column, and those texts."""
    if column.dtype.is_integer() and len(column):
        low, high = int(column.min()), int(column.max())  # type: ignore[arg-type]  # integers: checked above
        if high - low < 1000:
            return column.cast(pl.Int64) - low, pl.int_range(low, high + 1, eager=True).cast(pl.String)
    text = column.cast(pl.String)
    levels = text.unique().sort()
    return text.cast(pl.Enum(levels)).to_physical().cast(pl.Int64), levels


def _count_whole_days(seen: Observations, part: pl.Series, parts: int) -> pl.DataFrame | None:
    """Count whole days by one number per (part, entry, cause, time); None where there is no such number."""
    if not seen.rows.schema["time"].is_integer() or seen.rows.is_empty():
        return None
    days, kinds = int(seen.rows["time"].max()) + 1, max(seen.causes, default=0) + 1  # type: ignore[arg-type]  # not null
    entries = days + 1 if seen.delayed else 1  # entry + 1, or 0 from the start
    cells = days * kinds * entries * parts
    if cells >= 1 << 62:
        return None
    cell = pl.col("time").cast(pl.Int64) + pl.col("cause").cast(pl.Int64) * days
    if seen.delayed:
        cell = cell + (pl.col("entry").cast(pl.Int64) + 1) * (days * kinds)
    if parts > 1:
        cell = cell + part * (days * kinds * entries)
    number = seen.rows.select(cell.alias("cell")).to_series()
    sums = _by_number(number, cells, seen)
    found = sums["cell"].to_numpy()
    keys = {
        "part": found // (days * kinds * entries),
        "entry": found // (days * kinds) % entries + FROM_START,
        "time": found % days,
        "cause": found // days % kinds,
    }
    return pl.DataFrame(keys).hstack(sums.drop("cell"))


def _by_number(number: pl.Series, cells: int, seen: Observations) -> pl.DataFrame:
    """Sum rows and limbs by cell: ``bincount`` where the cells are few, a hash table where they are not."""
    if cells > DENSE_CELLS:
        return pl.DataFrame([number, *_summands(seen)]).group_by("cell").agg(pl.all().sum())
    place = number.to_numpy()
    counted = np.bincount(place, minlength=cells)
    found = np.flatnonzero(counted)
    sums = {"cell": found, "n": counted[found]}
    for name, digit in _limb_columns(seen):
        sums[name] = np.bincount(place, digit, cells)[found].astype(np.int64)  # whole numbers below 2**53: exact
    return pl.DataFrame(sums)


def _count_times(seen: Observations, part: pl.Series) -> pl.DataFrame:
    """Count by all keys: times that are not whole days, or days too far apart for one number."""
    clock = pl.Float64 if seen.rows.schema["time"].is_float() else pl.Int64
    keys = seen.rows.select(
        (part if len(part) == len(seen.rows) else pl.lit(part[0])).alias("part"),
        (pl.col("entry") if seen.delayed else pl.lit(FROM_START)).cast(clock).alias("entry"),
        pl.col("time").cast(clock),
        pl.col("cause").cast(pl.Int64),
    )
    return keys.hstack(_summands(seen)).group_by(keys.columns).agg(pl.all().sum())


def _summands(seen: Observations) -> list[pl.Series]:
    """Return what is summed in each cell: rows, and the limbs of weights and of their squares."""
    ones = pl.Series("n", np.ones(len(seen.rows), dtype=np.int64))
    return [ones, *(pl.Series(name, digit.astype(np.int64)) for name, digit in _limb_columns(seen))]


def _limb_columns(seen: Observations) -> Iterator[tuple[str, Floats]]:
    if seen.weighted:
        weight = seen.rows["weight"].cast(pl.Float64).to_numpy()
        for kind, values in (("w", weight), ("v", weight * weight)):
            for exponent, digit in limbs(values):
                yield f"{kind}{exponent:+d}", digit


def _sum_cells(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the cell-wise sum, sorted; the columns of limbs that one table lacks count as 0."""
    table = pl.concat(tables, how="diagonal_relaxed") if len(tables) > 1 else tables[0]
    weights = sorted(name for name in table.columns if name not in KEYS and name != "n")
    values = [pl.col(name).fill_null(0).sum() for name in ["n", *weights]]
    return table.group_by(KEYS).agg(values).sort(KEYS)
