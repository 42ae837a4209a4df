"""From persons to the rows of a treatment effect: estimates or why they are sealed, balance, gates, effective sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cohort.effects.balance_table import balance
from cohort.effects.gates import Bounds, Gate, judge, judge_proportional_hazards
from cohort.effects.marginal import ARMS, Effects, weighted_effects
from cohort.effects.propensity import Propensity, one_thread, propensity_scores
from cohort.effects.weights import BalancingWeights, balancing_weights
from cohort.errors import NotEstimableError
from cohort.results.estimates import NOT_ESTIMABLE, OK, SEALED
from cohort.results.negative_controls import Candidate, calibrate, control_columns, followed_until
from cohort.results.sensitivity_rows import sensitivity_rows
from cohort.results.terms import variables_of
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.cox_zph import proportional_hazards_test

if TYPE_CHECKING:
    from cohort.results.treatment import TreatmentEffect

_GROUPS = dict(zip(ARMS, ("true", "false"), strict=True))
_ESTIMANDS = {"hazard_ratio": "marginal_hazard_ratio"}
_NUMBERS = ("value", "std_error", "lower", "upper")
_DIFFERENCE = "treated minus untreated, in unweighted standard deviations"


def effect_rows(
    effect: TreatmentEffect, frame: pl.DataFrame, entry: str | None, controls: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the rows of a treatment effect from one row per person, in any order; ``controls`` names the outcomes.

    Raises
    ------
    NotEstimableError
        What scores, weights and estimates raise.
    """
    watched = control_columns(controls)
    columns = list(dict.fromkeys([*effect.uses, "time", "cause", *([entry] if entry else []), *watched]))
    _require_persons(effect, frame)
    with one_thread():  # that, and an order of rows that only their values decide, keep every digit the same
        return _rows(effect, frame.select(columns).sort(columns), entry, controls)


def _require_persons(effect: TreatmentEffect, frame: pl.DataFrame) -> None:
    """Refuse, as a typed outcome, persons who are too few for the model that the study asks for."""
    known = frame.drop_nulls([effect.treatment, *variables_of(effect.adjust_for)])
    if known.is_empty():
        raise NotEstimableError("nobody_at_risk: nobody has all of the covariates")
    treated = int(known[effect.treatment].sum())
    smaller, penalised = min(treated, known.height - treated), effect.model in ("lasso", "ridge")
    needed = max(effect.folds, (2 if effect.folds == 1 else 2 * effect.folds) if penalised else 1)
    if 0 < smaller < needed:
        raise NotEstimableError(f"too_few_for_folds: the smaller arm has fewer than the {needed} persons that it takes")


def _rows(effect: TreatmentEffect, frame: pl.DataFrame, entry: str | None, controls: Sequence[str]) -> pl.DataFrame:
    scores = propensity_scores(
        frame, effect.treatment, effect.adjust_for, model=effect.model, folds=effect.folds, missing="leave_out"
    )
    weights = balancing_weights(scores, effect.estimand, truncate=effect.truncate)
    alike, bounds = balance(frame, weights, effect.adjust_for), Bounds(**effect.gates.model_dump())
    found = weighted_effects(
        frame, weights, entry=entry, horizon=effect.horizon_days, measures=effect.measures, smallest_share=0.0,
        level=effect.level,
    )  # fmt: skip
    candidates = _candidates(effect, frame, entry, controls)
    calibration = calibrate(candidates, lambda control: _control_ratio(effect, control), bounds.control_events)
    judged = (*judge(weights, alike, bounds), *calibration.gates(bounds))
    gates: dict[str, tuple[Gate, ...]] = dict.fromkeys(found.table["measure"], judged)
    if "hazard_ratio" in gates:
        hazards = judge_proportional_hazards(_proportional_hazards(frame, weights, entry), bounds)
        gates["hazard_ratio"] = (*gates["hazard_ratio"], hazards)
    shown = _effects(found, gates, unsealed=effect.unsealed is not None)
    parts = [shown, balance_rows(alike), gate_rows(max(gates.values(), key=len)), _sizes(weights)]
    sizes = {_GROUPS[arm]: size for arm, size in weights.effective_size.items()}
    parts += [calibration.calibrated(shown, effect.level), sensitivity_rows(shown, sizes, effect.sensitivity)]
    rows = pl.concat(parts, how="diagonal").join(_counts(frame, scores), on="group", how="left", maintain_order="left")
    rows = pl.concat([rows, calibration.table()], how="diagonal_relaxed")
    # how many is a count that no rule has judged
    note = "" if scores.kept.all() else "; persons with a missing covariate left out"
    return rows.with_columns(method=pl.concat_str(pl.col("method"), pl.lit(note)))


def _candidates(
    effect: TreatmentEffect, frame: pl.DataFrame, entry: str | None, outcomes: Sequence[str]
) -> Iterator[Candidate]:
    """Yield the negative controls: the study's outcomes, then the effect's exposures; of persons without missing."""
    known = frame.drop_nulls([effect.treatment, *variables_of(effect.adjust_for)])
    for name, rows, late in followed_until(known, entry, outcomes):
        yield Candidate(name, "outcome", rows, effect.treatment, late, pl.col(effect.treatment))
    for name in effect.negative_exposures:
        yield Candidate(name, "exposure", known.drop_nulls(name), name, entry, pl.col(name))


