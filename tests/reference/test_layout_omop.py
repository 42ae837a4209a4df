"""OMOP 5.4 against hand-written queries over its Parquet files, and the same tables as CSV and as 5.3."""

from __future__ import annotations

import datetime as dt

import duckdb
import polars as pl
import pytest
from layout_helpers import fates, keyed, load, ordered, run_sql, stored

from cohort.store.tables import TABLES

DAY = dt.date
READ = [
    "concept",
    "person",
    "location",
    "death",
    "observation_period",
    "payer_plan_period",
    "visit_occurrence",
    "condition_occurrence",
    "procedure_occurrence",
    "device_exposure",
    "observation",
    "measurement",
    "drug_exposure",
]
SETTING = "case visit_concept_id when 9201 then 'inpatient' when 9202 then 'outpatient' when 9203 then 'emergency' end"


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "data" / "omop_synthea27nj"


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    return load(folder, "omop", tmp_path_factory.mktemp("omop") / "store")


@pytest.fixture(scope="module")
def raw(folder):
    connection = duckdb.connect()
    for path in folder.glob("*.parquet"):
        connection.execute(f"create view {path.stem} as from read_parquet('{path}')")
    yield connection
    connection.close()


def test_lines_of_parquet_are_its_rows(store, raw):
    counted = {f"{name}.parquet": (raw.sql(f"select count(*) from {name}").fetchall()[0][0], 0) for name in READ}
    assert fates(store) == counted
    assert all(file.header == 0 and file.lines == file.loaded for file in store.account.files)


def test_persons_with_their_deaths(store, raw):
    rows = raw.sql("""
        select person_id, birth_datetime::date, if(gender_concept_id = 8507, 'male', 'female'), death_date, null
        from person left join death using (person_id)
    """).fetchall()
    assert stored(store, "person") == keyed(rows)
    assert sum(row[3] is not None for row in rows) == 3


def test_enrolment_is_the_observation_period(store, raw):
    rows = raw.sql(
        "select person_id, observation_period_start_date, observation_period_end_date from observation_period"
    ).fetchall()
    assert stored(store, "enrolment") == keyed(rows)


def test_diagnoses(store, raw):
    rows = raw.sql(f"""
        select distinct c.person_id, condition_start_date,
            case when condition_start_date between visit_start_date and visit_end_date then visit_end_date
                else condition_start_date end,
            'snomed', concept_code, coalesce({SETTING}, 'unknown'), null
        from condition_occurrence c join concept on concept_id = condition_source_concept_id
        left join visit_occurrence using (visit_occurrence_id)
    """).fetchall()
    assert stored(store, "diagnosis") == keyed(rows)
    assert len(rows) == 470


def test_procedures_and_devices(store, raw):
    rows = raw.sql(f"""
        select distinct person_id, day, 'snomed', concept_code, {SETTING} from (
            select person_id, procedure_date, procedure_source_concept_id, visit_occurrence_id from procedure_occurrence
            union all
            select person_id, device_exposure_start_date, device_source_concept_id, visit_occurrence_id from device_exposure
        ) t(person_id, day, concept_id, visit_occurrence_id)
        join concept using (concept_id) join visit_occurrence using (person_id, visit_occurrence_id)
    """).fetchall()
    assert stored(store, "procedure") == keyed(rows)
    assert len(rows) == 1649  # 1,650 lines, one of them twice


def test_drugs(store, raw):
    rows = raw.sql("""
        select distinct person_id, drug_exposure_start_date, 'rxnorm', concept_code, nullif(quantity, 0)::double,
            nullif(days_supply, 0)
        from drug_exposure join concept on concept_id = drug_source_concept_id
    """).fetchall()
    assert stored(store, "dispensing") == keyed(rows)
    assert len(rows) == 883


def test_measurements_among_them_pain_scores(store, raw):
    rows = raw.sql("""
        select distinct person_id, measurement_date, vocabulary_id || ' ' || concept_code, value_as_number::double,
            coalesce(unit_source_value, case concept_code when '72514-3' then '{score}' end)
        from measurement join concept on concept_id = measurement_source_concept_id where value_as_number is not null
    """).fetchall()
    assert stored(store, "measurement") == keyed(rows)
    pain = store.scan("measurement").filter(pl.col("instrument") == "LOINC 72514-3").collect()
    assert (pain["value"].min(), pain["value"].max()) == (0, 8)


def test_csv_and_the_older_model_give_the_same_store(store, folder, tmp_path):
    extract = tmp_path / "extract"
    extract.mkdir()
    for name in READ:
        table = pl.read_parquet(folder / f"{name}.parquet")
        if table.is_empty():
            continue  # a CSV of a header only cannot be told from a lost file and is refused
        older = [column for column in table.columns if column != "condition_status_concept_id"]
        table.select(older).rename(str.upper).write_csv(extract / f"{name.upper()}.csv")
    again = load(extract, "omop", tmp_path / "store")
    for table in TABLES:
        assert stored(again, table) == stored(store, table)


