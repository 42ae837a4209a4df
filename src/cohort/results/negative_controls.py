"""Negative controls of a treatment effect: what cannot be affected, analysed in the same way, and what that tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort.effects.calibration import SystematicError, systematic_error
from cohort.effects.gates import Bounds, Gate, judge_systematic_error
from cohort.effects.marginal import weighted_effects
from cohort.effects.propensity import propensity_scores
from cohort.effects.weights import balancing_weights
from cohort.errors import NotEstimableError
from cohort.results.analysis_table import control_column
from cohort.results.estimates import ALL, OK
from cohort.results.treatment import variables_of

if TYPE_CHECKING:
    from cohort.results.treatment import TreatmentEffect

_METHOD = "Cox model under weights, as the treatment; counts are those of the arm with fewer events"


@dataclass(frozen=True, slots=True)
class Control:
    """One negative control: its hazard ratio, or why there is none, and persons and events of the arm with fewer."""

    name: str
    kind: str
    numbers: tuple[float, float, float, float] | None = None
    n: int | None = None
    events: int | None = None
    status: str = OK


@dataclass(frozen=True, slots=True)
class Calibration:
    """The negative controls of a treatment effect and the systematic error that they show; None if they are too few."""

    controls: tuple[Control, ...]
    error: SystematicError | None
    status: str = OK

    def gates(self, bounds: Bounds) -> tuple[Gate, ...]:
        """Return the gate of negative controls, where some are given."""
        return (judge_systematic_error(self.error, bounds),) if self.controls else ()

    def table(self) -> pl.DataFrame:
        """Return one row per negative control."""
        empty = (None, None, None, None)
        columns: dict[str, list[object]] = {
            "estimand": ["negative_control"] * len(self.controls),
            "group": [ALL] * len(self.controls),
            "term": [control.name for control in self.controls],
            "category": [control.kind for control in self.controls],
            "n": [control.n for control in self.controls],
            "events": [control.events for control in self.controls],
            "status": [control.status for control in self.controls],
            "method": [_METHOD] * len(self.controls),
        }
        numbers = [control.numbers or empty for control in self.controls]
        names = ("value", "std_error", "lower", "upper")
        columns |= {name: [row[place] for row in numbers] for place, name in enumerate(names)}
        texts = dict.fromkeys(("estimand", "group", "term", "category", "status", "method"), pl.String)
        counts = {"n": pl.Int64, "events": pl.Int64}
        schema = {name: texts.get(name) or counts.get(name) or pl.Float64 for name in columns}
        return pl.DataFrame(columns, schema=schema)

    def calibrated(self, shown: pl.DataFrame, level: float) -> pl.DataFrame:
        """Return calibrated hazard ratio and p-value, sealed where the hazard ratio is."""
        found = shown.filter(pl.col("estimand") == "marginal_hazard_ratio")
        if not self.controls or found.is_empty():
            return shown.clear()
        row = found.row(0, named=True)
        status = row["status"] if row["status"] != OK else self.status
        numbers: dict[str, dict[str, float]] = {"calibrated_hazard_ratio": {}, "calibrated_p_value": {}}
        if status == OK and self.error is not None:
            at = (float(np.log(row["value"])), row["std_error"])
            value, lower, upper = map(float, np.exp(self.error.interval(*at, level)))
            spread = float(np.hypot(self.error.spread, row["std_error"]))
            numbers["calibrated_hazard_ratio"] = {"value": value, "std_error": spread, "lower": lower, "upper": upper}
            numbers["calibrated_p_value"] = {"value": self.error.p_value(*at)}
        method = f"empirical calibration by {sum(control.status == OK for control in self.controls)} negative controls"
        rows = [
            {"estimand": name, "group": "true", "status": status, "method": method} | values
            for name, values in numbers.items()
        ]
        return pl.DataFrame(rows, schema=shown.schema)


def calibrate(effect: TreatmentEffect, frame: pl.DataFrame, entry: str | None, outcomes: Sequence[str]) -> Calibration:
    """Analyse every negative control as the treatment is analysed, and fit the systematic error.

    Parameters
    ----------
    frame
        One row per person, with the treatment, the covariates, and follow-up until each negative-control outcome.
    outcomes
        Their names, in the order in which the columns are numbered.
    """
    found = tuple(_controls(effect, frame, entry, outcomes))
    used = [control.numbers for control in found if control.numbers is not None]
    if not found:
        return Calibration((), None)
    try:
        error = systematic_error([np.log(ratio) for ratio, *_ in used], [spread for _, spread, *_ in used])
    except NotEstimableError as refused:
        return Calibration(found, None, str(refused))
    return Calibration(found, error)


def _controls(
    effect: TreatmentEffect, frame: pl.DataFrame, entry: str | None, outcomes: Sequence[str]
) -> Iterator[Control]:
    for number, name in enumerate(outcomes, start=1):
        columns = {name: control_column(number, name) for name in ("entry", "time", "cause")}
        watched = frame.filter(pl.col(columns["time"]).is_not_null())
        watched = watched.with_columns(pl.col(column).cast(pl.Int64).alias(name) for name, column in columns.items())
        late = bool((watched["entry"] > 0).any()) or entry is not None
        yield _control(effect, watched, effect.treatment, "entry" if late else None, (name, "outcome"))
    for name in effect.negative_exposures:
        yield _control(effect, frame.drop_nulls(name), name, entry, (name, "exposure"))


def _control(
    effect: TreatmentEffect, frame: pl.DataFrame, treatment: str, entry: str | None, named: tuple[str, str]
) -> Control:
    known = frame.drop_nulls(list(variables_of(effect.adjust_for)))
    arms = known.group_by(treatment).agg(n=pl.len(), events=(pl.col("cause") == 1).sum()).sort("events", "n")
    if arms.height < 2 or arms["events"][0] < effect.gates.control_events:
        return Control(*named, status=f"not_estimable: too_few_events: below {effect.gates.control_events:g} in an arm")
    try:
        scores = propensity_scores(known, treatment, effect.adjust_for, model=effect.model, folds=effect.folds)
        weights = balancing_weights(scores, effect.estimand, truncate=effect.truncate)
        fit = weighted_effects(
            known, weights, entry=entry, horizon=effect.horizon_days, measures=("hazard_ratio",), level=effect.level
        )
    except NotEstimableError as error:
        return Control(*named, status=str(error))
    ratio, spread, lower, upper = fit.table.select("estimate", "std_error", "lower", "upper").row(0)
    return Control(*named, (ratio, spread, lower, upper), int(arms["n"][0]), int(arms["events"][0]))
