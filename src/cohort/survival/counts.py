"""Counts per (group, entry, exit day, cause): the only input of curves and tests, and additive over buckets.

Days are integers, so Kaplan–Meier, Nelson–Aalen, Aalen–Johansen, log-rank, Gray, RMST and rates are functions of how
many persons of each group left on each day, why, and when they had joined. Counting is linear in rows, the sum of two
counts is exact (weights are summed as integers, see ``exact``), and whatever is computed from it has the same bits for
1 bucket or 256, for any row order and any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cohort.survival.exact import to_limbs
from cohort.survival.observations import By, Observations, observe

KEYS = ["stratum", "group", "entry", "time", "cause"]
FROM_START = -1
"""Entry of a person without delayed entry: the risk set (-1, time] holds day 0."""
DENSE_CELLS = 1 << 22
"""Up to this many (group, cause, day) cells one ``bincount`` beats a hash table."""
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
    cells = _dense_cells(seen, part, len(layers.labels) * len(groups.labels))
    if cells is None:
        cells = _sparse_cells(seen, part)
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


def _dense_cells(seen: Observations, part: pl.Series, parts: int) -> pl.DataFrame | None:
    """Count whole days without entry and weights by one ``bincount``; None where that does not apply."""
    rows = seen.rows
    plain = rows.schema["time"].is_integer() and not seen.delayed and not seen.weighted and len(rows) > 0
    if not plain:
        return None
    days, causes = int(rows["time"].max()) + 1, max(seen.causes, default=0) + 1  # type: ignore[arg-type]  # checked
    if days * causes * parts > DENSE_CELLS:
        return None
    offset = part * (causes * days) if parts > 1 else pl.lit(0, pl.Int64)
    cell = rows.select(pl.col("time").cast(pl.Int64) + pl.col("cause").cast(pl.Int64) * days + offset).to_series()
    counted = np.bincount(cell.to_numpy(), minlength=days * causes * parts)
    found = np.flatnonzero(counted)
    return pl.DataFrame(
        {
            "part": found // (causes * days),
            "entry": np.full(len(found), FROM_START),
            "time": found % days,
            "cause": found // days % causes,
            "n": counted[found],
        }
    )


def _sparse_cells(seen: Observations, part: pl.Series) -> pl.DataFrame:
    """Count by hash table: delayed entry, weights, times that are not whole."""
    clock = pl.Float64 if seen.rows.schema["time"].is_float() else pl.Int64
    rows = seen.rows.select(
        pl.lit(part).alias("part") if len(part) == len(seen.rows) else pl.lit(0, pl.Int64).alias("part"),
        (pl.col("entry") if seen.delayed else pl.lit(FROM_START)).cast(clock).alias("entry"),
        pl.col("time").cast(clock),
        pl.col("cause").cast(pl.Int64),
        pl.lit(1, pl.Int64).alias("n"),
    )
    if seen.weighted:
        weight = seen.rows["weight"].cast(pl.Float64).to_numpy()
        limbs = {f"w{e:+d}": digit for e, digit in to_limbs(weight).items()}
        limbs |= {f"v{e:+d}": digit for e, digit in to_limbs(weight * weight).items()}
        rows = rows.with_columns(pl.Series(name, digit) for name, digit in limbs.items())
    return rows.group_by("part", "entry", "time", "cause").agg(pl.all().sum())


def _sum_cells(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the cell-wise sum, sorted; the columns of limbs that one table lacks count as 0."""
    table = pl.concat(tables, how="diagonal_relaxed") if len(tables) > 1 else tables[0]
    limbs = sorted(name for name in table.columns if name not in KEYS and name != "n")
    values = [pl.col(name).fill_null(0).sum() for name in ["n", *limbs]]
    return table.group_by(KEYS).agg(values).sort(KEYS)
