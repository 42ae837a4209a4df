"""Counts of outcomes by day: all that the true effects need, summed over blocks in bounded memory.

Persons fall into 32 groups by their number, so that leaving out one group at a time gives Monte Carlo errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.simulate.population import Bools, Ints
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.truth import NEITHER, Index, Outcome, find_index, potential_outcome, usual_care
from cohort.simulate.world import World, draw_world

GROUPS = 32


@dataclass(frozen=True, slots=True)
class TruthCounts:
    """Persons by group, arm, day of exit and cause: Int64, shape (GROUPS, 2, days + 1, 3) each.

    Attributes
    ----------
    strategies
        Potential outcomes; arms are the strategies in the order of the scenario.
    usual_care
        What happened; arms are those with an early opioid and those without.
    observed
        The same until disenrolment; an opioid counts only if it is dispensed by the day of exit.
    """

    strategies: Ints
    usual_care: Ints
    observed: Ints

    def __add__(self, other: TruthCounts) -> TruthCounts:
        """Return the counts of both populations together."""
        return TruthCounts(
            self.strategies + other.strategies, self.usual_care + other.usual_care, self.observed + other.observed
        )


def no_counts(scenario: Scenario) -> TruthCounts:
    """Return the counts of nobody."""
    shape = (GROUPS, 2, max(scenario.truth.horizons) + 1, 3)
    return TruthCounts(*(np.zeros(shape, dtype=np.int64) for _ in range(3)))


def outcomes_by_strategy(world: World, index: Index) -> tuple[Outcome, Outcome]:
    """Return the potential outcomes under the scenario's two strategies, in its order."""
    first, second = (
        potential_outcome(world, index, opioid=strategy.opioid) for strategy in world.scenario.truth.strategies.values()
    )
    return first, second


def count_block(world: World, index: Index, outcomes: tuple[Outcome, Outcome]) -> TruthCounts:
    """Return the counts of one block, given its outcomes under the two strategies."""
    days = max(world.scenario.truth.horizons) + 1
    group = world.persons.number[index.person] % GROUPS
    everybody = np.ones(len(group), dtype=np.bool_)
    real = usual_care(world, index)
    enrolled = world.enrolment.last_day(index.person, index.day) - index.day
    stays = real.time <= enrolled
    seen_time, seen_cause = np.minimum(real.time, enrolled), np.where(stays, real.cause, NEITHER)

    def by_treatment(treated: Bools, time: Ints, cause: Ints) -> Ints:
        return np.stack([_count(group, time, cause, chosen, days) for chosen in (treated, ~treated)], axis=1)

    return TruthCounts(
        strategies=np.stack([_count(group, o.time, o.cause, everybody, days) for o in outcomes], axis=1),
        usual_care=by_treatment(real.treated, real.time, real.cause),
        observed=by_treatment(real.treatment <= seen_time, seen_time, seen_cause),
    )


def _count(group: Ints, time: Ints, cause: Ints, chosen: Bools, days: int) -> Ints:
    """Return the persons chosen by group, day and cause, shape (GROUPS, days, 3)."""
    shape = (GROUPS, days, 3)
    cell = np.ravel_multi_index((group[chosen], time[chosen], cause[chosen]), shape)
    return np.bincount(cell, minlength=GROUPS * days * 3).reshape(shape)


def count_population(scenario: Scenario, persons: int, seed: int) -> TruthCounts:
    """Return the counts of a whole population, without writing anything."""
    counts = no_counts(scenario)
    for number in range(-(-persons // BLOCK)):
        world = draw_world(scenario, Block(seed, number))
        index = find_index(world, persons)
        counts += count_block(world, index, outcomes_by_strategy(world, index))
    return counts
