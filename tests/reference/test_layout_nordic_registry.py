"""The Nordic registers by hand: returns, defined daily doses, deaths, the order of diagnoses, both ways to write a date."""

from __future__ import annotations

import datetime as dt

import pytest
from layout_helpers import fates, keyed, load, stored

FILES = {
    "population.csv": "LopNr,Kon,FodelseDatum,Lan\n01,1,19500228,Skåne\n02,2,1971-07-01,Uppsala\n",
    # the second person has not left; the data end with the last record, a drug of 2015-03-02
    "residence.csv": "LopNr,from_date,to_date\n01,19990101,20141130\n02,2000-01-01,\n",
    "inpatient.csv": "LopNr,INDATUM,UTDATUM,HDIA,DIA1,DIA2\n01,2014-11-20,2014-11-30,M54.1,,R52.2\n02,2014-01-05,,M545,,\n",
    "outpatient.csv": "LopNr,INDATUM,INSATT,HDIA,DIA1\n02,2014-02-01,emergency,M544,I10\n02,2014-03-01,planned,M545,\n",
    # two packs on one day, one of them taken back the same day; a pack that is taken back whole
    "prescribed_drugs.csv": (
        "LopNr,EDATUM,ATC,ANTAL,forpddd\n"
        "02,2014-02-01,N02AX02,2,6.67\n02,2014-02-01,N02AX02,-1,6.67\n"
        "02,2014-05-01,M03BX02,1,10\n02,2014-05-01,M03BX02,-1,10\n"
        "02,2015-03-02,N02AX02,3,16.6667\n"
    ),
    "deaths.csv": "LopNr,DODSDAT\n01,20141130\n",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nordic")
    (folder / "extract").mkdir()
    for name, text in FILES.items():
        (folder / "extract" / name).write_text(text, encoding="utf-8")
    return load(folder / "extract", "nordic_registry", folder / "store")


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def test_every_record_is_loaded(store):
    assert {name: rejected for name, (_, rejected) in fates(store).items()} == dict.fromkeys(FILES, 0)


def test_persons_take_their_death_from_the_register_of_deaths(store):
    assert stored(store, "person") == keyed([
        ("01", day("1950-02-28"), "male", day("2014-11-30"), "Skåne"),
        ("02", day("1971-07-01"), "female", None, "Uppsala"),
    ])  # fmt: skip


def test_an_open_residence_lasts_until_the_last_date_of_the_data(store):
    assert stored(store, "enrolment") == keyed([
        ("01", day("1999-01-01"), day("2014-11-30")),
        ("02", day("2000-01-01"), day("2015-03-02")),
    ])  # fmt: skip


def test_the_main_diagnosis_is_the_first_and_empty_places_keep_their_number(store):
    assert stored(store, "diagnosis") == keyed([
        ("01", day("2014-11-20"), day("2014-11-30"), "icd10", "M541", "inpatient", 1),
        ("01", day("2014-11-20"), day("2014-11-30"), "icd10", "R522", "inpatient", 3),
        ("02", day("2014-01-05"), day("2014-01-05"), "icd10", "M545", "inpatient", 1),
        ("02", day("2014-02-01"), day("2014-02-01"), "icd10", "M544", "emergency", 1),
        ("02", day("2014-02-01"), day("2014-02-01"), "icd10", "I10", "emergency", 2),
        ("02", day("2014-03-01"), day("2014-03-01"), "icd10", "M545", "outpatient", 1),
    ])  # fmt: skip


def test_returns_are_taken_back_and_a_supply_lasts_one_defined_daily_dose_a_day(store):
    # 1 pack of 6.67 doses lasts 7 days; 3 packs of 16.6667 are 50.0001 doses; the returned pack is no dispensing
    assert stored(store, "dispensing") == keyed([
        ("02", day("2014-02-01"), "atc", "N02AX02", 1.0, 7),
        ("02", day("2015-03-02"), "atc", "N02AX02", 3.0, 50),
    ])  # fmt: skip
