"""Thousands of small sets in rational arithmetic: curves, their variances, rank tests and tied coefficients.

The sets are groups of one frame, so that a thousand of them are counted in one call.
"""

from __future__ import annotations

from fractions import Fraction
from math import sqrt

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import NotEstimableError

SETS = 1000
Rows = list[tuple[int, int, int, int]]  # entry, time, cause, weight


def small_sets(seed: int, *, late: bool) -> dict[str, Rows]:
    """Return sets of 1 to 12 rows on at most 8 days, so that ties of every kind are common."""
    rng = np.random.default_rng(seed)
    sets = {}
    for k in range(SETS):
        n = int(rng.integers(1, 13))
        entry = rng.integers(0, 4, n) if late else np.zeros(n, dtype=int)
        time = entry + rng.integers(1 if late else 0, 5, n)
        columns = (entry, time, rng.integers(0, 3, n), rng.integers(1, 4, n))
        sets[f"{k:05d}"] = [tuple(int(v) for v in row) for row in zip(*columns, strict=True)]
    return sets


def as_frame(sets: dict[str, Rows]) -> pl.DataFrame:
    rows = [(name, *row) for name, members in sets.items() for row in members]
    return pl.DataFrame(rows, schema=["set", "entry", "time", "cause", "weight"], orient="row")


def exact(rows: Rows, *, late: bool) -> list[tuple[int, Fraction, Fraction, Fraction | None, Fraction, Fraction]]:
    """Return by time: survival, hazard, Greenwood's sum (None once nobody is left), incidence of causes 1 and 2."""
    survival, hazard, greenwood = Fraction(1), Fraction(0), Fraction(0)
    gone: Fraction | None = greenwood
    incidence = [Fraction(0), Fraction(0)]
    out = []
    for day in sorted({time for _, time, _, _ in rows}):
        n = sum(1 for a, t, _, _ in rows if (a < day or not late) and t >= day)
        d = [sum(1 for _, t, c, _ in rows if t == day and c == k) for k in (1, 2)]
        for k in (0, 1):
            incidence[k] += survival * Fraction(d[k], n)
        survival *= 1 - Fraction(sum(d), n)
        hazard += Fraction(sum(d), n)
        gone = None if gone is None or n == sum(d) else gone + Fraction(sum(d), n * (n - sum(d)))
        out.append((day, survival, hazard, gone, *incidence))
    return out


@pytest.mark.parametrize("late", [False, True])
def test_a_thousand_curves(late: bool) -> None:
    sets = small_sets(1 + late, late=late)
    frame = as_frame(sets).with_columns(event=pl.col("cause") > 0)
    entry = "entry" if late else None
    expected = [(name, *line) for name, rows in sets.items() for line in exact(rows, late=late)]
    times = [line[1] for line in expected]
    curve = sv.kaplan_meier(frame, "time", "event", "set", entry).to_polars()
    assert curve["group"].to_list() == [line[0] for line in expected]
    assert curve["time"].to_list() == times
    close = {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(curve["estimate"], [float(line[2]) for line in expected], **close)
    spread = [np.nan if line[4] is None else float(line[2]) * sqrt(line[4]) for line in expected]
    np.testing.assert_allclose(curve["std_error"].cast(pl.Float64).fill_null(np.nan), spread, **close)
    hazard = sv.nelson_aalen(frame, "time", "event", "set", entry).to_polars()
    np.testing.assert_allclose(hazard["estimate"], [float(line[3]) for line in expected], **close)
    for cause in (1, 2):
        incidence = sv.cumulative_incidence(frame, "time", "cause", "set", entry).to_polars().filter(cause=cause)
        np.testing.assert_allclose(incidence["estimate"], [float(line[4 + cause]) for line in expected], **close)


def test_a_thousand_curves_of_weighted_rows_are_those_of_copies() -> None:
    frame = as_frame(small_sets(3, late=True)).with_columns(event=pl.col("cause") > 0)
    copies = frame.select(pl.all().repeat_by("weight").explode())
    weighted = sv.kaplan_meier(frame, "time", "event", "set", "entry", "weight", variance="greenwood").to_polars()
    repeated = sv.kaplan_meier(copies, "time", "event", "set", "entry").to_polars()
    for name in ("estimate", "std_error", "lower", "upper"):
        np.testing.assert_allclose(
            weighted[name].fill_null(np.nan), repeated[name].fill_null(np.nan), rtol=1e-12, atol=1e-15
        )


def two_group_statistic(rows: list[tuple[int, int, int]]) -> Fraction | None:
    """Return the log-rank statistic of (time, event, group 0/1) rows: (O - E)² / V with hypergeometric V."""
    difference = variance = Fraction(0)
    for day in sorted({t for t, e, _ in rows if e}):
        n, d = sum(t >= day for t, _, _ in rows), sum(t == day and e for t, e, _ in rows)
        n1 = sum(t >= day and g for t, _, g in rows)
        difference += sum(t == day and e and g for t, e, g in rows) - Fraction(d * n1, n)
        if n > 1:
            variance += Fraction(d * n1 * (n - n1) * (n - d), n * n * (n - 1))
    return difference**2 / variance if variance else None


def test_a_thousand_rank_tests() -> None:
    rng = np.random.default_rng(4)
    compared = 0
    for _ in range(1000):
        n = int(rng.integers(2, 13))
        rows = [tuple(int(v) for v in row) for row in rng.integers(0, [6, 2, 2], (n, 3))]
        frame = pl.DataFrame(rows, schema=["t", "e", "g"], orient="row")
        expected = two_group_statistic(rows)  # type: ignore[arg-type]  # three numbers each
        if expected is None:
            with pytest.raises(NotEstimableError):
                sv.logrank(frame, "t", "e", "g")
            continue
        np.testing.assert_allclose(sv.logrank(frame, "t", "e", "g").statistic, float(expected), rtol=1e-11, atol=1e-12)
        compared += 1
    assert compared > 600


def test_score_tests_of_a_cox_model_are_the_rank_test_without_ties() -> None:
    # for one 0/1 covariate and distinct times, score²/information at 0 is the log-rank statistic
    rng = np.random.default_rng(5)
    compared = 0
    for _ in range(400):
        n = int(rng.integers(3, 13))
        event, group = rng.integers(0, 2, n), rng.integers(0, 2, n)
        rows = [(day, int(e), int(g)) for day, (e, g) in enumerate(zip(event, group, strict=True))]
        expected = two_group_statistic(rows)
        if expected is None:
            continue
        try:
            fit = sv.fit_cox(pl.DataFrame(rows, schema=["time", "event", "g"], orient="row"), terms="g")
        except NotEstimableError:
            continue
        np.testing.assert_allclose(fit.score_test, float(expected), rtol=1e-11, atol=1e-12)
        compared += 1
    assert compared > 120
