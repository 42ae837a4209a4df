"""Encounters: what a visit, a condition or a procedure leaves in the claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohort.simulate.care import CHRONIC, Visits
from cohort.simulate.dispensings import treatment_days
from cohort.simulate.hazards import Floats, expit, logit
from cohort.simulate.population import Bools, Ints, Persons
from cohort.simulate.scenario import STATES, Scenario
from cohort.simulate.streams import BLOCK
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World
from cohort.time import DAYS_PER_YEAR, epoch_day

DIAGNOSES = 5
"""Diagnosis columns of a claim."""

SETTINGS = ("office", "outpatient", "emergency", "inpatient")
SYMPTOMS = ("sleep", "fatigue", "mood", "cognition")
CHECKUPS = ("checkup", "hypertension", "respiratory_infection")


@dataclass(frozen=True, slots=True)
class Encounters:
    """Encounters of one block, one row each.

    Attributes
    ----------
    person, day, last_day, setting
        Int64: row of the person, first and last epoch day, place in ``SETTINGS``.
    diagnoses
        Int16, shape (rows, DIAGNOSES): concept numbers, −1 = none, no gaps.
    procedure
        Int64: concept number of a procedure beside the visit itself, −1 = none.
    """

    person: Ints
    day: Ints
    last_day: Ints
    setting: Ints
    diagnoses: npt.NDArray[np.int16]
    procedure: Ints


def draw_encounters(world: World, inside: Bools) -> Encounters:
    """Return the encounters of the persons ``inside`` that a supplier sees, sorted by person and day."""
    background = _background(world.scenario, world.persons, world.block.stream("background"))
    parts = [_pain_encounters(world), *background, *_treatments(world)]
    whole = Encounters(*(np.concatenate([getattr(part, field) for part in parts]) for field in Encounters.__slots__))
    seen = np.flatnonzero(world.enrolment.observes(whole.person, whole.day) & inside[whole.person])
    # sorting integers is far faster than finding their order: the days of 30 years fit into 14 bits, settings into 2,
    # and the place in the lowest bits keeps what is equal in order and says where it came from
    day = whole.day[seen] - epoch_day(world.scenario.calendar.first_day)
    key = (whole.person[seen] << 16) | (day << 2) | whole.setting[seen]
    bits = len(seen).bit_length()
    order = np.sort((key << bits) | np.arange(len(seen))) & ((1 << bits) - 1)
    return take(whole, seen[order])


def take(encounters: Encounters, rows: Ints | Bools) -> Encounters:
    """Return some of the encounters."""
    return Encounters(*(getattr(encounters, field)[rows] for field in Encounters.__slots__))


def spread_days(world: World) -> Floats:
    """Return the epoch day on which pain reaches each further region, shape (persons, regions); ``inf`` = never.

    The hazard runs in time spent in pain: a draw in pain time is carried back to the calendar through the episodes.
    """
    spread, course = world.scenario.spread, world.course
    shape = (BLOCK, len(spread.regions))
    ratio = np.exp(spread.log_hazard_ratio_sensitization * world.persons.sensitization)
    rate = np.maximum(spread.per_year_in_pain / shape[1] * ratio, 1e-12)[:, None]
    wait = world.block.stream("spread").standard_exponential(shape) * DAYS_PER_YEAR / rate
    total = np.cumsum(course.lasts, axis=1)
    before = total - course.lasts
    day = np.full(shape, np.inf)
    for region in range(shape[1]):
        episode = (total < wait[:, [region]]).sum(axis=1)
        inside = episode < total.shape[1]
        row, column = np.nonzero(inside)[0], episode[inside]
        day[row, region] = course.onset[row, column] + wait[row, region] - before[row, column]
    return day


def _treatments(world: World) -> list[Encounters]:
    """Return the encounters of an early treatment that is a procedure, with the code of the pain that it is for."""
    procedure = world.scenario.opioid.procedure
    if procedure is None:
        return []
    person, episode, day = treatment_days(world)
    diagnoses = np.full((len(person), DIAGNOSES), -1, dtype=np.int16)
    names = vocabulary().numbers(world.scenario.condition.by_severity)
    diagnoses[:, 0] = names[world.plan.severity[person, episode]]
    setting = np.full(len(person), SETTINGS.index("outpatient"))
    return [Encounters(person, day, day, setting, diagnoses, np.full(len(person), vocabulary().number(procedure)))]


def _pain_encounters(world: World) -> Encounters:
    scenario, visits, random = world.scenario, world.happened, world.block.stream("encounter")
    severity = world.plan.severity[visits.person, visits.episode]
    day = visits.day(world.course)
    setting = _pain_settings(visits, severity, random)
    stay = np.where(setting == SETTINGS.index("inpatient"), random.integers(1, 6, len(day)), 0)
    written = np.where(random.random(len(day)) < scenario.care.miscoded, 0, severity)
    names = vocabulary().numbers(scenario.condition.by_severity)
    stated = scenario.condition.chronic
    chronic = vocabulary().numbers(stated)[random.integers(0, len(stated), len(day))]
    symptom = _symptom(scenario, world.persons, visits, random)
    regions = _region_codes(scenario, spread_days(world)[visits.person], day, random)
    return Encounters(
        person=visits.person,
        day=day,
        last_day=day + stay,
        setting=setting,
        diagnoses=_close_up(
            np.column_stack([names[written], np.where(visits.explicit, chronic, -1), symptom, regions])
        ).astype(np.int16),
        procedure=_procedures(scenario, visits, random),
    )


def _pain_settings(visits: Visits, severity: Ints, random: np.random.Generator) -> Ints:
    """Return settings: emergency in a flare or at first in severe pain, rarely inpatient; shares are free choices."""
    draw = random.random(len(severity))
    emergency = np.where(visits.first, np.array([0.03, 0.08, 0.20])[severity], np.where(visits.flare, 0.5, 0.03))
    inpatient = np.where(visits.state > CHRONIC, 0.01, 0.001)
    kind = np.select([draw < inpatient, draw < inpatient + emergency, draw > 0.85], [3, 2, 1], 0)
    return kind.astype(np.int64)


def _symptom(scenario: Scenario, persons: Persons, visits: Visits, random: np.random.Generator) -> Ints:
    """Return a symptom concept where one is named beside the pain: the more sensitized, the more often."""
    care = scenario.care
    rows = len(visits.person)
    which = vocabulary().numbers(SYMPTOMS)[random.integers(0, len(SYMPTOMS), rows)]
    if care.symptom == 0:
        return np.full(rows, -1)
    odds = logit(np.array(care.symptom)) + care.log_odds_symptom_sensitization * persons.sensitization[visits.person]
    return np.where(random.random(rows) < expit(odds), which, -1)


def _region_codes(scenario: Scenario, reached: Floats, day: Ints, random: np.random.Generator) -> Ints:
    """Return up to two further regions per visit, each reached region being named at half of the visits."""
    concepts = vocabulary().numbers(scenario.spread.regions)
    named = (reached <= day[:, None]) & (random.random(reached.shape) < 0.5)
    codes = np.where(named, concepts, -1)
    return _close_up(codes, 2)


def _procedures(scenario: Scenario, visits: Visits, random: np.random.Generator) -> Ints:
    """Return the procedure of each visit by its state; at most one, −1 = none."""
    draw = random.random(len(visits.person))
    below = np.zeros(len(draw))
    chosen = np.full(len(draw), -1)
    for concept, shares in scenario.care.procedures.items():
        share = np.array([shares.get(state, 0.0) for state in STATES])[visits.state]
        chosen = np.where((draw >= below) & (draw < below + share), vocabulary().number(concept), chosen)
        below = below + share
    return chosen


def _close_up(columns: Ints, width: int = DIAGNOSES) -> Ints:
    """Return the columns with −1 moved to the end, cut or filled to ``width``."""
    held = columns >= 0
    place = np.cumsum(held, axis=1, dtype=np.int8) - 1
    row, column = np.nonzero(held & (place < width))
    closed = np.full((len(columns), width), -1, dtype=columns.dtype)
    closed[row, place[row, column]] = columns[row, column]
    return closed


def _background(scenario: Scenario, persons: Persons, random: np.random.Generator) -> list[Encounters]:
    """Return check-ups, visits for other conditions once they are recognised, and passing pain in other regions."""
    first, last = epoch_day(scenario.calendar.first_day), epoch_day(scenario.calendar.last_day)
    care, spread = scenario.care, scenario.spread
    always = np.full((BLOCK, 1), float(first))

    def recorded(start: Floats) -> Floats:
        return start + random.standard_exponential(start.shape) * care.condition_lag_days

    groups: list[tuple[Sequence[str], Floats, float]] = [
        (CHECKUPS, np.repeat(always, len(CHECKUPS), axis=1), care.checkups_per_year / len(CHECKUPS)),
        ([c.concept for c in scenario.comorbidity], recorded(persons.comorbidity), care.condition_visits_per_year),
        ([c.concept for c in scenario.cooccurring], recorded(persons.cooccurring), care.condition_visits_per_year),
        (spread.regions, np.repeat(always, len(spread.regions), axis=1), spread.background_per_person_year),
    ]
    return [_visits_since(concepts, start, rate, (first, last), random) for concepts, start, rate in groups]


def _visits_since(
    concepts: Sequence[str], start: Floats, per_year: float, calendar: tuple[int, int], random: np.random.Generator
) -> Encounters:
    """Return visits at a constant rate from the day a condition starts, ``start`` having shape (persons, concepts).

    The shares of the settings are free choices.
    """
    begin = np.clip(start, calendar[0], calendar[1] + 1)
    count = random.poisson((calendar[1] + 1 - begin) * per_year / DAYS_PER_YEAR)
    person = np.repeat(np.arange(len(count)), count.sum(axis=1))
    column = np.repeat(np.tile(np.arange(count.shape[1]), len(count)), count.ravel())
    since = np.repeat(begin.ravel(), count.ravel())
    day = np.floor(since + random.random(len(person)) * (calendar[1] + 1 - since)).astype(np.int64)
    setting = np.array([3, 2, 1, 0])[np.searchsorted([0.02, 0.06, 0.16], random.random(len(person)), side="right")]
    stay = np.where(setting == 3, random.integers(1, 6, len(person)), 0)
    diagnoses = np.full((len(person), DIAGNOSES), -1, dtype=np.int16)
    diagnoses[:, 0] = vocabulary().numbers(concepts)[column]
    return Encounters(person, day, day + stay, setting, diagnoses, np.full(len(person), -1))
