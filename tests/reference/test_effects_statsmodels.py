"""Weighted and doubly robust risks beside statsmodels 0.15 and causallib 0.10 on persons made by arithmetic.

The figures were had once, in an environment of their own: ``statsmodels.treatment.TreatmentEffect`` with the maximum of
``Logit`` (its standard errors are those of stacked estimating equations by the generalised method of moments), and
``causallib``'s ``IPW``, ``AIPW`` of a linear model per arm, and ``WeightedSurvival``. Everybody is followed past the
horizon, so that a risk is a mean, except for the weighted curve.
"""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import effects as ef
from cohort.effects.propensity import Propensity

TERMS, HORIZON = "age + sick + pain", 365

LOGIT = [0.35232019535956016, 0.5807767028543952, 0.7164256760664902, 0.49743375447444027, 0.6434965020621545]
"""statsmodels: fitted chances of treatment of the first five persons."""

WEIGHTED = {  # statsmodels' ipw: difference and risk of the untreated, with standard errors
    "ate": (-0.08695340640849177, 0.05807888764816137, 0.8005973365098195, 0.03626351981087542),
    "att": (-0.08870182841881062, 0.057699598335675985, 0.8255439336819684, 0.041110031539126596),
    "atu": (-0.08531662908872943, 0.06528435100268962, 0.7777777777777778, 0.03703703703703531),
}
CAUSALLIB_WEIGHTED = {"treated": 0.713643930101329, "untreated": 0.8005973365098189}
CAUSALLIB_ROBUST = {"treated": 0.7122319741009548, "untreated": 0.7986674543548975}
STATSMODELS_ROBUST = (-0.08643548025394288, 0.05857206963979059)
CAUSALLIB_SURVIVAL = {"treated": 0.3089373813815552, "untreated": 0.18541205120955248}


@pytest.fixture(scope="module")
def persons() -> pl.DataFrame:
    i = np.arange(240)
    age, sick, pain = 40 + (i * 37) % 41, ((i * 53) % 7 < 3).astype(int), ((i * 29) % 11) / 2
    u, v, w = (((i * step + first) % prime) / prime for step, first, prime in
               ((7919, 31, 997), (6133, 17, 991), (4241, 7, 983)))  # fmt: skip
    treated = u < 1 / (1 + np.exp(3 - 0.04 * age - 0.7 * sick - 0.1 * pain))
    hazard = 0.004 * np.exp(0.02 * (age - 60) + 0.5 * sick - 0.5 * treated)
    time = np.ceil(-np.log(1 - v) / hazard).astype(int).clip(1, 900)
    other = np.ceil(-np.log(1 - w) / 0.0015).astype(int)
    frame = {"age": age, "sick": sick, "pain": pain, "treated": treated, "time": time, "other": other}
    return pl.DataFrame(frame).with_columns(cause=(pl.col("time") < 900).cast(pl.Int64))


@pytest.fixture(scope="module")
def scores(persons: pl.DataFrame) -> Propensity:
    return ef.propensity_scores(persons, "treated", TERMS)


def found(effects: ef.Effects, measure: str, group: str = "treated") -> tuple[float, float]:
    row = effects.table.filter(pl.col("measure") == measure, pl.col("group") == group)
    return row["estimate"].item(), row["std_error"].item()


def test_scores_are_those_of_statsmodels(scores: Propensity) -> None:
    # statsmodels stops at a gradient of 1e-9
    assert scores.score[:5].tolist() == pytest.approx(LOGIT, abs=1e-9)


@pytest.mark.parametrize("estimand", WEIGHTED)
def test_risks_under_weights_have_the_stacked_errors_of_statsmodels(
    persons: pl.DataFrame, scores: Propensity, estimand: str
) -> None:
    weights = ef.balancing_weights(scores, estimand)  # type: ignore[arg-type]  # keys of a dict
    effects = ef.weighted_effects(persons, weights, horizon=HORIZON, measures=("risk",))
    difference, error, untreated, its_error = WEIGHTED[estimand]
    # their derivatives are numerical: eight digits
    assert found(effects, "risk_difference") == pytest.approx((difference, error), rel=1e-7)
    assert found(effects, "risk", "untreated") == pytest.approx((untreated, its_error), rel=1e-6)


def test_risks_under_weights_are_those_of_causallib(persons: pl.DataFrame, scores: Propensity) -> None:
    effects = ef.weighted_effects(persons, ef.balancing_weights(scores), horizon=HORIZON, measures=("risk",))
    for group, risk in CAUSALLIB_WEIGHTED.items():
        assert found(effects, "risk", group)[0] == pytest.approx(risk, abs=1e-12)


def test_doubly_robust_risks_are_those_of_both(persons: pl.DataFrame, scores: Propensity) -> None:
    effects = ef.doubly_robust_effects(persons, scores, TERMS, horizon=HORIZON, measures=("risk",))
    for group, risk in CAUSALLIB_ROBUST.items():
        assert found(effects, "risk", group)[0] == pytest.approx(risk, abs=1e-9)
    difference, error = found(effects, "risk_difference")
    assert difference == pytest.approx(STATSMODELS_ROBUST[0], abs=1e-9)
    # theirs has the estimation of both models in it, which the efficient influence function leaves out: of lower order
    assert error == pytest.approx(STATSMODELS_ROBUST[1], rel=0.01)


def test_the_weighted_curve_of_censored_persons_is_that_of_causallib(persons: pl.DataFrame, scores: Propensity) -> None:
    happened = (pl.col("time") <= pl.col("other")) & (pl.col("cause") == 1)
    seen = persons.with_columns(time=pl.min_horizontal("time", "other"), cause=happened.cast(pl.Int64))
    effects = ef.weighted_effects(seen, ef.balancing_weights(scores), horizon=HORIZON, measures=("risk",))
    for group, survival in CAUSALLIB_SURVIVAL.items():
        assert 1 - found(effects, "risk", group)[0] == pytest.approx(survival, abs=1e-12)
