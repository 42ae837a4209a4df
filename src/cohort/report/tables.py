"""What a printed table is, and the tables of rates, models and curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from cohort.report.labels import Labels
from cohort.report.numbers import (
    BLANK,
    HIDDEN,
    Cell,
    count,
    days,
    decimal,
    interval,
    percent,
    ratio,
    ratios,
    significant,
)
from cohort.results.estimates import COUNTS_SUPPRESSED, NOT_ESTIMABLE, SEALED, SUPPRESSED
from cohort.time import DAYS_PER_YEAR, to_years

Row = dict[str, Any]
_YEAR = f" of {DAYS_PER_YEAR} days"


@dataclass(frozen=True, slots=True)
class Line:
    """One printed row: its label, whether it is indented under a variable, and its cells."""

    label: str
    cells: tuple[Cell, ...]
    indent: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A printed table: caption, column headings, rows, notes under it."""

    caption: str
    heading: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


def refused(row: Row) -> Cell | None:
    """Return the cell of a row that has no number to show: withheld, or not estimable and why."""
    if row["status"] == SUPPRESSED:
        return HIDDEN
    if row["status"].startswith(NOT_ESTIMABLE):
        return Cell(row["status"].removeprefix(NOT_ESTIMABLE).strip(": ").replace("_", " "), "not_estimable")
    if row["status"].startswith(SEALED):
        return Cell(row["status"], "not_estimable")
    return None


def counted(row: Row, column: str) -> Cell:
    """Return the cell of a count column: withheld, blank where not applicable, or the number."""
    if row["status"] in {SUPPRESSED, COUNTS_SUPPRESSED}:
        return HIDDEN
    return BLANK if row[column] is None else Cell(count(row[column]))


def rate_table(rows: pl.DataFrame, position: int, labels: Labels) -> Table:
    """Return the table of incidence rates of one analysis and, where there are any, the age-standardised ones."""
    unit = (first(rows, "unit") or "per person-day").removesuffix(_YEAR)
    heading = ("", "Persons", "Events", "Person-years", f"Rate {unit} ({confidence(rows)})")
    outcome = labels.term(first(rows, "outcome"))
    caption = labels.title(position, f"Incidence rate of {outcome}") + (f": {outcome}" if outcome else "")
    return _beside_standardised(rows, "standardised_rate", caption, heading, _rate_cells, position, labels)


def prevalence_table(rows: pl.DataFrame, position: int, labels: Labels) -> Table:
    """Return the table of prevalences of one analysis and, where there are any, the age-standardised ones."""
    of = labels.term(first(rows, "outcome"))
    heading = ("", "Persons", "With it", f"Prevalence ({confidence(rows)})")
    caption = f"{labels.title(position, 'Prevalence')}: {of}"
    return _beside_standardised(rows, "standardised_prevalence", caption, heading, _share_cells, position, labels)


def _beside_standardised(
    rows: pl.DataFrame,
    standardised: str,
    caption: str,
    heading: tuple[str, ...],
    written: Callable[[Row], tuple[Cell, ...]],
    position: int,
    labels: Labels,
) -> Table:
    """Return a line per group: the cells of its crude row, then the estimate of its standardised row."""
    keyed = {(row["outcome"], row["group"], row["estimand"] == standardised): row for row in rows.to_dicts()}
    both = any(weighted for _, _, weighted in keyed)
    lines = []
    for (outcome, group, weighted), row in sorted(keyed.items(), key=lambda item: (item[0][0] or "", item[0][1])):
        if not weighted:
            beside = keyed.get((outcome, group, True))
            more = (BLANK if beside is None else written(beside)[-1],) if both else ()
            lines.append(Line(labels.group(position, group), (*written(row), *more)))
    more_heading = (f"Age-standardised ({confidence(rows)})",) if both else ()
    return Table(caption, (*heading, *more_heading), tuple(lines), methods(rows, labels, position))


def _rate_cells(row: Row) -> tuple[Cell, ...]:
    years = HIDDEN if row["status"] == SUPPRESSED else Cell(decimal(_years(row), 1))
    return counted(row, "n"), counted(row, "events"), years, refused(row) or Cell(with_limits(row, ratio))


def _share_cells(row: Row) -> tuple[Cell, ...]:
    return counted(row, "n"), counted(row, "events"), refused(row) or Cell(with_limits(row, percent))


def with_limits(row: Row, written: Callable[[float | None], str]) -> str:
    """Return an estimate with its interval in brackets, if it has one."""
    ends = interval(written(row["lower"]), written(row["upper"]))
    return written(row["value"]) + (f" ({ends})" if ends else "")


def model_table(rows: pl.DataFrame, position: int, labels: Labels) -> Table:
    """Return the table of hazard ratios of one model: levels under their variable, reference levels shown."""
    lines: list[Line] = []
    for term, members in by_term(rows, labels):
        if members[0]["category"] is None:
            lines.append(Line(labels.term(term), _model_cells(members[0])))
            continue
        lines.append(Line(labels.term(term), (BLANK, BLANK, BLANK)))
        lines += [Line(labels.level(term, row["category"]), _model_cells(row), indent=True) for row in members]
    heading = ("", "Persons", "Events", f"Hazard ratio ({confidence(rows)})")
    return Table("", heading, tuple(lines), methods(rows, labels, position))


