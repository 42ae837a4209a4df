"""From persons to the rows of nested trials: person-time, estimates or why they are sealed, curves, other designs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.effects.exposed_time import BEFORE_INDEX
from cohort.effects.gates import Bounds, judge_nested
from cohort.effects.marginal import ARMS
from cohort.effects.nested_checks import check_nested
from cohort.effects.propensity import one_thread
from cohort.effects.sequential import NestedTrials as Pooled
from cohort.effects.sequential import nested_trials
from cohort.errors import NotEstimableError
from cohort.features.exposure import Exposure
from cohort.results.analysis_table import AnalysisTable
from cohort.results.negative_controls import Candidate, calibrate, control_columns, followed_until
from cohort.results.periods import NEW, NOW, periods, until_departure
from cohort.results.sensitivity_rows import sensitivity_rows
from cohort.results.terms import renamed, split_terms
from cohort.results.treatment_rows import balance_rows, gate_rows, without_sealed_numbers
from cohort.results.trial_designs import plain_designs
from cohort.results.weighted_rows import answers, curves, persons_and_events, statuses

if TYPE_CHECKING:
    from cohort.results.nested import NestedTrials

_DIFFERENCE = "those who start minus those who do not, at time zero, in unweighted standard deviations"


def nested_rows(trials: NestedTrials, table: AnalysisTable) -> pl.DataFrame:
    """Return the rows of nested trials.

    Raises
    ------
    NotEstimableError
        What person-time, weights and estimates raise; ``nobody_at_risk``.
    """
    frame = known_persons(trials, table)
    with one_thread():  # that, and an order of rows that only persons decide, keep every digit the same
        return _rows(trials, frame, table)


def known_persons(analysis: Any, table: AnalysisTable) -> pl.DataFrame:
    """Return the persons with all of the covariates at index, in their order, and who left for a weighted reason.

    Raises
    ------
    NotEstimableError
        ``nobody_at_risk``.
    """
    exposures = [exposure_of(name, table) for name in (analysis.exposure, getattr(analysis, "against", None)) if name]
    columns = ["person_id", "entry", "time", "cause", *analysis.uses, *(known.name for known in exposures)]
    columns += [known.days for known in exposures if known.lasts_days is not None]
    natural = analysis.natural_censoring
    columns += ["exit_reason"] if natural is not None else []
    columns += control_columns(table.controls, reasons=natural is not None)
    frame = table.lazy().select(columns).with_columns(pl.col("cause").cast(pl.Int64)).collect()
    changing = {covariate.name for covariate in table.time_varying}
    frame = frame.drop_nulls([name for name in analysis.uses if name not in changing]).filter(pl.col("time") > 0)
    if frame.is_empty():
        raise NotEstimableError("nobody_at_risk: nobody has follow-up and all of the covariates")
    return frame.with_columns(entry=pl.lit(BEFORE_INDEX, pl.Int64)) if table.entry is None else frame


def exposure_of(name: str, table: AnalysisTable) -> Exposure:
    """Return an exposure of the study by its name."""
    return next(exposure for exposure in table.exposures if exposure.name == name)


def _rows(trials: NestedTrials, frame: pl.DataFrame, table: AnalysisTable) -> pl.DataFrame:
    start = trials.strategies[0]
    asked = _question(trials, frame, table)
    found = _pool(trials, asked)
    checks = check_nested(**_shared(trials, asked), per_protocol=trials.protocol == "per_protocol")
    bounds = Bounds(**trials.gates.model_dump())
    calibration = calibrate(
        _candidates(trials, frame, table), partial(_control_ratio, trials, table), bounds.control_events
    )
    *judged, hazards = judge_nested(checks, bounds)
    gates = (*judged, *calibration.gates(bounds), hazards)
    status, groups = (
        statuses(gates, unsealed=trials.unsealed is not None),
        dict(zip(ARMS, trials.strategies, strict=True)),
    )
    designs = plain_designs(
        trials, frame, split_terms(trials.adjust_for, [known.name for known in table.time_varying])[0]
    )
    told = pl.concat([answers(found.table, groups, found.method), designs], how="diagonal")
    shown = without_sealed_numbers(told.join(status, "estimand"))
    sizes = dict(zip(trials.strategies, checks.effective_size, strict=True))
    parts = [
        shown,
        calibration.calibrated(shown, trials.level),
        sensitivity_rows(shown, sizes, trials.sensitivity),
        balance_rows(checks.balance, start, _DIFFERENCE),
        gate_rows(gates, start),
        _sizes(sizes),
    ]
    persons = _persons(trials, asked["frame"], frame)
    rows = pl.concat(parts, how="diagonal").join(
        persons_and_events(persons), on="group", how="left", maintain_order="left"
    )
    counted = pl.concat([rows, calibration.table()], how="diagonal").with_columns(
        time=pl.lit(trials.horizon_days, pl.Int64), outcome=pl.lit(table.outcome)
    )
    sealed = status.filter(estimand="risk").select("status")
    drawn = curves(persons, table, found.curves, groups, found.method).join(sealed, how="cross")
    return pl.concat([counted, without_sealed_numbers(drawn)], how="diagonal")


def _question(trials: NestedTrials, persons: pl.DataFrame, table: AnalysisTable) -> dict[str, Any]:
    """Return person-time and what is asked of it."""
    changing = [covariate for covariate in table.time_varying if covariate.name in trials.uses]
    natural = trials.natural_censoring
    if natural is not None:
        persons = persons.with_columns(natural.left.alias("_left"))
    rows = periods(persons, trials.period_days, exposure_of(trials.exposure, table), changing)
    if trials.against is not None:
        rows = _of_two_arms(trials, rows, periods(persons, trials.period_days, exposure_of(trials.against, table), ()))
    if trials.begin == "every_period":
        eligible, rows = pl.col(NEW), rows.filter(pl.col("start") > 0)
        eligible = eligible if trials.until_day is None else eligible & (pl.col("start") <= trials.until_day)
    else:
        eligible = pl.col("start") == 0
        rows = until_departure(rows, trials.exposure) if trials.protocol == "per_protocol" else rows
    if rows.is_empty():
        raise NotEstimableError("nobody_at_risk: follow-up ends before the first trial begins")
    asked = {"frame": rows.with_columns(eligible.alias("_eligible")), "terms": trials.adjust_for}
    if natural is not None:
        now = {covariate.name: f"{covariate.name}{NOW}" for covariate in changing}
        asked |= {"censored": "_left", "leaving": renamed(natural.terms, now)}
    return asked


def _of_two_arms(trials: NestedTrials, rows: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Return the periods of who began with one of two exposures: exposed while on the first, and not on the other.

    Of the other arm it is the reverse; whoever leaves his arm's exposure changes sides, by which departing is told.
    """
    assert trials.against is not None  # noqa: S101 -- asked by the caller
    name = trials.exposure
    both = rows.with_columns(other[trials.against].alias("_other"))
    one, two = pl.col(name) & ~pl.col("_other"), pl.col("_other") & ~pl.col(name)
    began = [side.first().over("person_id").alias(arm) for side, arm in ((one, "_one"), (two, "_two"))]
    arms = both.with_columns(*began).filter(pl.col("_one") | pl.col("_two"))
    return arms.with_columns(pl.when("_one").then(one).otherwise(~two).alias(name)).drop("_one", "_two", "_other")


