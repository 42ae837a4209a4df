"""Table 1 as it is printed: variables down, groups across, standardised differences at the right."""

from __future__ import annotations

from typing import Any

from cohort.report.labels import Labels
from cohort.report.numbers import BLANK, HIDDEN, Cell, count, decimal, percent
from cohort.report.tables import Line, Table
from cohort.results.disclosure import Released
from cohort.results.estimates import ALL, NOT_ESTIMABLE, SUPPRESSED
from cohort.results.table_one import UNGROUPED

_Rows = dict[tuple[str, str | None, str | None, str], dict[str, Any]]


def table_one(released: Released, labels: Labels) -> Table | None:
    """Return Table 1, or None where the study has none."""
    frame = released.estimates.select(analysis=0)
    if frame.is_empty():
        return None
    rows: _Rows = {
        (row["estimand"], row["term"], row["category"], row["group"]): row for row in frame.iter_rows(named=True)
    }
    sizes = [group for (estimand, term, _, group) in rows if estimand == "count" and term is None]
    groups = [ALL] * (ALL in sizes) + [group for group in sizes if group != ALL]
    compared = [
        group for group in groups if any(key[0] == "standardised_difference" and key[3] == group for key in rows)
    ]
    terms = labels.order(list({term for (_, term, _, _) in rows if term and term != labels.by(0)}))
    lines = [Line("Persons", (*(_count(rows, None, None, group) for group in groups), *(BLANK for _ in compared)))]
    for term in terms:
        lines += _variable(rows, term, groups, compared, labels)
    columns = [labels.group(0, group) for group in groups]
    against = [f"SMD, {labels.level(labels.by(0), group)}" if len(compared) > 1 else "SMD" for group in compared]
    return Table(
        "",
        ("", *columns, *against),
        tuple(lines),
        _notes(rows, compared, labels),
    )


def _variable(rows: _Rows, term: str, groups: list[str], compared: list[str], labels: Labels) -> list[Line]:
    """Return the lines of one variable: mean (SD), or one line per level; missing last."""
    levels = sorted({category for (_, name, category, _) in rows if name == term and category is not None})
    differences = tuple(_difference(rows.get(("standardised_difference", term, None, group))) for group in compared)
    empty = tuple(BLANK for _ in compared)
    label = labels.term(term)
    if not levels:
        lines = [Line(f"{label}, mean (SD)", (*(_moments(rows, term, group) for group in groups), *differences))]
    elif set(levels) <= {"false", "true"}:
        lines = [Line(label, (*(_level(rows, term, "true", group) for group in groups), *differences))]
    else:
        lines = [Line(label, (*(BLANK for _ in groups), *differences))]
        shown = labels.order([f"{term}={level}" for level in levels])
        for level in (name.removeprefix(f"{term}=") for name in shown):
            cells = (*(_level(rows, term, level, group) for group in groups), *empty)
            lines.append(Line(labels.level(term, level), cells, indent=True))
    if any(_is_shown(rows.get(("missing", term, None, group))) for group in groups):
        lines.append(Line("missing", (*(_missing(rows, term, group) for group in groups), *empty), indent=True))
    return lines


def _count(rows: _Rows, term: str | None, category: str | None, group: str) -> Cell:
    row = rows.get(("count", term, category, group))
    if row is None:
        return Cell("0")
    return HIDDEN if row["status"] == SUPPRESSED else Cell(count(row["value"]))


def _level(rows: _Rows, term: str, level: str, group: str) -> Cell:
    cell = _count(rows, term, level, group)
    share = rows.get(("proportion", term, level, group))
    if cell.kind == "withheld" or share is None or share["value"] is None:
        return cell
    return Cell(f"{cell.text} ({percent(share['value'])})")


def _missing(rows: _Rows, term: str, group: str) -> Cell:
    row = rows.get(("missing", term, None, group))
    if row is None:
        return Cell("0")
    if row["status"] == SUPPRESSED:
        return HIDDEN
    share = f" ({percent(row['value'] / row['n'])})" if row["n"] else ""
    return Cell(f"{count(row['value'])}{share}")


def _moments(rows: _Rows, term: str, group: str) -> Cell:
    mean, spread = (rows.get((estimand, term, None, group)) for estimand in ("mean", "std_deviation"))
    if mean is None:
        return Cell("no value", "not_estimable")
    if mean["status"] == SUPPRESSED:
        return HIDDEN
    digits = 0 if mean["value"].is_integer() and spread and (spread["value"] or 0.0).is_integer() else 1
    deviation = decimal(spread["value"], digits) if spread and spread["value"] is not None else "–"
    return Cell(f"{decimal(mean['value'], digits)} ({deviation})")


def _difference(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return BLANK
    if row["status"] == SUPPRESSED:
        return HIDDEN
    if row["status"].startswith(NOT_ESTIMABLE):
        return Cell("n.e.", "not_estimable")
    return Cell(decimal(row["value"], 2))


def _is_shown(row: dict[str, Any] | None) -> bool:
    return row is not None and (row["status"] == SUPPRESSED or bool(row["value"]))


def _notes(rows: _Rows, compared: list[str], labels: Labels) -> tuple[str, ...]:
    notes = ["Counts with percentages of all persons of the column. Without a line “missing”, no value is missing."]
    if compared:
        sizes = [group for (estimand, term, _, group) in rows if estimand == "count" and term is None]
        first = next(group for group in sorted(sizes) if group not in {ALL, UNGROUPED, *compared})
        notes.append(
            f"SMD: standardised mean difference from {labels.group(0, first)}, known values only; Austin 2009, for "
            "several levels Yang & Dalton 2012."
        )
    if any(row["status"].startswith(NOT_ESTIMABLE) and key[1] != labels.by(0) for key, row in rows.items()):
        notes.append("n.e.: not estimable, as neither group varies or no value is known.")
    return tuple(notes)
