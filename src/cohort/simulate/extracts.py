"""Extracts: a block of the world as rows of a supplier's files, here the input layer of Tuva.

Only what the supplier sees is written: encounters and dispensings on enrolled days up to death, and a death only if
it happens while enrolled.

References
----------
Tuva Project, input layer (eligibility, medical_claim, pharmacy_claim), Apache-2.0.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.simulate.dispensings import Dispensings, draw_dispensings
from cohort.simulate.encounters import DIAGNOSES, SETTINGS, Encounters, draw_encounters, take
from cohort.simulate.hazards import Floats
from cohort.simulate.population import Bools, Ints
from cohort.simulate.streams import BLOCK
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World
from cohort.time import epoch_day

ICD10_FROM = epoch_day(dt.date(2015, 10, 1))
"""Day on which US claims changed from ICD-9-CM to ICD-10-CM."""

PLACE_OF_SERVICE = ("11", None, None, None)
BILL_TYPE = (None, "131", "131", "111")
REVENUE_CENTER = (None, "0510", "0450", "0120")
VISIT = ("office_visit", "office_visit", "emergency_visit", None)
PAID_CENTS = (9_500, 21_000, 62_000, 1_150_000)
"""Claim form, service code and mean payment of each of ``SETTINGS``; the payments are free choices."""

PROCEDURE_CENTS = 14_000
TABLET_CENTS = 35


def tuva(world: World, persons: int) -> dict[str, pl.DataFrame]:
    """Return one block's rows of the files of the Tuva input layer, for the first ``persons`` of the population."""
    inside = world.persons.number <= persons
    return {
        "eligibility": _eligibility(world, inside),
        "medical_claim": _medical_claim(world, inside),
        "pharmacy_claim": _pharmacy_claim(world, inside),
    }


def _eligibility(world: World, inside: Bools) -> pl.DataFrame:
    person, first, last = world.enrolment.spells()
    person, first, last = (column[inside[person]] for column in (person, first, last))
    death = known_deaths(world)
    regions = world.scenario.persons.regions
    return pl.DataFrame(
        {
            "person_id": person_ids(world, person),
            "gender": texts(("male", "female"), world.persons.female[person].astype(np.int64)),
            "birth_date": dates(world.persons.birth[person]),
            "death_date": dates(death[person], missing=-1),
            "death_flag": (death >= 0)[person].astype(np.int64),
            "enrollment_start_date": dates(first),
            "enrollment_end_date": dates(last),
            "payer": pl.repeat("simulated", len(person), eager=True),
            "payer_type": pl.repeat("commercial", len(person), eager=True),
            "state": texts(regions, world.persons.region[person]),
            "data_source": pl.repeat("simulated", len(person), eager=True),
        }
    )


def known_deaths(world: World) -> Ints:
    """Return the epoch day of each death, −1 where none is seen: a supplier learns of those of the enrolled."""
    death = world.enrolment.death
    within = death < epoch_day(world.scenario.calendar.last_day) + 1
    day = np.where(within, death, -1).astype(np.int64)
    return np.where(within & world.enrolment.observes(np.arange(len(death)), day), day, -1)


def _medical_claim(world: World, inside: Bools) -> pl.DataFrame:
    encounters = draw_encounters(world, inside)
    has_second = (encounters.procedure >= 0).astype(np.int64)
    row = np.repeat(np.arange(len(encounters.person)), 1 + has_second)
    line = np.arange(len(row)) - np.repeat(np.cumsum(1 + has_second) - (1 + has_second), 1 + has_second)
    sequence = sequence_numbers(encounters.person)
    encounters = take(encounters, row)
    inpatient = encounters.setting == SETTINGS.index("inpatient")
    # a stay is cut at death, so that no claim ends after it
    last_day = np.minimum(encounters.last_day, world.enrolment.death[encounters.person]).astype(np.int64)
    era = np.where(encounters.day >= ICD10_FROM, 1, 0)
    return pl.DataFrame(
        {
            "claim_id": _claim_id(world, "M", encounters.person, sequence[row]),
            "claim_line_number": line + 1,
            "claim_type": texts(("institutional", "professional"), (encounters.setting == 0).astype(np.int64)),
            "person_id": person_ids(world, encounters.person),
            "claim_start_date": dates(encounters.day),
            "claim_end_date": dates(last_day),
            "admission_date": dates(np.where(inpatient, encounters.day, -1), missing=-1),
            "discharge_date": dates(np.where(inpatient, last_day, -1), missing=-1),
            "place_of_service_code": texts(PLACE_OF_SERVICE, encounters.setting),
            "bill_type_code": texts(BILL_TYPE, encounters.setting),
            "revenue_center_code": texts(REVENUE_CENTER, encounters.setting),
            "hcpcs_code": _service(encounters, line),
            "paid_amount": _paid(world, encounters, line),
            "diagnosis_code_type": texts(("icd-9-cm", "icd-10-cm"), era),
            **_diagnoses(encounters),
        }
    )


