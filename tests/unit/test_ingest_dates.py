"""Dates with the name of a month, which suppliers write in upper or mixed case."""

import datetime as dt

import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.ingest.load import ingest

MONTHS = LAYOUT.replace("[sources.people]", '[dialect]\ndate_format = ["%d-%b-%Y"]\n[sources.people]', 1)


@pytest.mark.parametrize("written", ["05-MAR-2015", "05-Mar-2015", "05-mar-2015"])
def test_months_in_any_case(tmp_path, written):
    people = f"ID,BORN,SEX\n1,{written},male\n".encode()
    layout = write_layout(
        tmp_path / "tiny",
        MONTHS,
        enrolment="select ID as person, BORN as start_date, BORN as end_date from extract.people",
    )
    store = ingest(write_extract(tmp_path / "extract", people), layout, tmp_path / "store")
    assert store.scan("person").collect()["birth_date"].to_list() == [dt.date(2015, 3, 5)]


@pytest.mark.parametrize("written", ["5-MAR-2015", "31-FEB-2015", "05-MARCH-2015", "05-03-2015"])
def test_no_other_spelling(tmp_path, written):
    people = f"ID,BORN,SEX\n1,05-MAR-2015,male\n2,{written},male\n".encode()
    layout = write_layout(tmp_path / "tiny", MONTHS)
    store = ingest(write_extract(tmp_path / "extract", people), layout, tmp_path / "store", max_reject_rate=0.5)
    assert [file.reasons for file in store.account.files] == [{"unreadable:BORN": 1}]
