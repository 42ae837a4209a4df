"""How far to believe an effect: published examples, and equations solved by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cohort import effects as ef
from cohort.effects.sensitivity import Accuracy
from cohort.errors import InputRefusedError, NotEstimableError, StudyError


def test_the_published_e_value_of_formula_feeding() -> None:
    # VanderWeele & Ding 2017, doi:10.7326/M16-2607: risk ratio 3.9 (1.8 to 8.7) has E-values 7.26 and 3.0
    found = ef.e_value(3.9, 1.8, 8.7)
    assert found.estimate == pytest.approx(7.26, abs=5e-3)
    assert found.limit == pytest.approx(3.0, abs=5e-2)


def test_an_e_value_does_not_care_which_arm_is_called_treated() -> None:
    mirrored, given = ef.e_value(1 / 3.9, 1 / 8.7, 1 / 1.8), ef.e_value(3.9, 1.8, 8.7)
    assert (mirrored.estimate, mirrored.limit) == pytest.approx((given.estimate, given.limit), rel=1e-12)


def test_an_interval_that_holds_1_needs_no_confounder() -> None:
    assert ef.e_value(1.2, 0.9, 1.6).limit == 1
    assert ef.e_value(1.0, 0.9, 1.1).estimate == 1


def test_a_hazard_ratio_of_a_common_outcome_is_turned_into_a_risk_ratio_first() -> None:
    # (1 - 0.5^sqrt 4) / (1 - 0.5^(1 / sqrt 4)) = 0.75 / (1 - 0.70710678) = 2.5606602
    risk_ratio = 0.75 / (1 - np.sqrt(0.5))
    common = ef.e_value(4.0, 4.0, 4.0, kind="hazard", risk=0.3)
    assert common.estimate == pytest.approx(risk_ratio + np.sqrt(risk_ratio * (risk_ratio - 1)))
    assert ef.e_value(4.0, 4.0, 4.0, kind="hazard", risk=0.1) == ef.e_value(4.0, 4.0, 4.0)


def test_the_tipping_point_is_the_confounder_that_explains_the_ratio_away() -> None:
    needed = ef.tipping_point(1.5, 0.6, 0.2)
    assert needed is not None
    # (1 + 0.6 (g - 1)) / (1 + 0.2 (g - 1)) = 1.5: g - 1 = 0.5 / 0.3
    assert needed == pytest.approx(1 + 0.5 / 0.3)
    assert ef.confounder_bias(0.6, 0.2, needed) == pytest.approx(1.5)
    # prevalence 0.6 against 0.5 cannot give more than 1.2, however strong
    assert ef.tipping_point(1.5, 0.6, 0.5) is None
    assert ef.tipping_point(1.0, 0.5, 0.5) == 1


def test_risks_are_corrected_for_how_the_outcome_is_found() -> None:
    # 30 of 100 found at sensitivity 0.8, specificity 0.9: (0.3 - 0.1) / 0.7
    same = Accuracy(0.8, 0.9)
    one, zero = ef.corrected_risks((30, 15), (100, 100), same, same)
    assert (one, zero) == (pytest.approx(0.2 / 0.7), pytest.approx(0.05 / 0.7))
    with pytest.raises(NotEstimableError, match="impossible_accuracy"):
        ef.corrected_risks((30, 5), (100, 100), same, same)  # fewer found than false alarms alone


def test_simulated_correction_of_known_accuracy_is_the_corrected_ratio() -> None:
    same = Accuracy(0.8, 0.99)
    exact = ef.corrected_risks((3000, 1500), (10_000, 10_000), same, same)
    found = ef.probabilistic_bias((3000, 1500), (10_000, 10_000), same)
    assert found.median == pytest.approx(exact[0] / exact[1], rel=0.01)
    # delta method of the log ratio of two proportions, each moved by the specificity
    se = np.sqrt(sum((p * (1 - p) / 10_000) / (p - 0.01) ** 2 for p in (0.3, 0.15)))
    assert np.log(found.upper / found.lower) == pytest.approx(2 * 1.96 * se, rel=0.05)


def test_a_range_of_accuracies_widens_the_interval() -> None:
    narrow = ef.probabilistic_bias((300, 150), (1000, 1000), Accuracy(0.8, 0.95))
    wide = ef.probabilistic_bias((300, 150), (1000, 1000), Accuracy((0.6, 1.0), (0.92, 0.98)))
    assert wide.upper - wide.lower > narrow.upper - narrow.lower
    apart = ef.probabilistic_bias((300, 150), (1000, 1000), Accuracy((0.6, 1), 0.95), Accuracy((0.6, 1), 0.95))
    assert apart.upper - apart.lower > wide.upper - wide.lower  # differential error does not cancel


@pytest.mark.parametrize(("accuracy", "fault"), [((0.5, 0.5), "more than 1"), ((1.2, 0.9), "between 0 and 1")])
def test_accuracies_worse_than_chance_are_refused(accuracy: tuple[float, float], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        ef.probabilistic_bias((300, 150), (1000, 1000), Accuracy(*accuracy))


def test_exact_negative_controls_give_the_mean_and_spread_of_their_errors() -> None:
    y = np.array([0.1, 0.3, -0.1, 0.5, 0.2, 0.2])
    found = ef.systematic_error(y, np.full(6, 1e-9))
    assert found.mean == pytest.approx(y.mean(), abs=1e-7)
    assert found.spread == pytest.approx(y.std(), abs=1e-7)  # maximum likelihood divides by n


def test_the_systematic_error_is_the_maximum_likelihood() -> None:
    rng = np.random.default_rng(0)
    s = rng.uniform(0.05, 0.4, 30)
    y = rng.normal(0.15, np.hypot(0.2, s))
    found = ef.systematic_error(y, s)

    def likelihood(mean: float, spread: float) -> float:
        return float(stats.norm.logpdf(y, mean, np.hypot(spread, s)).sum())

    best = likelihood(found.mean, found.spread)
    for mean, spread in np.ndindex(41, 41):
        assert likelihood(found.mean + (mean - 20) / 200, max(found.spread + (spread - 20) / 200, 0)) <= best + 1e-9


def test_controls_that_vary_no_more_than_chance_have_no_spread() -> None:
    found = ef.systematic_error([0.1, -0.1, 0.05, -0.05, 0.0], [0.5] * 5)
    assert found.spread == 0
    assert found.p_value(0.98, 0.5) == pytest.approx(2 * stats.norm.sf(0.98 / 0.5), rel=1e-9)


def test_calibration_moves_and_widens_an_interval() -> None:
    error = ef.SystematicError(0.2, 0.3, 20)
    centre, lower, upper = error.interval(0.5, 0.4)
    assert centre == pytest.approx(0.3)
    assert upper - lower == pytest.approx(2 * 1.959964 * 0.5, rel=1e-6)
    assert error.p_value(0.5, 0.4) == pytest.approx(2 * stats.norm.sf(0.3 / 0.5))


def test_calibrated_p_values_of_further_controls_are_uniform() -> None:
    rng = np.random.default_rng(1)
    s = rng.uniform(0.05, 0.2, 2000)
    y = rng.normal(0.3, np.hypot(0.25, s))
    error = ef.systematic_error(y[:1000], s[:1000])
    p = [error.p_value(a, b) for a, b in zip(y[1000:], s[1000:], strict=True)]
    assert stats.kstest(p, "uniform").pvalue > 0.001
    naive = 2 * stats.norm.sf(np.abs(y[1000:] / s[1000:]))
    assert (naive < 0.05).mean() > 0.5  # what calibration is for


def test_too_few_or_unusable_controls_are_outcomes_of_their_own() -> None:
    with pytest.raises(NotEstimableError, match="too_few_negative_controls: 4"):
        ef.systematic_error([0.1] * 4, [0.1] * 4)
    with pytest.raises(InputRefusedError, match="finite"):
        ef.systematic_error([0.1, np.inf, 0, 0, 0], [0.1] * 5)
