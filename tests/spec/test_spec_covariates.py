"""Covariates: what is known about each entry, on the right side of the index date, per entry and not per person."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from worlds import world

import cohort as co

TABLES = world(
    person="""
        person_id birth_date sex
        1         1960-02-29 female
        2         -          -
    """,
    enrolment="""
        person_id start_date end_date
        1         2015-01-01 2022-12-31
        2         2015-01-01 2022-12-31
    """,
    diagnosis="""
        person_id date       code
        1  2020-02-28 I21
        1  2020-02-28 E119
        1  2020-02-28 M545
        1  2020-02-28 M542
        1  2020-03-01 M25561
        1  2020-03-01 C780
        1  2021-02-27 E1121
        1  2021-02-28 G43709
    """,
    dispensing="""
        person_id date       system code
        1  2020-03-01 ndc    35356084030
        1  2020-03-15 ndc    35356084030
    """,
)
ENTRIES = pl.LazyFrame(
    {
        "person_id": [1, 1, 2],
        "index_date": [dt.date(2020, 3, 1), dt.date(2021, 2, 28), dt.date(2020, 3, 1)],
    }
)
YEAR_BEFORE = co.Window(-365, -1)


def values(covariate):
    return covariate.column(TABLES, ENTRIES).sort("person_id", "index_date").collect()[covariate.name].to_list()


def test_age_is_in_completed_years_and_null_without_a_birth_date():
    assert values(co.age()) == [60, 61, None]  # born on 29 February: 28 February is the birthday in 2021


def test_sex_is_null_when_nobody_says():
    assert values(co.sex()) == ["female", "female", None]


def test_charlson_counts_the_window_of_each_entry_and_not_the_index_day():
    # first entry: infarction 1 + diabetes 1; the metastasis on the index day does not count. Second entry: the year
    # before it starts on 2020-02-29, so only metastasis 6 + diabetes with complications 2 (kidney)
    assert values(co.charlson(YEAR_BEFORE)) == [2, 8, 0]


def test_pain_sites_are_distinct_regions():
    assert values(co.pain_sites(YEAR_BEFORE)) == [2, 1, 0]  # low back and neck; then the knee of the first index day


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (co.Window(0, 14), [True, False, False]),  # both ends count: day 0 and day 14
        (co.Window(1, 13), [False, False, False]),
        (co.Window(14, 14), [True, False, False]),
        (co.Window(-365, -1), [False, True, False]),
        (co.Window(None, None), [True, True, False]),
    ],
)
def test_exposure_is_a_record_in_the_window_and_never_missing(window, expected):
    assert values(co.exposed("opioid", window, name="opioid")) == expected


def test_exposure_can_be_a_diagnosis():
    assert values(co.exposed(co.diagnosis("low_back_pain"), YEAR_BEFORE, name="back")) == [True, False, False]
