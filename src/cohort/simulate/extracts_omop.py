"""Extracts in the OMOP Common Data Model 5.4: one file per table, coded by source concepts.

Standard concepts need the vocabulary release of the supplier, which may not be passed on; the source concepts here
have numbers above two billion, the range that the model leaves to local use, and standard concepts are 0.

References
----------
OHDSI. The Book of OHDSI (2019), chapter 4. Common Data Model 5.4: https://ohdsi.github.io/CommonDataModel
"""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from cohort.simulate.dirt import Roles
from cohort.simulate.encounters import Encounters, draw_encounters
from cohort.simulate.extracts import VISIT, dates, known_deaths, seen_dispensings, sequence_numbers
from cohort.simulate.extracts_registry import draw_ratings
from cohort.simulate.population import Bools, Ints
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World

LOCAL_CONCEPTS = 2_000_000_001
"""Number of the first concept of local use."""
VISIT_CONCEPTS = (581477, 9202, 9203, 9201)
"""Visit concept of each of ``SETTINGS``."""
GENDER_CONCEPTS = (8507, 8532)
CLAIM, PRESCRIPTION, REGISTRY = 32810, 32825, 32879
"""Type concepts: claim, pharmacy claim, registry."""
PRIMARY, SECONDARY = 32902, 32908
"""Status concepts of a visit's first diagnosis and of the others."""
VOCABULARIES = {"ICD9CM": "ICD9CM", "ICD10CM": "ICD10CM", "HCPCS": "CPT4", "NDC": "NDC"}
"""What the model calls the coding systems of US claims; all our procedure codes are CPT numbers."""
RATING = ("LOINC", "72514-3")
"""Vocabulary and code of the numerical rating of pain."""

ROLES: dict[str, Roles | None] = {
    "concept": None,
    "location": None,
    "person": {},
    "death": {},
    "observation_period": {"date": "observation_period_start_date"},
    "visit_occurrence": {},
    "condition_occurrence": {"date": "condition_start_date", "person": "person_id"},
    "procedure_occurrence": {"date": "procedure_date", "person": "person_id"},
    "measurement": {"date": "measurement_date", "person": "person_id"},
    "drug_exposure": {"date": "drug_exposure_start_date", "person": "person_id", "quantity": "quantity"},
}
"""Per file, the columns that carry defects; none = a file of the supplier's own, which stays clean."""


def omop(world: World, persons: int) -> dict[str, pl.DataFrame]:
    """Return one block's rows of the tables, for the first ``persons`` of the population."""
    inside = world.persons.number <= persons
    encounters = draw_encounters(world, inside)
    visit = world.persons.number[encounters.person] * 100_000 + sequence_numbers(encounters.person)
    # two tables are the same for everybody: the first block brings them
    common = slice(None) if world.block.number == 0 else slice(0, 0)
    return {
        "concept": _concepts()[common],
        "location": _locations(world)[common],
        "person": _person(world, inside),
        "death": _death(world, inside),
        "observation_period": _observation_period(world, inside),
        "visit_occurrence": _visit_occurrence(world, encounters, visit),
        "condition_occurrence": _condition_occurrence(world, encounters, visit),
        "procedure_occurrence": _procedure_occurrence(world, encounters, visit),
        "measurement": _measurement(world, inside),
        "drug_exposure": _drug_exposure(world, inside),
    }


@cache
def _local_numbers() -> dict[tuple[str, str], int]:
    """Return the concept number of each code by its vocabulary."""
    known = vocabulary()
    pairs = [(VOCABULARIES[system], code) for system, code in zip(known.systems, known.codes, strict=True)]
    return {pair: LOCAL_CONCEPTS + place for place, pair in enumerate(dict.fromkeys([RATING, *pairs]))}


@cache
def _concepts() -> pl.DataFrame:
    vocabularies, codes = zip(*_local_numbers(), strict=True)
    written = [_dotted(*pair) for pair in _local_numbers()]
    return pl.DataFrame(
        {
            "concept_id": list(_local_numbers().values()),
            "concept_name": [f"{name} {code}" for name, code in zip(vocabularies, codes, strict=True)],
            "vocabulary_id": vocabularies,
            "concept_code": written,
        }
    )


def _dotted(system: str, code: str) -> str:
    """Return a diagnosis code with the dot that the vocabularies write."""
    return f"{code[:3]}.{code[3:]}" if system.startswith("ICD") and len(code) > 3 else code


def _numbers(concept: Ints, day: Ints, pick: Ints) -> Ints:
    """Return the concept number of each concept of the simulator on its day."""
    known = vocabulary()
    pairs = zip(known.systems, known.codes, strict=True)
    local = np.array([_local_numbers()[VOCABULARIES[system], code] for system, code in pairs], dtype=np.int64)
    return np.asarray(local[known.lookup(concept, day, pick)])


def _locations(world: World) -> pl.DataFrame:
    regions = world.scenario.persons.regions
    return pl.DataFrame({"location_id": range(1, len(regions) + 1), "state": regions})


