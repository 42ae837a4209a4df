"""The sections of the page that repeat: one per curve, per rate table and per model of the study."""

from __future__ import annotations

import math
from dataclasses import replace

import polars as pl

from cohort.report.effects import ESTIMANDS, effect_positions
from cohort.report.figures_curves import Series, axis_days, curves
from cohort.report.figures_forest import Mark, forest
from cohort.report.labels import Labels
from cohort.report.numbers import days, interval, percent, ratios, significant
from cohort.report.printed import CURVE_COLUMNS, Figure, Section
from cohort.report.tables import (
    Row,
    Table,
    at_or_before,
    bracketed,
    by_term,
    confidence,
    curve_groups,
    curve_table,
    is_reference,
    methods,
    model_table,
    other_table,
    prevalence_table,
    rate_table,
    risk_lines,
)
from cohort.results.disclosure import Released
from cohort.results.estimates import NOT_ESTIMABLE, PROPORTIONALITY, RATIOS, SUPPRESSED, Estimates
from cohort.results.pathways import LINK

RATES = ("incidence_rate", "standardised_rate")
SHARES = ("prevalence", "standardised_prevalence")
CURVES = {"cumulative_incidence": "Cumulative incidence", "survival": "Kaplan–Meier survival"}


def curve_sections(released: Released, labels: Labels) -> list[Section]:
    """Return one section per analysis, estimand and outcome that was asked for as a curve."""
    exact = released.rule.off
    rows = released.estimates.frame.filter(pl.col("estimand").is_in(list(CURVES)))
    return [
        _curve_section(part, labels, exact=exact)
        for part in rows.partition_by("analysis", "estimand", "outcome", maintain_order=True)
    ]


def rate_sections(estimates: Estimates, labels: Labels) -> list[Table]:
    """Return one table per analysis of incidence rates or prevalences, crude and standardised."""
    rows = estimates.frame.filter(pl.col("estimand").is_in([*RATES, *SHARES]))
    parts = rows.partition_by("analysis", maintain_order=True)
    return [
        (rate_table if part["estimand"][0] in RATES else prevalence_table)(part, part["analysis"][0], labels)
        for part in parts
    ]


def model_sections(estimates: Estimates, labels: Labels) -> list[Section]:
    """Return one section per model: forest plot and table."""
    parts = estimates.frame.filter(pl.col("estimand").is_in(RATIOS)).partition_by(
        "analysis", "outcome", maintain_order=True
    )
    return [_model_section(part, labels, estimates.select(estimand=PROPORTIONALITY)) for part in parts]


def other_sections(estimates: Estimates, labels: Labels) -> list[Table]:
    """Return one table per analysis of everything that has no section of its own: nothing is left unprinted."""
    printed = [*CURVES, *RATES, *SHARES, *RATIOS, LINK, PROPORTIONALITY]
    told = pl.col("analysis").is_in(effect_positions(estimates)) & pl.col("estimand").is_in(ESTIMANDS)
    rows = estimates.frame.filter(pl.col("analysis") > 0, ~pl.col("estimand").is_in(printed), ~told)
    return [
        other_table(part, part["analysis"][0], labels) for part in rows.partition_by("analysis", maintain_order=True)
    ]


def _curve_section(rows: pl.DataFrame, labels: Labels, *, exact: bool) -> Section:
    position, estimand, outcome = rows.select("analysis", "estimand", "outcome").row(0)
    title = labels.title(position, CURVES[estimand]) + (f": {labels.term(outcome)}" if outcome else "")
    refusals = _refusals(rows, position, labels)
    if not curve_groups(rows):
        return Section(title, None, None, methods(rows, labels, position), refusals)
    times = axis_days(rows)
    drawn = {
        group: rows.filter((pl.col("group") == group) & pl.col("value").is_not_null()) for group in curve_groups(rows)
    }
    left = "Censored" if estimand == "survival" else "Left otherwise"
    series = [
        Series(
            labels.group(position, group), part, risk_lines(part, times, left, exact=exact), labels.landmark(position)
        )
        for group, part in drawn.items()
    ]
    start = 1.0 if estimand == "survival" else 0.0
    text = _curve_text(title, rows, labels)
    svg = curves(series, times, start=start, exact=exact, axis=CURVES[estimand], text=text)
    data = pl.concat(
        part.select(pl.lit(labels.group(position, group)).alias("group"), *CURVE_COLUMNS)
        for group, part in drawn.items()
    )
    notes = (*methods(rows, labels, position), *_risk_notes(left, exact=exact))
    return Section(title, Figure(svg, text, data), curve_table(rows, position, times, labels), notes, refusals)


