"""The report as data: every table and figure as tidy CSV and Parquet, every figure as SVG, the checklist, the codes.

Everything here is printed from released results; a text that a spreadsheet would run as a formula is made harmless.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cohort.report.figures_design import standalone
from cohort.report.numbers import plain
from cohort.report.printed import Item, Printed
from cohort.report.tables import Table
from cohort.results.estimates import write_csv, write_parquet

CELLS = pl.Schema(
    {
        "line": pl.Int64(),  # of the table, from 1
        "under": pl.String(),  # the variable that an indented line belongs to
        "label": pl.String(),
        "column": pl.String(),
        "text": pl.String(),  # as printed; the numbers themselves are in estimates.csv
        "kind": pl.String(),  # number, withheld, not_estimable, reference or blank
    }
)


def cells(table: Table) -> pl.DataFrame:
    """Return a printed table as one row per cell: `CELLS`."""
    rows, under = [], ""
    for number, line in enumerate(table.lines, start=1):
        under = under if line.indent else line.label
        for column, cell in zip(table.heading[1:], line.cells, strict=True):
            rows.append((number, under if line.indent else None, line.label, column, cell.text, cell.kind))
    return pl.DataFrame(rows, schema=CELLS, orient="row")


def write_tables(printed: Printed, folder: Path) -> None:
    """Write ``NAME.csv`` and ``NAME.parquet`` of every table into a folder."""
    folder.mkdir()
    for name, _, table in printed.tables():
        _write(cells(table), folder / name)
    _write(_checklist(printed.checklist), folder / "checklist")


def write_figures(printed: Printed, folder: Path) -> None:
    """Write ``NAME.svg``, ``NAME.csv`` and ``NAME.parquet`` of every figure into a folder."""
    folder.mkdir()
    for name, figure in printed.figures():
        (folder / f"{name}.svg").write_text(standalone(figure.svg), encoding="utf-8", newline="\n")
        _write(figure.data, folder / name)


def _checklist(items: tuple[Item, ...]) -> pl.DataFrame:
    rows = [
        (item.statement, item.number, item.asks_for, item.answer, "; ".join(title for _, title in item.sections))
        for item in items
    ]
    names = ("statement", "item", "asks_for", "in_this_run", "where")
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def _write(frame: pl.DataFrame, path: Path) -> None:
    shown = frame.with_columns(pl.col(pl.String).map_elements(plain, return_dtype=pl.String))
    untold = _untold(frame)
    write_csv(shown, path.with_suffix(".csv"), untold)
    names = [pl.when(mask).then(pl.lit(name)).alias("withheld") for name, mask in untold.items()]
    write_parquet(shown.with_columns(names), path.with_suffix(".parquet"))


def _untold(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return where a curve does not tell censorings from other causes: withheld, and neither 0 nor missing."""
    if not {"events", "censored"} <= set(frame.columns):
        return {}
    return {"censored": frame["censored"].is_null() & frame["events"].is_not_null()}
