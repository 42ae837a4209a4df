"""The Synthea study against hand-written queries over the raw files: every count of its attrition, and its events.

The queries know nothing of this package but the codes; they read the supplier's CSV files as they are.
"""

from __future__ import annotations

import duckdb
import polars as pl
import pytest

import cohort as co

INJURIES = (
    "44465007", "70704007",  # sprains of ankle and wrist
    "39848009",  # whiplash
    "65966004", "58150001", "16114001", "263102004", "33737001", "359817006", "15724005", "1734006",  # fractures
    "307731004", "30832001",  # tendons: rotator cuff, patella
    "444448004", "444470001",  # knee ligaments
    "239720000",  # meniscus
)  # fmt: skip
CHRONIC_PAIN = ("82423001", "124171000119105", "95417003")
STUDY = "injury_to_chronic_pain.toml"


@pytest.fixture(scope="module")
def extract(shared):
    return shared / "data" / "claims_synthea"


@pytest.fixture(scope="module")
def result(extract, root, tmp_path_factory):
    store = co.ingest(extract, layout="synthea", into=tmp_path_factory.mktemp("synthea") / "store")
    return co.Study.from_toml(root / "examples" / STUDY).run(store)


@pytest.fixture(scope="module")
def raw(extract):
    connection = duckdb.connect()
    for name in ("patients", "conditions", "medications"):
        connection.execute(f"create view {name} as select * from read_csv('{extract / name}.csv', all_varchar = true)")
    connection.execute(f"""
        create table injured as
        select PATIENT as id, min(START::date) as injury from conditions where CODE in {INJURIES} group by PATIENT;
        create table chronic as
        select PATIENT as id, START::date as day from conditions where CODE in {CHRONIC_PAIN};
        create table people as
        select
            injured.*,
            patients.DEATHDATE::date as death,
            (select min(day) from chronic where chronic.id = injured.id and day <= injury) as before,
            (select min(day) from chronic where chronic.id = injured.id and day > injury) as after,
            (select max(day) from (
                select max(START::date) as day from conditions union all select max(START::date) from medications
            )) as data_end
        from injured join patients on patients.ID = injured.id;
    """)
    yield connection
    connection.close()


def count(raw, query):
    return raw.execute(query).fetchone()[0]


def test_every_count_of_the_attrition(result, raw):
    everybody = count(raw, "select count(*) from patients")
    records = count(raw, f"select count(distinct (PATIENT, START)) from conditions where CODE in {INJURIES}")
    injured = count(raw, "select count(*) from injured")
    free = count(raw, "select count(*) from people where before is null")
    early = "before is null and after - injury <= 14"
    ill_early = count(raw, f"select count(*) from people where {early}")
    dead_early = count(
        raw,
        "select count(*) from people where before is null and death - injury <= 14 and coalesce(after > death, true)",
    )
    over_early = count(
        raw,
        "select count(*) from people where before is null and data_end - injury <= 14 "
        "and coalesce(after > data_end, true) and coalesce(death > data_end, true)",
    )
    kept = free - ill_early - dead_early - over_early
    steps = [(s.persons_kept, s.persons_removed, s.entries_kept, s.entries_removed) for s in result.attrition.steps]
    assert steps == [
        (everybody, 0, None, None),
        (injured, everybody - injured, records, None),
        (injured, 0, injured, records - injured),
        (free, injured - free, free, injured - free),
        (free, 0, free, 0),
        (free - ill_early, ill_early, free - ill_early, ill_early),
        (free - ill_early - dead_early, dead_early, free - ill_early - dead_early, dead_early),
        (kept, over_early, kept, over_early),
    ]
    assert (everybody, injured) == (1000, 724)  # the export that the queries were written against


def test_persons_events_deaths_and_days_of_each_group(result, raw):
    """Opioids are chosen by name here and by codelist there."""
    expected = raw.execute("""
        with at_risk as (
            select
                *,
                least(coalesce(after, data_end), coalesce(death, data_end), data_end) as stop,
                exists (
                    select 1 from medications
                    where PATIENT = people.id and START::date - injury between 0 and 14
                    and regexp_matches(lower(DESCRIPTION), 'codone|meperidine|morphine|fentanyl|opioid')
                ) as opioid
            from people where before is null
        )
        select
            opioid::varchar as grp, count(*), count(*) filter (after = stop),
            count(*) filter (death = stop and coalesce(after > stop, true)), sum(stop - injury - 14)
        from at_risk where stop - injury > 14 group by all order by grp
    """).fetchall()
    rates = result.estimates.select(estimand="incidence_rate").sort("group")
    curves = result.estimates.select(estimand="cumulative_incidence")
    deaths = curves.filter(pl.col("outcome") == "death").group_by("group").agg(pl.col("events").sum()).sort("group")
    found = list(zip(rates["group"], rates["n"], rates["events"], deaths["events"], rates["person_days"], strict=True))
    assert found == expected
