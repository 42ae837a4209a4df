"""Encounter days, admissions and procedures within a window, worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.features.utilisation import admissions, encounter_days, procedure_days
from cohort.store.tables import SETTINGS


def day(number):
    return dt.date(2020, 2, 1) + dt.timedelta(number)


WINDOWS = pl.LazyFrame({"person_id": [1, 2], "start_date": [day(10), day(10)], "end_date": [day(39), day(39)]})


def diagnosed(*rows):
    cells = [(1, day(first), day(last), setting) for first, last, setting in rows]
    schema = {"person_id": pl.Int64, "date": pl.Date, "end_date": pl.Date, "setting": pl.String}
    return pl.LazyFrame(cells, schema=schema, orient="row")


PROCEDURES = pl.LazyFrame(
    {
        "person_id": [1, 1, 1],
        "date": [day(12), day(20), day(40)],
        "system": ["cpt"] * 3,
        "code": ["97110", "97110", "97110"],
        "setting": ["outpatient"] * 3,
    }
)


def test_encounter_days_by_setting():
    rows = diagnosed((12, 12, "outpatient"), (12, 12, "emergency"), (9, 15, "inpatient"), (13, 13, None))
    found = encounter_days(rows, PROCEDURES, WINDOWS).collect().row(0, named=True)
    # outpatient on days 12 (diagnosis and procedure: one day) and 20; the stay began before the window
    expected = {"outpatient": 2, "emergency": 1, "unknown": 1}
    assert {name: found[name] for name in SETTINGS} == {name: expected.get(name, 0) for name in SETTINGS}
    assert encounter_days(rows, PROCEDURES, WINDOWS).collect().height == 2


def test_admissions_and_days_in_hospital():
    rows = diagnosed(
        (5, 12, "inpatient"),  # began before the window: three days in it, no admission
        (20, 22, "inpatient"),
        (22, 25, "inpatient"),  # transferred on the day of discharge: the same stay, six days
        (26, 26, "inpatient"),  # admitted again the next day
        (38, 45, "inpatient"),  # two days in the window
        (30, 30, "outpatient"),
    )
    assert admissions(rows, WINDOWS).collect().rows() == [(1, 3, 3 + 6 + 1 + 2), (2, 0, 0)]


def test_procedure_days():
    exercise = Codelist.from_rows("exercise", [{"system": "cpt", "code": "97110"}])
    assert procedure_days(PROCEDURES, exercise, WINDOWS).collect().rows() == [(1, 2), (2, 0)]