def other_table(rows: pl.DataFrame, position: int, labels: Labels) -> Table:
    """Return the estimates of one analysis that have no table of their own, one line each."""
    lines = []
    for row in rows.iter_rows(named=True):
        names = [labels.term(row[name]) for name in ("estimand", "outcome", "term", "category") if row[name]]
        names += [labels.group(position, row["group"])] + ([days(row["time"])] if row["time"] is not None else [])
        value, lower, upper = (significant(row[name]) for name in ("value", "lower", "upper"))
        shown = Cell(f"{value} ({interval(lower, upper)})" if lower and upper else value)
        lines.append(Line(", ".join(names), (counted(row, "n"), counted(row, "events"), refused(row) or shown)))
    heading = ("", "Persons", "Events", f"Estimate ({confidence(rows)})")
    return Table(labels.title(position, "Other estimates"), heading, tuple(lines), methods(rows, labels, position))


def by_term(rows: pl.DataFrame, labels: Labels) -> list[tuple[str, list[Row]]]:
    """Return the rows of a model by term, in the order of the labels, the reference level first."""
    found: dict[str, list[Row]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["term"] or "", []).append(row)
    order = labels.order(list(found))
    return [
        (term, sorted(found[term], key=lambda row: (not is_reference(row), row["category"] or ""))) for term in order
    ]


def is_reference(row: Row) -> bool:
    """Return whether a hazard-ratio row is the reference level: ratio 1 without a standard error."""
    return row["value"] == 1 and row["std_error"] is None and row["category"] is not None


def curve_table(rows: pl.DataFrame, position: int, times: list[int], labels: Labels) -> Table:
    """Return the data behind a curve at those days of the axis that have one: estimate and interval by group."""
    groups = curve_groups(rows)
    lines = []
    for day in times:
        cells = []
        for group in groups:
            row = at_or_before(rows.filter(pl.col("group") == group), day)
            cells.append(
                BLANK
                if row is None
                else Cell(percent(row["value"]) + bracketed(interval(percent(row["lower"]), percent(row["upper"]))))
            )
        if any(cell is not BLANK for cell in cells):
            lines.append(Line(f"{count(day)} days", tuple(cells)))
    return Table("", ("Day", *(labels.group(position, group) for group in groups)), tuple(lines))


def bracketed(ends: str) -> str:
    """Return an interval as it stands after its estimate; nothing where there is none."""
    return f" ({ends})" if ends else ""


def at_or_before(rows: pl.DataFrame, day: int) -> Row | None:
    """Return the last point of one curve on or before a day; None after the curve has ended."""
    shown = rows.filter(pl.col("value").is_not_null())
    if shown.is_empty() or day > shown["time"].max():  # type: ignore[operator]  # Int64 column: the maximum is an int
        return None
    earlier = shown.filter(pl.col("time") <= day)
    return earlier.row(-1, named=True) if earlier.height else None


def risk_lines(
    rows: pl.DataFrame, times: list[int], left: str, *, exact: bool
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return who is at risk, who left otherwise and who had the event, as printed under the ticks of a curve.

    Where points were withheld (not ``exact``), a tick without a new point since the last tick stays blank.
    """
    shown = [
        risk_at(rows, day)
        if exact or day == 0 or rows.filter(pl.col("time") >= before, pl.col("time") < day).height
        else (None, None, None)
        for before, day in zip([0, *times], times, strict=False)
    ]
    names = ("At risk", left, "Events")
    return tuple((name, tuple(count(counts[line]) for counts in shown)) for line, name in enumerate(names))


def risk_at(rows: pl.DataFrame, day: int) -> tuple[int | None, int | None, int | None]:
    """Return who is at risk on a day, and who had left otherwise and had the event before it.

    The three are of one moment, the start of the released step that holds the day, and add up to those of day 0.
    Where persons enter late they cannot, and who left otherwise is not given.
    """
    ahead = rows.filter(pl.col("time") >= day)["n"]
    enter_late = bool((rows["n"].diff() > 0).any())
    if not len(ahead) or ahead[0] is None:
        return None, None, None
    events = int(rows.filter(pl.col("time") < day)["events"].sum())
    return int(ahead[0]), None if enter_late else int(rows["n"][0]) - int(ahead[0]) - events, events


def curve_groups(rows: pl.DataFrame) -> list[str]:
    """Return the groups that have at least one released point."""
    return rows.filter(pl.col("value").is_not_null())["group"].unique().sort().to_list()


def methods(rows: pl.DataFrame, labels: Labels, position: int) -> tuple[str, ...]:
    """Return the notes under a table: how it was estimated, and the study's own note."""
    year = [f"A year is {DAYS_PER_YEAR} days"] if (first(rows, "unit") or "").endswith(_YEAR) else []
    texts = [*rows["method"].drop_nulls().unique().sort().to_list(), *year, labels.note(position)]
    return tuple(_sentence(text) for text in texts if text and text != "reference")


def _sentence(text: str) -> str:
    """Return a note as a sentence: a capital at the beginning and a full stop at the end."""
    return text[0].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ")")) else ".")


def confidence(rows: pl.DataFrame) -> str:
    """Return the heading of the interval: ``95 % CI``."""
    level = first(rows, "level")
    return f"{percent(level, 0)} CI" if level is not None else "CI"


def first(rows: pl.DataFrame, column: str) -> Any:
    """Return the first value of a column that is not null, or None."""
    values = rows[column].drop_nulls()
    return values[0] if len(values) else None


def _years(row: Row) -> float | None:
    return None if row["person_days"] is None else to_years(row["person_days"])


def _model_cells(row: Row) -> tuple[Cell, ...]:
    if is_reference(row):
        return counted(row, "n"), counted(row, "events"), Cell("1 (reference)", "reference")
    value, *ends = ratios(row["value"], row["lower"], row["upper"])
    shown = Cell(f"{value} ({interval(*ends)})")
    return counted(row, "n"), counted(row, "events"), refused(row) or shown
