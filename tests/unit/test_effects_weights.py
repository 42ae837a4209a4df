"""Weights, matching, strata, balance and overlap: worked by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from cohort import effects as ef
from cohort.effects.balance_table import count_balance, worst
from cohort.effects.propensity import Propensity
from cohort.errors import NotEstimableError, StudyError


def scores(score: list[float], treated: list[int]) -> Propensity:
    n = len(score)
    return Propensity(np.array(score), np.array(treated, bool), "logistic", ("x",), 1, None, np.ones(n, bool))


TWO = scores([0.2, 0.5, 0.2, 0.8], [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("estimand", "expected"),
    [
        ("ate", [5, 2, 1.25, 5]),  # 1/e, 1/(1 - e)
        ("att", [1, 1, 0.25, 4]),  # 1, e/(1 - e)
        ("atu", [4, 1, 1, 1]),  # (1 - e)/e, 1
        ("overlap", [0.8, 0.5, 0.2, 0.8]),  # 1 - e, e
        ("matching", [1, 1, 0.25, 1]),  # min(e, 1 - e) over the chance of what happened
    ],
)
def test_weights_follow_the_tilting_function(estimand: str, expected: list[float]) -> None:
    weights = ef.balancing_weights(TWO, estimand, stabilised=False)
    assert weights.weight == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("estimand", ["ate", "att", "atu", "overlap", "matching"])
def test_the_slope_is_the_derivative_by_the_score(estimand: str) -> None:
    step = 1e-6
    up, down = (
        ef.balancing_weights(scores((TWO.score + s).tolist(), [1, 1, 0, 0]), estimand, stabilised=False).weight
        for s in (step, -step)
    )
    slope = ef.balancing_weights(TWO, estimand, stabilised=False).slope
    kink = TWO.score == 0.5  # min(e, 1 - e) has two slopes there
    assert slope[~kink] == pytest.approx(((up - down) / 2 / step)[~kink], rel=1e-6)


def test_stabilised_weights_count_as_many_persons_as_there_are() -> None:
    weights = ef.balancing_weights(TWO, "ate")
    assert weights.weight == pytest.approx([10 / 7, 4 / 7, 2.5 / 6.25, 10 / 6.25])


def test_effective_size_is_kishs() -> None:
    # weights 5 and 2: 49 / 29; 1.25 and 5: 39.0625 / 26.5625
    found = ef.balancing_weights(TWO, "ate").effective_size
    assert found == pytest.approx({"treated": 49 / 29, "untreated": 39.0625 / 26.5625})


def test_trimming_leaves_persons_out_and_truncation_cuts_weights() -> None:
    trimmed = ef.balancing_weights(TWO, "ate", trim=(0.1, 0.6))
    assert trimmed.propensity.kept.tolist() == [True, True, True, False]
    many = scores(np.linspace(0.01, 0.99, 99).tolist(), [i % 2 for i in range(99)])
    cut = ef.balancing_weights(many, "ate", truncate=0.9, stabilised=False)
    treated = many.treated
    assert cut.weight[treated].max() == np.quantile(1 / many.score[treated], 0.9)
    assert (cut.slope[cut.weight == cut.weight[treated].max()] == 0).all()


def test_weights_that_one_person_carries_are_an_outcome_of_their_own() -> None:
    few = scores([1e-4] + [0.5] * 99 + [0.5] * 100, [1] * 100 + [0] * 100)
    with pytest.raises(NotEstimableError, match="weights_explode: the treated"):
        ef.balancing_weights(few, "ate").require_effective()
    ef.balancing_weights(few, "overlap").require_effective()


def test_trimming_away_an_arm_is_an_outcome_of_its_own() -> None:
    with pytest.raises(NotEstimableError, match="nobody_left"):
        ef.balancing_weights(TWO, "ate", trim=(0.7, 0.9))


@pytest.mark.parametrize("options", [{"estimand": "all"}, {"trim": (0.9, 0.1)}, {"truncate": 99}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(StudyError):
        ef.balancing_weights(TWO, **options)  # type: ignore[arg-type]  # that is the point


def greedy(score: np.ndarray, treated: np.ndarray, ratio: int, caliper: float, seed: int) -> np.ndarray:
    """Match by looking at every untreated person each time."""
    place = np.log(score / (1 - score))
    reach, free, taken = caliper * place.std(ddof=1), set(np.flatnonzero(~treated)), np.full(len(score), -1)
    for _ in range(ratio):
        for person in np.random.default_rng(seed).permutation(np.flatnonzero(treated)):
            near = min(free, key=lambda c: (abs(place[c] - place[person]), place[c], c), default=None)
            if near is not None and abs(place[near] - place[person]) <= reach:
                free.remove(near)
                taken[near] = taken[person] = person
    return taken


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("ratio", [1, 3])
def test_matching_takes_the_nearest_who_is_free(seed: int, ratio: int) -> None:
    rng = np.random.default_rng(seed)
    score, treated = rng.uniform(0.05, 0.95, 60), rng.random(60) < 0.3
    found = ef.match(scores(score.tolist(), treated.tolist()), ratio=ratio, caliper=0.3, seed=seed)
    expected = greedy(score, treated, ratio, 0.3, seed)
    assert np.array_equal(found.set_of >= 0, expected >= 0)
    same = expected[:, None] == expected
    assert np.array_equal((found.set_of[:, None] == found.set_of)[expected >= 0], same[expected >= 0])


def test_matched_weights_share_a_set_among_its_matches() -> None:
    found = ef.match(scores([0.5, 0.5, 0.51, 0.9], [1, 0, 0, 0]), ratio=2, caliper=0.2)
    assert found.weights().weight == pytest.approx([1, 0.5, 0.5, 0])
    assert found.n_matched == 1


def test_no_match_within_the_caliper_is_an_outcome_of_its_own() -> None:
    with pytest.raises(NotEstimableError, match="no_match"):
        ef.match(scores([0.9, 0.1, 0.2], [1, 0, 0]))


def test_strata_reweight_each_arm_to_the_target() -> None:
    # lower stratum: 1 treated of 4; upper: 2 of 3 (scores at or below the median belong to the lower)
    p = scores([0.1, 0.1, 0.1, 0.1, 0.9, 0.9, 0.9], [1, 0, 0, 0, 1, 1, 0])
    assert ef.stratify(p, 2).weight == pytest.approx([4, 4 / 3, 4 / 3, 4 / 3, 1.5, 1.5, 3])
    assert ef.stratify(p, 2, "att").weight == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1, 1, 2])


def test_a_stratum_without_an_arm_is_an_outcome_of_its_own() -> None:
    with pytest.raises(NotEstimableError, match="stratum_empty: 1 of 2"):
        ef.stratify(scores([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0]), 2)


def test_balance_is_measured_in_unweighted_standard_deviations() -> None:
    frame = pl.DataFrame({"x": [2.0, 6.0, 0.0, 4.0], "sex": ["f", "m", "f", "f"]})
    weights = ef.balancing_weights(TWO, "att", stabilised=False)  # 1, 1, 0.25, 4
    table = ef.balance(frame, weights, "x + sex")
    x, sex = table.rows(named=True)
    # means 4 and 2, both variances 4 (divisor n): difference 2 / 2 = 1
    assert (x["mean_treated"], x["mean_untreated"], x["difference"], x["variance_ratio"]) == (4, 2, 1, 1)
    # weighted untreated: mean 16 / 4.25, variance 64 / 4.25 - mean²
    mean = 16 / 4.25
    assert x["difference_weighted"] == pytest.approx((4 - mean) / 2)
    assert x["variance_ratio_weighted"] == pytest.approx(4 / (64 / 4.25 - mean**2))
    assert sex["column"] == "sex[m]"
    assert sex["difference"] == pytest.approx(0.5 / np.sqrt(0.25 / 2))  # variances 1/4 and 0
    assert worst(table) == ("sex[m]", pytest.approx(0.5 / np.sqrt(0.25 / 2)))


def surveyed(n: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(4)
    frame = pl.DataFrame({"year": rng.integers(1940, 1990, n), "sick": rng.random(n) < 0.3})
    region = pl.Series(rng.choice(["north", "south", "west"], n))
    return frame.with_columns(region=region, treated=pl.Series(rng.random(n)) < 0.3 + 0.3 * pl.col("sick"))


def test_balance_of_the_model_is_that_of_its_terms() -> None:
    frame = surveyed()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "treated", "year * sick"))
    # the same sums, from standardised columns and from columns as they are: years lose a few digits from 0
    assert_frame_equal(ef.balance(frame, weights), ef.balance(frame, weights, "year * sick"), rel_tol=1e-8)
    trimmed = ef.balancing_weights(weights.propensity, trim=(0.35, 1.0))
    assert_frame_equal(ef.balance(frame, trimmed), ef.balance(frame, trimmed, "year * sick"))


def test_every_level_of_a_text_variable_is_balanced_the_reference_too() -> None:
    frame = surveyed()
    weights = ef.balancing_weights(ef.propensity_scores(frame, "treated", "sick + region"))
    table = ef.balance(frame, weights)
    assert table["column"].to_list() == ["sick", "region[north]", "region[south]", "region[west]"]
    shares = frame.filter("treated")["region"].value_counts(normalize=True).sort("region")["proportion"]
    assert table["mean_treated"][1:].to_list() == pytest.approx(shares.to_list())
    with pytest.raises(StudyError, match="matrix"):
        ef.balance(frame, ef.balancing_weights(scores([0.5] * 400, [0, 1] * 200)))


def test_balance_sums_of_two_buckets_add_up() -> None:
    rng = np.random.default_rng(1)
    x, p = rng.normal(1e6, 1, (40, 2)), scores(rng.uniform(0.2, 0.8, 40).tolist(), (rng.random(40) < 0.5).tolist())
    whole = ef.balancing_weights(p, "overlap", stabilised=False)

    def part(rows: slice) -> ef.BalancingWeights:
        half = scores(p.score[rows].tolist(), p.treated[rows].tolist())
        return ef.balancing_weights(half, "overlap", stabilised=False)

    origin = np.full(2, 1e6)
    names = ("a", "b")
    halves = [count_balance(x[rows], names, part(rows), origin) for rows in (slice(0, 15), slice(15, 40))]
    together = (halves[0] + halves[1]).finish()
    expected = count_balance(x, names, whole, origin).finish()
    assert_frame_equal(together, expected, rel_tol=1e-12)


def test_overlap_counts_equipoise_extremes_and_persons_beyond_the_other_arm() -> None:
    p = scores([0.5, 0.6, 0.99, 0.5, 0.01, 0.4], [1, 1, 1, 0, 0, 0])
    found = ef.positivity(p)
    assert found.equipoise == pytest.approx(
        {"treated": 2 / 3, "untreated": 2 / 3}
    )  # half are treated: preference = score
    assert found.extreme == pytest.approx(2 / 6)
    assert found.outside == {"treated": 2, "untreated": 2}  # above 0.5: two; below 0.5: two
    assert found.c_statistic == pytest.approx(8.5 / 9)  # one tie of nine pairs
    assert found.in_equipoise
