"""Every degenerate world against every estimator: a finite answer or a typed outcome, never a warning or a NaN.

Warnings are errors in the tests, so a division by zero on the way to an answer fails as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from cohort import effects as ef
from cohort.effects.propensity import Propensity
from cohort.effects.sensitivity import Accuracy
from cohort.errors import CohortError, NotEstimableError


def usual(n: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x, z = rng.standard_normal(n), rng.random(n) < 0.5
    a = rng.random(n) < 1 / (1 + np.exp(-0.5 * x))
    time, cause = np.ceil(rng.exponential(200, n)).clip(1, 400).astype(int), (rng.random(n) < 0.6).astype(int)
    day = np.where(a, rng.integers(0, 40, n), rng.integers(41, 400, n)).astype(float)
    started = pl.Series(np.where(day <= time, day, np.nan)).fill_nan(None)
    frame = {"person_id": np.arange(n), "x": x, "z": z, "a": a, "time": time, "cause": cause}
    return pl.DataFrame(frame).with_columns(started=started)


USUAL = usual()
FEW = pl.col("person_id") < 5
WORLDS: dict[str, pl.DataFrame] = {
    "nobody is treated": USUAL.with_columns(a=pl.lit(False), started=pl.lit(None, pl.Float64)),
    "everybody is treated": USUAL.with_columns(a=pl.lit(True), started=pl.lit(0.0)),
    "one is treated": USUAL.with_columns(a=pl.col("person_id") == 3),
    "covariates separate": USUAL.with_columns(a=pl.col("x") > 0),
    "a level separates": USUAL.with_columns(a=pl.col("z") | pl.col("a")),
    "weights explode": usual(400).with_columns(a=(pl.col("x") > 0) ^ (pl.col("person_id") == 5)),
    "nobody starts in time": USUAL.with_columns(started=pl.when(pl.col("started") > 40).then("started")),
    "nobody is there": USUAL.head(0),
    "one person": USUAL.head(1),
    "no events": USUAL.with_columns(cause=pl.lit(0)),
    "no events of the treated": USUAL.with_columns(cause=pl.when("a").then(0).otherwise("cause")),
    "another cause only": USUAL.with_columns(cause=pl.col("cause") * 2),
    "a constant covariate": USUAL.with_columns(x=pl.lit(3.0)),
    "a covariate missing in all": USUAL.with_columns(x=pl.lit(None, pl.Float64)),
    "a covariate missing in some": USUAL.with_columns(x=pl.when(~FEW).then("x")),
    "an infinite covariate": USUAL.with_columns(x=pl.when(FEW).then(np.inf).otherwise("x")),
    "a covariate beyond squares": USUAL.with_columns(x=pl.col("x") * 1e300),
    "a covariate of nearly nothing": USUAL.with_columns(x=pl.col("x") * 1e-300),
    "collinear covariates": USUAL.with_columns(z=pl.col("x") * 2),
    "nobody is followed": USUAL.with_columns(time=pl.lit(0)),
    "nobody is followed long enough": USUAL.with_columns(time=pl.lit(5)),
}


def scored(frame: pl.DataFrame, **options: Any) -> Propensity:
    return ef.propensity_scores(frame, "a", "x + z", **options)


def in_periods(frame: pl.DataFrame) -> pl.DataFrame:
    parts = [
        frame.filter(pl.col("time") > start).with_columns(
            start=pl.lit(start),
            stop=pl.min_horizontal("time", start + 100).cast(pl.Int64),
            cause=pl.when(pl.col("time") <= start + 100).then("cause").otherwise(0),
            exposed=(pl.col("started") <= start).fill_null(value=False) | pl.col("a"),
            first=pl.lit(start == 0),
            left=(pl.col("time") <= start + 100) & (pl.col("cause") == 0),
        )
        for start in (0, 100, 200, 300)
    ]
    return pl.concat(parts).sort("person_id", "start")


def nested(frame: pl.DataFrame, protocol: str) -> ef.NestedTrials:
    return ef.nested_trials(
        in_periods(frame), exposure="exposed", eligible="first", terms="x + z", horizon=150, protocol=protocol,
        censored="left", replicates=3,
    )  # fmt: skip


def clones(frame: pl.DataFrame, **options: Any) -> ef.Emulation:
    query = {"treatment_time": "started", "grace_days": 40, "terms": "x + z", "horizon": 100, "replicates": 3}
    return ef.clone_censor_weight(frame, **query, **options)


ESTIMATORS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "lasso": lambda f: scored(f, model="lasso"),
    "ridge": lambda f: scored(f, model="ridge", folds=2),
    "boosting": lambda f: scored(f, model="boosting"),
    "overlap": lambda f: ef.weighted_effects(f, ef.balancing_weights(scored(f), "overlap"), horizon=100),
    "average": lambda f: ef.weighted_effects(f, ef.balancing_weights(scored(f)), horizon=100),
    "truncated": lambda f: ef.weighted_effects(f, ef.balancing_weights(scored(f), truncate=0.9), horizon=100),
    "trimmed": lambda f: ef.weighted_effects(f, ef.balancing_weights(scored(f), trim=(0.1, 0.9)), horizon=100),
    "matched": lambda f: ef.weighted_effects(f, ef.match(scored(f)).weights(), horizon=100),
    "stratified": lambda f: ef.weighted_effects(f, ef.stratify(scored(f), 2), horizon=100),
    "balance": lambda f: ef.balance(f, ef.balancing_weights(scored(f))),
    "positivity": lambda f: ef.positivity(scored(f)),
    "doubly robust": lambda f: ef.doubly_robust_effects(f, scored(f), "x + z", horizon=100),
    "standardised": lambda f: ef.standardised_effects(f, "a", "a + x + z", horizon=100, replicates=3),
    "clones": clones,
    "clones, one model": lambda f: clones(f, departing="starting", truncate=0.95),
    "clones, leaving": lambda f: clones(f, leaving=ef.Leaving("x")),
    "nested": lambda f: nested(f, "intention_to_treat"),
    "nested, per protocol": lambda f: nested(f, "per_protocol"),
    "structural": lambda f: ef.marginal_structural_cox(
        in_periods(f), exposure="exposed", baseline="z", varying="x", censored="left"
    ),
    "immortal time": lambda f: ef.immortal_time_comparison(
        f, treatment_time="started", grace_days=40, horizon=100, terms="x + z"
    ),
    "landmark": lambda f: ef.at_landmark(f, 30, treatment_time="started").drop("x"),
    "spells": lambda f: ef.exposure_spells(f, treatment_time="started").drop("x"),
    "response": lambda f: ef.response_shares(
        f.with_columns(yes=pl.when("a").then(pl.col("cause") == 1)), "yes", "x + z"
    ),
}


def numbers(answer: Any) -> list[float]:
    """Return every number of an answer that is not null."""
    if isinstance(answer, Propensity):
        return answer.score.tolist()
    if isinstance(answer, ef.Positivity):
        return [answer.extreme, answer.c_statistic, *answer.equipoise.values()]
    table = answer if isinstance(answer, pl.DataFrame) else answer.table
    return [number for column in table.select(pl.selectors.float()) for number in column.drop_nulls()]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("world", WORLDS)
def test_a_degenerate_world_ends_in_a_finite_answer_or_a_typed_outcome(world: str, estimator: str) -> None:
    try:
        found = ESTIMATORS[estimator](WORLDS[world])
    except CohortError as error:
        assert str(error)
    else:
        assert np.isfinite(numbers(found)).all()


@pytest.mark.parametrize(
    ("world", "estimator", "reason"),
    [
        ("nobody is treated", "average", "single_arm"),
        ("everybody is treated", "average", "single_arm"),
        ("one is treated", "ridge", "single_arm|folds"),
        ("covariates separate", "overlap", "separation"),
        ("a level separates", "average", "separation"),
        ("weights explode", "average", "weights_explode"),
        ("weights explode", "doubly robust", "weights_explode"),
        ("nobody starts in time", "clones", "nobody_follows"),
        ("nobody is treated", "clones", "nobody_follows"),
        ("everybody is treated", "clones", "nobody_follows"),
        ("no events", "clones", "no_events"),
        ("no events", "average", "no_events"),
        ("a constant covariate", "average", "constant"),
        ("a constant covariate", "clones", "constant"),
        ("a covariate beyond squares", "average", "overflow"),
        ("a covariate beyond squares", "clones", "overflow"),
        ("a covariate beyond squares", "structural", "overflow"),
        ("a covariate of nearly nothing", "clones", "constant"),
        ("collinear covariates", "average", "collinear"),
        ("nobody is followed long enough", "average", "horizon_after_follow_up"),
    ],
)
def test_the_outcome_names_what_is_wrong(world: str, estimator: str, reason: str) -> None:
    with pytest.raises(CohortError, match=reason):
        ESTIMATORS[estimator](WORLDS[world])


def test_a_treatment_that_had_no_chance_has_no_weight() -> None:
    # cross-fitted scores of far covariates reach 1 for one who was not treated
    scores = Propensity(
        np.array([0.5, 1.0, 0.5, 0.5]), np.array([1, 0, 0, 1], bool), "boosting", ("x",), 2, None, np.ones(4, bool)
    )
    with pytest.raises(NotEstimableError, match="weights_explode"):
        ef.balancing_weights(scores)


SHARES = Accuracy((0.7, 0.9), (0.9, 1.0))
NEAR = ef.SystematicError(0.1, 0.0, 5)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: ef.corrected_risks((0, 0), (0, 10), Accuracy(0.9, 0.9), Accuracy(0.9, 0.9)),
        lambda: ef.corrected_risks((11, 0), (10, 10), Accuracy(0.9, 0.9), Accuracy(0.9, 0.9)),
        lambda: ef.probabilistic_bias((11, 0), (10, 10), SHARES),
        lambda: ef.probabilistic_bias((0, 0), (0, 0), SHARES),
        lambda: ef.probabilistic_bias((3, 4), (10, 10), SHARES, draws=0),
        lambda: Accuracy((0.9, 0.8), 1.0),
        lambda: Accuracy(np.nan, 1.0),
        lambda: ef.e_value(np.inf, np.inf, np.inf),
        lambda: ef.e_value(2.0, 1.0, 3.0, "hazard", np.nan),
        lambda: ef.confounder_bias(0.1, 0.5, np.inf),
        lambda: ef.tipping_point(np.nan, 0.1, 0.2),
        lambda: ef.systematic_error([1e200] * 5, [0.1] * 5),
        lambda: ef.systematic_error([0.1] * 5, [1e-200] * 5),
        lambda: ef.systematic_error(["a"] * 5, [0.1] * 5),
        lambda: ef.systematic_error(1.0, 0.1),
        lambda: NEAR.p_value(0.5, 0.0),
        lambda: NEAR.interval(np.nan, 0.1),
        lambda: ef.scores_from_matrix(np.ones((4, 2)), [0, 1, 0, 1], ("a",)),
        lambda: ef.scores_from_matrix(np.ones((4, 1)), [0, 1, 0], ("a",)),
        lambda: ef.scores_from_matrix(np.array([[np.nan], [1], [2], [3]]), [0, 1, 0, 1], ("a",)),
        lambda: ef.scores_from_matrix([["x"]] * 4, [0, 1, 0, 1], ("a",)),
        lambda: ef.scores_from_matrix(np.arange(4.0)[:, None], [0, 2, 0, 2], ("a",)),
        lambda: ef.large_scale_scores(USUAL.head(0), "a", ef.CodeIndicators(csr_matrix((0, 0)), (), {}), terms="x"),
    ],
)
def test_numbers_that_cannot_be_are_refused(ask: Callable[[], Any]) -> None:
    with pytest.raises(CohortError):
        ask()


def test_an_e_value_of_an_unbounded_limit_stands() -> None:
    # 0.5^sqrt(HR) with a hazard ratio of 1e-300 differs from 1 in its 150th digit
    assert ef.e_value(2.0, 1.5, np.inf, "hazard", 0.5).limit > 1
    assert np.isfinite(ef.e_value(1e-300, 1e-300, 1e-200, "hazard", 0.5).estimate)


def test_a_first_step_into_flatness_is_not_an_estimate() -> None:
    # everybody alive starts on day 35: before it the only event is of the untreated, and Newton's first step is so far
    # that the likelihood no longer changes
    frame = USUAL.with_columns(started=pl.lit(35.0))
    found = ef.immortal_time_comparison(frame, treatment_time="started", grace_days=40, horizon=100, terms="x + z")
    assert found["hazard_ratio"][0] is None
    assert found["not_estimable"][0] == "monotone_likelihood"
