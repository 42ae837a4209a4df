"""The section of a treatment effect: estimates or the seal on them, the gates, and the balance behind them.

Of an emulated trial the section also shows what other designs would have said of the same persons. A seal that the
study has broken is told beside the estimates that it was on.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cohort.report.figures_love import Balanced, love
from cohort.report.labels import Labels
from cohort.report.numbers import BLANK, Cell, count, days, decimal, interval, percent, ratio
from cohort.report.printed import EffectSection, Figure
from cohort.report.tables import Line, Row, Table, bracketed, confidence, counted, methods, refused
from cohort.results.estimates import NOT_ESTIMABLE, OK, SEALED, SUPPRESSED, Estimates

_NAMES = {
    "risk": "Risk",
    "time_lost": "Days lost",
    "risk_difference": "Difference of risks",
    "time_lost_difference": "Difference of days lost",
    "risk_ratio": "Ratio of risks",
    "marginal_hazard_ratio": "Hazard ratio",
    "calibrated_hazard_ratio": "Hazard ratio, calibrated by negative controls",
    "calibrated_p_value": "p-value, calibrated by negative controls",
    "effective_size": "Effective persons",
}
_SENSITIVITY = {
    "e_value": "E-value of the ratio of risks",
    "e_value_limit": "E-value of its limit nearer to 1",
    "tipping_point": "Confounder's ratio that would leave no effect",
    "tipping_point_limit": "Confounder's ratio that would let the limit reach 1",
    "corrected_risk_ratio": "Ratio of risks, outcome found without error",
}
_GATES = {
    "balance": "Balance",
    "equipoise": "Equipoise",
    "positivity": "Positivity",
    "parameters": "Persons per parameter",
    "events": "Outcome events",
    "negative_controls": "Negative controls",
    "proportional_hazards": "Proportional hazards (hazard ratio only)",
}
_REASONS = {
    "separation": "the covariates tell the treated and the untreated apart, so that nobody can be compared",
    "constant": "a covariate has the same value for everybody; leave it out",
    "collinear": "covariates repeat each other; leave one out",
    "no_events": "nobody has the outcome",
    "monotone_likelihood": "all events are in one group, so that the ratio has no end",
    "not_converged": "the model has no maximum that could be found",
    "single_level": "a covariate has one level only; leave it out",
}
"""What a reason without words of its own means."""

ESTIMANDS = (*_NAMES, *_SENSITIVITY, "gate", "standardised_difference", "negative_control")
"""What this section prints, of analyses that have gates."""


def effect_positions(estimates: Estimates) -> list[int]:
    """Return the analyses of treatment effects: those with gates, and those that had no answer to judge."""
    told = estimates.frame.filter(
        pl.col("analysis") > 0, pl.col("estimand").is_in(["gate", "risk_difference", "marginal_hazard_ratio"])
    )
    return told["analysis"].unique().sort().to_list()


def effect_sections(
    estimates: Estimates, labels: Labels, unsealed: Mapping[int, str] | None = None
) -> list[EffectSection]:
    """Return one section per treatment effect; ``unsealed`` has the reason why a study shows what is sealed."""
    reasons = unsealed or {}
    return [
        _section(estimates.select(analysis=position), position, labels, reasons.get(position))
        for position in effect_positions(estimates)
    ]


def _section(rows: pl.DataFrame, position: int, labels: Labels, reason: str | None) -> EffectSection:
    rows = rows.filter(pl.col("estimand").is_in(ESTIMANDS))
    outcome, day = rows["outcome"][0], rows["time"].drop_nulls()[0]
    called, treatment = labels.title(position, "Effect of treatment"), labels.by(position)
    of = f"{labels.term(treatment)}, " if treatment else ""
    title = f"{called}: {of}{labels.term(outcome)} by {days(day)}"
    answers = rows.filter(pl.col("category").is_null(), pl.col("estimand").is_in(list(_NAMES)))
    return EffectSection(
        title,
        _estimates(answers, position, labels),
        _compared(rows, labels, position),
        _controls(rows, labels),
        _sensitivity(rows, labels, position),
        _gates(rows),
        _love(rows, title, labels),
        _refusals(rows),
        _warning(rows, reason),
    )


def _refusals(rows: pl.DataFrame) -> tuple[str, ...]:
    """Say why there is no number, each reason once: what is sealed by which gate, and what has no answer."""
    answers = rows.filter(pl.col("category").is_null(), pl.col("estimand").is_in(list(_NAMES)))
    told = answers.filter(pl.col("estimand") != "effective_size").group_by("status").agg(pl.col("estimand").unique())
    reasons = dict(told.sort("status").iter_rows())
    return tuple(
        _refusal(status, found, alone=len(reasons) == 1) for status, found in reasons.items() if _is_no(status)
    )


def _is_no(status: str) -> bool:
    return status.startswith((SEALED, NOT_ESTIMABLE))


def _refusal(status: str, estimands: list[str], *, alone: bool) -> str:
    """Return one reason in a sentence, with what it is the reason of unless that is everything."""
    named = "; ".join(called for name, called in _NAMES.items() if name in estimands)
    if status.startswith(SEALED):
        return f"Sealed{'' if alone else f' ({named})'}: {status.removeprefix(SEALED).strip(': ')}."
    return f"There is no estimate{'' if alone else f' ({named})'}: {_sentence(status)}."


def _sentence(status: str) -> str:
    """Return a reason in words: its own, or those of its code with the columns that it names."""
    code, _, words = status.removeprefix(NOT_ESTIMABLE).strip(": ").partition(": ")
    name, bracket, columns = code.partition("(")
    if name.startswith("too_few"):
        return f"{name.replace('_', ' ')}, {words}"
    said = words or _REASONS.get(name, name.replace("_", " "))
    return f"{said} ({columns.removesuffix(')')})" if bracket else said


def _warning(rows: pl.DataFrame, reason: str | None) -> str | None:
    """Say which gates are closed where a study shows estimates all the same, and its reason; None where none is."""
    closed = rows.filter(
        pl.col("estimand") == "gate", pl.col("category") == "closed", pl.col("status").str.starts_with(OK)
    )
    if reason is None or closed.is_empty():
        return None
    gates = "; ".join(_GATES.get(name, name) for name in closed["term"])
    return f"Unsealed: the estimates are shown past closed gates ({gates}). The study says why: {reason}"


def _estimates(rows: pl.DataFrame, position: int, labels: Labels) -> Table | None:
    lines = []
    shown = rows.filter(pl.col("estimand").is_in(list(_NAMES)))
    if shown.filter(~pl.col("status").str.starts_with(NOT_ESTIMABLE)).is_empty():
        return None
    for name, called in _NAMES.items():
        for row in shown.filter(pl.col("estimand") == name).sort("group", descending=True).iter_rows(named=True):
            of_arm = name in {"risk", "time_lost", "effective_size"}
            label = f"{called}, {labels.group(position, row['group'])}" if of_arm else called
            lines.append(Line(label, (counted(row, "n"), counted(row, "events"), _cell(row))))
    notes = methods(shown, labels, position)
    return Table("", ("", "Persons", "Events", f"Estimate ({confidence(rows)})"), tuple(lines), notes)


def _estimate(row: Row) -> Cell:
    number = _WRITERS.get(row["estimand"], _tenths)
    return Cell(number(row["value"]) + bracketed(interval(number(row["lower"]), number(row["upper"]))))


def _tenths(value: float | None) -> str:
    return decimal(value, 1)


def _thousandths(value: float | None) -> str:
    return decimal(value, 3)


def _compared(rows: pl.DataFrame, labels: Labels, position: int) -> Table | None:
    """Return what other designs say of the same persons, under the answer."""
    told = rows.filter(pl.col("estimand").is_in(["marginal_hazard_ratio", "risk_difference"]))
    designs = told["category"].drop_nulls().unique().sort().to_list()
    if not designs:
        return None
    found = {(row["category"], row["estimand"]): row for row in told.iter_rows(named=True)}
    lines = [
        Line(
            "The answer, under its weights" if design is None else design[0].upper() + design[1:],
            tuple(_cell(found.get((design, name))) for name in ("risk_difference", "marginal_hazard_ratio")),
        )
        for design in (None, *designs)
    ]
    heading = ("", "Difference of risks", f"Hazard ratio ({confidence(rows)})")
    immortal = (
        "Ever treated, as if that were known at index, lends the treated the days that they had to stay free of the "
        "outcome to be treated: immortal time."
    )
    notes = (
        "Only the first row answers the question.",
        *([immortal] if any(design.startswith("ever treated") for design in designs) else []),
        *methods(told.filter(pl.col("category").is_not_null()), labels, position),
    )
    return Table("What other designs say of the same persons", heading, tuple(lines), notes)


def _controls(rows: pl.DataFrame, labels: Labels) -> Table | None:
    """Return the negative controls: hazard ratios that ought to be 1."""
    told = rows.filter(pl.col("estimand") == "negative_control")
    if told.is_empty():
        return None
    lines = [
        Line(
            f"{labels.term(row['term'])} ({row['category']})",
            (counted(row, "n"), counted(row, "events"), refused(row) or _estimate(row)),
        )
        for row in told.sort("category", "term", descending=[True, False]).iter_rows(named=True)
    ]
    heading = ("", "Persons", "Events", f"Hazard ratio ({confidence(rows)})")
    note = "Without systematic error each of these ratios would be 1. Counts are those of the arm with fewer events."
    return Table("Negative controls", heading, tuple(lines), (note,))


def _sensitivity(rows: pl.DataFrame, labels: Labels, position: int) -> Table | None:
    """Return how strong what was not measured, or was found with error, would have to be."""
    told = {row["estimand"]: row for row in rows.filter(pl.col("estimand").is_in(_SENSITIVITY)).iter_rows(named=True)}
    if not told or all(_is_no(row["status"]) for row in told.values()):
        return None
    lines = [Line(called, (_cell(told[name]),)) for name, called in _SENSITIVITY.items() if name in told]
    notes = (
        *methods(rows.filter(pl.col("estimand").is_in(_SENSITIVITY)), labels, position),
        "What other washouts, gaps and windows would give, the study shows when it is run over them (Study.over).",
    )
    return Table("How far to believe it", ("", "Ratio"), tuple(lines), notes)


def _cell(row: Row | None) -> Cell:
    """Return an estimate; of a sealed one that it is, since the reason stands above the table."""
    if row is None:
        return BLANK
    if row["status"].startswith(SEALED):
        return Cell(SEALED, "not_estimable")
    return refused(row) or _estimate(row)


def _gates(rows: pl.DataFrame) -> Table | None:
    lines = [
        Line(_GATES[row["term"]], (Cell(row["category"], "reference"), Cell(_measured(row), "reference")))
        for row in rows.filter(pl.col("estimand") == "gate", pl.col("status") != SUPPRESSED).iter_rows(named=True)
    ]
    if not lines:
        return None
    return Table("Gates: judged before the estimates are looked at", ("", "Gate", "What was measured"), tuple(lines))


def _measured(row: Row) -> str:
    """Say what a gate measured, what it asks, and the number where it is not a count."""
    number = "" if row["value"] is None else f": {row['value']:g}"
    return f"{row['method']}{number}"


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


_RATIOS = (*_SENSITIVITY, "risk_ratio", "marginal_hazard_ratio", "calibrated_hazard_ratio", "negative_control")
_WRITERS = {
    "risk": percent,
    "risk_difference": percent,
    "effective_size": count,
    "calibrated_p_value": _thousandths,
    **dict.fromkeys(_RATIOS, ratio),
}
"""How each estimand is written, if not as days with one decimal."""