def _risk_notes(left: str, *, exact: bool) -> tuple[str, ...]:
    """Say what the numbers under the axis count."""
    otherwise = "Left otherwise: censored, or another event came first. " if left == "Left otherwise" else ""
    coarse = "as of the last released point before each day, blank where there is no newer one"
    joined = "" if exact else "Dots are the released points; the lines only join them. "
    return (f"{joined}{otherwise}Numbers under the axis are {'before the events of each day' if exact else coarse}.",)


def _curve_text(title: str, rows: pl.DataFrame, labels: Labels) -> str:
    """Say in words what the curve shows: each group's last estimate."""
    said = []
    for group in curve_groups(rows):
        part = rows.filter(pl.col("group") == group)
        last = at_or_before(part, part.filter(pl.col("value").is_not_null())["time"].max())  # type: ignore[arg-type]
        if last is not None:
            ends = interval(percent(last["lower"]), percent(last["upper"]))
            name = labels.group(last["analysis"], group)
            limits = bracketed(ends and f"{confidence(rows)} {ends}")
            said.append(f"{name}: {percent(last['value'])}{limits} at {days(last['time'])}")
    return f"{title}. Curves by day since index with confidence bands. " + "; ".join(said) + "."


def _refusals(rows: pl.DataFrame, position: int, labels: Labels) -> tuple[str, ...]:
    """Say of each group without a curve why it has none."""
    told = []
    for group, status in (
        rows.filter(~pl.col("status").str.starts_with("ok"))
        .select("group", "status")
        .unique()
        .sort("group", "status")
        .rows()
    ):
        why = (
            "withheld by the release rule"
            if status == SUPPRESSED
            else status.removeprefix(NOT_ESTIMABLE).strip(": ").replace("_", " ")
        )
        told.append(f"{labels.group(position, group)}: {why}.")
    return tuple(told)


def _model_section(rows: pl.DataFrame, labels: Labels, tests: pl.DataFrame) -> Section:
    position, outcome = rows.select("analysis", "outcome").row(0)
    table = model_table(rows, position, labels)
    tested = _proportionality(tests.filter(pl.col("analysis") == position), labels)
    table = replace(table, notes=(*table.notes, *tested))
    marks = [mark for term, members in by_term(rows, labels) for mark in _marks(term, members, labels)]
    drawn = [mark for mark in marks if mark.value is not None and mark.lower is not None]
    title = labels.title(position, "Hazard ratios") + (f": {labels.term(outcome)}" if outcome else "")
    if not drawn:
        return Section(title, None, table, table.notes)
    said = "; ".join(f"{mark.spoken}: {mark.text}" for mark in drawn)
    text = f"{title}. Forest plot on a logarithmic axis, {confidence(rows)}. {said}."
    svg = forest(marks, "Hazard ratio, logarithmic axis", text)
    data = pl.DataFrame(
        [(mark.spoken, mark.value, mark.lower, mark.upper, mark.text) for mark in marks if mark.text],
        schema={"term": pl.String, "value": pl.Float64, "lower": pl.Float64, "upper": pl.Float64, "text": pl.String},
        orient="row",
    )
    return Section(title, Figure(svg, text, data), table, table.notes)


def _proportionality(tests: pl.DataFrame, labels: Labels) -> tuple[str, ...]:
    """Say by term whether hazards are proportional: what a ratio that changes with time averages over."""
    shown = tests.filter(pl.col("value").is_not_null())
    if shown.is_empty():
        return ()
    said = {row["term"]: significant(row["value"]) for row in shown.iter_rows(named=True)}
    each = [f"{labels.term(term)} p = {said[term]}" for term in labels.order([term for term in said if term])]
    every = [f"all together p = {said[None]}"] if None in said and len(each) > 1 else []
    return (
        f"Proportional hazards ({shown['method'][0]}): {', '.join([*each, *every])}. A small p-value says that a ratio "
        "changes with time, and that the one shown is an average over it.",
    )


def _marks(term: str, members: list[Row], labels: Labels) -> list[Mark]:
    """Return what the forest plot draws for one term: a heading and its levels, or one line."""
    name = labels.term(term)
    if members[0]["category"] is None:
        return [_mark(name, name, members[0])]
    levels = [(labels.level(term, str(row["category"])), row) for row in members]
    return [Mark(name, name), *(_mark(level, f"{name}, {level}", row, indent=True) for level, row in levels)]


def _mark(label: str, spoken: str, row: Row, *, indent: bool = False) -> Mark:
    if is_reference(row):
        return Mark(label, spoken, 1.0, text="1 (reference)", indent=indent)
    ends = (row["value"], row["lower"], row["upper"])
    if any(end is None or not 0 < end < math.inf for end in ends):
        why = "withheld" if row["status"] == SUPPRESSED else "not estimable"
        return Mark(label, spoken, text=why, indent=indent)
    value, *limits = ratios(*ends)
    return Mark(label, spoken, *ends, f"{value} ({interval(*limits)})", indent)
