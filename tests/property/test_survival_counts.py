"""Counts are additive to the bit, curves equal rational arithmetic, variances equal their definition."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort import survival as sv
from cohort.survival.counts import DayCounts

DAY = st.integers(0, 6)
PERSONS = st.lists(st.tuples(DAY, st.integers(0, 2), st.integers(1, 3), st.sampled_from("ab")), min_size=1, max_size=12)


def big(n: int, seed: int = 1) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    time = random.integers(1, 400, n)
    return pl.DataFrame(
        {
            "t": time,
            "a": random.integers(0, 400, n) % time,
            "c": random.integers(0, 3, n),
            "w": np.exp(random.normal(0, 3, n)),
            "g": random.choice(["x", "y", "z"], n),
        }
    )


FORMS = [{}, {"by": "g"}, {"entry": "a"}, {"by": "g", "weights": "w"}, {"by": "g", "weights": "w", "entry": "a"}]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("pieces", [7, 64])
def test_counts_do_not_depend_on_the_split_or_the_order(form, pieces) -> None:
    rows = big(5000)
    whole = sv.count_days(rows, "t", "c", **form)
    shuffled = rows.sample(fraction=1, shuffle=True, seed=pieces).with_row_index("i")
    parts = [shuffled.filter(pl.col("i") % pieces == k) for k in range(pieces)]
    summed = sum(sv.count_days(part, "t", "c", **form) for part in parts)
    assert isinstance(summed, DayCounts)
    assert whole.cells.equals(summed.cells) and whole.cells.schema == summed.cells.schema
    left, right = (sv.cumulative_incidence_from(counts).to_polars() for counts in (whole, summed))
    for name in left.columns:
        assert left[name].to_arrow().equals(right[name].to_arrow())


@pytest.mark.parametrize("weights", [None, "w"])
def test_many_rows_counted_on_all_cores_give_the_same_counts(monkeypatch, weights) -> None:
    frame = big(10_000).with_columns(w=pl.Series(np.arange(10_000) % 7 / 8))
    alone = sv.count_days(frame, "t", "c", by="g", weights=weights).cells
    monkeypatch.setattr("cohort.survival.counts.MANY_ROWS", 1)
    assert sv.count_days(frame, "t", "c", by="g", weights=weights).cells.equals(alone)


@settings(max_examples=150, deadline=None)
@given(PERSONS)
def test_curves_equal_rational_arithmetic(persons) -> None:
    rows = pl.DataFrame(persons, schema=["t", "c", "w", "g"], orient="row")
    survival, hazard, incidence = Fraction(1), Fraction(0), {1: Fraction(0), 2: Fraction(0)}
    expected = []
    for day in sorted({person[0] for person in persons}):
        at_risk = sum(person[0] >= day for person in persons)
        events = {code: sum(person[0] == day and person[1] == code for person in persons) for code in (1, 2)}
        for code in incidence:
            incidence[code] += survival * Fraction(events[code], at_risk)
        survival *= 1 - Fraction(sum(events.values()), at_risk)
        hazard += Fraction(sum(events.values()), at_risk)
        expected.append((day, survival, hazard, incidence[1], incidence[2]))
    counts = sv.count_days(rows, "t", "c", causes=[1, 2])
    tables = [sv.kaplan_meier_from(counts).to_polars(), sv.nelson_aalen_from(counts).to_polars()]
    both = sv.cumulative_incidence_from(counts).to_polars()
    tables += [both.filter(pl.col("cause") == code) for code in (1, 2)]
    for column, table in enumerate(tables, start=1):
        assert table["time"].to_list() == [row[0] for row in expected]
        assert table["estimate"].to_list() == pytest.approx([float(row[column]) for row in expected], abs=1e-14)


def aalen_johansen(rows: np.ndarray, weights: np.ndarray, cause: int, day: float):
    """The definition on rows (entry, time, cause), in complex numbers so that it can be differentiated exactly."""
    free, incidence, hazard = 1, 0, 0
    for t in sorted({row[1] for row in rows if row[1] <= day}):
        at_risk = (weights * ((rows[:, 0] < t) & (rows[:, 1] >= t))).sum()
        here = weights * (rows[:, 1] == t)
        own, every = (here * (rows[:, 2] == cause)).sum(), (here * (rows[:, 2] > 0)).sum()
        incidence, hazard, free = (
            incidence + free * own / at_risk,
            hazard + every / at_risk,
            free * (1 - every / at_risk),
        )
    return free, hazard, incidence


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(0, 2), st.sampled_from([0.5, 1, 1.7, 3])),
                min_size=2, max_size=10))  # fmt: skip
def test_robust_variances_equal_the_sum_of_squared_influences(drawn) -> None:
    # A person's influence is weight × the derivative of the estimate by that weight: by a complex step, to 1e-15.
    table = np.array([(a, a + length, c) for a, length, c, _ in drawn])
    weights = np.array([w for *_, w in drawn])
    rows = pl.DataFrame({"a": table[:, 0], "t": table[:, 1], "c": table[:, 2], "w": weights})
    counts = sv.count_days(rows, "t", "c", entry="a", weights="w", causes=[1, 2])
    results = [
        sv.kaplan_meier_from(counts).to_polars(),
        sv.nelson_aalen_from(counts).to_polars(),
        sv.cumulative_incidence_from(counts).to_polars().filter(pl.col("cause") == 1),
    ]
    for i, day in enumerate(results[0]["time"]):
        squares = np.zeros(3)
        for person, weight in enumerate(weights):
            step = weights.astype(complex)
            step[person] += 1e-30j
            derivative = np.array([np.imag(value) / 1e-30 for value in aalen_johansen(table, step, 1, day)])
            squares += (weight * derivative) ** 2
        # variances, not their roots: near 0 a root shows half the digits
        ours = [(result["std_error"][i] or 0.0) ** 2 for result in results]
        if results[0]["estimate"][i] > 0:  # at 0 the Kaplan–Meier has none
            assert ours[0] == pytest.approx(squares[0], abs=1e-12)
        assert ours[1:] == pytest.approx(squares[1:], abs=1e-12)


def test_groups_pool_into_everybody() -> None:
    rows = big(1000)
    pooled = sv.count_days(rows, "t", "c", by="g", weights="w", entry="a").pooled()
    assert pooled.cells.equals(sv.count_days(rows, "t", "c", weights="w", entry="a").cells)


def test_greenwood_is_the_robust_variance_without_weights() -> None:
    counts = sv.count_days(big(3000), "t", "c", by="g")
    greenwood, robust = (sv.kaplan_meier_from(counts, variance=kind).to_polars() for kind in ("greenwood", "robust"))
    known = greenwood["std_error"].is_not_null()
    np.testing.assert_allclose(greenwood["std_error"].filter(known), robust["std_error"].filter(known), rtol=1e-11)


def test_swapping_labels_swaps_curves() -> None:
    rows = big(500)
    swapped = rows.with_columns(c=pl.col("c").replace_strict({0: 0, 1: 2, 2: 1}))
    left, right = (sv.cumulative_incidence(frame).to_polars() for frame in (rows, swapped))
    one, two = left.filter(pl.col("cause") == 1), right.filter(pl.col("cause") == 2)
    assert one.drop("cause").equals(two.drop("cause"))


def test_incidences_and_event_free_add_to_one() -> None:
    counts = sv.count_days(big(2000), "t", "c", by="g", weights="w")
    free = sv.kaplan_meier_from(counts).to_polars()["estimate"]
    causes = sv.cumulative_incidence_from(counts).to_polars().partition_by("cause")
    np.testing.assert_allclose(free + causes[0]["estimate"] + causes[1]["estimate"], 1, atol=1e-13)


def test_a_risk_set_of_events_only_leaves_exactly_nobody() -> None:
    # 0.1 + 0.2 + … of two causes, summed apart and together, differ in floats; S must be 0, not 1e-17, which would
    # make the jump of the next influence 1e17 times too large.
    random = np.random.default_rng(5)
    rows = pl.DataFrame({"t": [3] * 999, "c": random.integers(1, 3, 999), "w": random.exponential(1, 999)})
    counts = sv.count_days(rows, "t", "c", weights="w")
    assert sv.kaplan_meier_from(counts).to_polars()["estimate"].to_list() == [0.0]


def test_weights_over_24_orders_of_magnitude_are_summed_exactly() -> None:
    weights = [1e-12, 1.0, 1e12, 0.1, 3e-5]
    rows = pl.DataFrame({"t": [1] * 5, "e": [1] * 5, "w": weights})
    total = sum(Fraction(w) for w in weights)
    row = sv.kaplan_meier(rows, weights="w").to_polars().row(0, named=True)
    assert row["n_risk"] == float(total)