def _control_ratio(effect: TreatmentEffect, control: Candidate) -> tuple[float, float, float, float]:
    """Return the hazard ratio of a negative control under weights of its own, its error and limits."""
    rows = control.rows
    scores = propensity_scores(rows, control.treatment, effect.adjust_for, model=effect.model, folds=effect.folds)
    weights = balancing_weights(scores, effect.estimand, truncate=effect.truncate)
    fit = weighted_effects(
        rows,
        weights,
        entry=control.entry,
        horizon=effect.horizon_days,
        measures=("hazard_ratio",),
        smallest_share=0.0,
        level=effect.level,
    )
    ratio, spread, lower, upper = fit.table.select("estimate", "std_error", "lower", "upper").row(0)
    return ratio, spread, lower, upper


def _effects(found: Effects, gates: Mapping[str, Sequence[Gate]], *, unsealed: bool) -> pl.DataFrame:
    """Return the estimates, those behind a closed gate without their numbers."""
    status = {name: seal(judged, unsealed=unsealed) for name, judged in gates.items()}
    rows = found.table.select(
        pl.col("measure").replace(_ESTIMANDS).alias("estimand"),
        pl.col("group").replace(_GROUPS),
        pl.col("measure").replace_strict(status, return_dtype=pl.String).alias("status"),
        value="estimate",
        std_error="std_error",
        lower="lower",
        upper="upper",
        method=pl.lit(found.method),
    )
    return without_sealed_numbers(rows)


def without_sealed_numbers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of which the sealed ones have no numbers."""
    return rows.with_columns(pl.when(~pl.col("status").str.starts_with(SEALED)).then(name) for name in _NUMBERS)


def seal(gates: Sequence[Gate], *, unsealed: bool) -> str:
    """Return the status of an estimate behind some gates: sealed with what each closed one says, or ok."""
    closed = [gate.text for gate in gates if not gate.passed]
    return OK if unsealed or not closed else f"{SEALED}: {'; '.join(closed)}"


def _counts(frame: pl.DataFrame, scores: Propensity) -> pl.DataFrame:
    """Return persons and events of the outcome by arm: what the release gate judges everything by."""
    persons = frame.filter(pl.Series(scores.kept)).select("cause", group=pl.Series(scores.treated).cast(pl.String))
    return persons.group_by("group").agg(n=pl.len().cast(pl.Int64), events=(pl.col("cause") == 1).sum().cast(pl.Int64))


def _proportional_hazards(frame: pl.DataFrame, weights: BalancingWeights, entry: str | None) -> float:
    """Return the p-value of a hazard ratio that does not change with time, from the weighted model."""
    scores = weights.propensity
    rows = frame.filter(pl.Series(scores.kept))
    follow = Follow(
        rows["time"].to_numpy(),
        (rows["cause"] == 1).to_numpy(),
        entry=None if entry is None else rows[entry].to_numpy(),
        weight=weights.weight,
    )
    fit = estimate(np.asfortranarray(scores.treated[:, None].astype(np.float64)), follow, ("treated",))
    return float(proportional_hazards_test(fit).p_value[0])


def balance_rows(alike: pl.DataFrame, group: str = "true", method: str = _DIFFERENCE) -> pl.DataFrame:
    """Return the standardised difference of every column before and after weighting."""
    parts = [
        alike.select(
            pl.lit("standardised_difference").alias("estimand"),
            pl.lit(group).alias("group"),
            pl.col("column").alias("term"),
            pl.lit(category).alias("category"),
            value=pl.col(name),
            status=pl.when(pl.col(name).is_null())
            .then(pl.lit(f"{NOT_ESTIMABLE}: no variation in either arm"))
            .otherwise(pl.lit(OK)),
            method=pl.lit(method),
        )
        for category, name in (("before weighting", "difference"), ("after weighting", "difference_weighted"))
    ]
    return pl.concat(parts)


def gate_rows(gates: Sequence[Gate], group: str = "true") -> pl.DataFrame:
    """Return one row per gate; a share with all its digits would be a count."""
    measured = [None if gate.measured is None else float(f"{round(gate.measured, 3):.2g}") for gate in gates]
    return pl.DataFrame(
        {
            "estimand": ["gate"] * len(gates),
            "group": [group] * len(gates),
            "term": [gate.name for gate in gates],
            "category": ["passed" if gate.passed else "closed" for gate in gates],
            "value": pl.Series(measured, dtype=pl.Float64),
            "method": [gate.asked for gate in gates],
        }
    )


def _sizes(weights: BalancingWeights) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "estimand": "effective_size",
            "group": [_GROUPS[arm] for arm in weights.effective_size],
            "value": list(weights.effective_size.values()),
            "method": "persons that would tell as much without weights (Kish)",
        }
    )
