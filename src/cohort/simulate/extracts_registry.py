"""Extracts of a pain registry: a numerical rating of pain at every visit for pain, filled in or not.

References
----------
Farrar JT et al. Clinical importance of changes in chronic pain intensity measured on an 11-point numerical pain rating
scale. Pain 94 (2001) 149–158. doi:10.1016/S0304-3959(01)00349-9
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cohort.simulate.dirt import Roles
from cohort.simulate.extracts import dates, known_deaths, person_ids, texts
from cohort.simulate.population import Bools, Ints
from cohort.simulate.world import World

ROLES: dict[str, Roles] = {
    "persons": {},
    "observation": {"date": "start_date"},
    "measurements": {"date": "date", "person": "person"},
}
"""Per file, the columns that carry defects."""

SCORE_BY_SEVERITY = (3.0, 5.0, 7.0)
SCORE_PER_STATE = 0.4
SCORE_PER_SENSITIZATION = 0.5
SCORE_IN_FLARE = 2.0
SCORE_DEVIATION = 1.5
FILLED_IN = 0.85
"""Mean rating by severity, its rise from state to state, per standard deviation of sensitization and in a flare, its
spread at a visit, and the share of visits at which it is filled in: free choices."""


def registry(world: World, persons: int) -> dict[str, pl.DataFrame]:
    """Return one block's rows of the registry's files, for the first ``persons`` of the population."""
    inside = world.persons.number <= persons
    row = np.flatnonzero(inside)
    person, first, last = world.enrolment.spells()
    kept = inside[person]
    return {
        "persons": pl.DataFrame(
            {
                "person": person_ids(world, row),
                "birth_date": dates(world.persons.birth[row]),
                "sex": texts(("male", "female"), world.persons.female[row].astype(np.int64)),
                "death_date": dates(known_deaths(world)[row], missing=-1),
                "region": texts(world.scenario.persons.regions, world.persons.region[row]),
            }
        ),
        "observation": pl.DataFrame(
            {"person": person_ids(world, person[kept]), "start_date": dates(first[kept]), "end_date": dates(last[kept])}
        ),
        "measurements": _measurements(world, inside),
    }


def _measurements(world: World, inside: Bools) -> pl.DataFrame:
    person, day, score = draw_ratings(world, inside)
    return pl.DataFrame(
        {
            "person": person_ids(world, person),
            "date": dates(day),
            "instrument": pl.repeat("NRS", len(person), eager=True),
            "value": score,
            "unit": pl.repeat("points", len(person), eager=True),
        }
    )


def draw_ratings(world: World, inside: Bools) -> tuple[Ints, Ints, pl.Series]:
    """Return person, day and rating of the visits for pain that a supplier sees; null where it is not filled in."""
    visits, random = world.happened, world.block.stream("score")
    day = visits.day(world.course)
    score = _scores(world, random)
    filled = random.random(len(day)) < FILLED_IN
    seen = np.flatnonzero(world.enrolment.observes(visits.person, day) & inside[visits.person])
    return visits.person[seen], day[seen], pl.Series(score[seen]).set(pl.Series(~filled[seen]), None)


def _scores(world: World, random: np.random.Generator) -> Ints:
    """Return the rating at each visit, a whole number from 0 to 10."""
    visits = world.happened
    severity = world.plan.severity[visits.person, visits.episode]
    mean = (
        np.array(SCORE_BY_SEVERITY)[severity]
        + SCORE_PER_STATE * visits.state
        + SCORE_IN_FLARE * visits.flare
        + SCORE_PER_SENSITIZATION * world.persons.sensitization[visits.person]
    )
    return np.asarray(np.clip(np.rint(random.normal(mean, SCORE_DEVIATION)), 0, 10), dtype=np.int64)
