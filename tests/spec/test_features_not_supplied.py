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


def measured(covariate: Measured, *lacking: str, in_memory: bool, **further: str):
    """Return (value, reason) of two persons, the second with an injection, in a store without some tables."""
    tables = world(**people(1, 2), procedure="person_id date system code\n2 d-30 cpt 62322", **further)
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


NO_BENEFIT = "no pharmacy benefit throughout the window"
COVERED_SECOND = "person_id start_date end_date\n2 2018-01-01 2022-12-31"


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize(
    "covariate",
    [
        co.exposed("opioid", YEAR, name="opioid"),
        co.percent_covered("opioid", YEAR),
        co.opioid_dose(YEAR),
        co.new_use("opioid", co.Window(-90, -1)),
        co.concurrent_days("opioid", "benzodiazepine", YEAR),
        co.treatment_line("opioid", co.Window(0, 90), 1),
    ],
    ids=lambda covariate: covariate.kind,
)
def test_without_pharmacy_benefit_none_dispensed_is_not_none_taken(covariate, in_memory):
    (first, second) = measured(covariate, in_memory=in_memory, pharmacy_benefit=COVERED_SECOND)
    assert first == (None, NO_BENEFIT)
    assert second[0] is not None and second[1] is None


@pytest.mark.parametrize(
    ("spans", "known"),
    [
        ("2 d-365 d-1", True),
        ("2 d-364 d-1", False),  # a day short
        ("2 d-365 d-200\n2 d-180 d-1", True),  # a gap of 19 days is bridged, as in enrolment
        ("2 d-365 d-200\n2 d-160 d-1", False),
    ],
)
def test_benefit_must_cover_every_day_of_the_window(spans, known):
    table = f"person_id start_date end_date\n{spans}"
    (_, second) = measured(co.exposed("opioid", YEAR, name="opioid"), in_memory=True, pharmacy_benefit=table)
    assert second == ((False, None) if known else (None, NO_BENEFIT))


def test_what_was_dispensed_is_known_without_benefit():
    opioid = "person_id date system code days_supply\n1 d-30 atc N02AA01 10"
    exposed = co.exposed("opioid", YEAR, name="opioid")
    found = measured(exposed, in_memory=True, dispensing=opioid, pharmacy_benefit=COVERED_SECOND)
    assert found == [(True, None), (False, None)]


def test_enrolment_is_the_first_reason_and_nothing_but_drugs_asks_for_benefit():
    late = {"pharmacy_benefit": COVERED_SECOND, "enrolment": "person_id start_date end_date\n2 2018-01-01 2022-12-31"}
    tables = people(1, 2) | late
    entries = world(**tables)["person"].select("person_id").with_columns(index_date=INDEX)
    exposed = co.exposed("opioid", YEAR, name="opioid").column(world(**tables), entries).sort("person_id").collect()
    assert exposed["opioid_missing"].to_list() == ["not enrolled throughout the window", None]
    assert measured(co.charlson(YEAR), in_memory=True, pharmacy_benefit=COVERED_SECOND) == [(0, None)] * 2


@pytest.mark.parametrize(("service", "known"), [("medical", True), ("pharmacy", False), (None, False)])
def test_costs_of_pharmacies_are_known_with_benefit_only(service, known):
    paid = "person_id date service amount\n1 d-30 medical 36500"
    (first, _) = measured(co.cost_per_month(YEAR, service), in_memory=False, cost=paid, pharmacy_benefit=COVERED_SECOND)
    assert first == ((30, None) if known else (None, NO_BENEFIT))  # 365.00 in 365 days is 30 in 30
