"""Effects under weights: two-by-two tables by hand, variances by leaving persons out, and ways to have no answer."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from cohort import effects as ef
from cohort.errors import NotEstimableError, StudyError

TABLE = {  # (disease, treated): (persons, events by day 10)
    (0, 0): (30, 6),
    (0, 1): (10, 1),
    (1, 0): (10, 6),
    (1, 1): (20, 9),
}


def two_by_two() -> pl.DataFrame:
    """Everybody is followed for 10 days or to the event on day 5."""
    rows = [(d, a, 5 if i < k else 10, int(i < k)) for (d, a), (n, k) in TABLE.items() for i in range(n)]
    return pl.DataFrame(rows, schema=["d", "a", "time", "cause"], orient="row")


def standardised(treated: int, weights: dict[int, int]) -> Fraction:
    """Return the risk under a treatment with the disease as frequent as in ``weights``."""
    total = sum(weights.values())
    return sum(
        (Fraction(TABLE[d, treated][1], TABLE[d, treated][0]) * Fraction(w, total) for d, w in weights.items()),
        start=Fraction(0),
    )


TARGETS = {"ate": {0: 40, 1: 30}, "att": {0: 10, 1: 20}, "atu": {0: 30, 1: 10}}


def value(effects: ef.Effects, measure: str, group: str) -> float:
    return effects.table.filter(pl.col("measure") == measure, pl.col("group") == group)["estimate"].item()


@pytest.mark.parametrize("estimand", list(TARGETS))
def test_weighting_by_a_saturated_model_standardises_the_risks(estimand: str) -> None:
    frame = two_by_two()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "a", "d"), estimand)
    found = ef.weighted_effects(frame, weights, horizon=10)
    one, zero = (standardised(a, TARGETS[estimand]) for a in (1, 0))
    # the logistic solver stops at 1e-10; risks inherit some of it
    assert value(found, "risk", "treated") == pytest.approx(float(one), abs=1e-8)
    assert value(found, "risk", "untreated") == pytest.approx(float(zero), abs=1e-8)
    assert value(found, "risk_difference", "treated") == pytest.approx(float(one - zero), abs=1e-8)
    assert value(found, "risk_ratio", "treated") == pytest.approx(float(one / zero), abs=1e-7)
    # events come on day 5, so each costs 5 of 10 days
    assert value(found, "time_lost", "treated") == pytest.approx(5 * float(one), abs=1e-7)


def test_the_stacked_variance_is_that_of_the_standardised_risk() -> None:
    frame = two_by_two()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "a", "d"), "ate")
    found = ef.weighted_effects(frame, weights, horizon=10, measures=["risk"])
    error = found.table.filter(pl.col("measure") == "risk", pl.col("group") == "treated")["std_error"].item()
    # sum over disease of share² p (1 - p) / n, and the variance of the shares themselves
    risk = {d: TABLE[d, 1][1] / TABLE[d, 1][0] for d in (0, 1)}
    share = {0: 4 / 7, 1: 3 / 7}
    within = sum(share[d] ** 2 * risk[d] * (1 - risk[d]) / TABLE[d, 1][0] for d in (0, 1))
    between = share[0] * share[1] * (risk[1] - risk[0]) ** 2 / 70
    assert error == pytest.approx(np.sqrt(within + between), rel=1e-6)


def simulated(n: int, seed: int) -> pl.DataFrame:
    """Confounded by x1 and x2, with a competing event and censoring."""
    rng = np.random.default_rng(seed)
    x1, x2 = rng.normal(size=n).round(2), rng.integers(0, 2, n)
    a = rng.random(n) < 1 / (1 + np.exp(-(-0.3 + 0.7 * x1 + 0.5 * x2)))
    events = rng.exponential(100 * np.exp(-0.5 * x1 - 0.3 * a)), rng.exponential(300, n), rng.exponential(250, n)
    time = np.minimum.reduce(events)
    cause = np.where(time == events[0], 1, np.where(time == events[1], 2, 0))
    return pl.DataFrame({"x1": x1, "x2": x2, "a": a, "time": np.ceil(time).astype(int), "cause": cause})


@pytest.mark.parametrize("estimand", ["ate", "att", "overlap"])
@pytest.mark.parametrize("stabilised", [True, False])
def test_influence_is_what_leaving_a_person_out_changes(estimand: str, stabilised: bool) -> None:
    frame = simulated(250, 1).with_row_index()

    def run(rows: pl.DataFrame) -> ef.Effects:
        scores = ef.propensity_scores(rows, "a", "x1 + x2")
        weights = ef.balancing_weights(scores, estimand, stabilised=stabilised)
        return ef.weighted_effects(rows, weights, horizon=60)

    def numbers(effects: ef.Effects) -> np.ndarray:
        log = effects.table["measure"].str.ends_with("ratio").to_numpy()
        estimate = effects.table["estimate"].to_numpy()
        return np.where(log, np.log(estimate), estimate)

    whole, left_out = run(frame), range(0, 250, 10)
    changed = np.array([numbers(whole) - numbers(run(frame.filter(pl.col("index") != i))) for i in left_out])
    for j in range(changed.shape[1]):
        found = whole.influence[list(left_out), j]
        # a person is a 250th, so what is left are second-order terms
        assert np.corrcoef(found, changed[:, j])[0, 1] > 0.995
        assert np.linalg.norm(found - changed[:, j]) < 0.1 * np.linalg.norm(found)


def test_leaving_the_propensity_model_out_of_the_variance_is_visible() -> None:
    frame = simulated(2000, 2)
    scores = ef.propensity_scores(frame, "a", "x1 + x2")
    stacked = ef.weighted_effects(frame, ef.balancing_weights(scores), horizon=60).table
    sparse = ef.scores_from_matrix(
        np.column_stack([frame["x1"], frame["x2"]]).astype(float), frame["a"], ("x1", "x2"), folds=2
    )
    assert (
        "propensity model is part of the variance"
        in ef.weighted_effects(frame, ef.balancing_weights(scores), horizon=60).method
    )
    known = ef.weighted_effects(frame, ef.balancing_weights(sparse), horizon=60)
    assert "as if known" in known.method
    pick = pl.col("measure") == "risk_difference"
    # for the average effect, taking the scores as known is conservative (Lunceford & Davidian 2004)
    assert stacked.filter(pick)["std_error"].item() < known.table.filter(pick)["std_error"].item()


def test_doubly_robust_equals_standardisation_where_both_models_are_saturated() -> None:
    frame = two_by_two()
    found = ef.doubly_robust_effects(frame, ef.propensity_scores(frame, "a", "d"), "d", horizon=10)
    assert value(found, "risk", "treated") == pytest.approx(float(standardised(1, TARGETS["ate"])), abs=1e-12)
    assert value(found, "risk", "untreated") == pytest.approx(float(standardised(0, TARGETS["ate"])), abs=1e-12)


@pytest.mark.parametrize(("scores", "outcome"), [("x1 + x2", "x2"), ("x2", "x1 + x2 + x1sq")])
def test_one_right_model_of_two_is_enough(scores: str, outcome: str) -> None:
    # truth without censoring: risk by day 1 is 0.3 + 0.1 x1 for both arms, so the difference is 0
    rng = np.random.default_rng(4)
    n = 40_000
    x1, x2 = rng.uniform(-1, 1, n), rng.integers(0, 2, n)
    a = rng.random(n) < 1 / (1 + np.exp(-1.5 * x1 - 0.5 * x2))
    event = rng.random(n) < 0.3 + 0.1 * x1
    frame = pl.DataFrame(
        {"x1": x1, "x1sq": x1**2, "x2": x2, "a": a, "time": np.where(event, 1, 2), "cause": event.astype(int)}
    )
    found = ef.doubly_robust_effects(frame, ef.propensity_scores(frame, "a", scores), outcome, horizon=1)
    row = found.table.filter(pl.col("measure") == "risk_difference").row(0, named=True)
    assert abs(row["estimate"]) < 3 * row["std_error"]
    naive = frame.group_by("a").agg(pl.col("cause").mean()).sort("a")["cause"]
    assert abs(naive[1] - naive[0]) > 6 * row["std_error"]  # what one is robust against


def test_cross_fitted_trees_find_the_same_effect() -> None:
    frame = simulated(3000, 6)
    plain = ef.doubly_robust_effects(frame, ef.propensity_scores(frame, "a", "x1 + x2"), "x1 + x2", horizon=60)
    scores = ef.propensity_scores(frame, "a", "x1 + x2", model="boosting", folds=5)
    trees = ef.doubly_robust_effects(frame, scores, "x1 + x2", horizon=60, outcome_model="boosting", folds=5)
    error = plain.table.filter(pl.col("measure") == "risk_difference")["std_error"].item()
    assert abs(value(trees, "risk_difference", "treated") - value(plain, "risk_difference", "treated")) < 2 * error


def test_standardising_a_saturated_model_gives_nearly_the_standardised_risks() -> None:
    frame = pl.concat([two_by_two()] * 10)
    found = ef.standardised_effects(frame, "a", "a + d + a:d", horizon=10, replicates=5)
    expected = float(standardised(1, TARGETS["ate"]) - standardised(0, TARGETS["ate"]))
    # all events share a day, and one step of proportional hazards is not a table of proportions
    assert value(found, "risk_difference", "treated") == pytest.approx(expected, abs=0.03)


def test_too_few_events_for_the_bootstrap_is_an_outcome_of_its_own() -> None:
    # one event among ten: a third of the samples has none there
    with pytest.raises(NotEstimableError, match="bootstrap_not_estimable"):
        ef.standardised_effects(two_by_two(), "a", "a + d + a:d", horizon=10, replicates=20)


def test_standardisation_finds_the_true_risk_of_a_proportional_hazards_world() -> None:
    rng = np.random.default_rng(8)
    n = 20_000
    x = rng.integers(0, 2, n)
    a = rng.random(n) < np.where(x == 1, 0.7, 0.3)
    t = rng.exponential(1 / (0.01 * np.exp(0.8 * x - 0.5 * a)))
    frame = pl.DataFrame({"x": x, "a": a, "time": np.minimum(np.ceil(t), 200).astype(int), "cause": (t <= 200) * 1})
    found = ef.standardised_effects(frame, "a", "a + x", horizon=100, replicates=8).table
    for group, b in (("treated", -0.5), ("untreated", 0.0)):
        truth = np.mean([1 - np.exp(-0.01 * 100 * np.exp(0.8 * v + b)) for v in (0, 1)])
        row = found.filter(pl.col("measure") == "risk", pl.col("group") == group).row(0, named=True)
        assert abs(row["estimate"] - truth) < 4 * row["std_error"]


def test_a_horizon_that_nobody_reaches_is_an_outcome_of_its_own() -> None:
    frame = two_by_two()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "a", "d"))
    with pytest.raises(NotEstimableError, match="horizon_after_follow_up"):
        ef.weighted_effects(frame, weights, horizon=11)


def test_another_frame_than_the_scores_is_refused() -> None:
    frame = two_by_two()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "a", "d"))
    with pytest.raises(StudyError, match="pass that frame"):
        ef.weighted_effects(frame.head(5), weights, horizon=10)


def test_estimates_do_not_depend_on_the_order_of_rows() -> None:
    frame = simulated(300, 9)
    tables = []
    for rows in (frame, frame.sample(fraction=1, shuffle=True, seed=2)):
        weights = ef.balancing_weights(ef.propensity_scores(rows, "a", "x1 + x2"))
        tables.append(ef.weighted_effects(rows, weights, horizon=60).table["estimate"])
    # curves and the Cox model have the same bits; so have they here
    assert tables[0].to_list() == pytest.approx(tables[1].to_list(), rel=1e-13)