def _person(world: World, inside: Bools) -> pl.DataFrame:
    row = np.flatnonzero(inside)
    born = dates(world.persons.birth[row])
    return pl.DataFrame(
        {
            "person_id": world.persons.number[row],
            "gender_concept_id": np.array(GENDER_CONCEPTS)[world.persons.female[row].astype(np.int64)],
            "year_of_birth": born.dt.year(),
            "month_of_birth": born.dt.month(),
            "day_of_birth": born.dt.day(),
            "race_concept_id": np.zeros(len(row), dtype=np.int64),
            "ethnicity_concept_id": np.zeros(len(row), dtype=np.int64),
            "location_id": world.persons.region[row] + 1,
        }
    )


def _death(world: World, inside: Bools) -> pl.DataFrame:
    day = known_deaths(world)
    row = np.flatnonzero(inside & (day >= 0))
    return pl.DataFrame({"person_id": world.persons.number[row], "death_date": dates(day[row])})


def _observation_period(world: World, inside: Bools) -> pl.DataFrame:
    person, first, last = world.enrolment.spells()
    kept = inside[person]
    person = person[kept]
    return pl.DataFrame(
        {
            "observation_period_id": world.persons.number[person] * 1_000 + sequence_numbers(person),
            "person_id": world.persons.number[person],
            "observation_period_start_date": dates(first[kept]),
            "observation_period_end_date": dates(last[kept]),
            "period_type_concept_id": np.full(len(person), CLAIM),
        }
    )


def _visit_occurrence(world: World, encounters: Encounters, visit: Ints) -> pl.DataFrame:
    # a stay is cut at death, so that no visit ends after it
    last_day = np.minimum(encounters.last_day, world.enrolment.death[encounters.person])
    return pl.DataFrame(
        {
            "visit_occurrence_id": visit,
            "person_id": world.persons.number[encounters.person],
            "visit_concept_id": np.array(VISIT_CONCEPTS)[encounters.setting],
            "visit_start_date": dates(encounters.day),
            "visit_end_date": dates(last_day),
            "visit_type_concept_id": np.full(len(visit), CLAIM),
        }
    )


def _condition_occurrence(world: World, encounters: Encounters, visit: Ints) -> pl.DataFrame:
    row, place = np.nonzero(encounters.diagnoses >= 0)
    person, day = encounters.person[row], encounters.day[row]
    return pl.DataFrame(
        {
            "condition_occurrence_id": visit[row] * 10 + place,
            "person_id": world.persons.number[person],
            "condition_concept_id": np.zeros(len(row), dtype=np.int64),
            "condition_start_date": dates(day),
            "condition_type_concept_id": np.full(len(row), CLAIM),
            "condition_status_concept_id": np.where(place == 0, PRIMARY, SECONDARY),
            "visit_occurrence_id": visit[row],
            "condition_source_concept_id": _numbers(encounters.diagnoses[row, place].astype(np.int64), day, person),
        }
    )


def _procedure_occurrence(world: World, encounters: Encounters, visit: Ints) -> pl.DataFrame:
    services = np.array([vocabulary().number(name) if name else -1 for name in VISIT])[encounters.setting]
    both = np.column_stack([services, encounters.procedure])
    row, place = np.nonzero(both >= 0)
    person, day = encounters.person[row], encounters.day[row]
    return pl.DataFrame(
        {
            "procedure_occurrence_id": visit[row] * 10 + place,
            "person_id": world.persons.number[person],
            "procedure_concept_id": np.zeros(len(row), dtype=np.int64),
            "procedure_date": dates(day),
            "procedure_type_concept_id": np.full(len(row), CLAIM),
            "visit_occurrence_id": visit[row],
            "procedure_source_concept_id": _numbers(both[row, place], day, person),
        }
    )


def _measurement(world: World, inside: Bools) -> pl.DataFrame:
    person, day, score = draw_ratings(world, inside)
    return pl.DataFrame(
        {
            "measurement_id": world.persons.number[person] * 100_000 + sequence_numbers(person),
            "person_id": world.persons.number[person],
            "measurement_concept_id": np.zeros(len(person), dtype=np.int64),
            "measurement_date": dates(day),
            "measurement_type_concept_id": np.full(len(person), REGISTRY),
            "value_as_number": score,
            "visit_occurrence_id": pl.repeat(None, len(person), dtype=pl.Int64, eager=True),
            "measurement_source_concept_id": np.full(len(person), _local_numbers()[RATING]),
            "unit_source_value": pl.repeat("points", len(person), eager=True),
        }
    )


def _drug_exposure(world: World, inside: Bools) -> pl.DataFrame:
    kept = seen_dispensings(world, inside)
    return pl.DataFrame(
        {
            "drug_exposure_id": world.persons.number[kept.person] * 100_000 + sequence_numbers(kept.person),
            "person_id": world.persons.number[kept.person],
            "drug_concept_id": np.zeros(len(kept.day), dtype=np.int64),
            "drug_exposure_start_date": dates(kept.day),
            "drug_exposure_end_date": dates(kept.day + kept.written - 1),
            "drug_type_concept_id": np.full(len(kept.day), PRESCRIPTION),
            "quantity": kept.tablets,
            "days_supply": kept.written,
            "drug_source_concept_id": _numbers(kept.drug, kept.day, kept.person),
        }
    )
