"""An event stream of 100 subjects against hand-written queries over its shards."""

from __future__ import annotations

import datetime as dt

import duckdb
import pytest
from layout_helpers import keyed, load, ordered, stored

DAY = dt.date


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "meds_sample" / "sample_data" / "meds_sample"


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    return load(folder, "meds", tmp_path_factory.mktemp("meds") / "store")


def rows(folder, query):
    with duckdb.connect() as connection:
        connection.execute(f"create view raw as from read_parquet('{folder}/*/*.parquet')")
        return connection.execute(query).fetchall()


def test_the_shards_of_all_splits_are_loaded(store, folder):
    assert sorted(file.loaded for file in store.account.files) == [10836, 13500, 26563, 26643]
    assert sum(file.lines for file in store.account.files) == rows(folder, "select count(*) from raw")[0][0] == 77542


def test_persons(store, folder):
    sexes = rows(folder, "select subject_id, null, code[6:], null, null from raw where code like 'SEX//%'")
    assert stored(store, "person") == keyed(sexes)
    assert len(sexes) == 100


def test_enrolment_is_from_the_first_to_the_last_event(store, folder):
    spans = rows(folder, "select subject_id, min(time)::date, max(time)::date from raw group by subject_id")
    assert stored(store, "enrolment") == keyed(spans)


def test_measurements_are_the_events_with_a_number(store, folder):
    values = rows(
        folder,
        "select distinct subject_id, time::date, code, numeric_value, null from raw where numeric_value is not null",
    )
    assert stored(store, "measurement") == keyed(values)
    count = store.account.tables["measurement"]
    assert (count.supplied, count.stored) == (72063, len(values))


def test_vocabularies_reserved_codes_and_stays(tmp_path):
    data = tmp_path / "extract" / "data" / "train"
    data.mkdir(parents=True)
    (data / "0.csv").write_text(
        "subject_id,time,code,numeric_value\n"
        "1,,GENDER//F,\n"
        "1,1960-02-29,MEDS_BIRTH,\n"
        "1,2020-03-01 08:00:00,ADMISSION//EMERGENCY,\n"
        "1,2020-03-01 09:00:00,ICD10CM//M54.5,\n"
        "1,2020-03-02 09:00:00,DIAGNOSIS//ICD//9//7242,\n"
        "1,2020-03-02 10:00:00,CPT4//97110,\n"
        "1,2020-03-04 12:00:00,DISCHARGE//HOME,\n"
        "1,2020-03-09 12:00:00,ICD10CM//M54.5,\n"
        "1,2020-03-09 12:00:00,RxNorm//7052,2\n"
        "1,2020-03-09 12:00:00,NRS,6\n"
        "1,2020-03-09 12:00:00,TRIAGE//GREEN,\n"
        "1,2020-05-01 00:00:00,MEDS_DEATH,\n"
    )
    store = load(tmp_path / "extract", "meds", tmp_path / "store")
    tables = {table: [row[1:] for row in stored(store, table)] for table in store.manifest.tables}
    assert tables == {
        "person": [(DAY(1960, 2, 29), "female", DAY(2020, 5, 1), None)],
        "enrolment": [(DAY(2020, 3, 1), DAY(2020, 5, 1))],
        "diagnosis": ordered(
            [
                (DAY(2020, 3, 1), DAY(2020, 3, 4), "icd10cm", "M545", "inpatient", None),
                (DAY(2020, 3, 2), DAY(2020, 3, 4), "icd9cm", "7242", "inpatient", None),
                (DAY(2020, 3, 9), DAY(2020, 3, 9), "icd10cm", "M545", "unknown", None),
            ]
        ),
        "procedure": [(DAY(2020, 3, 2), "cpt", "97110", "inpatient")],
        "dispensing": [(DAY(2020, 3, 9), "rxnorm", "7052", 2.0, None)],
        "measurement": [(DAY(2020, 3, 9), "NRS", 6.0, "points")],
    }
