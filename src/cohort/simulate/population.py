"""Persons: who they are before any pain — age, sex, region, sensitization, comorbidity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohort.simulate.hazards import Floats, expit, gompertz_time, logit
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.time import DAYS_PER_YEAR, epoch_day

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Persons:
    """One block of persons; every array has one row per person, days count from 1970-01-01.

    Attributes
    ----------
    number
        Int64, 1 for the first person of the population.
    birth, female, region
        Birth day (Int64), sex (bool) and place in ``scenario.persons.regions`` (Int64).
    sensitization
        Float64, standard normal: the latent trait that raises spread, symptoms and co-occurring conditions.
    comorbidity, cooccurring
        Float64, shape (persons, conditions): first day of each condition of the scenario, ``inf`` = never.
    life
        Float64, unit exponential: the draw that death comes from.
    """

    number: Ints
    birth: Ints
    female: Bools
    region: Ints
    sensitization: Floats
    comorbidity: Floats
    cooccurring: Floats
    life: Floats


def draw_persons(scenario: Scenario, block: Block) -> Persons:
    """Return the persons of one block."""
    random = block.stream("person")
    birth = _births(scenario, random)
    female = random.random(BLOCK) < scenario.persons.female
    region = random.integers(0, len(scenario.persons.regions), BLOCK)
    sensitization = random.standard_normal(BLOCK)
    life = random.standard_exponential(BLOCK)
    random = block.stream("comorbidity")
    return Persons(
        number=np.arange(block.number * BLOCK + 1, (block.number + 1) * BLOCK + 1, dtype=np.int64),
        birth=birth,
        female=female,
        region=region,
        sensitization=sensitization,
        comorbidity=_comorbidity(scenario, birth, random),
        cooccurring=_cooccurring(scenario, sensitization, random),
        life=life,
    )


def _births(scenario: Scenario, random: np.random.Generator) -> Ints:
    """Return birth days: a band by its share, then an age and a birthday evenly within it."""
    bands = scenario.persons.age_at_first_day
    band = random.choice(len(bands), BLOCK, p=np.array([share for *_, share in bands]) / sum(b[2] for b in bands))
    first = np.array([first for first, _, _ in bands], dtype=np.float64)[band]
    last = np.array([last + 1 for _, last, _ in bands], dtype=np.float64)[band]
    age = first + (last - first) * random.random(BLOCK)
    return (epoch_day(scenario.calendar.first_day) - np.floor(age * DAYS_PER_YEAR)).astype(np.int64) - 1


def _comorbidity(scenario: Scenario, birth: Ints, random: np.random.Generator) -> Floats:
    """Return the day on which each condition starts: where its logistic prevalence by age passes the person's rank."""
    rank = random.random((BLOCK, len(scenario.comorbidity)))
    level = logit(np.array([condition.prevalence_at_60 for condition in scenario.comorbidity]))
    slope = np.array([condition.log_odds_per_decade for condition in scenario.comorbidity])
    age = 60 + 10 * (logit(np.maximum(rank, 1e-12)) - level) / slope
    return np.asarray(birth[:, None] + np.maximum(age, 0) * DAYS_PER_YEAR, dtype=np.float64)


def _cooccurring(scenario: Scenario, sensitization: Floats, random: np.random.Generator) -> Floats:
    """Return the day on which each co-occurring condition starts: any day of the simulated years, or never."""
    shape = (BLOCK, len(scenario.cooccurring))
    level = logit(np.array([condition.prevalence for condition in scenario.cooccurring]))
    slope = np.array([condition.log_odds_sensitization for condition in scenario.cooccurring])
    has = random.random(shape) < expit(level + slope * sensitization[:, None])
    start = first_pain_day(scenario)
    day = start + random.random(shape) * (epoch_day(scenario.calendar.last_day) - start)
    return np.where(has, day, np.inf)


def first_pain_day(scenario: Scenario) -> int:
    """Return the epoch day on which the pain process starts: the first day less the burn-in."""
    return epoch_day(scenario.calendar.first_day) - round(scenario.calendar.burn_in_years * DAYS_PER_YEAR)


def comorbidity_count(persons: Persons, day: int) -> Ints:
    """Return how many conditions of the comorbidity list each person has on a day."""
    return np.asarray((persons.comorbidity <= day).sum(axis=1), dtype=np.int64)


def death_days(scenario: Scenario, persons: Persons, chronic: Floats) -> Floats:
    """Return the day of death, given the day of the first chronification; everybody lives to see the first day."""
    first = epoch_day(scenario.calendar.first_day)
    death = scenario.death
    alive = gompertz_time(
        persons.life,
        (first - persons.birth) / DAYS_PER_YEAR,
        np.exp(death.log_hazard_ratio_comorbidity * comorbidity_count(persons, first)),
        at_60=death.hazard_at_60,
        per_year=death.log_hazard_per_year,
        change=chronic - first,
        factor=death.hazard_ratio_chronic,
    )
    return np.floor(first + 1 + alive)
