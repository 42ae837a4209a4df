"""Flares: days to weeks in which chronic pain is worse, some of which end in the emergency department.

References
----------
Costa N, Ferreira ML, Setchell J, et al. A definition of "flare" in low back pain. J Pain 20 (2019) 1267–1275.
doi:10.1016/j.jpain.2019.03.009
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.course import Plan, longest
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import Block
from cohort.time import DAYS_PER_YEAR


@dataclass(frozen=True, slots=True)
class Flares:
    """Possible flares of every possible episode, one row each; those happen that start while the pain lasts.

    Attributes
    ----------
    person, episode
        Int64: row and column of the episode in the block's plan.
    since, lasts
        Float64, days since onset at which it starts, and days that it lasts.
    seen
        bool: whether it leads to a visit, on the day it starts.
    """

    person: Ints
    episode: Ints
    since: Floats
    lasts: Floats
    seen: Bools


def draw_flares(scenario: Scenario, plan: Plan, block: Block) -> Flares:
    """Return the possible flares of one block: a Poisson process from the day an episode turns chronic."""
    random, flares = block.stream("flares"), scenario.flares
    chronic = scenario.states.chronic_after_days
    days = np.maximum(longest(scenario, plan) - chronic, 0)
    count = random.poisson(days * flares.per_year_in_chronic_pain / DAYS_PER_YEAR)
    person, episode = np.nonzero(count)
    repeats = count[person, episode]
    person, episode = np.repeat(person, repeats), np.repeat(episode, repeats)
    rows = len(person)
    since = chronic + random.random(rows) * days[person, episode]
    seeks = (plan.seen & plan.returns)[person, episode] & (since > plan.first_visit[person, episode])
    return Flares(
        person=person,
        episode=episode,
        since=since,
        lasts=random.standard_exponential(rows) * flares.mean_days,
        seen=seeks & (random.random(rows) < flares.seeks_care),
    )
