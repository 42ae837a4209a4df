"""Simulated times follow the closed forms: exponential, Weibull, Gompertz, each with a change of hazard on the way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cohort.simulate import load_scenario
from cohort.simulate.course import LONGEST
from cohort.simulate.hazards import gompertz_time, weibull_time
from cohort.simulate.streams import Block
from cohort.simulate.world import draw_world

N = 20_000
DRAWS = np.random.Generator(np.random.Philox(3)).standard_exponential(N)
NEVER = np.full(N, np.inf)
ONE = np.ones(N)

# Kolmogorov–Smirnov at n = 20,000 refuses at the 1 in 10,000 level from a distance of 0.0158 = 2.23 / sqrt(n); the
# draws are fixed, so the tests either always pass or always fail
FAR = 2.23 / np.sqrt(N)


def distance(times: np.ndarray, distribution) -> float:
    return float(stats.kstest(times, distribution.cdf).statistic)


def test_shape_one_is_exponential():
    times = weibull_time(DRAWS, 2 * ONE, scale=90.0, shape=1.0, change=NEVER, factor=ONE)
    # hazard 2 / 90 a day
    assert distance(times, stats.expon(scale=45.0)) < FAR
    assert distance(times, stats.expon(scale=48.0)) > FAR


def test_shape_below_one_is_weibull():
    # hazard ratio r multiplies the cumulative hazard: the scale shrinks by r^(1/shape) = 0.5^(1/0.4)
    times = weibull_time(DRAWS, 0.5 * ONE, scale=88.0, shape=0.4, change=NEVER, factor=ONE)
    assert distance(times, stats.weibull_min(0.4, scale=88.0 / 0.5 ** (1 / 0.4))) < FAR


def test_hand_worked_times_with_a_change():
    # shape 1, scale 10, hazard 0.1 a day; from day 5 half of it, 0.05.
    # E = 0.3: before the change, 0.3 / 0.1 = 3 days. E = 0.8: 0.5 used up by day 5, then 0.3 / 0.05 = 6 more days.
    times = weibull_time(
        np.array([0.3, 0.5, 0.8]), np.ones(3), scale=10.0, shape=1.0, change=np.full(3, 5.0), factor=np.full(3, 0.5)
    )
    assert times == pytest.approx([3.0, 5.0, 11.0], rel=1e-12)


def test_a_factor_of_one_changes_nothing():
    plain = weibull_time(DRAWS, ONE, scale=88.0, shape=0.344, change=NEVER, factor=ONE)
    changed = weibull_time(DRAWS, ONE, scale=88.0, shape=0.344, change=np.full(N, 7.0), factor=ONE)
    assert changed == pytest.approx(plain, rel=1e-9)


def test_survival_after_a_change_is_the_product_of_both_pieces():
    # S(200) = exp(-H(14)) · exp(-0.6 (H(200) - H(14))) with H(t) = (t / 88)^0.344
    times = weibull_time(DRAWS, ONE, scale=88.0, shape=0.344, change=np.full(N, 14.0), factor=np.full(N, 0.6))
    early, late = (14 / 88) ** 0.344, (200 / 88) ** 0.344
    expected = np.exp(-early - 0.6 * (late - early))
    # four standard errors of a share of 20,000
    assert np.mean(times > 200) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


def test_gompertz_deaths_follow_the_closed_form():
    # at age 60 hazard 0.009 a year, growing by 0.087 a year: scipy's gompertz has hazard c exp(x), x in 1 / 0.087 years
    days = gompertz_time(DRAWS, np.full(N, 60.0), ONE, at_60=0.009, per_year=0.087, change=NEVER, factor=1.0)
    assert distance(days / 365.25, stats.gompertz(0.009 / 0.087, scale=1 / 0.087)) < FAR


def test_gompertz_hand_worked_change():
    # slope almost 0: a constant hazard of 0.1 a year, doubled after 2 years.
    # E = 0.5: 0.2 used up by then, and 0.3 / 0.2 = 1.5 years more
    days = gompertz_time(
        np.array([0.1, 0.5]),
        np.full(2, 60.0),
        np.ones(2),
        at_60=0.1,
        per_year=1e-9,
        change=np.full(2, 730.5),
        factor=2.0,
    )
    assert days / 365.25 == pytest.approx([1.0, 3.5], rel=1e-6)


def test_no_hazard_means_no_death():
    days = gompertz_time(DRAWS, np.full(N, 60.0), ONE, at_60=0.0, per_year=0.1, change=NEVER, factor=1.0)
    assert np.isinf(days).all()


def plain_world(duration_dependence: float):
    """Return a world in which nothing but chance makes one person's pain another's."""
    scenario = load_scenario("low_back_pain")
    changes = {
        "remission": {
            "duration_dependence": duration_dependence,
            "log_hazard_ratio_severity": (0.0, 0.0, 0.0),
            "log_hazard_ratio_sensitization": 0.0,
        },
        "onset": {"log_hazard_ratio_sensitization": 0.0},
        "opioid": {"log_hazard_ratio_remission": 0.0},
    }
    sections = {name: getattr(scenario, name).model_copy(update=fields) for name, fields in changes.items()}
    return draw_world(scenario.model_copy(update=sections), Block(3, 0))


@pytest.mark.parametrize("dependence", [0.0, 0.656])
def test_episodes_of_a_drawn_world_are_exponential_or_weibull(dependence):
    lasts = plain_world(dependence).course.lasts.ravel()
    law = stats.weibull_min(1 - dependence, scale=88.0)
    below = lasts[lasts < LONGEST]  # longer ones are cut: beyond any life
    truncated = stats.kstest(below, lambda days: law.cdf(days) / law.cdf(LONGEST)).statistic
    assert truncated < 2.23 / np.sqrt(len(below))


def test_onsets_and_relapses_of_a_drawn_world_are_exponential():
    gaps = plain_world(0.656).plan.gap
    scenario = load_scenario("low_back_pain").onset
    for wait, rate in ((gaps[:, 0], scenario.per_person_year), (gaps[:, 1:].ravel(), scenario.relapse_per_person_year)):
        statistic = stats.kstest(wait / 365.25, stats.expon(scale=1 / rate).cdf).statistic
        assert statistic < 2.23 / np.sqrt(len(wait))


def test_flares_of_a_drawn_world_last_by_their_law():
    flares = plain_world(0.656).flares
    mean = load_scenario("low_back_pain").flares.mean_days
    assert stats.kstest(flares.lasts, stats.expon(scale=mean).cdf).statistic < 2.23 / np.sqrt(len(flares.lasts))
