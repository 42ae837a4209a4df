"""The course of pain: episodes of low-back pain with their states, remission, relapse and treatment.

How long an episode lasts depends only on the person, on its severity and on whether it is treated. Both lengths are
drawn from one random number, so a course under any treatment strategy is a sum of days, and two courses of one
person differ by the treatment alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.hazards import Floats, weibull_time
from cohort.simulate.population import Bools, Ints, Persons, comorbidity_count, first_pain_day
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.time import DAYS_PER_YEAR, epoch_day

EPISODES = 14
"""Episodes drawn per person; with one relapse in 2.6 years, fewer than 1 person in 10,000 has more in twelve years."""


LONGEST = 400 * DAYS_PER_YEAR
"""Days that no episode outlasts: beyond any life and calendar, and sums of them stay finite."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled about every possible episode before anybody is treated; shape (persons, EPISODES).

    Attributes
    ----------
    gap
        Float64, days free of pain before the episode.
    severity
        Int64: 0 mild, 1 moderate, 2 severe.
    untreated, treated
        Float64, days that the episode lasts without and with an early opioid.
    seeks_care
        bool: whether the person would see anybody about it.
    returns
        bool: whether the person would come back after the first visit.
    first_visit, opioid, high_impact
        Float64, days since onset of the first visit, of the early opioid, and of turning high-impact.
    would_treat
        bool: whether usual care gives an early opioid.
    """

    gap: Floats
    severity: Ints
    untreated: Floats
    treated: Floats
    seeks_care: Bools
    returns: Bools
    first_visit: Floats
    opioid: Floats
    high_impact: Floats
    would_treat: Bools

    @property
    def seen(self) -> Bools:
        """Return whether the first visit happens: care is sought and the pain lasts until then."""
        return self.seeks_care & (self.untreated > self.first_visit)


@dataclass(frozen=True, slots=True)
class Course:
    """The episodes that come to pass under one assignment of treatment; shape (persons, EPISODES).

    Attributes
    ----------
    onset
        Float64, epoch day with its fraction on which the episode starts.
    lasts
        Float64, days that it lasts.
    treated
        bool: whether an early opioid was dispensed.
    """

    onset: Floats
    lasts: Floats
    treated: Bools


def draw_plan(scenario: Scenario, persons: Persons, block: Block) -> Plan:
    """Return the plan of every possible episode of one block."""
    random = block.stream("episode")
    shape = (BLOCK, EPISODES)
    trait = persons.sensitization[:, None]
    log_ratio = _log_hazard_ratio(scenario, persons)
    gap = random.standard_exponential(shape) / _onset_rates(scenario, persons)
    severity = _severities(scenario, trait, random)
    by_severity = np.array(scenario.remission.log_hazard_ratio_severity)[severity]
    exhaustion = random.standard_exponential(shape)
    care, opioid = scenario.care, scenario.opioid
    seeks_care = random.random(shape) < care.seeks_care
    first_visit = random.standard_exponential(shape) * care.mean_delay_days
    delay = np.where(
        random.random(shape) < opioid.same_day, 0.0, np.floor(random.random(shape) * (opioid.within_days + 1))
    )
    would_treat = random.random(shape) < np.array(opioid.probability)[severity]
    dispensed = first_visit + delay
    turning = random.standard_exponential(shape) * _days_per(scenario.states.high_impact_per_year)
    return Plan(
        gap=gap,
        severity=severity,
        untreated=_lasting(scenario, trait, log_ratio + by_severity, exhaustion, np.full(shape, np.inf)),
        treated=_lasting(scenario, trait, log_ratio + by_severity, exhaustion, dispensed),
        seeks_care=seeks_care,
        returns=random.random(shape) < care.returns,
        first_visit=first_visit,
        opioid=dispensed,
        high_impact=scenario.states.chronic_after_days + turning,
        would_treat=would_treat,
    )


def follow(scenario: Scenario, plan: Plan, treat: Bools) -> Course:
    """Return the course when the episodes marked in ``treat`` get an early opioid, if they are seen at all."""
    treated = treat & plan.seen
    lasts = np.where(treated, plan.treated, plan.untreated)
    before = np.cumsum(plan.gap + np.concatenate([np.zeros((len(lasts), 1)), lasts[:, :-1]], axis=1), axis=1)
    return Course(onset=first_pain_day(scenario) + before, lasts=lasts, treated=treated)


def longest(scenario: Scenario, plan: Plan) -> Floats:
    """Return the days that each episode can last under any treatment until the calendar ends: 0 if it starts later."""
    shortest = np.minimum(plan.untreated, plan.treated)
    earlier = np.concatenate([np.zeros((len(shortest), 1)), shortest[:, :-1]], axis=1)
    earliest = first_pain_day(scenario) + np.cumsum(plan.gap + earlier, axis=1)
    left = epoch_day(scenario.calendar.last_day) + 1 - earliest
    return np.asarray(np.clip(left, 0, np.maximum(plan.untreated, plan.treated)))


def chronification_days(scenario: Scenario, course: Course) -> Floats:
    """Return the epoch day on which each episode turns chronic; ``inf`` where it ends before."""
    after = scenario.states.chronic_after_days
    return np.where(course.lasts > after, course.onset + after, np.inf)


def _onset_rates(scenario: Scenario, persons: Persons) -> Floats:
    """Return daily hazards of the first and of later onsets, shape (persons, EPISODES)."""
    onset = scenario.onset
    yearly = np.full(EPISODES, onset.relapse_per_person_year)
    yearly[0] = onset.per_person_year
    ratio = np.exp(onset.log_hazard_ratio_sensitization * persons.sensitization)
    # the smallest positive rate keeps a scenario without onsets finite: its first onset lies beyond any calendar
    return np.asarray(np.maximum(yearly * ratio[:, None], 1e-9) / DAYS_PER_YEAR)


def _severities(scenario: Scenario, trait: Floats, random: np.random.Generator) -> Ints:
    """Return severities from cumulative odds that grow with sensitization."""
    mild, moderate, _ = scenario.severity.shares
    shift = np.exp(scenario.severity.log_odds_sensitization * trait)
    draw = random.random((BLOCK, EPISODES))
    above_mild = _raise_odds(1 - mild, shift)
    severe = _raise_odds(1 - mild - moderate, shift)
    return (draw < above_mild).astype(np.int64) + (draw < severe)


def _raise_odds(probability: float, odds_ratio: Floats) -> Floats:
    return np.asarray(probability * odds_ratio / (1 - probability + probability * odds_ratio))


def _log_hazard_ratio(scenario: Scenario, persons: Persons) -> Floats:
    """Return the log hazard ratio of remission that belongs to the person, shape (persons, 1)."""
    remission = scenario.remission
    count = comorbidity_count(persons, epoch_day(scenario.calendar.first_day))
    ratio = remission.log_hazard_ratio_sensitization * persons.sensitization
    return np.asarray(ratio + remission.log_hazard_ratio_comorbidity * count)[:, None]


def _lasting(scenario: Scenario, trait: Floats, log_ratio: Floats, exhaustion: Floats, dispensed: Floats) -> Floats:
    """Return days until remission when an opioid is dispensed on a day since onset (``inf`` = never)."""
    remission, opioid = scenario.remission, scenario.opioid
    effect = opioid.log_hazard_ratio_remission + opioid.log_hazard_ratio_sensitization * trait
    time = weibull_time(
        exhaustion,
        np.exp(log_ratio),
        scale=remission.scale_days,
        shape=1 - remission.duration_dependence,
        change=dispensed,
        factor=np.exp(effect * np.exp(-opioid.decay_per_day * np.where(np.isfinite(dispensed), dispensed, 0.0))),
    )
    return np.minimum(time, LONGEST)


def _days_per(yearly: float) -> float:
    """Return the mean days until an event of a yearly rate; ``inf`` for a rate of 0."""
    return float(DAYS_PER_YEAR / yearly if yearly > 0 else np.inf)