def test_source_codes_come_first_and_icd_diagnoses_are_diagnoses_wherever_they_lie(root):
    concepts = [  # concept, vocabulary, code
        (1, "ICD10CM", "M54.5"),
        (2, "SNOMED", "279039007"),
        (3, "ICD10CM", "Z98.1"),
        (4, "House codes", "BACK"),
        (5, "CPT4", "97110"),
    ]
    known = [(n, {"ICD10CM": "icd10cm", "SNOMED": "snomed", "CPT4": "cpt"}[v], c) for n, v, c in concepts if n != 4]
    day = DAY(2020, 3, 10)

    def lines(name, date, rows):
        columns = {"person_id": pl.Int64, date: pl.Date, f"{name}_source_concept_id": pl.Int64}
        columns |= {f"{name}_concept_id": pl.Int64, "visit_occurrence_id": pl.Int64}
        if name == "condition":
            columns |= {"condition_status_concept_id": pl.Int64, "condition_type_concept_id": pl.Int64}
        return pl.DataFrame(rows, schema=columns, orient="row")

    tables = {
        "known_concept": pl.DataFrame(known, schema=["concept_id", "system", "code"], orient="row"),
        "visit": pl.DataFrame(
            [(1, 8, DAY(2020, 3, 8), DAY(2020, 3, 12), "inpatient")],
            schema=["person_id", "visit_occurrence_id", "first_day", "last_day", "setting"],
            orient="row",
        ),
        "condition_occurrence": lines(
            "condition",
            "condition_start_date",
            [
                (1, day, 1, 2, 8, 32902, 0),  # both codes, principal, in a visit
                (1, day, 4, 2, None, 0, 44786627),  # a source vocabulary that the store does not know
                (1, DAY(2020, 4, 1), 0, 2, 8, None, None),  # after the visit that it is written on
                (1, day, 0, 0, None, None, None),  # no concept at all
            ],
        ),
        "procedure_occurrence": lines("procedure", "procedure_date", [(1, day, 5, 0, None)]),
        "device_exposure": lines("device", "device_exposure_start_date", []),
        "observation": lines("observation", "observation_date", [(1, day, 3, 2, None), (1, day, 2, 2, None)]),
    }
    events = run_sql(root, "omop", "event", tables)
    frame = pl.DataFrame(
        events, schema=["kind", "person", "day", "last_day", "system", "code", "setting", "position"], orient="row"
    )
    assert run_sql(root, "omop", "diagnosis", {"event": frame}) == ordered(
        [
            (1, day, DAY(2020, 3, 12), "icd10cm", "M54.5", "inpatient", "1"),
            (1, day, day, "icd10cm", "Z98.1", "unknown", None),  # recorded as an observation
            (1, day, day, "snomed", "279039007", "unknown", "1"),
            (1, day, day, None, None, "unknown", None),  # becomes incomplete, and is counted
            (1, DAY(2020, 4, 1), DAY(2020, 4, 1), "snomed", "279039007", "inpatient", None),
        ]
    )
    assert run_sql(root, "omop", "procedure", {"event": frame}) == [(1, day, "cpt", "97110", "unknown")]


def test_a_payer_plan_counts_only_for_persons_without_observation(root):
    found = run_sql(
        root,
        "omop",
        "enrolment",
        {
            "observation_period": pl.DataFrame(
                {
                    "person_id": [1],
                    "observation_period_start_date": [DAY(2020, 1, 1)],
                    "observation_period_end_date": [DAY(2020, 12, 31)],
                }
            ),
            "payer_plan_period": pl.DataFrame(
                {
                    "person_id": [1, 2],
                    "payer_plan_period_start_date": [DAY(2015, 1, 1)] * 2,
                    "payer_plan_period_end_date": [DAY(2016, 1, 1)] * 2,
                }
            ),
        },
    )
    assert found == [(1, DAY(2020, 1, 1), DAY(2020, 12, 31)), (2, DAY(2015, 1, 1), DAY(2016, 1, 1))]


def test_unknown_days_of_birth_take_the_middle(root):
    persons = pl.DataFrame(
        {
            "person_id": [1, 2, 3],
            "gender_concept_id": [8532, 0, 8507],
            "year_of_birth": [1960] * 3,
            "month_of_birth": [2, 2, None],
            "day_of_birth": [29, None, None],
            "location_id": [9, None, 9],
        }
    )
    deaths = pl.DataFrame({"person_id": [1, 1], "death_date": [DAY(2021, 5, 2), DAY(2021, 5, 1)]})
    location = pl.DataFrame({"location_id": [9], "state": ["NJ"]})
    found = run_sql(root, "omop", "person", {"person": persons, "death": deaths, "location": location})
    assert sorted(found, key=str) == [
        (1, DAY(1960, 2, 29), "female", DAY(2021, 5, 1), "NJ"),  # the grain of the table settles the two
        (1, DAY(1960, 2, 29), "female", DAY(2021, 5, 2), "NJ"),
        (2, DAY(1960, 2, 15), None, None, None),
        (3, DAY(1960, 7, 1), "male", None, "NJ"),
    ]
