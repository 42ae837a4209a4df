"""What the graded designs should find: the same quantities from potential outcomes, without any extract.

The population is large and not that of any replicate, so its own error stays small beside theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.simulate import Scenario
from cohort.simulate.population import Ints
from cohort.simulate.scenario import SEVERITIES
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.truth import DEATH, NEITHER, OUTCOME, Index, Outcome, find_index, potential_outcome, usual_care
from cohort.simulate.world import World, draw_world
from cohort.survival.cox import fit_cox
from cohort.time import DAYS_PER_YEAR

PERSONS, SEED = 409_600, 1


@dataclass(frozen=True, slots=True)
class Truth:
    """A true value and its Monte Carlo error."""

    value: float
    error: float


def true_values(scenario: Scenario, persons: int = PERSONS) -> dict[str, Truth]:
    """Return the truth of each estimand of the default design, among those at risk at the landmark.

    The risks are those under usual care, had nobody left the plan. The log hazard ratio is what the default design's
    own model finds in a trial in which everybody is in both arms, followed as long as they are enrolled; where the
    opioid does nothing it is 0 without error.
    """
    care, trial = zip(*(_block(scenario, Block(SEED, n), persons) for n in range(-(-persons // BLOCK))), strict=True)
    cause = np.concatenate(care)
    shares = {name: float(np.mean(cause == code)) for name, code in (("chronification", OUTCOME), ("death", DEATH))}
    risks = {
        f"risk of {name}": Truth(share, float(np.sqrt(share * (1 - share) / len(cause))))
        for name, share in shares.items()
    }
    return {**risks, "log hazard ratio": _log_hazard_ratio(scenario, pl.concat(trial))}


def _log_hazard_ratio(scenario: Scenario, trial: pl.DataFrame) -> Truth:
    opioid = scenario.opioid
    if opioid.log_hazard_ratio_remission == 0 and opioid.log_hazard_ratio_sensitization == 0:
        return Truth(0.0, 0.0)
    row = (
        fit_cox(trial, entry="entry", terms="early_treatment + moderate + severe + age").to_polars().row(0, named=True)
    )
    # both arms hold the same persons, so the model's own error is too large, never too small
    return Truth(float(np.log(row["hazard_ratio"])), row["std_error"])


def _block(scenario: Scenario, block: Block, persons: int) -> tuple[Ints, pl.DataFrame]:
    """Return the causes of exit under usual care, and both arms of the trial, of those at risk at the landmark."""
    world = draw_world(scenario, block)
    found = find_index(world, persons, new_episodes=False)
    care = usual_care(world, found)
    at_risk = care.time >= scenario.truth.rule_first_day
    index = find_index(world, persons)
    arms = [_arm(world, index, potential_outcome(world, index, opioid=opioid), opioid) for opioid in (False, True)]
    return care.cause[at_risk], pl.concat(arms)


def _arm(world: World, index: Index, outcome: Outcome, opioid: bool) -> pl.DataFrame:
    enrolled = world.enrolment.last_day(index.person, index.day) - index.day
    severity = world.plan.severity[index.person, index.episode]
    landmark = world.scenario.truth.rule_first_day - 1
    seen = np.where(outcome.time <= enrolled, outcome.cause, NEITHER)
    frame = {
        "entry": np.full(len(enrolled), landmark),
        "time": np.minimum(outcome.time, enrolled),
        "event": seen == OUTCOME,
        "early_treatment": np.full(len(enrolled), opioid),
        "age": (index.day - world.persons.birth[index.person]) // DAYS_PER_YEAR,
        **{level: severity == place for place, level in enumerate(SEVERITIES) if place > 0},
    }
    return pl.DataFrame(frame).filter(pl.col("time") > landmark)
