"""The section of a multiverse: its specification curve, and what its estimates have in common."""

from __future__ import annotations

from typing import Any

import polars as pl

from cohort.report.figures_specification import Specified, specification_curve
from cohort.report.labels import Labels
from cohort.report.numbers import Cell, count, decimal, percent, ratio
from cohort.report.printed import Figure, Section
from cohort.report.tables import Line, Table, confidence, counted, refused, with_limits
from cohort.results.estimates import ALL, RATIOS

_WORDS = {
    "hazard_ratio": "Hazard ratio",
    "subdistribution_hazard_ratio": "Subdistribution hazard ratio",
    "cumulative_incidence": "Cumulative incidence",
    "survival": "Event-free probability",
    "incidence_rate": "Incidence rate",
    "risk_ratio": "Ratio of risks",
    "risk_difference": "Difference of risks",
    "marginal_hazard_ratio": "Hazard ratio",
}
_ONE = (*RATIOS, "risk_ratio", "marginal_hazard_ratio")
"""Estimands whose value without a difference is 1, on a logarithmic axis."""
_SHARES = ("cumulative_incidence", "survival", "risk", "risk_difference")
_MOST_LINES = 60
"""Combinations that are printed one by one; more are in the data of the figure."""


def specification_sections(table: pl.DataFrame | None, labels: Labels) -> list[Section]:
    """Return the section of a multiverse, none where the run had none; ``table`` is that of `Specifications`."""
    if table is None or table.is_empty():
        return []
    keys = table.columns[1 : table.columns.index("n")]
    shown = table.filter(pl.col("value").is_not_null()).sort("value", "combination")
    estimand = shown["estimand"][0] if shown.height else ""
    title = f"{_WORDS.get(estimand, estimand.replace('_', ' ').capitalize()) or 'Estimates'}{_of(shown, labels)}"
    figure = _figure(shown, keys, title, estimand) if shown.height else None
    rows = table if table.height <= _MOST_LINES else table.clear()
    return [Section(title, figure, _table(rows, keys, estimand), _notes(table, shown, keys, estimand))]


def _of(shown: pl.DataFrame, labels: Labels) -> str:
    """Return what the estimates are of: outcome, group, and term with its level."""
    if shown.is_empty():
        return ""
    event, group, term, category = shown.select("event", "group", "term", "category").row(0)
    level = f": {labels.level(term, category)}" if category else ""
    named = [labels.term(event), "" if group == ALL else group, labels.term(term) + level]
    return f" of {', '.join(text for text in named if text)}"


def _short(keys: list[str]) -> list[str]:
    """Return keys by their last part, in words, where that tells them apart."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end.replace("_", " ") if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def _figure(shown: pl.DataFrame, keys: list[str], title: str, estimand: str) -> Figure:
    specified = [
        Specified(row["value"], row["lower"], row["upper"], tuple(str(row[key]) for key in keys))
        for row in shown.iter_rows(named=True)
    ]
    write = _written(estimand)
    low, high = write(specified[0].value), write(specified[-1].value)
    said = f"{title}. Specification curve of {len(specified)} combinations, from {low} to {high}"
    text = f"{said}; varied: {', '.join(keys)}. Ticks under an estimate say which values it rests on."
    null = 1.0 if estimand in _ONE else 0.0 if estimand.endswith("difference") else None
    axis = _WORDS.get(estimand, estimand.replace("_", " "))
    asked = shown.sort("combination")
    choices = [
        (name, asked[key].unique(maintain_order=True).to_list()) for name, key in zip(_short(keys), keys, strict=True)
    ]
    drawn = specification_curve(choices, specified, axis, null, log=estimand in _ONE, text=text)
    return Figure(drawn, text, shown.select("combination", *keys, "n", "events", "value", "lower", "upper", "time"))


def _table(rows: pl.DataFrame, keys: list[str], estimand: str) -> Table:
    write = _written(estimand)
    lines = [
        Line(
            str(row["combination"]),
            (
                *(Cell(str(row[key]), "reference") for key in keys),
                *(counted(row, name) for name in ("n", "events")),
                refused(row) or Cell(with_limits(row, write)),
            ),
        )
        for row in rows.iter_rows(named=True)
    ]
    heading = ("Combination", *_short(keys), "Persons", "Events", f"Estimate ({confidence(rows)})")
    return Table("", heading, tuple(lines))


def _notes(table: pl.DataFrame, shown: pl.DataFrame, keys: list[str], estimand: str) -> tuple[str, ...]:
    """Say how many combinations there are, how their estimates spread, and how counts were rounded."""
    write = _written(estimand)
    lacking = count(table.height - shown.height) if table.height > shown.height else "none"
    told = [f"{count(table.height)} combinations of {', '.join(keys)}; {lacking} without an estimate."]
    if shown.height:
        middle: Any = shown["value"].median()
        ends = write(shown["value"][0]), write(shown["value"][-1])
        told.append(f"Median estimate {write(middle)}, smallest {ends[0]}, largest {ends[1]}.")
    if estimand in _ONE and shown.height:
        apart = shown.filter((pl.col("lower") > 1) | (pl.col("upper") < 1)).height
        told.append(f"{count(apart)} of {count(shown.height)} intervals do not hold 1.")
    if table.height > _MOST_LINES:
        told.append("Combinations one by one are in figures/specifications_1.csv.")
    told.append(
        "Steegen et al. 2016, doi 10.1177/1745691616658637; Simonsohn et al. 2020, doi 10.1038/s41562-020-0912-z. "
        "Persons and events are rounded, as combinations differ by few persons."
    )
    return tuple(told)


def _written(estimand: str) -> Any:
    """Return how the estimand is written."""
    return percent if estimand in _SHARES else ratio if estimand in _ONE or estimand.endswith("rate") else _three


def _three(value: float | None) -> str:
    return decimal(value, 3)
