"""Each default of `low_back_pain` that names a published number reproduces it.

The numbers are those of ``shared/facts/headline_numbers.csv``. Eight blocks (32,768 persons, 458,752 planned
episodes) are drawn; each tolerance is four Monte Carlo standard errors, rounded up, or says otherwise.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from scipy import stats

from cohort.simulate import load_scenario
from cohort.simulate.dispensings import draw_dispensings
from cohort.simulate.effects import true_effects
from cohort.simulate.hazards import expit
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import draw_world
from cohort.time import epoch_day

SCENARIO = load_scenario("low_back_pain")


@pytest.fixture(scope="module")
def worlds():
    return [draw_world(SCENARIO, Block(11, number)) for number in range(8)]


@pytest.fixture(scope="module")
def untreated(worlds):
    return np.concatenate([world.plan.untreated.ravel() for world in worlds])


def test_pain_remits_as_in_henschke_2008(untreated):
    # median 58 days (95 % CI 52–63), 72 % recovered at 12 months; standard error of a share 0.0007, clustered 0.001
    assert np.median(untreated) == pytest.approx(58, abs=1.5)
    assert np.mean(untreated <= 365) == pytest.approx(0.72, abs=0.004)


def test_pain_at_six_months_is_near_stevans_2021_without_being_fitted_to_it(untreated):
    # 32 % chronic at 6 months in 5,233 persons; the model, fitted to Henschke, gives 36.5 %
    assert np.mean(untreated > 180) == pytest.approx(0.365, abs=0.004)


def test_severity_has_the_odds_ratios_of_stevans_2021(worlds, untreated):
    # 1.59 and 2.45 for medium and high risk against low, chronic at 6 months; standard error of a log odds ratio 0.007
    severity = np.concatenate([world.plan.severity.ravel() for world in worlds])
    share = [np.mean(untreated[severity == level] > 180) for level in range(3)]
    odds = [p / (1 - p) for p in share]
    assert np.log(odds[1] / odds[0]) == pytest.approx(np.log(1.59), abs=0.03)
    assert np.log(odds[2] / odds[0]) == pytest.approx(np.log(2.45), abs=0.03)


def test_a_third_relapse_within_a_year(worlds):
    # 31.7 % of 65,790 low-back claimants relapse
    gaps = np.concatenate([world.plan.gap[:, 1:].ravel() for world in worlds])
    assert np.mean(gaps <= 365.25) == pytest.approx(0.317, abs=0.004)


def test_chronic_pain_turns_high_impact_as_often_as_in_nahin_2023(worlds):
    # 12.0 of 52.4 new chronic cases per 1000 person-years: 22.9 %
    lasts = np.concatenate([world.course.lasts.ravel() for world in worlds])
    turns = np.concatenate([world.plan.high_impact.ravel() for world in worlds])
    assert np.mean((turns < lasts)[lasts > 90]) == pytest.approx(0.229, abs=0.005)


def test_a_fifth_is_in_chronic_pain_in_2021(worlds):
    # 20.9 % of US adults (Rikard 2023); standard error 0.0023
    day = epoch_day(dt.date(2021, 7, 1))
    inside, alive = 0, 0
    for world in worlds:
        chronic = (world.course.onset + 90 <= day) & (day < world.course.onset + world.course.lasts)
        living = world.enrolment.death > day
        inside, alive = inside + (chronic.any(axis=1) & living).sum(), alive + living.sum()
    assert inside / alive == pytest.approx(0.209, abs=0.010)


def test_regional_pain_becomes_widespread_as_in_kindler_2010(worlds):
    # 22.6 % after about 5.5 years: two or more further regions of eight, averaged over the trait
    trait = np.concatenate([world.persons.sensitization for world in worlds])
    spread = SCENARIO.spread
    rate = spread.per_year_in_pain / 8 * np.exp(spread.log_hazard_ratio_sensitization * trait)
    assert stats.binom.sf(1, 8, 1 - np.exp(-5.5 * rate)).mean() == pytest.approx(0.226, abs=0.004)


def test_plans_are_left_as_in_fang_2022(worlds):
    # 6.9 % of the enrolled leave in December, 21.5 % in a year, 12 % of the leavers are back within a year
    enrolled = np.concatenate([world.enrolment.enrolled for world in worlds])
    december = np.arange(enrolled.shape[1] - 1) % 12 == 11
    leaving = enrolled[:, :-1] & ~enrolled[:, 1:]
    share = [leaving[:, months].sum() / enrolled[:, :-1][:, months].sum() for months in (december, ~december)]
    assert share[0] == pytest.approx(0.069, abs=0.004)
    assert 1 - (1 - share[0]) * (1 - share[1]) ** 11 == pytest.approx(0.215, abs=0.006)
    back = [
        enrolled[:, month + 2 : month + 14].any(axis=1)[leaving[:, month]] for month in range(enrolled.shape[1] - 14)
    ]
    assert np.concatenate(back).mean() == pytest.approx(0.12, abs=0.010)


@pytest.fixture(scope="module")
def opioid_uses(worlds):
    """Return fills, days of the first supply and fills that cover day 365, by person with one treated episode."""
    opioid, last_day = vocabulary().number("early_opioid"), epoch_day(SCENARIO.calendar.last_day)
    rows = []
    for world in worlds:
        dispensed = draw_dispensings(world)
        treated = (world.course.treated & (world.course.onset + world.plan.opioid <= last_day)).sum(axis=1) == 1
        for_pain = dispensed.take((dispensed.drug == opioid) & treated[dispensed.person])
        person, first, fills = np.unique(for_pain.person, return_index=True, return_counts=True)
        since = for_pain.day - np.repeat(for_pain.day[first], fills)
        covers = (since <= 365) & (since + for_pain.supply > 365)
        rows.append(np.column_stack([fills, for_pain.supply[first], np.bincount(for_pain.person, covers)[person]]))
        rows[-1] = rows[-1][for_pain.day[first] <= last_day - 400]
    return np.concatenate(rows).T


def test_one_in_seven_has_a_second_opioid_dispensing(opioid_uses):
    # 14 % (Shah 2017); some 11,000 persons: standard error 0.0033
    fills, *_ = opioid_uses
    assert fills.min() == 1
    assert np.mean(fills > 1) == pytest.approx(0.14, abs=0.0135)


def test_opioids_go_on_for_a_year_as_in_shah_2017(opioid_uses):
    # 6.0 % of all, 13.5 % after a first supply of 8 days or more; standard errors 0.0022 and 0.006
    _, supply, covers = opioid_uses
    assert np.mean(covers > 0) == pytest.approx(0.060, abs=0.009)
    assert np.mean(covers[supply >= 8] > 0) == pytest.approx(0.135, abs=0.025)


def test_crps_comes_as_often_as_in_the_netherlands(worlds):
    # 26.2 per 100,000 person-years over three years of burn-in and nine of calendar; 103 expected: standard error 10 %
    place = [condition.concept for condition in SCENARIO.cooccurring].index("crps_1")
    cases = sum(np.isfinite(world.persons.cooccurring[:, place]).sum() for world in worlds)
    assert cases / (8 * BLOCK * 12) == pytest.approx(26.2e-5, rel=0.4)
    expected = np.mean(expit(np.log(0.00277 / 0.99723) + 0.5 * stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)))
    assert expected / 12 == pytest.approx(26.2e-5, rel=0.01)


def test_the_claims_rule_finds_a_third_within_a_year():
    # 32 % (Stevans 2021, by its own definition) is what the rule is set to find within a year of the index date; about
    # 5,000 persons are eligible, a quarter of them treated: standard error 0.0066
    effects = {
        (e["estimand"], e["strategy"], e["day"]): e["value"] for e in true_effects(SCENARIO, 32768, 11)["effects"]
    }
    risk = [effects["cumulative_incidence", strategy, 365] for strategy in ("early_opioid", "no_early_opioid")]
    assert 0.25 * risk[0] + 0.75 * risk[1] == pytest.approx(0.32, abs=0.027)


def test_remission_has_no_memory_when_duration_dependence_is_zero():
    # exponential: of those in pain at day 90, as many remit in the next 30 days as of those in pain at day 0
    flat = SCENARIO.model_copy(
        update={
            "remission": SCENARIO.remission.model_copy(
                update={
                    "duration_dependence": 0.0,
                    "log_hazard_ratio_severity": (0.0, 0.0, 0.0),
                    "log_hazard_ratio_sensitization": 0.0,
                }
            )
        }
    )
    lasts = draw_world(flat, Block(11, 0)).plan.untreated.ravel()
    early, late = np.mean(lasts <= 30), np.mean(lasts[lasts > 90] <= 120)
    # 1 − exp(−30 / 88) = 0.2889; standard errors 0.0019 and 0.0032
    assert early == pytest.approx(0.2889, abs=0.008)
    assert late == pytest.approx(0.2889, abs=0.013)
    long = draw_world(SCENARIO, Block(11, 0)).plan.untreated.ravel()
    assert np.mean(long[long > 90] <= 120) < 0.5 * np.mean(long <= 30)


def test_one_operation_in_eight_still_hurts_after_a_year():
    # 11.8 % (euCPSP); 8 blocks of 14 operations: standard error 0.0005, clustered in persons about 0.0008
    scenario = load_scenario("postsurgical_opioids")
    lasts = np.concatenate([draw_world(scenario, Block(11, number)).course.lasts.ravel() for number in range(8)])
    assert np.mean(lasts > 365) == pytest.approx(0.118, abs=0.0035)
