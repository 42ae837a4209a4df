"""Extracts in the manner of a Nordic country: population, residence, patient, drug and death registers.

Names of files and columns follow the Swedish registers; the contacts are those of hospitals and specialists, and of
primary care, which the national register leaves out but regional deliveries hold.

References
----------
Wettermark B et al. The new Swedish Prescribed Drug Register. Pharmacoepidemiol Drug Saf 16 (2007) 726–735.
doi:10.1002/pds.1294
Ludvigsson JF et al. External review and validation of the Swedish national inpatient register. BMC Public Health 11
(2011) 450. doi:10.1186/1471-2458-11-450
"""

from __future__ import annotations

import numpy as np
import polars as pl

from cohort.simulate.dirt import Roles
from cohort.simulate.encounters import DIAGNOSES, SETTINGS, Encounters, draw_encounters, take
from cohort.simulate.extracts import code_texts, dates, known_deaths, person_ids, seen_dispensings, texts
from cohort.simulate.population import Bools
from cohort.simulate.vocabulary import vocabulary
from cohort.simulate.world import World

TABLETS_PER_DDD = {"early_opioid": 6, "muscle_relaxant": 6}
"""Tablets in a defined daily dose: 300 mg of tramadol in tablets of 50 mg, 12 mg of tizanidine in tablets of 2 mg."""

ROLES: dict[str, Roles] = {
    "population": {},
    "residence": {"date": "from_date"},
    "inpatient": {"date": "INDATUM", "person": "LopNr"},
    "outpatient": {"date": "INDATUM", "person": "LopNr"},
    "prescribed_drugs": {"date": "EDATUM", "person": "LopNr", "quantity": "ANTAL"},
    "deaths": {},
}
"""Per file, the columns that carry defects."""


def nordic_registry(world: World, persons: int) -> dict[str, pl.DataFrame]:
    """Return one block's rows of the registers, for the first ``persons`` of the population."""
    inside = world.persons.number <= persons
    encounters = draw_encounters(world, inside)
    stays = encounters.setting == SETTINGS.index("inpatient")
    return {
        "population": _population(world, inside),
        "residence": _residence(world, inside),
        "inpatient": _inpatient(world, take(encounters, stays)),
        "outpatient": _contacts(world, take(encounters, ~stays)),
        "prescribed_drugs": _prescribed_drugs(world, inside),
        "deaths": _deaths(world, inside),
    }


def _population(world: World, inside: Bools) -> pl.DataFrame:
    row = np.flatnonzero(inside)
    return pl.DataFrame(
        {
            "LopNr": person_ids(world, row),
            "Kon": texts(("1", "2"), world.persons.female[row].astype(np.int64)),
            "FodelseDatum": dates(world.persons.birth[row]),
            "Lan": texts(world.scenario.persons.regions, world.persons.region[row]),
        }
    )


def _residence(world: World, inside: Bools) -> pl.DataFrame:
    person, first, last = world.enrolment.spells()
    kept = inside[person]
    person = person[kept]
    return pl.DataFrame(
        {"LopNr": person_ids(world, person), "from_date": dates(first[kept]), "to_date": dates(last[kept])}
    )


def _contacts(world: World, encounters: Encounters) -> pl.DataFrame:
    codes = {
        f"DIA{place}" if place else "HDIA": code_texts(
            encounters.diagnoses[:, place], encounters.day, encounters.person, "nordic"
        )
        for place in range(DIAGNOSES)
    }
    settings = texts(("planned", "planned", "emergency", "planned"), encounters.setting)
    frame = {"LopNr": person_ids(world, encounters.person), "INDATUM": dates(encounters.day), "INSATT": settings}
    return pl.DataFrame({**frame, **codes})


def _inpatient(world: World, stays: Encounters) -> pl.DataFrame:
    # a stay is cut at death, so that no contact ends after it
    last_day = np.minimum(stays.last_day, world.enrolment.death[stays.person])
    contacts = _contacts(world, stays)
    return contacts.insert_column(2, dates(last_day).alias("UTDATUM"))


def _prescribed_drugs(world: World, inside: Bools) -> pl.DataFrame:
    """Return one pack per dispensing; its size in defined daily doses is rounded as the drug list has it."""
    kept = seen_dispensings(world, inside)
    per_ddd = np.ones(len(vocabulary().concepts))
    for name, tablets in TABLETS_PER_DDD.items():
        per_ddd[vocabulary().number(name)] = tablets
    return pl.DataFrame(
        {
            "LopNr": person_ids(world, kept.person),
            "EDATUM": dates(kept.day),
            "ATC": code_texts(kept.drug, kept.day, kept.person, "nordic"),
            "ANTAL": np.ones(len(kept.day), dtype=np.int64),
            "forpddd": np.round(kept.tablets / per_ddd[kept.drug], 2),
        }
    )


def _deaths(world: World, inside: Bools) -> pl.DataFrame:
    day = known_deaths(world)
    row = np.flatnonzero(inside & (day >= 0))
    return pl.DataFrame({"LopNr": person_ids(world, row), "DODSDAT": dates(day[row])})