def _shared(trials: NestedTrials, asked: dict[str, Any]) -> dict[str, Any]:
    return {"frame": asked["frame"], "terms": asked["terms"], "exposure": trials.exposure, "eligible": "_eligible"}


def _pool(trials: NestedTrials, asked: dict[str, Any]) -> Pooled:
    """Pool the trials."""
    leaving: dict[str, Any] = {name: asked.get(name) for name in ("censored", "leaving")}
    options: dict[str, Any] = {"horizon": trials.horizon_days, "protocol": trials.protocol, "truncate": trials.truncate}
    options |= {"replicates": trials.replicates, "seed": trials.seed, "level": trials.level}
    return nested_trials(**_shared(trials, asked), **leaving, **options)


def _candidates(trials: NestedTrials, frame: pl.DataFrame, table: AnalysisTable) -> Iterator[Candidate]:
    """Yield the study's negative-control outcomes."""
    started = (pl.col(trials.exposure) < pl.col("time")).fill_null(value=False)
    for name, rows, late in followed_until(frame, None, table.controls):
        yield Candidate(name, "outcome", rows.filter(pl.col("time") > 0), trials.exposure, late, started)


def _control_ratio(trials: NestedTrials, table: AnalysisTable, control: Candidate) -> tuple[float, float, float, float]:
    """Return the hazard ratio of a negative control from nested trials of its own, its error and limits."""
    found = _pool(trials, _question(trials, control.rows, table)).table.filter(measure="hazard_ratio")
    ratio, spread, lower, upper = found.select("estimate", "std_error", "lower", "upper").row(0)
    return ratio, spread, lower, upper


def _persons(trials: NestedTrials, rows: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Return each person once, followed from the trial in which she starts, or from the first in which she does not."""
    start, abstain = trials.strategies
    begun = rows.filter("_eligible").sort(
        "person_id", pl.col(trials.exposure), "start", descending=[False, True, False]
    )
    own = begun.group_by("person_id", maintain_order=True).first().select("person_id", "start", _side=trials.exposure)
    persons = frame.select("person_id", "time", "cause").join(own, on="person_id").sort("person_id")
    side = pl.when("_side").then(pl.lit(start)).otherwise(pl.lit(abstain)).alias("group")
    return persons.with_columns(pl.col("time") - pl.col("start"), side)


def _sizes(sizes: dict[str, float]) -> pl.DataFrame:
    method = "trials of persons that would tell as much without weights (Kish)"
    return pl.DataFrame(
        {"estimand": "effective_size", "group": list(sizes), "value": list(sizes.values()), "method": method}
    )
