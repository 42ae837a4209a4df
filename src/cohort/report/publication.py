"""Tables for a manuscript through great-tables (extra ``tables``): LaTeX, and HTML that word processors understand.

What is printed is what the page prints: the same released cells, in the same words.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cohort.errors import StudyError
from cohort.report.numbers import MINUS, THIN, Cell, plain
from cohort.report.printed import Printed
from cohort.report.tables import Line, Table

if TYPE_CHECKING:
    from great_tables import GT

_INDENT = "\u2003"
"""An em space before a level under its variable."""
_LATEX = {
    THIN: r"\,",
    "\u00a0": "~",
    _INDENT: r"\quad ",
    MINUS: "$-$",
    "–": "--",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
}
"""What the fonts of LaTeX lack, in its own words."""


def write_publication(printed: Printed, folder: Path) -> list[Path]:
    """Write ``NAME.html`` and ``NAME.tex`` of every table and of the flow of persons; return the paths.

    The page is one table with its styles on the elements themselves, as word processors want them.

    Raises
    ------
    StudyError
        If great-tables or css-inline is not installed.
    """
    if not printed.flow and not [*printed.tables()]:
        return []
    tables = {name: (title, table) for name, title, table in printed.tables()} | {"attrition": _flow(printed)}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (title, table) in tables.items():
        made = publication_table(name, title, table)
        for suffix, text in ((".html", _page(made)), (".tex", _latex(made))):
            path = folder / f"{name}{suffix}"
            path.write_text(text, encoding="utf-8", newline="\n")
            paths.append(path)
    return sorted(paths)


def publication_table(name: str, title: str, table: Table) -> GT:
    """Return a printed table as a table of great-tables, to be styled further."""
    try:
        from great_tables import GT
    except ImportError:
        raise _missing("great-tables") from None

    columns = [f"c{number}" for number in range(len(table.heading))]
    rows = [[_label(line), *(plain(cell.text) for cell in line.cells)] for line in table.lines]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    made = GT(frame, rowname_col=columns[0], id=name).tab_header(title=plain(title))
    made = made.cols_label(dict(zip(columns[1:], map(plain, table.heading[1:]), strict=True)))
    numbers = [
        column
        for place, column in enumerate(columns[1:])
        if any(line.cells[place].kind == "number" for line in table.lines)
    ]
    made = made.cols_align(align="right", columns=numbers) if numbers else made
    for note in table.notes:
        made = made.tab_source_note(plain(note))
    return made


def _label(line: Line) -> str:
    return (_INDENT if line.indent else "") + plain(line.label)


def _flow(printed: Printed) -> tuple[str, Table]:
    """Return the flow of persons as a table."""
    lines = tuple(Line(box.reason, (Cell(box.removed), Cell(box.kept))) for box in printed.flow)
    return "Flow of persons", Table("", ("Step", "Left out", "Kept"), lines)


def _page(made: GT) -> str:
    """Return the table as a page of its own, each style on its element."""
    try:
        import css_inline  # noqa: F401 -- great-tables imports it itself, and says so less clearly
    except ImportError:
        raise _missing("css-inline") from None

    table = made.as_raw_html(inline_css=True)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"></head>\n<body>\n{table}\n</body>\n</html>\n'
    )


def _latex(made: GT) -> str:
    text: str = made.as_latex()
    for mark, words in _LATEX.items():
        text = text.replace(mark, words)
    return text + "\n"


def _missing(library: str) -> StudyError:
    return StudyError(
        f"tables for publication need {library}, which is not installed: take the extra `tables` "
        "(pip install '.[tables]' in the checkout)"
    )
