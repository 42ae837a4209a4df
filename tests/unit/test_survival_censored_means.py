"""The mean of what accumulates by a day under censoring and death: worked by hand, and against other estimators."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import NotEstimableError
from cohort.survival.censored_means import censored_mean


def mean_of(persons, horizon, **options):
    """``persons`` are (last day, dead, days of events)."""
    until = np.array([last for last, _, _ in persons])
    dead = np.array([died for _, died, _ in persons])
    pairs = [(number, day) for number, (_, _, days) in enumerate(persons) for day in days]
    owner, day = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return censored_mean(until, dead, owner, day, np.ones(len(pairs)), horizon, **options)


FOUR = [(10, False, [2, 6]), (4, False, [3]), (5, True, [5]), (10, False, [])]


def test_events_stand_for_those_censored_before_them():
    """Of four, the second is censored on day 4: from day 5 on, three of four are seen, so each counts 4/3.

    Days 2 and 3 count 1 each, days 5 and 6 count 4/3 each: 14/3 events among four persons, 7/6 per person. The death
    on day 5 takes nobody's weight: who died has no further events, and that is known.
    """
    assert mean_of(FOUR, 10).value == pytest.approx(7 / 6)


def test_without_censoring_it_is_the_mean_and_its_error():
    persons = [(9, False, [1, 2, 3]), (4, True, [1]), (9, False, []), (9, False, [9])]
    found, counts = mean_of(persons, 9), np.array([3, 1, 0, 1])
    assert found.value == counts.mean()
    assert found.std_error == pytest.approx(counts.std() / 2)


def some(rng, n):
    last = rng.integers(0, 40, n)
    days = [sorted({int(day) for day in rng.integers(1, 40, 4) if day <= end}) for end in last]
    return [(int(end), bool(rng.random() < 0.3), own) for end, own in zip(last, days, strict=True)]


def test_without_death_it_is_the_mean_cumulative_function():
    """Lawless and Nadeau's estimator and its robust variance, to rounding: the same influence of each person."""
    persons = [(t + 1, False, [d for d in days if d <= t]) for t, _, days in some(np.random.default_rng(4), 200)]
    found = mean_of(persons, 25, log=True)
    spells = []
    for number, (last, _, days) in enumerate(persons):
        cuts = [0, *days, *([last] if last not in days else [])]
        spells += [(number, a, b, b in days) for a, b in itertools.pairwise(cuts)]
    frame = pl.DataFrame(spells, schema=["id", "start", "stop", "event"], orient="row")
    curve = sv.mean_cumulative_function(frame, "id", "start", "stop", "event").to_polars()
    row = curve.filter(pl.col("time") <= 25).row(-1, named=True)
    assert found.value == pytest.approx(row["estimate"], rel=1e-12)
    assert found.std_error == pytest.approx(row["std_error"], rel=1e-12)
    assert (found.lower, found.upper) == pytest.approx((row["lower"], row["upper"]), rel=1e-9)


def test_the_error_is_that_of_leaving_persons_out():
    """Against the jackknife, which knows nothing of influence functions; they differ by terms of order 1/n."""
    persons = some(np.random.default_rng(8), 300)
    n, found = len(persons), mean_of(persons, 30)
    left_out = np.array([mean_of(persons[:i] + persons[i + 1 :], 30).value for i in range(n)])
    jackknife = np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2))
    assert found.std_error == pytest.approx(jackknife, rel=0.02)


def test_nobody_followed_to_the_horizon_is_refused():
    with pytest.raises(NotEstimableError, match="too_short: nobody is followed for 30 days"):
        mean_of([(10, False, [2]), (12, False, [])], 30)
    assert mean_of([(10, True, [2]), (12, True, [])], 30).value == 0.5  # all have died: nothing more can come
