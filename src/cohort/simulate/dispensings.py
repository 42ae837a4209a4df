"""Dispensings: early opioids with refills, long-term use and tapers, muscle relaxants, and what is written of them."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World
from cohort.time import DAYS_PER_YEAR, epoch_day

LONG_TERM_SUPPLY = 30
"""Days of supply of each fill of long-term use."""
SLIPS = np.array([1, 30, 99])
"""What is written instead of the days of supply where they are mistaken: a default of the till, or a cut-off count."""
RELAXANT_SUPPLY, RELAXANT_TABLETS_PER_DAY = 10, 4


@dataclass(frozen=True, slots=True)
class Dispensings:
    """Dispensings of one block, one row each, sorted by person and day.

    Attributes
    ----------
    person, day, drug
        Int64: row of the person, epoch day, concept number.
    supply, written, tablets
        Int64: true days of supply, those that are written, and tablets dispensed.
    tapering
        bool: a taper has begun.
    """

    person: Ints
    day: Ints
    drug: Ints
    supply: Ints
    written: Ints
    tablets: Ints
    tapering: Bools

    def take(self, rows: Ints | Bools) -> Dispensings:
        """Return some of the dispensings."""
        return Dispensings(*(getattr(self, field)[rows] for field in self.__slots__))


@dataclass(slots=True)
class _Use:
    """The use of opioids after each early treatment, from fill to fill; arrays with one entry per use still going on.

    ``day`` and ``supply`` are those of the next fill, ``dose`` its tablets a day and ``first_dose`` those of the first.
    """

    person: Ints
    day: Floats
    end: Floats
    supply: Ints
    long_term: Bools
    first_dose: Floats
    dose: Floats
    taper: Floats

    def keep(self, rows: Bools) -> None:
        """Drop the uses that have ended."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name)[rows])


def draw_dispensings(world: World) -> Dispensings:
    """Return all opioids and muscle relaxants dispensed in the calendar, seen by a supplier or not."""
    random = world.block.stream("dispensing")
    opioids = _opioids(world, random) if world.scenario.opioid.procedure is None else []
    parts = [*opioids, _relaxants(world, random)]
    person, day, drug, supply, tablets, tapering = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    slips = SLIPS[random.integers(0, len(SLIPS), len(day))]
    written = np.where(random.random(len(day)) < world.scenario.dispensing.supply_mistaken, slips, supply)
    whole = Dispensings(person, day, drug, supply, written, tablets, tapering)
    return whole.take(np.lexsort((drug, day, person)))


def treatment_days(world: World) -> tuple[Ints, Ints, Ints]:
    """Return person, episode and epoch day of the early treatments under usual care, up to the calendar's end."""
    day = np.floor(world.course.onset + world.plan.opioid)
    person, episode = np.nonzero(world.course.treated & (day <= epoch_day(world.scenario.calendar.last_day)))
    return person, episode, day[person, episode].astype(np.int64)


Rows = tuple[Ints, Ints, Ints, Ints, Ints, Bools]
"""Person, day, drug, days of supply, tablets, whether a taper has begun."""


def _opioids(world: World, random: np.random.Generator) -> list[Rows]:
    """Return the fills of each early opioid, round by round: while the pain lasts, or long after it."""
    drug, last_day = vocabulary().number("early_opioid"), epoch_day(world.scenario.calendar.last_day)
    use = _first_fills(world, random)
    rounds: list[Rows] = []
    while len(use.person):
        tablets = np.ceil(use.dose * use.supply).astype(np.int64)
        day = np.floor(use.day).astype(np.int64)
        rounds.append((use.person, day, np.full(len(day), drug), use.supply, tablets, day >= use.taper))
        _go_on(world, use, random)
        use.keep((use.dose > 0) & (use.day < np.minimum(use.end, last_day + 1)))
    return rounds


def _first_fills(world: World, random: np.random.Generator) -> _Use:
    opioid, dispensing = world.scenario.opioid, world.scenario.dispensing
    person, episode, day = treatment_days(world)
    which = random.choice(len(opioid.supply_days), len(person), p=_exact(opioid.supply_shares))
    dose = random.choice(
        np.array(dispensing.tablets_per_day, dtype=float), len(person), p=_exact(dispensing.tablets_shares)
    )
    long_term = random.random(len(person)) < np.array(opioid.long_term)[which]
    years = random.standard_exponential(len(person)) / max(dispensing.taper_per_year, 1e-9)
    pain_ends = (world.course.onset + world.course.lasts)[person, episode]
    return _Use(
        person=person,
        day=day.astype(np.float64),
        end=np.where(long_term, np.inf, pain_ends),
        supply=np.array(opioid.supply_days)[which],
        long_term=long_term,
        first_dose=dose,
        dose=dose,
        taper=np.where(long_term, day + years * DAYS_PER_YEAR, np.inf),
    )


def _go_on(world: World, use: _Use, random: np.random.Generator) -> None:
    """Move each use to its next fill: when the supply ends or, stockpiling, some days before; 0 tablets end it."""
    dispensing, rows = world.scenario.dispensing, len(use.person)
    early = random.integers(1, dispensing.early_days + 1, rows) * (random.random(rows) < dispensing.refilled_early)
    use.day = use.day + use.supply - np.minimum(early, use.supply - 1)
    refilled = use.long_term | (random.random(rows) < world.scenario.opioid.refill)
    step = np.where(use.day >= use.taper, dispensing.taper_step * use.first_dose, 0.0)
    use.dose = np.where(refilled, np.maximum(use.dose - step, 0.0), 0.0)
    use.supply = np.where(use.long_term, LONG_TERM_SUPPLY, use.supply)


def _exact(shares: tuple[float, ...]) -> Floats:
    """Return shares that add to 1 within the scenario's tolerance as exactly as numpy wants them."""
    return np.asarray(np.array(shares) / np.sum(shares))


def _relaxants(world: World, random: np.random.Generator) -> Rows:
    visits = world.happened
    chosen = visits.take(visits.first & (random.random(len(visits.person)) < world.scenario.care.muscle_relaxant))
    rows = len(chosen.person)
    drug, supply = np.full(rows, vocabulary().number("muscle_relaxant")), np.full(rows, RELAXANT_SUPPLY)
    day, tapering = chosen.day(world.course), np.zeros(rows, dtype=np.bool_)
    return chosen.person, day, drug, supply, supply * RELAXANT_TABLETS_PER_DAY, tapering
