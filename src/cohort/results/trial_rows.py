"""From persons to the rows of an emulated trial: estimates or why they are sealed, curves, other designs, gates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort.effects.clones import STRATEGIES, Persons, clone
from cohort.effects.emulation import Emulation, clone_censor_weight
from cohort.effects.exposed_time import BEFORE_INDEX, at_landmark, ever_exposed, split_at_start
from cohort.effects.gates import Bounds, Gate, judge_trial
from cohort.effects.propensity import one_thread
from cohort.effects.trial_checks import TrialChecks, check_trial
from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.negative_controls import Candidate, calibrate, control_columns, followed_until
from cohort.results.sensitivity_rows import sensitivity_rows
from cohort.results.treatment_rows import balance_rows, gate_rows, seal, without_sealed_numbers
from cohort.survival import cumulative_incidence, fit_cox

if TYPE_CHECKING:
    from cohort.results.trial import EmulatedTrial

HAZARD_RATIO, DIFFERENCE = "marginal_hazard_ratio", "risk_difference"
EVER, CLONES, LANDMARK, TIME_VARYING = (
    "ever treated, as if at index",
    "clones without weights",
    "landmark at the end of grace",
    "time-varying exposure",
)
"""Other designs on the same persons, named in ``category``; the first takes immortal time for treated."""
_COMPARED = "another design on the same persons"
_DIFFERENCE = "followers of starting minus those of not, at the end of grace, in unweighted standard deviations"


def trial_rows(trial: EmulatedTrial, table: AnalysisTable) -> pl.DataFrame:
    """Return the rows of an emulated trial.

    Raises
    ------
    NotEstimableError
        What cloning, weights and estimates raise; ``nobody_at_risk``.
    """
    columns = ["person_id", "entry", "time", "cause", trial.exposure, *trial.uses, *trial.negative_exposures]
    columns += control_columns(table.controls)
    everybody = table.lazy().select(columns).with_columns(pl.col("cause").cast(pl.Int64)).collect()
    frame = everybody.drop_nulls(list(trial.uses))
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
    checks = check_trial(
        frame,
        treatment_time=trial.exposure,
        grace_days=trial.grace_days,
        terms=trial.adjust_for,
        truncate=trial.truncate,
    )
    found = _emulate(trial, frame, trial.exposure)
    bounds = Bounds(**trial.gates.model_dump())
    candidates = _candidates(trial, frame, table.controls)
    calibration = calibrate(candidates, lambda control: _control_ratio(trial, control), bounds.control_events)
    *judged, hazards = judge_trial(checks, bounds)
    gates = (*judged, *calibration.gates(bounds), hazards)
    status = _status(trial, gates)
    shown = without_sealed_numbers(
        pl.concat([_effects(trial, found), _compared(trial, frame)]).join(status, "estimand")
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
    rows = pl.concat(parts, how="diagonal").join(_counts(trial, frame), on="group", how="left", maintain_order="left")
    counted = pl.concat([rows, calibration.table()], how="diagonal").with_columns(
        time=pl.lit(trial.horizon_days, pl.Int64), outcome=pl.lit(table.outcome)
    )
    sealed = status.filter(estimand="risk").select("status")
    curves = without_sealed_numbers(_curves(trial, frame, found, table).join(sealed, how="cross"))
    return pl.concat([counted, curves], how="diagonal")


def _emulate(trial: EmulatedTrial, rows: pl.DataFrame, exposure: str) -> Emulation:
    return clone_censor_weight(
        rows,
        treatment_time=exposure,
        grace_days=trial.grace_days,
        terms=trial.adjust_for,
        horizon=trial.horizon_days,
        truncate=trial.truncate,
        replicates=trial.replicates,
        seed=trial.seed,
        level=trial.level,
    )


def _candidates(trial: EmulatedTrial, frame: pl.DataFrame, outcomes: Sequence[str]) -> Iterator[Candidate]:
    """Yield the negative controls: the study's outcomes, then the trial's exposures."""
    for name, rows, late in followed_until(frame, None, outcomes):
        yield Candidate(name, "outcome", rows, trial.exposure, late, _in_time(trial, trial.exposure))
    for name in trial.negative_exposures:
        yield Candidate(name, "exposure", frame, name, None, _in_time(trial, name))


def _control_ratio(trial: EmulatedTrial, control: Candidate) -> tuple[float, float, float, float]:
    """Return the hazard ratio of a negative control from a trial of its own, its error and limits."""
    table = _emulate(trial, control.rows, control.treatment).table.filter(measure="hazard_ratio")
    ratio, spread, lower, upper = table.select("estimate", "std_error", "lower", "upper").row(0)
    return ratio, spread, lower, upper


def _status(trial: EmulatedTrial, gates: tuple[Gate, ...]) -> pl.DataFrame:
    """Return the status of each estimand: proportional hazards, the last gate, close the hazard ratio alone."""
    unsealed = trial.unsealed is not None
    estimands = ("risk", "time_lost", DIFFERENCE, "time_lost_difference", "risk_ratio")
    whole = dict.fromkeys(estimands, seal(gates[:-1], unsealed=unsealed))
    whole[HAZARD_RATIO] = seal(gates, unsealed=unsealed)
    return pl.DataFrame({"estimand": list(whole), "status": list(whole.values())})


def _effects(trial: EmulatedTrial, found: Emulation) -> pl.DataFrame:
    """Return the estimates of both strategies and their contrasts."""
    groups = dict(zip(STRATEGIES, trial.strategies, strict=True))
    return found.table.select(
        pl.col("measure").replace({"hazard_ratio": HAZARD_RATIO}).alias("estimand"),
        pl.col("group").replace(groups),
        category=pl.lit(None, pl.String),
        value="estimate",
        std_error="std_error",
        lower="lower",
        upper="upper",
        method=pl.lit(found.method),
    )


def _compared(trial: EmulatedTrial, frame: pl.DataFrame) -> pl.DataFrame:
    """Return what other designs say of the same persons; a ratio that has no estimate is left out."""
    rows = [
        (estimand, trial.strategies[0], design, *numbers, f"{_COMPARED}: {how}")
        for design, estimand, numbers, how in _designs(trial, frame)
    ]
    names = ("estimand", "group", "category", "value", "std_error", "lower", "upper", "method")
    texts = {"estimand", "group", "category", "method"}
    schema = {name: pl.String if name in texts else pl.Float64 for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _designs(
    trial: EmulatedTrial, frame: pl.DataFrame
) -> Iterator[tuple[str, str, tuple[float | None, float | None, float | None, float | None], str]]:
    """Yield design, estimand, numbers and method: Cox models with the trial's covariates, and plain risks."""
    exposure, clones = trial.exposure, _clones(trial, frame)
    known = frame.lazy().with_columns(event=pl.col("cause") == 1)
    ever, adjusted = ever_exposed(known, exposure), f"{exposure} + {trial.adjust_for}"
    designs = {
        EVER: (ever, adjusted),
        CLONES: (clones.lazy(), exposure),
        LANDMARK: (at_landmark(known, exposure, trial.grace_days), adjusted),
        TIME_VARYING: (split_at_start(known, exposure), adjusted),
    }
    for design, (rows, terms) in designs.items():
        try:
            fit = fit_cox(rows, "time", "event", "entry", terms=terms, level=trial.level)
        except NotEstimableError:
            continue
        at = fit.terms.index(exposure)
        numbers = (fit.hazard_ratio[at], fit.std_error[at], fit.lower[at], fit.upper[at])
        yield design, HAZARD_RATIO, (*map(float, numbers),), f"Cox model on {terms}"  # type: ignore[misc]  # four of them
    for design, whole in ((EVER, ever.collect()), (CLONES, clones)):
        risks = _risks(whole, exposure, trial.horizon_days)
        if len(risks) == 2:
            yield design, DIFFERENCE, (risks[True] - risks[False], None, None, None), "Aalen–Johansen without weights"


