"""Negative controls of a treatment effect: what cannot be affected, analysed in the same way, and what that tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from cohort.effects.calibration import SystematicError, systematic_error
from cohort.effects.gates import Bounds, Gate, judge_systematic_error
from cohort.errors import NotEstimableError
from cohort.results.analysis_table import FOLLOW_UP, control_column
from cohort.results.estimates import ALL, OK

_METHOD = "analysed as the treatment is; counts are those of the arm with fewer events"
_Numbers = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Control:
    """One negative control: its hazard ratio, or why there is none, and persons and events of the arm with fewer."""

    name: str
    kind: str
    numbers: _Numbers | None = None
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
        answers = shown.filter(pl.col("category").is_null()) if "category" in shown.columns else shown
        found = answers.filter(pl.col("estimand") == "marginal_hazard_ratio")
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
            {"estimand": name, "group": row["group"], "status": status, "method": method} | values
            for name, values in numbers.items()
        ]
        return pl.DataFrame(rows, schema=shown.schema)


class Candidate(NamedTuple):
    """What may serve as a negative control: its rows, the treatment's column, delayed entry, who is in which arm."""

    name: str
    kind: str
    rows: pl.DataFrame
    treatment: str
    entry: str | None
    arm: pl.Expr


Fit = Callable[[Candidate], _Numbers]
"""From a candidate to hazard ratio, standard error of its logarithm, and limits."""


def calibrate(candidates: Iterable[Candidate], fit: Fit, events: float) -> Calibration:
    """Analyse every negative control as the treatment is analysed, and fit the systematic error.

    Parameters
    ----------
    fit
        The analysis of the treatment, for its hazard ratio; what it cannot estimate is told and left out.
    events
        Fewest events in either arm.
    """
    found = tuple(_control(candidate, fit, events) for candidate in candidates)
    used = [control.numbers for control in found if control.numbers is not None]
    if not found:
        return Calibration((), None)
    try:
        error = systematic_error([np.log(ratio) for ratio, *_ in used], [spread for _, spread, *_ in used])
    except NotEstimableError as refused:
        return Calibration(found, None, str(refused))
    return Calibration(found, error)


def control_columns(outcomes: Sequence[str], *, reasons: bool = False) -> list[str]:
    """Return the columns of follow-up until each negative-control outcome, with the reason of its end if asked for."""
    names = FOLLOW_UP if reasons else FOLLOW_UP[:-1]
    return [control_column(number, name) for number in range(1, len(outcomes) + 1) for name in names]


def followed_until(
    frame: pl.DataFrame, entry: str | None, outcomes: Sequence[str]
) -> Iterator[tuple[str, pl.DataFrame, str | None]]:
    """Yield each negative-control outcome with the rows of those at risk of it, and their column of delayed entry."""
    for number, outcome in enumerate(outcomes, start=1):
        columns = {name: control_column(number, name) for name in FOLLOW_UP}
        columns = {name: column for name, column in columns.items() if column in frame.columns}
        watched = frame.filter(pl.col(columns["time"]).is_not_null())
        named = watched.with_columns(pl.col(column).alias(name) for name, column in columns.items())
        rows = named.with_columns(pl.col("entry", "time", "cause").cast(pl.Int64))
        late = bool((rows["entry"] > 0).any()) or entry is not None
        yield outcome, rows, "entry" if late else None


def _control(candidate: Candidate, fit: Fit, events: float) -> Control:
    named = (candidate.name, candidate.kind)
    arms = candidate.rows.group_by(candidate.arm.alias("arm")).agg(n=pl.len(), events=(pl.col("cause") == 1).sum())
    arms = arms.sort("events", "n")
    if arms.height < 2 or arms["events"][0] < events:
        return Control(*named, status=f"not_estimable: too_few_events: below {events:g} in an arm")
    try:
        numbers = fit(candidate)
    except NotEstimableError as error:
        return Control(*named, status=str(error))
    return Control(*named, numbers, int(arms["n"][0]), int(arms["events"][0]))
