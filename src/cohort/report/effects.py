"""The section of a treatment effect: estimates or the seal on them, the gates, and the balance behind them."""

from __future__ import annotations

import polars as pl

from cohort.report.figures_love import Balanced, love
from cohort.report.labels import Labels
from cohort.report.numbers import Cell, days, decimal, interval, percent, ratio
from cohort.report.printed import EffectSection, Figure
from cohort.report.tables import Line, Row, Table, confidence, counted, methods, refused
from cohort.results.estimates import SEALED, SUPPRESSED, Estimates

_NAMES = {
    "risk": "Risk",
    "time_lost": "Days lost",
    "risk_difference": "Difference of risks",
    "time_lost_difference": "Difference of days lost",
    "risk_ratio": "Ratio of risks",
    "marginal_hazard_ratio": "Hazard ratio",
    "effective_size": "Effective persons",
}
_GATES = {
    "balance": "Balance",
    "equipoise": "Equipoise",
    "positivity": "Positivity",
    "parameters": "Persons per parameter",
    "proportional_hazards": "Proportional hazards (hazard ratio only)",
}
ESTIMANDS = (*_NAMES, "gate", "standardised_difference")
"""What this section prints, of analyses that have gates."""


def effect_positions(estimates: Estimates) -> list[int]:
    """Return the analyses that have gates: treatment effects."""
    return estimates.select(estimand="gate")["analysis"].unique().sort().to_list()


def effect_sections(estimates: Estimates, labels: Labels) -> list[EffectSection]:
    """Return one section per treatment effect."""
    return [_section(estimates.select(analysis=position), position, labels) for position in effect_positions(estimates)]


def _section(rows: pl.DataFrame, position: int, labels: Labels) -> EffectSection:
    outcome, day = rows["outcome"][0], rows["time"].drop_nulls()[0]
    title = f"{labels.title(position, 'Effect of treatment')}: {labels.term(outcome)} by {days(day)}"
    sealed = rows.filter(pl.col("status").str.starts_with(SEALED))
    refusals = tuple(
        f"{_NAMES[name]}: {status}."
        for name, status in sealed.select("estimand", "status").unique().sort(pl.all()).rows()
    )
    return EffectSection(title, _estimates(rows, position, labels), _gates(rows), _love(rows, title, labels), refusals)


def _estimates(rows: pl.DataFrame, position: int, labels: Labels) -> Table:
    lines = []
    shown = rows.filter(pl.col("estimand").is_in(list(_NAMES)))
    for name, called in _NAMES.items():
        for row in shown.filter(pl.col("estimand") == name).sort("group", descending=True).iter_rows(named=True):
            of_arm = name in {"risk", "time_lost", "effective_size"}
            label = f"{called}, {labels.group(position, row['group'])}" if of_arm else called
            lines.append(Line(label, (counted(row, "n"), counted(row, "events"), refused(row) or _estimate(row))))
    notes = methods(shown, labels, position)
    return Table("", ("", "Persons", "Events", f"Estimate ({confidence(rows)})"), tuple(lines), notes)


def _estimate(row: Row) -> Cell:
    write = {"risk": percent, "risk_difference": percent, "risk_ratio": ratio, "marginal_hazard_ratio": ratio}
    number = write.get(row["estimand"], _tenths)
    ends = interval(number(row["lower"]), number(row["upper"])) if row["lower"] is not None else ""
    return Cell(number(row["value"]) + (f" ({ends})" if ends else ""))


def _tenths(value: float | None) -> str:
    return decimal(value, 1)


def _gates(rows: pl.DataFrame) -> Table:
    lines = [
        Line(_GATES[row["term"]], (Cell(row["category"], "reference"), Cell(row["method"], "reference")))
        for row in rows.filter(pl.col("estimand") == "gate", pl.col("status") != SUPPRESSED).iter_rows(named=True)
    ]
    return Table("Gates: judged before the estimates are looked at", ("", "Gate", "What was measured"), tuple(lines))


def _love(rows: pl.DataFrame, title: str, labels: Labels) -> Figure | None:
    differences = rows.filter(pl.col("estimand") == "standardised_difference", pl.col("value").is_not_null())
    if differences.is_empty():
        return None
    found = {(row["term"], row["category"]): row["value"] for row in differences.iter_rows(named=True)}
    terms = sorted({term for term, _ in found}, key=lambda term: -abs(found.get((term, "before weighting")) or 0))
    lines = [
        Balanced(_column(term, labels), found.get((term, "before weighting")), found.get((term, "after weighting")))
        for term in terms
    ]
    said = "; ".join(
        f"{line.label}: {decimal(line.before, 2) or 'unknown'} before, {decimal(line.after, 2) or 'unknown'} after"
        for line in lines
    )
    text = f"{title}. Standardised differences of the arms. {said}."
    drawn = [(line.label, line.before, line.after) for line in lines]
    types = {"covariate": pl.String, "before_weighting": pl.Float64, "after_weighting": pl.Float64}
    return Figure(love(lines, 0.1, text), text, pl.DataFrame(drawn, schema=types, orient="row"))


def _column(name: str, labels: Labels) -> str:
    """Return the label of a model column: ``Sex: male`` for ``sex[male]``."""
    term, bracket, level = name.partition("[")
    return f"{labels.term(term)}: {labels.level(term, level.removesuffix(']'))}" if bracket else labels.term(term)