def _clones(trial: EmulatedTrial, frame: pl.DataFrame) -> pl.DataFrame:
    """Return both clones of everybody, without weights."""
    started = frame[trial.exposure].cast(pl.Float64).fill_null(np.inf).to_numpy()
    time, cause = frame["time"].to_numpy(), frame["cause"].to_numpy()
    persons = Persons(time, cause, started, np.empty((len(time), 0)), np.ones(len(time)))
    parts = [
        pl.DataFrame({"time": arm.time.astype(np.int64), "cause": arm.cause, trial.exposure: side})
        for side, arm in zip((True, False), clone(persons, trial.grace_days), strict=True)
    ]
    return pl.concat(parts).with_columns(event=pl.col("cause") == 1, entry=pl.lit(BEFORE_INDEX, pl.Int64))


def _risks(rows: pl.DataFrame, exposure: str, horizon: int) -> dict[bool, float]:
    """Return the risk of the outcome by the horizon of the exposed and of the others."""
    curves = cumulative_incidence(rows, "time", "cause", exposure).to_polars()
    last = curves.filter(pl.col("cause") == 1, pl.col("time") <= horizon).group_by("group", maintain_order=True).last()
    return {group == "true": value for group, value in last.select("group", "estimate").iter_rows()}


def _started(trial: EmulatedTrial) -> pl.Expr:
    """Return which persons started in time; the others did not, or left before they could."""
    start, abstain = map(pl.lit, trial.strategies)
    return pl.when(_in_time(trial, trial.exposure)).then(start).otherwise(abstain).alias("group")


