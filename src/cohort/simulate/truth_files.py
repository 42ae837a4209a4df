"""The truth as tables: what a supplier never sees, one Parquet file per kind of fact."""

from __future__ import annotations

import numpy as np
import polars as pl

from cohort.simulate.course import chronification_days
from cohort.simulate.dispensings import draw_dispensings
from cohort.simulate.encounters import spread_days
from cohort.simulate.extracts import dates, person_ids, texts
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints
from cohort.simulate.scenario import SEVERITIES
from cohort.simulate.truth import Index, Outcome
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World
from cohort.time import epoch_day

MECHANISMS = ("nociceptive", "inflammatory", "nociplastic", "neuropathic")


def truth_frames(
    world: World, inside: Bools, index: Index, outcomes: tuple[Outcome, Outcome]
) -> dict[str, pl.DataFrame]:
    """Return one block's rows of the truth files, for the persons marked in ``inside``."""
    return {
        "persons": _persons(world, inside),
        "episodes": _episodes(world, inside),
        "conditions": _conditions(world, inside),
        "spread": _spread(world, inside),
        "flares": _flares(world, inside),
        "dispensings": _dispensings(world, inside),
        "potential_outcomes": _potential_outcomes(world, index, outcomes),
    }


def _persons(world: World, inside: Bools) -> pl.DataFrame:
    row = np.flatnonzero(inside)
    chronic = np.min(chronification_days(world.scenario, world.course), axis=1)
    return pl.DataFrame(
        {
            "person_id": person_ids(world, row),
            "birth_date": dates(world.persons.birth[row]),
            "sex": texts(("male", "female"), world.persons.female[row].astype(np.int64)),
            "sensitization": world.persons.sensitization[row],
            "first_chronification_date": _until_end(world, chronic[row], row),
            "death_date": _until_end(world, world.enrolment.death[row], row),
        }
    )


def _episodes(world: World, inside: Bools) -> pl.DataFrame:
    """Return every episode that starts in the lifetime and the calendar, seen by a supplier or not."""
    course, plan = world.course, world.plan
    limit = np.minimum(_last_day(world), world.enrolment.death)[:, None]
    person, episode = np.nonzero((np.floor(course.onset) <= limit) & inside[:, None])
    at = (person, episode)
    onset, lasts = course.onset[at], course.lasts[at]
    turns = np.where(plan.high_impact[at] < lasts, onset + plan.high_impact[at], np.inf)
    return pl.DataFrame(
        {
            "person_id": person_ids(world, person),
            "episode": episode + 1,
            "onset_date": dates(np.floor(onset)),
            "remission_date": _until_end(world, onset + lasts, person),
            "chronification_date": _until_end(world, chronification_days(world.scenario, course)[at], person),
            "high_impact_date": _until_end(world, turns, person),
            "severity": texts(SEVERITIES, plan.severity[at]),
            "mechanism": texts(MECHANISMS, _mechanisms(world)[at]),
            "first_visit_date": _until_end(
                world, np.where(plan.seen, course.onset + plan.first_visit, np.inf)[at], person
            ),
            "opioid_date": _until_end(world, np.where(course.treated, course.onset + plan.opioid, np.inf)[at], person),
        }
    )


def _mechanisms(world: World) -> Ints:
    """Return the mechanism of each episode: severe ones are neuropathic, the others draw by share and sensitization."""
    plan = world.scenario.mechanism
    trait = world.persons.sensitization[:, None]
    weight = plan.nociplastic * np.exp(plan.log_odds_nociplastic_sensitization * trait)
    draw = world.block.stream("mechanism").random(world.plan.severity.shape) * (
        plan.nociceptive + plan.inflammatory + weight
    )
    drawn = (draw >= plan.nociceptive).astype(np.int64) + (draw >= plan.nociceptive + plan.inflammatory)
    return np.where(world.plan.severity == SEVERITIES.index("severe"), MECHANISMS.index("neuropathic"), drawn)


