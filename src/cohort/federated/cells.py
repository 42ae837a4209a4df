"""The cells of one site: persons who joined, left and look alike, counted together.

Every analysis of a study is a function of how many persons of each kind joined and left on which days, so one table
of such counts serves all of them, and nothing can be learned by comparing tables. Under a disclosure rule days are
put into intervals until each cell holds enough persons; each keeps the sum of its persons' days, from which
person-time comes out exactly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from cohort.errors import ReleaseRefusedError
from cohort.features.covariate import MISSING
from cohort.results.analysis_table import AnalysisTable

STEPS = (1, 2, 6, 18, 36, 72, 144, 288)
"""Widths of the intervals in multiples of the rule's days: each divides the next, so that sites can be added."""
COUNTS = {"n": pl.Int64, "entry_days": pl.Int64, "days": pl.Int64}
_DAYS = ["entry", "time", "cause"]


def cells_of(table: AnalysisTable, names: Sequence[str], width: int) -> pl.DataFrame:
    """Return one row per cell: the first day of the intervals of ``entry`` and ``time``, ``cause``, covariates, counts.

    Parameters
    ----------
    names
        The covariates that tell cells apart; the reasons of those that may be missing come with them.
    width
        Days in an interval; 1 keeps every day.
    """
    parts = [_columns(part, names) for part in table.parts]
    rows = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
    return _summed(rows.with_columns(n=pl.lit(1, pl.Int64), entry_days="entry", days="time"), width)


def widened(cells: pl.DataFrame, width: int) -> pl.DataFrame:
    """Return the cells on intervals of more days, a multiple of those they are on."""
    return _summed(cells, width)


def protected(
    table: AnalysisTable,
    names: Sequence[str],
    minimum: int,
    days: int,
    before: Sequence[tuple[pl.DataFrame, int]] = (),
) -> tuple[pl.DataFrame, int]:
    """Return the cells on the shortest intervals at which each holds at least ``minimum`` persons, and their width.

    Parameters
    ----------
    before
        Cells that were let out earlier, each with its width: no cell may differ by a few persons from them.

    Raises
    ------
    ReleaseRefusedError
        If even the longest leave a small cell, or a small difference.
    """
    if minimum == 0:
        return cells_of(table, names, 1), 1
    large = False
    for step in STEPS:
        cells = cells_of(table, names, step * days)
        large = cells.is_empty() or int(cells["n"].min()) >= minimum  # type: ignore[arg-type] # counts, none missing
        if large and all(_far_enough(cells, step * days, *past, minimum) for past in before):
            return cells, step * days
    if large:
        raise ReleaseRefusedError(
            f"some cells differ by fewer than {minimum} persons from the last file of this population, which therefore "
            "stands; write another when more data have come"
        )
    levels = ", ".join(f"{name} ({cells[name].n_unique()})" for name in names) or "none"
    raise ReleaseRefusedError(
        f"with days in intervals of {STEPS[-1] * days} there are still cells of fewer than {minimum} persons; use "
        f"fewer covariates or coarser ones, such as age groups for age. Covariates and their values: {levels}"
    )


def _far_enough(cells: pl.DataFrame, width: int, past: pl.DataFrame, its_width: int, minimum: int) -> bool:
    """Return whether every cell is as it was, persons and days, or differs by ``minimum`` persons or more.

    Compared is on the longer of both intervals, to which a reader can add up the others.
    """
    now, then = (_summed(side, max(width, its_width)) for side in (cells, past))
    keys = [name for name in now.columns if name not in COUNTS]
    both = now.join(then, on=keys, how="full", coalesce=True, nulls_equal=True, suffix="_then")
    change = [(pl.col(name).fill_null(0) - pl.col(f"{name}_then").fill_null(0)).abs() for name in COUNTS]
    same, far = pl.all_horizontal(part == 0 for part in change), change[0] >= minimum
    return bool(both.select((same | far).all()).item())


def rows_of(cells: pl.DataFrame) -> pl.DataFrame:
    """Return one row per person counted: each at the mean days of the cell, rounded so that their sum is the cell's."""
    number = pl.int_range(pl.len(), dtype=pl.Int64).over("_cell")

    def spread(total: pl.Expr) -> pl.Expr:
        return total // pl.col("n") + (number < total % pl.col("n")).cast(pl.Int64)

    repeated = cells.with_row_index("_cell").select(pl.all().repeat_by("n").explode(empty_as_null=False))
    # what is spread is the follow-up, so that nobody who was at risk leaves on the day of joining
    return repeated.with_columns(
        entry=spread(pl.col("entry_days")),
        time=spread(pl.col("entry_days")) + spread(pl.col("days") - pl.col("entry_days")),
    ).drop("_cell", *COUNTS)


def with_reasons(names: Sequence[str], schema: Mapping[str, pl.DataType]) -> list[str]:
    """Return the covariates and the reasons beside them, of a part of the analysis table."""
    return [*names, *(f"{name}{MISSING}" for name in names if f"{name}{MISSING}" in schema)]


def _columns(part: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return part.select(*(pl.col(day).cast(pl.Int64) for day in _DAYS), *with_reasons(names, part.schema))


def _summed(rows: pl.DataFrame, width: int) -> pl.DataFrame:
    intervals = [pl.col(day) // width * width for day in ("entry", "time")]
    keys = [name for name in rows.columns if name not in COUNTS]
    cells = rows.with_columns(intervals).group_by(keys).agg(pl.col(list(COUNTS)).sum())
    return cells.select(*keys, *COUNTS).sort(keys)