def _in_time(trial: EmulatedTrial, exposure: str) -> pl.Expr:
    """Return whether an exposure started within the grace period and before follow-up ended."""
    start = pl.col(exposure)
    return ((start <= trial.grace_days) & (start <= pl.col("time"))).fill_null(value=False)


def _counts(trial: EmulatedTrial, frame: pl.DataFrame) -> pl.DataFrame:
    """Return persons and events by what was done: what the release gate judges everything by."""
    persons = frame.lazy().with_columns(_started(trial)).group_by("group")
    return persons.agg(n=pl.len().cast(pl.Int64), events=(pl.col("cause") == 1).sum().cast(pl.Int64)).collect()


def _curves(trial: EmulatedTrial, frame: pl.DataFrame, found: Emulation, table: AnalysisTable) -> pl.DataFrame:
    """Return the weighted risk of every cause by day and strategy, with the persons who did as the strategy says."""
    persons = frame.with_columns(_started(trial))
    counted: pl.DataFrame = cumulative_incidence(persons, "time", "cause", "group", table.entry).to_polars()
    groups, causes = dict(zip(STRATEGIES, trial.strategies, strict=True)), dict(enumerate(table.causes, start=1))
    name = pl.col("cause").replace_strict(causes, return_dtype=pl.String).alias("outcome")
    key, day = ["group", "outcome"], pl.col("time").cast(pl.Int64)
    weighted = found.curves.select(pl.col("group").replace(groups), name, day, value="estimate").sort("time")
    days = counted.select("group", name, day, n="n_risk", events="n_event", censored="n_censored").sort("time")
    return days.join_asof(weighted, on="time", by=key, check_sortedness=False).with_columns(
        pl.col("value").fill_null(0.0),
        estimand=pl.lit("cumulative_incidence"),
        unit=pl.lit("probability"),
        method=pl.lit(f"{found.method}; persons are those who did as the strategy says"),
        std_error=pl.lit(None, pl.Float64),
        lower=pl.lit(None, pl.Float64),
        upper=pl.lit(None, pl.Float64),
    )


def _sizes(trial: EmulatedTrial, checks: TrialChecks) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "estimand": "effective_size",
            "group": list(trial.strategies),
            "value": list(checks.effective_size),
            "method": "followers at the end of grace who would tell as much without weights (Kish)",
        }
    )
