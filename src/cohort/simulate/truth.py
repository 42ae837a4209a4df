"""Truth: what really happened to each person, and what would have happened under each treatment strategy.

The index date is the first visit of the first eligible episode. Both potential outcomes run from the same draws, so a
person whose usual care follows a strategy has that strategy's outcome.

References
----------
Hernán MA, Robins JM. Using big data to emulate a target trial. Am J Epidemiol 183 (2016) 758–764.
doi:10.1093/aje/kwv254
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.course import Course, chronification_days, follow
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints, death_days
from cohort.simulate.streams import BLOCK
from cohort.simulate.world import World
from cohort.time import DAYS_PER_YEAR, epoch_day

NEITHER, OUTCOME, DEATH = 0, 1, 2
"""Causes: nothing by the end of follow-up, chronic pain by the claims rule, death."""


@dataclass(frozen=True, slots=True)
class Index:
    """Eligible persons of one block, at most one row each: row of the person, episode, epoch day of the index date."""

    person: Ints
    episode: Ints
    day: Ints


@dataclass(frozen=True, slots=True)
class Outcome:
    """What follows the index date under one assignment of treatment; one entry per row of the ``Index``.

    Attributes
    ----------
    time
        Int64, days from the index date to the first of outcome, death and end of follow-up.
    cause
        Int64: ``NEITHER``, ``OUTCOME`` or ``DEATH``.
    pain_days
        Float64, days from the index date until the pain of the index episode remits.
    treatment
        Float64, days from the index date until an early opioid is dispensed, ``inf`` = never.
    """

    time: Ints
    cause: Ints
    pain_days: Floats
    treatment: Floats

    @property
    def treated(self) -> Bools:
        """Return whether an early opioid is dispensed."""
        return np.isfinite(self.treatment)


def find_index(world: World, persons: int, *, new_episodes: bool = True) -> Index:
    """Return the index dates of one block for the first ``persons`` of the population.

    Eligible is the first visit of an episode, by an adult enrolled without a gap for ``eligible_after_days``, with no
    low-back visit in the ``washout_days`` before, no explicit code for chronic pain, and the longest horizon still
    within the calendar. ``new_episodes=False`` takes any visit of an episode, as claims must: they cannot tell a new
    episode from a visit after half a year of silence within an old one.
    """
    plan, visits = world.scenario.truth, world.happened
    day = visits.day(world.course)
    same = np.r_[False, visits.person[1:] == visits.person[:-1]][: len(day)]
    since_last = np.where(same, day - np.r_[0, day[:-1]][: len(day)], np.iinfo(np.int64).max)
    eligible = (
        (visits.first | (not new_episodes))
        & ~visits.explicit
        & world.enrolment.observes(visits.person, day)
        & (world.enrolment.days_enrolled(visits.person, day) >= plan.eligible_after_days)
        & (since_last > plan.washout_days)
        & (day - world.persons.birth[visits.person] >= 18 * DAYS_PER_YEAR)
        & (day <= epoch_day(world.scenario.calendar.last_day) - max(plan.horizons))
        & (world.persons.number[visits.person] <= persons)
    )
    rows = np.flatnonzero(eligible)
    person, first = np.unique(visits.person[rows], return_index=True)
    return Index(person, visits.episode[rows[first]], day[rows[first]])


def usual_care(world: World, index: Index) -> Outcome:
    """Return what happened: the outcome under the treatments that were given."""
    return _outcome(world, index, world.course)


def potential_outcome(world: World, index: Index, *, opioid: bool) -> Outcome:
    """Return what would have happened, had everybody (or nobody) got an early opioid in the index episode."""
    treat = world.plan.would_treat.copy()
    treat[index.person, index.episode] = opioid
    return _outcome(world, index, follow(world.scenario, world.plan, treat))


def _outcome(world: World, index: Index, course: Course) -> Outcome:
    chronic = np.min(chronification_days(world.scenario, course), axis=1)
    dies = death_days(world.scenario, world.persons, chronic)[index.person] - index.day
    event = _claims_rule(world, index, course)
    last = max(world.scenario.truth.horizons)
    time = np.minimum(np.minimum(event, dies), last)
    # an outcome on the day of death was seen before it
    cause = np.select([event <= time, dies <= time], [OUTCOME, DEATH], NEITHER)
    at = (index.person, index.episode)
    pain_days = course.onset[at] + course.lasts[at] - index.day
    dispensed = np.floor(course.onset[at] + world.plan.opioid[at]) - index.day
    treatment = np.where(course.treated[at], dispensed, np.inf)
    return Outcome(time.astype(np.int64), cause, pain_days, treatment)


def _claims_rule(world: World, index: Index, course: Course) -> Floats:
    """Return days from the index date to the first visit that meets the claims rule, ``inf`` = none."""
    plan, visits = world.scenario.truth, world.visits
    start = np.full(BLOCK, np.inf)
    start[index.person] = index.day
    since = visits.day(course) - start[visits.person]
    late = (since >= plan.rule_first_day) & (since <= plan.rule_last_day)
    meets = visits.happens(course) & (late | (visits.explicit & (since > 0)))
    first = np.full(BLOCK, np.inf)
    np.minimum.at(first, visits.person[meets], since[meets])
    return first[index.person]
