"""Turnbull's estimate: the hand-worked case, the condition of a maximum, Kaplan–Meier as its special case."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import InputRefusedError


def test_three_overlapping_intervals_by_hand() -> None:
    # (0, 2], (1, 3], (2, 4], (3, 5]: innermost are (1, 2] and (3, 4]; the first two rows hold the one, the others the
    # other ((1, 3] and (2, 4] overlap on (2, 3], which is innermost as well: 2 starts and 3 ends)
    # with masses a, b, c on (1, 2], (2, 3], (3, 4]: log a + log(a + b) + log(b + c) + log c is largest at b = 0
    frame = pl.DataFrame({"lower": [0, 1, 2, 3], "upper": [2, 3, 4, 5]})
    found = sv.turnbull(frame)
    # at the maximum the slope towards (2, 3] is exactly n: the likelihood is flat there to first order
    assert found.rows() == [
        ("all", 1.0, 2.0, pytest.approx(0.5, abs=1e-8), pytest.approx(0.5, abs=1e-8)),
        ("all", 3.0, 4.0, pytest.approx(0.5, abs=1e-8), 0.0),
    ]


def test_a_known_day_inside_and_at_the_ends_of_intervals() -> None:
    # an event on day 3 is inside (2, 3] but not inside (3, 5]
    frame = pl.DataFrame({"lower": [3.0, 2.0, 3.0], "upper": [3.0, 3.0, 5.0]})
    found = sv.turnbull(frame)
    assert found.select("lower", "upper").rows() == [(3.0, 3.0), (3.0, 5.0)]
    np.testing.assert_allclose(found["mass"], [2 / 3, 1 / 3], rtol=1e-12)


def rows_of(seed: int) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    kind, time, width = rng.integers(0, 4, n), rng.integers(1, 20, n), rng.integers(1, 8, n)
    lower = np.where(kind == 1, 0, np.where(kind == 0, time, np.maximum(time - width, 0)))
    upper = np.where(kind == 0, time, np.where(kind == 2, np.inf, time + width))
    return pl.DataFrame({"lower": lower.astype(float), "upper": upper, "w": rng.integers(1, 4, n)})


def probability(row: dict, left: np.ndarray, right: np.ndarray, mass: np.ndarray) -> float:
    """The mass inside one row's interval, written as the definition is."""
    total = 0.0
    for a, b, m in zip(left, right, mass, strict=True):
        if row["lower"] == row["upper"]:
            inside = a == b == row["lower"]
        elif a == b:
            inside = row["lower"] < a <= row["upper"]
        else:
            inside = row["lower"] <= a and b <= row["upper"]
        total += m * inside
    return total


@pytest.mark.parametrize("seed", range(60))
def test_no_other_place_for_the_mass_raises_the_likelihood(seed: int) -> None:
    frame = rows_of(seed)
    found = sv.turnbull(frame, weights="w")
    left, right, mass = (found[name].to_numpy() for name in ("lower", "upper", "mass"))
    np.testing.assert_allclose(mass.sum(), 1, rtol=1e-12)
    held = [(row["w"], row, probability(row, left, right, mass)) for row in frame.rows(named=True)]
    assert all(p > 0 for _, _, p in held)
    total = float(frame["w"].sum())
    # every single day and every gap between days, be it innermost or not: the slope is at most n (Gentleman, Geyer)
    for half in range(120):
        place = half / 2
        a, b = (place, place) if half % 2 == 0 else (place - 0.5, place + 0.5)
        slope = sum(w * probability(row, np.array([a]), np.array([b]), np.array([1.0])) / p for w, row, p in held)
        assert slope <= total * (1 + 1e-8)


@pytest.mark.parametrize("seed", range(10))
def test_right_censoring_alone_is_kaplan_meier(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = pl.DataFrame({"time": rng.integers(1, 15, 30), "event": rng.integers(0, 2, 30)}).with_columns(
        lower=pl.col("time"), upper=pl.when(pl.col("event") == 1).then("time").otherwise(None)
    )
    found = sv.turnbull(frame)
    curve = sv.kaplan_meier(frame, "time", "event").to_polars().filter(pl.col("n_event") > 0)
    known = found.filter(pl.col("lower") == pl.col("upper"))
    assert known["lower"].to_list() == curve["time"].to_list()
    np.testing.assert_allclose(known["survival"], curve["estimate"], atol=1e-9)


def test_current_status_data_are_a_pooled_mean() -> None:
    # seen once each, on day 1 … 6: had it by then, or not. The estimate is the isotonic regression of the shares:
    # 0/1, 1/2, 0/1, 2/3, 1/2, 1/1 pooled from the left while they fall: 0; {1/2, 0/1} = 1/3; {2/3, 1/2} = 3/5; 1
    seen = [(1, 0), (2, 1), (2, 0), (3, 0), (4, 1), (4, 1), (4, 0), (5, 1), (5, 0), (6, 1)]
    frame = pl.DataFrame(
        {"lower": [0 if had else day for day, had in seen], "upper": [day if had else None for day, had in seen]}
    )
    found = sv.turnbull(frame)
    by_day = [float(found.filter(pl.col("upper") <= day)["mass"].sum()) for day in (1, 2, 3, 4, 5, 6)]
    pooled = [Fraction(0), Fraction(1, 3), Fraction(1, 3), Fraction(3, 5), Fraction(3, 5), Fraction(1)]
    np.testing.assert_allclose(by_day, [float(share) for share in pooled], atol=1e-9)


def test_groups_order_and_weights() -> None:
    frame = pl.concat([rows_of(1).with_columns(g=pl.lit("b")), rows_of(2).with_columns(g=pl.lit("a"))])
    found = sv.turnbull(frame, by="g", weights="w")
    shuffled = sv.turnbull(frame.sample(fraction=1, shuffle=True, seed=3), by="g", weights="w")
    assert found.equals(shuffled)
    assert found["group"].unique(maintain_order=True).to_list() == ["a", "b"]
    repeated = frame.filter(g="a").select(pl.all().repeat_by("w").explode())
    np.testing.assert_allclose(sv.turnbull(repeated)["mass"], found.filter(group="a")["mass"], atol=1e-12)


@pytest.mark.parametrize(("lower", "upper"), [(3.0, 2.0), (-1.0, 2.0), (None, 2.0), (float("nan"), 2.0)])
def test_impossible_bounds_are_counted(lower: float | None, upper: float) -> None:
    frame = pl.DataFrame({"lower": [lower, 1.0], "upper": [upper, 2.0]}, schema={"lower": float, "upper": float})
    with pytest.raises(InputRefusedError, match="in 1 rows"):
        sv.turnbull(frame)
