"""True marginal effects: integer counts of potential outcomes, summed over blocks and finished once.

Both potential outcomes of every eligible person are known, without censoring, so risks and restricted means are plain
averages and the hazard ratio is that of a trial in which everybody is in both arms. Monte Carlo errors come from
leaving out one of 32 groups of persons at a time.

References
----------
Efron B. The efficiency of Cox's likelihood function for censored data. JASA 72 (1977) 557–565.
doi:10.1080/01621459.1977.10480613
Efron B, Stein C. The jackknife estimate of variance. Ann Stat 9 (1981) 586–596. doi:10.1214/aos/1176345462
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cohort.simulate.population import Ints
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.truth import DEATH, OUTCOME, Index, Outcome, find_index, potential_outcome
from cohort.simulate.world import World, draw_world

Estimand = Callable[[Ints, int], float]

GROUPS = 32


@dataclass(frozen=True, slots=True)
class TruthCounts:
    """Persons by group, strategy, day of exit and cause, Int64, shape (GROUPS, 2, days + 1, 3).

    Strategies stand in the order of the scenario; causes are those of ``truth``.
    """

    exits: Ints

    def __add__(self, other: TruthCounts) -> TruthCounts:
        """Return the counts of both populations together."""
        return TruthCounts(self.exits + other.exits)


def no_counts(scenario: Scenario) -> TruthCounts:
    """Return the counts of nobody."""
    return TruthCounts(np.zeros((GROUPS, 2, max(scenario.truth.horizons) + 1, 3), dtype=np.int64))


def count_block(world: World, index: Index, outcomes: tuple[Outcome, Outcome]) -> TruthCounts:
    """Return the counts of one block from the outcomes under the two strategies."""
    exits = no_counts(world.scenario).exits
    group = world.persons.number[index.person] % GROUPS
    for strategy, outcome in enumerate(outcomes):
        cell = np.ravel_multi_index((group, outcome.time, outcome.cause), exits[:, strategy].shape)
        exits[:, strategy] = np.bincount(cell, minlength=exits[:, strategy].size).reshape(exits[:, strategy].shape)
    return TruthCounts(exits)


def outcomes_by_strategy(world: World, index: Index) -> tuple[Outcome, Outcome]:
    """Return the potential outcomes under the scenario's two strategies, in its order."""
    first, second = (
        potential_outcome(world, index, opioid=strategy.opioid) for strategy in world.scenario.truth.strategies.values()
    )
    return first, second


def true_effects(scenario: Scenario, persons: int, seed: int) -> dict[str, object]:
    """Return the true effects of a scenario from a population of its own, without writing any extract."""
    counts = no_counts(scenario)
    for number in range(-(-persons // BLOCK)):
        world = draw_world(scenario, Block(seed, number))
        index = find_index(world, persons)
        counts += count_block(world, index, outcomes_by_strategy(world, index))
    return finish(scenario, counts)


def finish(scenario: Scenario, counts: TruthCounts) -> dict[str, object]:
    """Return the true effects as one long list with Monte Carlo errors, ready to be written as JSON."""
    names = list(scenario.truth.strategies)
    treated = 0 if scenario.truth.strategies[names[0]].opioid else 1
    exits = counts.exits[:, [treated, 1 - treated]]
    by_strategy = [
        _row(estimand, name, day, exits[:, [arm]], function)
        for day in scenario.truth.horizons
        for arm, name in enumerate([names[treated], names[1 - treated]])
        for estimand, function in _PER_STRATEGY.items()
    ]
    contrasts = [
        _row(estimand, f"{names[treated]} against {names[1 - treated]}", day, exits, function)
        for day in scenario.truth.horizons
        for estimand, function in _CONTRASTS.items()
    ]
    return {"eligible_persons": int(exits[:, 0].sum()), "effects": by_strategy + contrasts}


def _row(estimand: str, strategy: str, day: int, exits: Ints, function: Estimand) -> dict[str, object]:
    value, error = _with_error(exits, day, function)
    return {"estimand": estimand, "strategy": strategy, "day": day, "value": value, "monte_carlo_error": error}


def _with_error(exits: Ints, day: int, function: Estimand) -> tuple[float | None, float | None]:
    """Return an estimand and its jackknife error over groups of persons; None where it is not defined."""
    whole = exits.sum(axis=0)
    value = function(whole, day)
    left_out = np.array([function(whole - group, day) for group in exits])
    error = float(np.sqrt((GROUPS - 1) / GROUPS * np.sum((left_out - left_out.mean()) ** 2)))
    return (value if np.isfinite(value) else None), (error if np.isfinite(error) else None)


def _risk(exits: Ints, day: int, cause: int, arm: int = 0) -> float:
    """Return the share of an arm that has left by a cause up to a day; nan if nobody is in it."""
    persons = exits[arm].sum()
    return float(exits[arm, : day + 1, cause].sum() / persons) if persons else np.nan


def _risk_ratio(exits: Ints, day: int) -> float:
    """Return the risk of the first arm over that of the second; nan if the second has no outcome."""
    reference = _risk(exits, day, OUTCOME, 1)
    return _risk(exits, day, OUTCOME) / reference if reference > 0 else np.nan


def _restricted_mean(exits: Ints, day: int, arm: int = 0) -> float:
    """Return the mean days up to ``day`` free of the outcome and alive."""
    leaving = exits[arm].sum(axis=1)
    days = np.minimum(np.arange(len(leaving)), day)
    return float((days * leaving).sum() / leaving.sum()) if leaving.any() else np.nan


def log_hazard_ratio(exits: Ints, day: int) -> float:
    """Return the log hazard ratio of the outcome, first arm against second, up to a day; deaths are censored.

    The maximum of Efron's partial likelihood for one 0/1 covariate, by Newton's method from counts per day.

    Parameters
    ----------
    exits
        Int64, shape (2, days, 3): persons by arm, day of exit and cause.
    day
        Last day whose outcomes count.
    """
    at_risk = exits.sum(axis=2)[:, ::-1].cumsum(axis=1)[:, ::-1][:, : day + 1]
    events = exits[:, : day + 1, OUTCOME]
    if (events.sum(axis=1) == 0).any():
        return np.nan
    total = events.sum(axis=0)
    row = np.repeat(np.arange(day + 1), total)
    share = (np.arange(len(row)) - np.repeat(np.cumsum(total) - total, total)) / total[row]
    first, second = at_risk[:, row] - share * events[:, row]
    beta = 0.0
    for _ in range(50):
        expected = first * np.exp(beta) / (first * np.exp(beta) + second)
        step = (events[0].sum() - expected.sum()) / (expected * (1 - expected)).sum()
        beta += float(step)
        if abs(step) < 1e-12:
            break
    return beta


_PER_STRATEGY: dict[str, Estimand] = {
    "cumulative_incidence": lambda exits, day: _risk(exits, day, OUTCOME),
    "cumulative_incidence_death": lambda exits, day: _risk(exits, day, DEATH),
    "restricted_mean_days": _restricted_mean,
}
_CONTRASTS: dict[str, Estimand] = {
    "risk_difference": lambda exits, day: _risk(exits, day, OUTCOME) - _risk(exits, day, OUTCOME, 1),
    "risk_ratio": _risk_ratio,
    "restricted_mean_difference_days": lambda exits, day: (
        _restricted_mean(exits, day) - _restricted_mean(exits, day, 1)
    ),
    "log_hazard_ratio": log_hazard_ratio,
}
"""Estimands of one strategy, and of the opioid strategy against the other; both take (arms, days, causes) and a day."""
