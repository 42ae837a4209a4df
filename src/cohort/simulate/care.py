"""Visits for pain: generated from the state of the episode, so that the sicker are seen more often.

Possible visits are drawn once for every possible episode; those that happen under an assignment of treatment are the
ones that fall while the pain lasts. Two courses of one person therefore share their visits as long as both are in pain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.course import Course, Plan
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints, first_pain_day
from cohort.simulate.scenario import SEVERITIES, STATES, Scenario
from cohort.simulate.streams import Block
from cohort.time import epoch_day

CHRONIC = STATES.index("chronic")


@dataclass(frozen=True, slots=True)
class Visits:
    """Possible visits for low-back pain, one row each, sorted by person, episode and time.

    Attributes
    ----------
    person, episode
        Int64: row and column of the episode in the block's plan.
    since
        Float64, days since onset.
    first
        bool: the first visit of its episode.
    state
        Int64: place in ``STATES``.
    explicit
        bool: a code that says chronic pain is written.
    """

    person: Ints
    episode: Ints
    since: Floats
    first: Bools
    state: Ints
    explicit: Bools

    def take(self, rows: Ints | Bools) -> Visits:
        """Return some of the visits."""
        return Visits(*(getattr(self, field)[rows] for field in self.__slots__))

    def day(self, course: Course) -> Ints:
        """Return the epoch day of each visit in a course."""
        return np.floor(course.onset[self.person, self.episode] + self.since).astype(np.int64)

    def happens(self, course: Course) -> Bools:
        """Return whether the pain lasts until the visit in a course."""
        return self.since < course.lasts[self.person, self.episode]


def draw_visits(scenario: Scenario, plan: Plan, block: Block) -> Visits:
    """Return every possible visit of one block: the first of each episode and those that follow it."""
    random = block.stream("visit")
    person, episode, since = _followups(scenario, plan, random)
    first_person, first_episode = np.nonzero(plan.seen & (_length(scenario, plan) > 0))
    first_since = plan.first_visit[first_person, first_episode]
    person, episode = np.concatenate([first_person, person]), np.concatenate([first_episode, episode])
    since = np.concatenate([first_since, since])
    first = np.arange(len(person)) < len(first_person)
    state = states(scenario, plan, person, episode, since)
    explicit = (random.random(len(person)) < scenario.care.explicit_chronic_code) & (state >= CHRONIC)
    order = np.lexsort((since, episode, person))
    return Visits(person, episode, since, first, state, explicit).take(order)


def states(scenario: Scenario, plan: Plan, person: Ints, episode: Ints, since: Floats) -> Ints:
    """Return the state (place in ``STATES``) of an episode a number of days after its onset."""
    bounds = scenario.states
    state = (since >= bounds.subacute_after_days).astype(np.int64) + (since >= bounds.chronic_after_days)
    turned = (state == CHRONIC) & (since >= plan.high_impact[person, episode])
    return np.asarray(state + turned, dtype=np.int64)


def _length(scenario: Scenario, plan: Plan) -> Floats:
    """Return the days in which an episode can have visits under any treatment: none if it starts after the calendar."""
    shortest = np.minimum(plan.untreated, plan.treated)
    earlier = np.concatenate([np.zeros((len(shortest), 1)), shortest[:, :-1]], axis=1)
    earliest = first_pain_day(scenario) + np.cumsum(plan.gap + earlier, axis=1)
    left = epoch_day(scenario.calendar.last_day) + 1 - earliest
    return np.asarray(np.clip(left, 0, np.maximum(plan.untreated, plan.treated)))


def _followups(scenario: Scenario, plan: Plan, random: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Return person, episode and days since onset of later visits: a Poisson process thinned to the state's rate."""
    rates = np.array([scenario.care.visits_per_30_days[state] for state in STATES]) / 30
    by_severity = np.exp(scenario.care.log_rate_ratio_severity * np.arange(len(SEVERITIES)))
    person, episode = np.nonzero(plan.seen & plan.returns)
    length = _length(scenario, plan)[person, episode]
    expected = length * rates.max() * by_severity[plan.severity[person, episode]]
    repeats = random.poisson(expected)
    person, episode = np.repeat(person, repeats), np.repeat(episode, repeats)
    since = random.random(len(person)) * np.repeat(length, repeats)
    share = rates[states(scenario, plan, person, episode, since)] / max(rates.max(), 1e-300)
    kept = (random.random(len(person)) < share) & (since > plan.first_visit[person, episode])
    return person[kept], episode[kept], since[kept]
