"""From persons to the rows of an emulated trial: estimates or why they are sealed, curves, other designs, gates."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl

from cohort.effects.clones import STRATEGIES
from cohort.effects.exposed_time import BEFORE_INDEX
from cohort.effects.gates import Bounds, judge_trial
from cohort.effects.propensity import one_thread
from cohort.effects.trial_checks import TrialChecks, check_trial
from cohort.errors import NotEstimableError
from cohort.features.time_varying import TimeVarying
from cohort.results.analysis_table import AnalysisTable
from cohort.results.negative_controls import Candidate, calibrate, control_columns, followed_until
from cohort.results.sensitivity_rows import sensitivity_rows
from cohort.results.treatment_rows import balance_rows, gate_rows, without_sealed_numbers
from cohort.results.trial_designs import other_designs
from cohort.results.trial_question import emulate, question
from cohort.results.weighted_rows import answers, curves, persons_and_events, statuses

if TYPE_CHECKING:
    from cohort.results.trial import EmulatedTrial

_DIFFERENCE = "followers of starting minus those of not, at the end of grace, in unweighted standard deviations"


def trial_rows(trial: EmulatedTrial, table: AnalysisTable) -> pl.DataFrame:
    """Return the rows of an emulated trial.

    Raises
    ------
    NotEstimableError
        What cloning, weights and estimates raise; ``nobody_at_risk``.
    """
    columns = ["person_id", "entry", "time", "cause", trial.exposure, *trial.uses]
    columns += ["exit_reason"] if (weighs := trial.natural_censoring is not None) else []
    columns += [*trial.negative_exposures, *control_columns(table.controls, reasons=weighs)]
    everybody = table.lazy().select(columns).with_columns(pl.col("cause").cast(pl.Int64)).collect()
    changing = {covariate.name for covariate in table.time_varying}
    frame = everybody.drop_nulls([name for name in trial.uses if name not in changing])
    if frame.is_empty():
        raise NotEstimableError("nobody_at_risk: nobody has all of the covariates")
    if table.entry is None:
        frame = frame.with_columns(entry=pl.lit(BEFORE_INDEX, pl.Int64))
    with one_thread():  # that, and an order of rows that only persons decide, keep every digit the same
        rows = _rows(trial, frame, table)
    # how many is a count that no rule has judged
    note = "" if frame.height == everybody.height else "; persons with a missing covariate left out"
    return rows.with_columns(method=pl.concat_str(pl.col("method"), pl.lit(note)))


def _rows(trial: EmulatedTrial, frame: pl.DataFrame, table: AnalysisTable) -> pl.DataFrame:
    start = trial.strategies[0]
    asked = question(trial, frame, trial.exposure, table.time_varying)
    checks = check_trial(**asked)
    found = emulate(trial, asked)
    bounds = Bounds(**trial.gates.model_dump())
    candidates = _candidates(trial, frame, table.controls)
    fit = functools.partial(_control_ratio, trial, table.time_varying)
    calibration = calibrate(candidates, fit, bounds.control_events)
    *judged, hazards = judge_trial(checks, bounds)
    gates = (*judged, *calibration.gates(bounds), hazards)
    status, groups = (
        statuses(gates, unsealed=trial.unsealed is not None),
        dict(zip(STRATEGIES, trial.strategies, strict=True)),
    )
    shown = without_sealed_numbers(
        pl.concat(
            [answers(found.table, groups, found.method), other_designs(trial, frame, asked)], how="diagonal"
        ).join(status, "estimand")
    )
    sizes = dict(zip(trial.strategies, checks.effective_size, strict=True))
    parts = [
        shown,
        calibration.calibrated(shown, trial.level),
        sensitivity_rows(shown, sizes, trial.sensitivity),
        balance_rows(checks.balance, start, _DIFFERENCE),
        gate_rows(gates, start),
        _sizes(trial, checks),
    ]
    persons = frame.with_columns(_started(trial))
    rows = pl.concat(parts, how="diagonal").join(
        persons_and_events(persons), on="group", how="left", maintain_order="left"
    )
    counted = pl.concat([rows, calibration.table()], how="diagonal").with_columns(
        time=pl.lit(trial.horizon_days, pl.Int64), outcome=pl.lit(table.outcome)
    )
    sealed = status.filter(estimand="risk").select("status")
    drawn = without_sealed_numbers(
        curves(persons, table, found.curves, groups, found.method, table.entry).join(sealed, how="cross")
    )
    return pl.concat([counted, drawn], how="diagonal")


def _candidates(trial: EmulatedTrial, frame: pl.DataFrame, outcomes: Sequence[str]) -> Iterator[Candidate]:
    """Yield the negative controls: the study's outcomes, then the trial's exposures."""
    for name, rows, late in followed_until(frame, None, outcomes):
        yield Candidate(name, "outcome", rows, trial.exposure, late, _in_time(trial, trial.exposure))
    for name in trial.negative_exposures:
        yield Candidate(name, "exposure", frame, name, None, _in_time(trial, name))


def _control_ratio(
    trial: EmulatedTrial, time_varying: Sequence[TimeVarying], control: Candidate
) -> tuple[float, float, float, float]:
    """Return the hazard ratio of a negative control from a trial of its own, its error and limits."""
    asked = question(trial, control.rows, control.treatment, time_varying)
    table = emulate(trial, asked).table.filter(measure="hazard_ratio")
    ratio, spread, lower, upper = table.select("estimate", "std_error", "lower", "upper").row(0)
    return ratio, spread, lower, upper


def _started(trial: EmulatedTrial) -> pl.Expr:
    """Return which persons started in time; the others did not, or left before they could."""
    start, abstain = map(pl.lit, trial.strategies)
    return pl.when(_in_time(trial, trial.exposure)).then(start).otherwise(abstain).alias("group")


def _in_time(trial: EmulatedTrial, exposure: str) -> pl.Expr:
    """Return whether an exposure started within the grace period and before follow-up ended."""
    start = pl.col(exposure)
    return ((start <= trial.grace_days) & (start <= pl.col("time"))).fill_null(value=False)


def _sizes(trial: EmulatedTrial, checks: TrialChecks) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "estimand": "effective_size",
            "group": list(trial.strategies),
            "value": list(checks.effective_size),
            "method": "followers at the end of grace who would tell as much without weights (Kish)",
        }
    )
