"""A table that the supplier did not give is no table of nobody: what it would have told is unknown, and why is said."""

from __future__ import annotations

import pytest
from worlds import INDEX, people, world

import cohort as co
from cohort.codes.records import needed_codes, needed_rows
from cohort.features.covariate import Measured
from cohort.store.tables import Supplied

YEAR = co.Window(-365, -1)
NO_DRUGS = "no dispensing in the store"


def measured(covariate: Measured, *lacking: str, in_memory: bool):
    """Return (value, reason) of two persons, the second with an injection, in a store without some tables."""
    tables = world(**people(1, 2), procedure="person_id date system code\n2 d-30 cpt 62322")
    given = Supplied({name: table for name, table in tables.items() if name not in lacking})
    read = needed_rows(given, needed_codes(covariate.records)) if in_memory else given
    entries = tables["person"].select("person_id").with_columns(index_date=INDEX)
    found = covariate.column(read, entries).sort("person_id").collect()
    return list(zip(found[covariate.name], found[f"{covariate.name}_missing"], strict=True))


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(
    "covariate",
    [
        co.exposed("opioid", YEAR, name="opioid"),
        co.percent_covered("opioid", YEAR),
        co.opioid_dose(YEAR),
        co.new_use("opioid", co.Window(-90, -1)),
        co.concurrent_days("opioid", "benzodiazepine", YEAR),
    ],
    ids=lambda covariate: covariate.kind,
)
def test_without_dispensings_no_measure_of_drugs_is_known(covariate, in_memory):
    assert measured(covariate, "dispensing", in_memory=in_memory) == [(None, NO_DRUGS)] * 2
    given = measured(covariate, in_memory=in_memory)
    assert all(value is not None and reason is None for value, reason in given)


def test_a_yes_from_another_table_stands():
    treated = co.treated("interventional", YEAR)
    assert measured(treated, in_memory=True) == [(False, None), (True, None)]
    assert measured(treated, "dispensing", in_memory=True) == [(None, NO_DRUGS), (True, None)]


def test_without_diagnoses_nobody_is_free_of_disease():
    assert measured(co.charlson(YEAR), "diagnosis", in_memory=True) == [(None, "no diagnosis in the store")] * 2


def test_other_tables_take_nothing_away():
    assert measured(co.charlson(YEAR), "dispensing", "measurement", "cost", in_memory=True) == [(0, None)] * 2
