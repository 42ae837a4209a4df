"""Restricted means and time lost: by hand, by influence, and where they are not known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import StudyError

ROWS = pl.DataFrame({"t": [2, 4, 6, 8], "c": [1, 2, 0, 1], "e": [1, 1, 0, 1], "g": ["a", "a", "b", "b"]})


def test_area_by_hand() -> None:
    # S = 1 until 2, 3/4 until 4, 1/2 until 8: up to 5 that is 2 + 2·3/4 + 1·1/2 = 4.
    # Area ahead: from 2: 2·3/4 + 1/2 = 2; from 4: 1/2. Greenwood: 2²·1/(4·3) + (1/2)²·1/(3·2) = 1/3 + 1/24.
    row = sv.rmst(ROWS, "t", "e", tau=5).to_polars().row(0, named=True)
    assert row["estimate"] == pytest.approx(4)
    assert row["std_error"] == pytest.approx((1 / 3 + 1 / 24) ** 0.5)
    assert row["upper"] - row["estimate"] == pytest.approx(1.959963984540054 * row["std_error"])


def test_time_lost_by_hand() -> None:
    # Cause 1: 1/4 from day 2 on: 3 days up to 5 → 3/4. Cause 2: 3/4·1/3 = 1/4 from day 4 on: 1/4. Together 5 - 4 = 1.
    table = sv.restricted_time_lost(ROWS, "t", "c", tau=5).to_polars()
    assert table.select("cause", "estimate").rows() == [(1, pytest.approx(0.75)), (2, pytest.approx(0.25))]


def test_one_cause_loses_what_the_restricted_mean_lacks() -> None:
    random = np.random.default_rng(3)
    rows = pl.DataFrame({"t": random.integers(1, 90, 200), "e": random.integers(0, 2, 200)})
    mean = sv.rmst(rows, "t", "e", tau=60).to_polars().row(0, named=True)
    lost = sv.restricted_time_lost(rows, "t", "e", tau=60).to_polars().row(0, named=True)
    assert mean["estimate"] + lost["estimate"] == pytest.approx(60, abs=1e-12)
    assert mean["std_error"] == pytest.approx(lost["std_error"], rel=1e-12)
    robust = sv.rmst(rows, "t", "e", tau=60, variance="robust").to_polars().row(0, named=True)
    assert robust["std_error"] == pytest.approx(mean["std_error"], rel=1e-12)


def restricted(rows: np.ndarray, weights: np.ndarray, cause: int, tau: float):
    """Mean and time lost by definition, in complex numbers."""
    free, mean, lost, last = 1, 0, 0, 0.0
    for t in sorted({row[1] for row in rows if row[1] <= tau}):
        at_risk = (weights * ((rows[:, 0] < t) & (rows[:, 1] >= t))).sum()
        here = weights * (rows[:, 1] == t)
        mean, last = mean + free * (t - last), t
        lost = lost + free * (here * (rows[:, 2] == cause)).sum() / at_risk * (tau - t)
        free = free * (1 - (here * (rows[:, 2] > 0)).sum() / at_risk)
    return mean + free * (tau - last), lost


@pytest.mark.parametrize("seed", range(5))
def test_robust_variances_equal_the_sum_of_squared_influences(seed) -> None:
    random = np.random.default_rng(seed)
    entry = random.integers(0, 6, 40)
    table = np.column_stack([entry, entry + random.integers(1, 15, 40), random.integers(0, 3, 40)])
    table[0] = (0, 20, 0)
    weights = random.choice([0.5, 1.0, 2.5], 40)
    rows = pl.DataFrame({"a": table[:, 0], "t": table[:, 1], "c": table[:, 2], "w": weights})
    squares = np.zeros(2)
    for person in range(40):
        step = weights.astype(complex)
        step[person] += 1e-30j
        squares += (weights[person] * np.imag(np.array(restricted(table, step, 1, 12))) / 1e-30) ** 2
    frame = rows.with_columns(e=pl.col("c") > 0)
    mean = sv.rmst(frame, "t", "e", tau=12, entry="a", weights="w").to_polars()
    lost = sv.restricted_time_lost(rows, "t", "c", tau=12, entry="a", weights="w").to_polars()
    assert [mean["std_error"][0], lost["std_error"][0]] == pytest.approx(np.sqrt(squares), rel=1e-10)


def test_contrasts_are_difference_and_ratio() -> None:
    rows = pl.DataFrame({"t": [2, 4, 6, 8] * 2, "e": [1, 1, 0, 1, 1, 0, 1, 0], "g": ["a"] * 4 + ["b"] * 4})
    means = sv.rmst(rows, "t", "e", "g", tau=7)
    a, b = means.to_polars().rows(named=True)
    difference, ratio = means.contrasts().rows(named=True)
    assert (difference["group"], difference["reference"], difference["contrast"]) == ("b", "a", "difference")
    assert difference["estimate"] == pytest.approx(b["estimate"] - a["estimate"])
    assert difference["std_error"] == pytest.approx(np.hypot(a["std_error"], b["std_error"]))
    assert ratio["estimate"] == pytest.approx(b["estimate"] / a["estimate"])
    relative = np.hypot(a["std_error"] / a["estimate"], b["std_error"] / b["estimate"])
    assert ratio["upper"] == pytest.approx(ratio["estimate"] * np.exp(1.959963984540054 * relative))
    swapped = means.contrasts(reference="b").row(0, named=True)
    assert swapped["estimate"] == pytest.approx(-difference["estimate"])
    with pytest.raises(StudyError, match="not a group"):
        means.contrasts(reference="z")


def test_contrasts_by_cause_compare_like_with_like() -> None:
    rows = pl.DataFrame({"t": [1, 2, 3, 4] * 2, "c": [1, 2, 1, 2, 2, 1, 0, 1], "g": ["a"] * 4 + ["b"] * 4})
    lost = sv.restricted_time_lost(rows, "t", "c", "g", tau=4)
    by = {(row["group"], row["cause"]): row["estimate"] for row in lost.to_polars().rows(named=True)}
    for row in lost.contrasts().filter(pl.col("contrast") == "difference").rows(named=True):
        assert row["estimate"] == pytest.approx(by["b", row["cause"]] - by["a", row["cause"]])


def test_beyond_follow_up_it_is_not_known() -> None:
    rows = pl.DataFrame({"t": [5, 9, 5, 9], "e": [1, 0, 1, 1], "g": ["left", "left", "over", "over"]})
    left, over = sv.rmst(rows, "t", "e", "g", tau=20).to_polars().rows(named=True)
    assert (left["estimate"], left["std_error"], left["lower"]) == (None, None, None)
    assert over["estimate"] == pytest.approx(7)  # nobody is event-free after day 9: 5 + 4/2
    with pytest.raises(StudyError, match="tau"):
        sv.rmst(rows, "t", "e", "g")


def test_quantiles_of_few_persons() -> None:
    # n = 2: S = 1/2 on [3, 7): the median is the middle of that stretch. n = 1, an event on day 4: all quantiles 4.
    two = sv.kaplan_meier(pl.DataFrame({"t": [3, 7], "e": [1, 1]}))
    assert two.quantiles([0.25, 0.5, 0.75])["estimate"].to_list() == [3, 5, 7]
    one = sv.kaplan_meier(pl.DataFrame({"t": [4], "e": [1]}))
    assert one.quantiles([0.1, 0.9])["estimate"].to_list() == [4, 4]
    # level with 1/2 until the end of follow-up on day 9: the middle of 3 and 9
    flat = sv.kaplan_meier(pl.DataFrame({"t": [3, 9], "e": [1, 0]}))
    assert flat.quantiles([0.5, 0.6])["estimate"].to_list() == [6, None]
    ties = sv.kaplan_meier(pl.DataFrame({"t": [2, 2, 2], "e": [1, 1, 1]}))
    assert ties.quantiles([0.5])["estimate"].to_list() == [2]
    nobody = sv.kaplan_meier(pl.DataFrame(schema={"t": pl.Int64, "e": pl.Int64}))
    assert nobody.quantiles([0.5]).is_empty()


def test_quantiles_of_a_cumulative_incidence() -> None:
    # F1: 1/4 on day 2, 1/2 on day 8; the limits of the share reached are swapped: the upper band gets there first.
    table = sv.cumulative_incidence(ROWS, "t", "c").quantiles([0.2, 0.3])
    first = table.filter(pl.col("cause") == 1)
    assert first["estimate"].to_list() == [2, 8]
    assert first["lower"][0] <= 2
    with pytest.raises(StudyError, match="only probabilities"):
        sv.nelson_aalen(ROWS).quantiles()