def _diagnoses(encounters: Encounters) -> dict[str, pl.Series]:
    return {
        f"diagnosis_code_{place + 1}": code_texts(encounters.diagnoses[:, place], encounters.day, encounters.person)
        for place in range(DIAGNOSES)
    }


def _service(encounters: Encounters, line: Ints) -> pl.Series:
    names = [vocabulary().number(name) if name else -1 for name in VISIT]
    visit = np.array(names)[encounters.setting]
    return code_texts(np.where(line == 0, visit, encounters.procedure), encounters.day, encounters.person)


def _paid(world: World, encounters: Encounters, line: Ints) -> pl.Series:
    """Return amounts that vary around the mean of the setting or of a procedure."""
    spread = world.block.stream("cost").lognormal(0.0, 0.3, len(line))
    mean = np.where(line == 0, np.array(PAID_CENTS)[encounters.setting], PROCEDURE_CENTS)
    return _money((mean * spread).astype(np.int64))


def _pharmacy_claim(world: World, inside: Bools) -> pl.DataFrame:
    kept = seen_dispensings(world, inside)
    return pl.DataFrame(
        {
            "claim_id": _claim_id(world, "R", kept.person, sequence_numbers(kept.person)),
            "claim_line_number": np.ones(len(kept.person), dtype=np.int64),
            "person_id": person_ids(world, kept.person),
            "dispensing_date": dates(kept.day),
            "ndc_code": code_texts(kept.drug, kept.day, kept.person),
            "quantity": kept.tablets,
            "days_supply": kept.written,
            "paid_amount": _money(kept.tablets * TABLET_CENTS),
        }
    )


def seen_dispensings(world: World, inside: Bools) -> Dispensings:
    """Return the dispensings that a supplier sees of the persons ``inside``."""
    whole = draw_dispensings(world)
    return whole.take(world.enrolment.observes(whole.person, whole.day) & inside[whole.person])


def person_ids(world: World, person: Ints) -> pl.Series:
    """Return the identifiers of persons given by their rows in the block: text with leading zeros."""
    return _numbered("P", int(world.persons.number[0])).gather(pl.Series(person))


@lru_cache(maxsize=16)
def _numbered(kind: str, first: int) -> pl.Series:
    """Return a letter and the number of each person of the block that starts with a person."""
    return pl.Series([f"{kind}{number:07d}" for number in range(first, first + BLOCK)])


def _claim_id(world: World, kind: str, person: Ints, sequence: Ints) -> pl.Series:
    first = _numbered(kind, int(world.persons.number[0])).gather(pl.Series(person))
    return first + texts([f"{place:05d}" for place in range(int(sequence.max(initial=0)) + 1)], sequence)


def sequence_numbers(person: Ints) -> Ints:
    """Return 1, 2, … within each person of an array sorted by person."""
    place = np.arange(len(person))
    starts = np.r_[True, person[1:] != person[:-1]] if len(person) else np.zeros(0, dtype=np.bool_)
    return place - np.maximum.accumulate(np.where(starts, place, 0)) + 1


def dates(day: Ints | Floats, missing: int | None = None) -> pl.Series:
    """Return epoch days as dates, null where the day equals ``missing``."""
    series = pl.Series(np.asarray(day, dtype=np.int64))
    if missing is not None:
        series = series.set(series == missing, None)
    return series.cast(pl.Int32).cast(pl.Date)


def texts(values: Sequence[str | None], place: Ints) -> pl.Series:
    """Return the values at the given places."""
    return pl.Series(values, dtype=pl.String).gather(pl.Series(place))


def code_texts(concept: npt.NDArray[Any], day: Ints, pick: Ints, coding: Literal["us", "nordic"] = "us") -> pl.Series:
    """Return the code of each concept on its day, null where the concept is −1."""
    codes = vocabulary(coding)
    known = np.flatnonzero(concept >= 0)
    place = np.full(len(concept), len(codes.codes))
    place[known] = codes.lookup(concept[known], day[known], pick[known])
    return pl.Series([*codes.codes, None], dtype=pl.String).gather(pl.Series(place))


def _money(cents: Ints) -> pl.Series:
    """Return amounts as decimals: a binary fraction of a dollar would not add up."""
    return pl.Series(cents).cast(pl.Decimal(18, 2)) / 100
