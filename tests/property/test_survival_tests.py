"""Rank tests and Gray's test: by hand, against rational arithmetic, and under changes that must not matter."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cohort import survival as sv
from cohort.errors import NotEstimableError, StudyError
from cohort.survival.gray_test import _score_and_variance
from cohort.survival.strata import grouped_risk


def test_two_groups_by_hand() -> None:
    # a: event on 1, censored on 3; b: events on 2 and 3.
    #   day 1: Y = 4, 2 in a: expected in a 1/2, variance 1/4;  day 2: Y = 3, 1 in a: 1/3, 2/9;
    #   day 3: Y = 2, 1 in a (censored after the event): 1/2, 1/4.
    #   O - E = 1 - 4/3 = -1/3; V = 13/18; chi-square = (1/9)/(13/18) = 2/13.
    rows = pl.DataFrame({"t": [1, 3, 2, 3], "e": [1, 0, 1, 1], "g": list("aabb")})
    test = sv.logrank(rows, "t", "e", "g")
    assert test.statistic == pytest.approx(2 / 13)
    assert test.to_polars()["expected"].to_list() == pytest.approx([4 / 3, 5 / 3])
    assert test.df == 1


PERSONS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 1), st.sampled_from("ab"), st.sampled_from("xy")),
    min_size=2,
    max_size=12,
)


def exact_logrank(persons, rho: int) -> Fraction | None:
    """Chi-square of two groups by definition, within strata, risk sets (entry, time]."""
    score = variance = Fraction(0)
    for stratum in "xy":
        here = [(a, a + length, e, g) for a, length, e, g, s in persons if s == stratum]
        survival = Fraction(1)
        for t in sorted({t for _, t, _, _ in here}):
            at_risk = [row for row in here if row[0] < t <= row[1]]
            events = [row for row in at_risk if row[1] == t and row[2]]
            n, d = len(at_risk), len(events)
            share = Fraction(sum(row[3] == "a" for row in at_risk), n)
            score += survival**rho * (sum(row[3] == "a" for row in events) - d * share)
            if n > 1:
                variance += survival ** (2 * rho) * share * (1 - share) * d * Fraction(n - d, n - 1)
            survival *= 1 - Fraction(d, n)
    return score**2 / variance if variance else None


@settings(max_examples=200, deadline=None)
@given(PERSONS, st.sampled_from([0, 1, 2]))
def test_the_rho_family_equals_rational_arithmetic(persons, rho) -> None:
    expected = exact_logrank(persons, rho)
    assume(expected is not None and len({g for *_, g, _ in persons}) == 2)
    rows = pl.DataFrame([(a, a + n, e, g, s) for a, n, e, g, s in persons], schema=list("ategs"), orient="row")
    test = sv.logrank(rows, "t", "e", "g", strata="s", rho=rho, entry="a")
    assert test.statistic == pytest.approx(float(expected), rel=1e-9, abs=1e-12)


def population(n: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "t": random.integers(1, 60, n),
            "c": random.integers(0, 3, n),
            "g": random.choice(["a", "b", "c"], n),
            "s": random.integers(0, 4, n),
            "w": random.integers(1, 4, n),
        }
    ).with_columns(e=pl.col("c") == 1)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, 0.0), (0.5, 2.0)])
def test_case_weights_equal_the_expanded_rows(weights) -> None:
    # lifelines' Fleming–Harrington test ignores its weights: p 0.06 becomes 4.5e-9 (its PR 1698)
    rows, (rho, gamma) = population(150, 4), weights
    expanded = rows.select(pl.all().repeat_by("w")).explode(rows.columns)
    ours = sv.logrank(rows, "t", "e", "g", rho=rho, gamma=gamma, weights="w", variance="hypergeometric")
    theirs = sv.logrank(expanded, "t", "e", "g", rho=rho, gamma=gamma)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-11)


def test_the_robust_variance_sums_squared_influences() -> None:
    rows = population(80, 5).with_columns(a=pl.col("t") // 3, w=pl.col("w") / 2)
    test = sv.logrank(rows, "t", "e", "g", entry="a", weights="w")
    table, groups = rows.rows(named=True), ["a", "b", "c"]
    matrix = np.zeros((3, 3))
    days = sorted(set(rows["t"]))
    at_risk = {day: [row for row in table if row["a"] < day <= row["t"]] for day in days}
    total = {day: sum(row["w"] for row in at_risk[day]) for day in days}
    hazard = {day: sum(row["w"] * row["e"] for row in at_risk[day] if row["t"] == day) / total[day] for day in days}
    share = {
        day: [sum(row["w"] * (row["g"] == g) for row in at_risk[day]) / total[day] for g in groups] for day in days
    }
    for row in table:
        influence = np.zeros(3)
        for day in days:
            if row["a"] < day <= row["t"]:
                martingale = (row["e"] and row["t"] == day) - hazard[day]
                influence += martingale * (np.array([row["g"] == g for g in groups]) - share[day])
        matrix += row["w"] ** 2 * np.outer(influence, influence)
    np.testing.assert_allclose(test.variance, matrix, rtol=1e-10, atol=1e-12)


def test_relabelling_and_splitting_change_nothing() -> None:
    rows = population(400, 6)
    whole = sv.count_days(rows, "t", "c", "g", strata="s")
    parts = [sv.count_days(rows.filter(pl.col("t") % 7 == k), "t", "c", "g", strata="s") for k in range(7)]
    for finish in (sv.logrank_from, sv.gray_from):
        assert finish(whole).statistic == finish(sum(parts)).statistic
        renamed = rows.with_columns(g=pl.col("g").replace({"a": "z", "c": "b", "b": "c"}))
        other = finish(sv.count_days(renamed, "t", "c", "g", strata="s"))
        assert finish(whole).statistic == pytest.approx(other.statistic, rel=1e-11)


def test_each_stratum_adds_its_own_score() -> None:
    # Two copies of a stratum double O - E and V, so the statistic doubles.
    rows = population(200, 7).drop("s")
    once = sv.logrank(rows, "t", "e", "g")
    twice = pl.concat([rows.with_columns(s=pl.lit(k)) for k in ("first", "second")])
    assert sv.logrank(twice, "t", "e", "g", strata="s").statistic == pytest.approx(2 * once.statistic, rel=1e-12)
    one = sv.gray(rows, "t", "c", "g")
    assert sv.gray(twice, "t", "c", "g", strata="s").statistic == pytest.approx(2 * one.statistic, rel=1e-12)


def test_many_tiny_strata() -> None:
    random = np.random.default_rng(8)
    pairs = 20_000
    rows = pl.DataFrame(
        {
            "s": np.repeat(np.arange(pairs), 2),
            "g": np.tile([0, 1], pairs),
            "t": random.integers(1, 1000, 2 * pairs),
            "e": random.integers(0, 2, 2 * pairs),
        }
    )
    # In a pair only the first event counts, with expectation 1/2 and variance 1/4 while both are at risk (McNemar);
    # a tie of two events has variance 1/4 · 2 · (2-2)/(2-1) = 0.
    wide = rows.pivot(on="g", index="s", values=["t", "e"])
    zero = wide.filter((pl.col("e_0") == 1) & (pl.col("t_0") <= pl.col("t_1")))
    one = wide.filter((pl.col("e_1") == 1) & (pl.col("t_1") <= pl.col("t_0")))
    both = zero.join(one, on="s", how="inner").height
    first, second = zero.height - both, one.height - both
    expected = (first - second) ** 2 / (first + second)
    assert sv.logrank(rows, "t", "e", "g", strata="s").statistic == pytest.approx(expected, rel=1e-10)


def test_without_competing_events_one_sample_is_one_subdistribution() -> None:
    # With one cause and no censoring Gray's test and the log-rank have the same score; both see no difference here.
    rows = pl.DataFrame({"t": [1, 2, 3, 4] * 2, "c": [1] * 8, "g": ["a"] * 4 + ["b"] * 4})
    assert sv.gray(rows, "t", "c", "g").statistic == pytest.approx(0, abs=1e-20)
    assert sv.gray(rows, "t", "c", "g").p_value == pytest.approx(1)


def test_the_weight_of_gray_is_the_pooled_curve() -> None:
    # Without censoring and other causes the pooled incidence is 1 - S, so the score is that of the rho family.
    rows = population(120, 13).with_columns(c=1, e=1)
    risk = grouped_risk(sv.count_days(rows, "t", "c", "g"))
    score, _ = _score_and_variance(risk.n_risk, risk.n_event[:, 0], 0 * risk.n_event[:, 0], rho=1.5)
    table = sv.logrank(rows, "t", "e", "g", rho=1.5).to_polars()
    np.testing.assert_allclose(score, table["observed"] - table["expected"], atol=1e-10)


def test_trend_by_hand() -> None:
    rows = population(300, 9).with_columns(dose=pl.col("s") * 10)
    test = sv.logrank(rows, "t", "e", "dose")
    score = np.array([0.0, 10, 20, 30])
    difference = (test.table["observed"] - test.table["expected"]).to_numpy()
    expected = (score @ difference) ** 2 / (score @ test.variance @ score)
    trend = test.trend()
    assert (trend.statistic, trend.df) == (pytest.approx(expected), 1)
    # the test does not see where the scale starts or how long its steps are
    moved = test.trend({"0": 5, "10": 6, "20": 7, "30": 8})
    assert moved.statistic == pytest.approx(expected, rel=1e-9)
    with pytest.raises(StudyError, match="scores"):
        sv.logrank(rows, "t", "e", "g").trend()


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ({"t": [1, 2], "e": [1, 1], "g": ["a", "a"]}, "fewer_than_two_groups"),
        ({"t": [1, 2], "e": [0, 0], "g": ["a", "b"]}, "no_events_to_compare"),
        ({"t": [1, 2, 3], "e": [1, 0, 1], "g": ["a", "a", "b"]}, None),
    ],
)
def test_what_cannot_be_compared_says_so(rows, reason) -> None:
    if reason is None:
        assert sv.logrank(pl.DataFrame(rows), "t", "e", "g").df == 1
        return
    with pytest.raises(NotEstimableError, match=reason):
        sv.logrank(pl.DataFrame(rows), "t", "e", "g")


def test_a_tiny_group_beside_a_large_one_is_not_taken_for_noise() -> None:
    rows = pl.concat(
        [
            population(20_000, 10).select("t", "e", g=pl.lit("large")),
            population(20_000, 11).select("t", "e", g=pl.lit("other")),
            pl.DataFrame({"t": [5, 9], "e": [True, True], "g": ["tiny", "tiny"]}),
        ]
    )
    assert sv.logrank(rows, "t", "e", "g").df == 2


def test_gray_refuses_what_it_does_not_cover() -> None:
    rows = population(50, 12)
    with pytest.raises(StudyError, match="without weights"):
        sv.gray_from(sv.count_days(rows, "t", "c", "g", weights="w"))
    with pytest.raises(StudyError, match="cause_of_interest"):
        sv.gray(rows, "t", "c", "g", cause_of_interest=9)
