"""The real Synthea exports: every count against a query written by hand over the raw CSV files."""

import datetime as dt

import duckdb
import polars as pl
import pytest

from cohort.ingest.load import ingest


@pytest.fixture(scope="module")
def raw(shared):
    """Return the older export's files as DuckDB reads them by itself, everything text."""
    connection = duckdb.connect()
    for name in ("patients", "conditions", "medications"):
        path = shared / "data" / "claims_synthea" / f"{name}.csv"
        connection.execute(f"create view {name} as from read_csv('{path}', all_varchar = true)")
    return connection


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    return ingest(shared / "data" / "claims_synthea", "synthea", tmp_path_factory.mktemp("synthea"), keep_ids=True)


def test_every_line_is_accounted_for(shared, store):
    for account in store.account.files:
        content = (shared / "data" / "claims_synthea" / account.name).read_bytes()
        assert account.lines == content.count(b"\n")
        assert account.bytes == len(content)
        assert (account.loaded, account.rejected) == (account.lines - 1, 0)
    assert {file.name for file in store.account.files} == {"patients.csv", "conditions.csv", "medications.csv"}
    assert "allergies.csv" in store.manifest.not_used
    assert all(count.adds_up for count in store.account.tables.values())


def test_persons(raw, store):
    expected = raw.execute("""
        select count(*), count(DEATHDATE), count_if(GENDER = 'F'), count_if(GENDER = 'M'),
               sum(BIRTHDATE::date - date '1900-01-01'), sum(DEATHDATE::date - date '1900-01-01')
        from patients""").fetchone()
    zero = pl.date(1900, 1, 1)
    person = store.scan("person").select(
        pl.len(),
        deaths=pl.col("death_date").count(),
        women=(pl.col("sex") == "female").sum(),
        men=(pl.col("sex") == "male").sum(),
        births=(pl.col("birth_date") - zero).dt.total_days().sum(),
        dying=(pl.col("death_date") - zero).dt.total_days().sum(),
    )
    assert person.collect().row(0) == expected
    assert store.scan("person").select(pl.col("person_id").n_unique()).collect().item() == expected[0]
    assert store.manifest.unlisted_persons == 0


def test_diagnoses(raw, store):
    expected = raw.execute("""
        select CODE, count(*), count(distinct PATIENT), min("START")::date, max("START")::date
        from (select distinct PATIENT, "START", CODE from conditions) group by CODE order by CODE""").fetchall()
    diagnosis = store.scan("diagnosis")
    found = (
        diagnosis.group_by("code")
        .agg(pl.len(), pl.col("person_id").n_unique(), first=pl.col("date").min(), last=pl.col("date").max())
        .sort("code")
        .collect()
    )
    assert found.rows() == expected
    assert diagnosis.select("system", "setting", "position").unique().collect().rows() == [("snomed", "unknown", None)]
    assert diagnosis.filter(pl.col("end_date") != pl.col("date")).collect().is_empty()


def test_prescriptions_lose_their_exact_repeats(raw, store):
    expected = raw.execute("""
        select CODE, count(*), count(distinct PATIENT)
        from (select distinct PATIENT, "START", CODE from medications) group by CODE order by CODE""").fetchall()
    found = store.scan("dispensing").group_by("code").agg(pl.len(), pl.col("person_id").n_unique()).sort("code")
    assert found.collect().rows() == expected
    lines = raw.execute("select count(*) from medications").fetchone()[0]
    count = store.account.tables["dispensing"]
    assert (count.supplied, count.duplicates) == (lines, lines - sum(row[1] for row in expected))


def test_observation_lasts_from_birth_to_death_or_the_last_date(raw, store):
    (last,) = raw.execute("""
        select max(day) from (select max("START")::date as day from conditions
        union all select max("START")::date from medications)""").fetchone()
    assert store.data_end == last == dt.date(2019, 1, 30)
    expected = raw.execute(
        "select count(*), sum(coalesce(DEATHDATE::date, $last) - BIRTHDATE::date + 1) from patients", {"last": last}
    ).fetchone()
    days = (pl.col("end_date") - pl.col("start_date")).dt.total_days() + 1
    assert store.scan("enrolment").select(pl.len(), days=days.sum()).collect().row(0) == expected


def test_the_newer_generation_of_files_loads_with_the_same_layout(shared, tmp_path):
    folder = shared / "data" / "claims_synthea_dbt"
    store = ingest(folder, "synthea", tmp_path / "store", buckets=7)
    expected = []
    for query in (
        "select count(distinct Id) from read_csv('{}/patients.csv', all_varchar = true)",
        "select count(*) from (select distinct PATIENT, START, CODE from "
        "read_csv('{}/conditions.csv', all_varchar = true))",
        "select count(*) from (select distinct PATIENT, START[1:10], CODE from "
        "read_csv('{}/medications.csv', all_varchar = true))",
        "select count(*) from (select distinct PATIENT, START[1:10], CODE from "
        "read_csv('{}/procedures.csv', all_varchar = true))",
        "select count(*) from (select distinct PATIENT, DATE[1:10], VALUE::double from "
        "read_csv('{}/observations.csv', all_varchar = true) where DESCRIPTION like 'Pain severity%')",
    ):
        expected += duckdb.execute(query.format(folder)).fetchall()[0]  # a half-read result would block the connection
    stored = [
        store.account.tables[table].stored
        for table in ("person", "diagnosis", "dispensing", "procedure", "measurement")
    ]
    assert stored == expected
    assert stored[:3] == [27, 438, 645]
    assert min(stored) > 0
    assert sum(store.bucket(number)["diagnosis"].collect().height for number in range(7)) == 438
