"""The section of a known truth: on simulated data, what immortal time does to each design, beside what is true."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import polars as pl

from cohort.report.figures_forest import Mark, forest
from cohort.report.labels import Labels
from cohort.report.numbers import BLANK, Cell, count, decimal, interval, percent, ratio
from cohort.report.printed import Figure, Section
from cohort.report.tables import Line, Row, Table, confidence, refused
from cohort.results.estimates import Estimates

ANSWER = "The answer, under its weights"


@dataclass(frozen=True, slots=True)
class KnownTruth:
    """What is true of simulated data: hazard ratios of the treatment by horizon, day → ratio, and where from."""

    scenario: str
    persons: int
    seed: int
    hazard_ratios: Mapping[int, float]
    risks: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """By horizon: the risk where everybody is treated, and where nobody is."""

    def to_json(self) -> str:
        """Return the truth as text."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> KnownTruth:
        """Return the truth that `to_json` wrote."""
        told = json.loads(text)
        ratios = {int(day): ratio for day, ratio in told.pop("hazard_ratios").items()}
        risks = {int(day): (pair[0], pair[1]) for day, pair in told.pop("risks", {}).items()}
        return cls(hazard_ratios=ratios, risks=risks, **told)

    def at(self, day: int) -> tuple[int, float]:
        """Return the horizon nearest to a day, and the true hazard ratio by then."""
        nearest = min(self.hazard_ratios, key=lambda horizon: (abs(horizon - day), horizon))
        return nearest, self.hazard_ratios[nearest]


def bias_sections(estimates: Estimates, labels: Labels, truth: KnownTruth) -> list[Section]:
    """Return one section per emulated trial: those analyses that carry other designs beside their answer."""
    ratios, risks = (estimates.select(estimand=name) for name in ("marginal_hazard_ratio", "risk"))
    trials = ratios.filter(pl.col("category").is_not_null())["analysis"].unique().sort()
    return [
        _section(ratios.filter(analysis=position), risks.filter(analysis=position), labels, truth)
        for position in trials
    ]


def _section(rows: pl.DataFrame, risks: pl.DataFrame, labels: Labels, truth: KnownTruth) -> Section:
    position, horizon, outcome = rows.select("analysis", "time", "outcome").row(0)
    day, true = truth.at(horizon)
    title = f"{labels.title(position, 'Emulated target trial')}: {labels.term(outcome)}"
    designs = [(_called(row["category"]), row) for row in rows.sort("category", nulls_last=False).iter_rows(named=True)]
    by_then = truth.risks.get(day)
    told = BLANK, BLANK
    if by_then is not None:
        told = Cell(percent(by_then[0])), Cell(percent(by_then[1]))
    lines = [
        Line(f"Truth, by day {count(day)}", (Cell(ratio(true)), BLANK, *told)),
        *(Line(name, (*_cells(row, true), *_risks(risks, row["category"], by_then))) for name, row in designs),
    ]
    marks = [Mark("Truth", "Truth", true, text=ratio(true)), *(_mark(name, row) for name, row in designs)]
    said = "; ".join(f"{mark.spoken}: {mark.text}" for mark in marks)
    text = f"{title}. Hazard ratios of each design beside the truth, logarithmic axis. {said}."
    notes = (
        f"Scenario {truth.scenario}, {count(truth.persons)} persons, seed {truth.seed}: the true ratio is that of a "
        "trial in which everybody has the scenario's opioid, and nobody has it.",
        "The error is the logarithm of a ratio less that of the truth. That of ever treated is immortal time: whoever "
        "is treated late has stayed free of the outcome until then. Errors of risks are in points of percent.",
    )
    heading = (
        "",
        f"Hazard ratio ({confidence(rows)})",
        "Error of its logarithm",
        "Risk if treated (error)",
        "Risk if not (error)",
    )
    drawn = [(mark.spoken, mark.value, mark.lower, mark.upper) for mark in marks]
    types = {"design": pl.String, "value": pl.Float64, "lower": pl.Float64, "upper": pl.Float64}
    figure = Figure(
        forest(marks, "Hazard ratio, logarithmic axis", text), text, pl.DataFrame(drawn, schema=types, orient="row")
    )
    return Section(title, figure, Table("", heading, tuple(lines)), notes)


def _called(design: str | None) -> str:
    return ANSWER if design is None else design[0].upper() + design[1:]


def _cells(row: Row, true: float) -> tuple[Cell, Cell]:
    hidden = refused(row)
    if hidden is not None:
        return hidden, BLANK
    error = decimal(math.log(row["value"]) - math.log(true), 2)
    return Cell(_shown(row)), Cell(error)


def _risks(risks: pl.DataFrame, design: str | None, true: tuple[float, float] | None) -> tuple[Cell, Cell]:
    """Return the risks of both strategies by a design, the first strategy being that of the treated."""
    named = pl.col("category").is_null() if design is None else pl.col("category") == design
    rows = risks.filter(named).sort("group", descending=True).rows(named=True)
    if true is None or len(rows) != len(true):
        return BLANK, BLANK
    return _risk(rows[0], true[0]), _risk(rows[1], true[1])


def _risk(row: Row, true: float) -> Cell:
    return refused(row) or Cell(f"{percent(row['value'])} ({100 * (row['value'] - true):+.1f})")


def _mark(name: str, row: Row) -> Mark:
    if row["value"] is None or row["lower"] is None:
        return Mark(name, name, text="not shown")
    return Mark(name, name, row["value"], row["lower"], row["upper"], _shown(row))


def _shown(row: Row) -> str:
    return f"{ratio(row['value'])} ({interval(ratio(row['lower']), ratio(row['upper']))})"
