"""Visits for pain: generated from the state of the episode, so that the sicker are seen more often.

Possible visits are drawn once for every possible episode; those that happen under an assignment of treatment are the
ones that fall while the pain lasts. Two courses of one person therefore share their visits as long as both are in pain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.course import Course, Plan, longest
from cohort.simulate.flares import Flares
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints
from cohort.simulate.scenario import SEVERITIES, STATES, Scenario
from cohort.simulate.streams import Block

CHRONIC = STATES.index("chronic")


@dataclass(frozen=True, slots=True)
class Visits:
    """Possible visits for the pain of the scenario, one row each, sorted by person, episode and time.

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
    flare
        bool: the visit is for a flare.
    """

    person: Ints
    episode: Ints
    since: Floats
    first: Bools
    state: Ints
    explicit: Bools
    flare: Bools

    def take(self, rows: Ints | Bools) -> Visits:
        """Return some of the visits."""
        return Visits(*(getattr(self, field)[rows] for field in self.__slots__))

    def day(self, course: Course) -> Ints:
        """Return the epoch day of each visit in a course."""
        return np.floor(course.onset[self.person, self.episode] + self.since).astype(np.int64)

    def happens(self, course: Course) -> Bools:
        """Return whether the pain lasts until the visit in a course."""
        return self.since < course.lasts[self.person, self.episode]


def draw_visits(scenario: Scenario, plan: Plan, flares: Flares, block: Block) -> Visits:
    """Return every possible visit of one block: the first of each episode, those that follow it, those for flares."""
    random = block.stream("visit")
    onset = np.nonzero(plan.seen & (longest(scenario, plan) > 0))
    firsts = (*onset, plan.first_visit[onset])
    worse = (flares.person[flares.seen], flares.episode[flares.seen], flares.since[flares.seen])
    kinds = (firsts, _followups(scenario, plan, random), worse)
    person, episode, since = (np.concatenate(columns) for columns in zip(*kinds, strict=True))
    kind = np.repeat(np.arange(3), [len(rows[0]) for rows in kinds])
    state = states(scenario, plan, person, episode, since)
    explicit = (random.random(len(person)) < scenario.care.explicit_chronic_code) & (state >= CHRONIC)
    order = np.lexsort((since, episode, person))
    return Visits(person, episode, since, kind == 0, state, explicit, kind == 2).take(order)


def states(scenario: Scenario, plan: Plan, person: Ints, episode: Ints, since: Floats) -> Ints:
    """Return the state (place in ``STATES``) of an episode a number of days after its onset."""
    bounds = scenario.states
    state = (since >= bounds.subacute_after_days).astype(np.int64) + (since >= bounds.chronic_after_days)
    turned = (state == CHRONIC) & (since >= plan.high_impact[person, episode])
    return np.asarray(state + turned, dtype=np.int64)


def _followups(scenario: Scenario, plan: Plan, random: np.random.Generator) -> tuple[Ints, Ints, Floats]:
    """Return person, episode and days since onset of later visits: a Poisson process thinned to the state's rate."""
    rates = np.array([scenario.care.visits_per_30_days[state] for state in STATES]) / 30
    by_severity = np.exp(scenario.care.log_rate_ratio_severity * np.arange(len(SEVERITIES)))
    person, episode = np.nonzero(plan.seen & plan.returns)
    length = longest(scenario, plan)[person, episode]
    expected = length * rates.max() * by_severity[plan.severity[person, episode]]
    repeats = random.poisson(expected)
    person, episode = np.repeat(person, repeats), np.repeat(episode, repeats)
    since = random.random(len(person)) * np.repeat(length, repeats)
    share = rates[states(scenario, plan, person, episode, since)] / max(rates.max(), 1e-300)
    kept = (random.random(len(person)) < share) & (since > plan.first_visit[person, episode])
    return person[kept], episode[kept], since[kept]
