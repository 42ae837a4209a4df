"""Days that cannot be: later than the extract, or a death before the birth. None of them moves the end of the data."""

import datetime as dt

import pytest
from ingest_helpers import LAYOUT, write_extract, write_layout

from cohort.errors import InputRefusedError
from cohort.ingest.load import ingest

PEOPLE = b"ID,BORN,SEX\n1,1960-05-17,male\n"
CUT = dt.date(2024, 6, 30)
VISITS = b"ID,DAY,CODE\n1,2024-06-29,A\n1,2024-06-30,B\n1,2024-07-01,C\n1,2999-12-31,D\n"
SPANS = """select ID as person, date '2020-01-01' as start_date, date '2999-12-31' as end_date from extract.people
union all select ID, date '2025-01-01', date '2999-12-31' from extract.people
union all select ID, date '2019-01-01', date '2019-03-31' from extract.people"""

PERSON = """select ID as person, BORN as birth_date, said.death_date, said.as_of
from extract.people cross join (values ROWS) as said(death_date, as_of)"""


def load(tmp_path, visits=VISITS, people=PEOPLE, **options):
    tables = options.pop("tables", {})
    options = {"extracted_on": CUT, "max_reject_rate": 0.7} | options
    layout = write_layout(tmp_path / "tiny", LAYOUT, **tables)
    return ingest(write_extract(tmp_path / "extract", people, visits), layout, tmp_path / "store", **options)


def test_events_later_than_the_extract_are_rejected_and_counted(tmp_path):
    store = load(tmp_path)
    assert sorted(store.scan("diagnosis").collect()["code"]) == ["A", "B"]
    assert store.data_end == dt.date(2024, 6, 30)
    assert store.account.tables["diagnosis"].rejected == {"future_date": 2}
    assert store.manifest.last_day == CUT


def test_without_a_day_of_extraction_today_is_the_last_day(tmp_path):
    today = dt.datetime.now(dt.UTC).date()
    days = [today - dt.timedelta(1), today + dt.timedelta(2)]  # two: midnight may pass meanwhile
    visits = b"ID,DAY,CODE\n" + b"".join(f"1,{day},A\n".encode() for day in days)
    store = load(tmp_path, visits, extracted_on=None)
    assert store.data_end == days[0]


def test_many_future_dates_refuse_the_load(tmp_path):
    with pytest.raises(InputRefusedError, match=r"2 of 4 rows rejected \(future_date 2\).*2024-06-30") as refused:
        load(tmp_path, max_reject_rate=0.001)
    assert "2999" not in str(refused.value)


def test_an_encounter_that_ends_in_the_future_is_one_day(tmp_path):
    sql = """select ID as person, DAY as date, date '2999-12-31' as end_date, 'icd10' as system, CODE as code
    from extract.visits"""
    store = load(tmp_path, tables={"diagnosis": sql})
    rows = store.scan("diagnosis").select("date", "end_date").collect().rows()
    assert rows == [(day, day) for day in (dt.date(2024, 6, 29), dt.date(2024, 6, 30))]
    assert store.account.tables["diagnosis"].repaired == 4


def test_enrolment_without_end_in_sight_lasts_until_the_end_of_the_data(tmp_path):
    store = load(tmp_path, VISITS.replace(b"1,2024-06-30,B\n", b""), tables={"enrolment": SPANS})
    assert store.scan("enrolment").drop("person_id").collect().rows() == [
        (dt.date(2019, 1, 1), dt.date(2019, 3, 31)),
        (dt.date(2020, 1, 1), dt.date(2024, 6, 29)),
    ]
    count = store.account.tables["enrolment"]
    assert (count.rejected, count.repaired) == ({"future_date": 1}, 2)


@pytest.mark.parametrize(
    ("deaths", "expected", "repaired"),
    [
        ([("2024-03-01", "2023-01-01"), ("2024-02-01", "2024-01-01")], "2024-02-01", 0),  # the last to speak decides
        ([(None, "2024-01-01"), ("2024-03-01", "2023-01-01")], "2024-03-01", 0),  # silence is no denial
        ([("2024-03-01", None), ("2024-02-01", "2023-01-01")], "2024-02-01", 0),  # a dated source before a claim
        ([("2024-03-01", None), ("2024-04-01", None)], "2024-04-01", 0),
        ([("2999-12-31", "2024-01-01"), ("2024-04-01", None)], "2024-04-01", 1),
        ([("1950-01-01", "2024-01-01"), ("2024-04-01", None)], "2024-04-01", 1),  # before the birth
        ([("2999-12-31", None)], None, 1),
    ],
)
def test_one_death_whatever_the_sources_and_their_order(tmp_path, deaths, expected, repaired):
    def cell(day):
        return f"date '{day}'" if day else "null::date"

    for number, order in enumerate((deaths, deaths[::-1])):
        rows = ", ".join(f"({cell(died)}, {cell(said)})" for died, said in order)
        person = PERSON.replace("ROWS", rows)
        folder = tmp_path / str(number)
        folder.mkdir()
        store = load(folder, tables={"person": person})
        found = store.scan("person").collect()["death_date"].to_list()
        assert found == [dt.date.fromisoformat(expected) if expected else None]
        assert store.account.tables["person"].repaired == repaired


def test_the_same_files_with_another_day_of_extraction_are_another_load(tmp_path):
    first = load(tmp_path)
    assert load(tmp_path).manifest.number == first.manifest.number
    later = load(tmp_path, extracted_on=dt.date(2024, 7, 1))
    assert later.data_end == dt.date(2024, 7, 1)
    assert later.manifest.number == 2