def _conditions(world: World, inside: Bools) -> pl.DataFrame:
    """Return every comorbid or co-occurring condition that starts in the lifetime and the calendar."""
    scenario = world.scenario
    names = [item.concept for item in scenario.comorbidity] + [item.concept for item in scenario.cooccurring]
    start = np.floor(np.concatenate([world.persons.comorbidity, world.persons.cooccurring], axis=1))
    person, condition = _in_life(world, inside, start)
    return pl.DataFrame(
        {
            "person_id": person_ids(world, person),
            "condition": texts(names, condition),
            "start_date": dates(start[person, condition]),
        }
    )


def _spread(world: World, inside: Bools) -> pl.DataFrame:
    """Return the day on which pain reaches each further region."""
    day = np.floor(spread_days(world))
    person, region = _in_life(world, inside, day)
    return pl.DataFrame(
        {
            "person_id": person_ids(world, person),
            "region": texts(world.scenario.spread.regions, region),
            "date": dates(day[person, region]),
        }
    )


def _flares(world: World, inside: Bools) -> pl.DataFrame:
    """Return the flares that start while the pain lasts, in the lifetime and the calendar."""
    flares, course = world.flares, world.course
    at = (flares.person, flares.episode)
    start, end = np.floor(course.onset[at] + flares.since), np.floor(course.onset[at] + flares.since + flares.lasts)
    limit = np.minimum(_last_day(world), world.enrolment.death)[flares.person]
    row = np.flatnonzero((flares.since < course.lasts[at]) & (start <= limit) & inside[flares.person])
    row = row[np.lexsort((start[row], flares.person[row]))]
    return pl.DataFrame(
        {
            "person_id": person_ids(world, flares.person[row]),
            "episode": flares.episode[row] + 1,
            "start_date": dates(start[row]),
            "end_date": _until_end(world, end[row], flares.person[row]),
            "seen": flares.seen[row],
        }
    )


def _dispensings(world: World, inside: Bools) -> pl.DataFrame:
    """Return every dispensing in the lifetime, seen or not, with its true days of supply, dose and taper."""
    whole = draw_dispensings(world)
    made = whole.take(inside[whole.person] & (whole.day <= world.enrolment.death[whole.person]))
    return pl.DataFrame(
        {
            "person_id": person_ids(world, made.person),
            "date": dates(made.day),
            "drug": texts(vocabulary().concepts, made.drug),
            "days_supply": made.supply,
            "written_days_supply": made.written,
            "tablets": made.tablets,
            "tapering": made.tapering,
        }
    )


def _potential_outcomes(world: World, index: Index, outcomes: tuple[Outcome, Outcome]) -> pl.DataFrame:
    """Return one row per eligible person: the outcome under each strategy, and whether usual care gave an opioid."""
    columns: dict[str, object] = {
        "person_id": person_ids(world, index.person),
        "index_date": dates(index.day),
        "episode": index.episode + 1,
        "usual_care_opioid": world.plan.would_treat[index.person, index.episode],
    }
    for strategy, outcome in zip(world.scenario.truth.strategies, outcomes, strict=True):
        columns[f"days_{strategy}"] = outcome.time
        columns[f"cause_{strategy}"] = outcome.cause
        columns[f"pain_days_{strategy}"] = outcome.pain_days
    return pl.DataFrame(columns)


def _in_life(world: World, inside: Bools, day: Floats) -> tuple[Ints, Ints]:
    limit = np.minimum(_last_day(world), world.enrolment.death)[:, None]
    person, column = np.nonzero((day <= limit) & inside[:, None])
    return person, column


def _until_end(world: World, day: Floats, person: Ints) -> pl.Series:
    """Return dates, null for what happens after the calendar or after death."""
    known = np.floor(day) <= np.minimum(_last_day(world), world.enrolment.death[person])
    return dates(np.where(known, np.floor(np.where(known, day, 0)), MISSING), missing=MISSING)


MISSING = np.iinfo(np.int32).min


def _last_day(world: World) -> int:
    return epoch_day(world.scenario.calendar.last_day)
