"""What happens more than once: spells between events, and days free of care within a horizon."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from worlds import people, world

import cohort as co
from cohort.codes.records import relative_days
from cohort.errors import StudyError
from cohort.outcomes.recurrent import EndOfFollowUp, care_of, free_days, recurrent_spells
from cohort.plan import codes_of, run_bucket

PAIN = co.diagnosis("low_back_pain")
COHORT = co.Cohort("back pain").enter_at_first(PAIN).follow_up(max_days=100)


def followed(tables):
    outcome = EndOfFollowUp()
    rows = run_bucket(tables, COHORT, outcome, (), codes_of((*COHORT.parts, PAIN)), dt.date(2022, 12, 31)).rows
    return rows.lazy()


def spells(tables, apart_days=0):
    entries = followed(tables)
    found = recurrent_spells(relative_days(PAIN.days(tables), entries), entries, apart_days).collect()
    answer = {}
    for person, number, start, stop, event, cause in found.drop("index_date").iter_rows():
        assert number == len(answer.setdefault(person, [])) + 1
        answer[person].append((start, stop, event, cause))
    return answer


VISITS = """
    person_id date code
    1 d0   M545
    1 d10  M545
    1 d10  M5450
    1 d40  M545
    1 d101 M545
    2 d0   M545
    2 d100 M545
    3 d0   M545
    3 d20  M545
    4 d0   M545
    4 d5   J00
    5 d0   M545
    5 d30  M545
"""


def test_follow_up_is_cut_at_every_event():
    tables = world(**people(1, 2, 3, 4, 5, died="3:d50 5:d30"), diagnosis=VISITS)
    assert spells(tables) == {
        1: [(0, 10, True, 0), (10, 40, True, 0), (40, 100, False, 0)],  # two codes of a day are one event
        2: [(0, 100, True, 0)],  # on the last day of follow-up
        3: [(0, 20, True, 0), (20, 50, False, 2)],  # death ends the last spell
        4: [(0, 100, False, 0)],
        5: [(0, 30, True, 0)],  # an event on the day of death precedes it
    }


def test_events_close_to_the_one_before_are_that_one():
    """Days 0 (the index record), 10, 19, 30 with at most 10 days between: day 10 continues day 0, 19 continues 10."""
    tables = world(
        **people(1), diagnosis="person_id date code\n1 d0 M545\n1 d10 M545\n1 d19 M545\n1 d30 M545\n1 d41 M545"
    )
    assert spells(tables, apart_days=10) == {1: [(0, 30, True, 0), (30, 41, True, 0), (41, 100, False, 0)]}


def free(tables, horizon, record=PAIN):
    entries = followed(tables)
    found = free_days(care_of(record, tables), entries, horizon).collect()
    return dict(found.select("person_id", "free_days").iter_rows())


CARE = """
    person_id date end_date code
    1 d0   d2   M545
    1 d10  d10  M545
    1 d10  d12  M5450
    1 d29  d40  M545
    2 d0   d0   M545
    3 d0   d0   M545
    3 d5   d5   M545
    4 d0   d0   M545
"""


def test_days_alive_and_free_of_care_within_30_days():
    """Person 1: days 1, 2, 10, 11, 12, 29 and 30 in care, 23 free. 3 dies on day 9: days 1 to 9 less day 5.

    Person 4 is followed to day 30, the last day of the horizon; person 5 only to day 29, so nobody knows.
    """
    persons = people(1, 2, 3, died="3:d9")
    enrolment = persons["enrolment"] + "\n4 2018-01-01 d30\n5 2018-01-01 d29"
    person = persons["person"] + "\n4 1970-01-01 male -\n5 1970-01-01 male -"
    tables = world(person=person, enrolment=enrolment, diagnosis=CARE + "    5 d0 d0 M545\n")
    assert free(tables, 30) == {1: 23, 2: 30, 3: 8, 4: 30, 5: None}


def test_a_supply_is_care_as_long_as_it_lasts():
    drug = co.dispensing("opioid")
    tables = world(
        **people(1),
        diagnosis="person_id date code\n1 d0 M545",
        dispensing="person_id date system code days_supply\n1 d2 atc N02AA01 3\n1 d4 atc N02AA01 -",
    )
    entries = followed(tables)
    found = free_days(care_of(drug, tables), entries, 10).collect()
    assert found["free_days"].to_list() == [7]  # days 2, 3 and 4 supplied


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recurrent")
    co.simulate("low_back_pain", persons=600, seed=5, layout="tuva", out=folder / "extract")
    return co.ingest(folder / "extract", "tuva", folder / "store", buckets=2)


def test_a_cohort_of_a_store_has_spells_for_the_mean_cumulative_function(store):
    """Against plain Python: events per person are the record days in (0, end of follow-up]."""
    from cohort import survival as sv

    found = co.recurrent_events(COHORT, store, PAIN)
    curve = sv.mean_cumulative_function(found, "person_id", "start", "stop", "event").to_polars()
    assert found["event"].sum() == curve["n_event"].sum() > 0
    days = PAIN.days({"diagnosis": store.scan("diagnosis")}).collect().group_by("person_id").agg("date")
    visits = dict(days.iter_rows())
    ends = found.group_by("person_id", "index_date").agg(pl.col("stop").max(), pl.col("event").sum())
    for person, index, stop, events in ends.iter_rows():
        assert events == sum(0 < (day - index).days <= stop for day in visits[person])


def test_care_free_days_of_a_store_are_of_every_entry(store):
    found = co.care_free_days(COHORT, store, PAIN, horizon=90)
    persons = co.recurrent_events(COHORT, store, PAIN)["person_id"].n_unique()
    assert found.height >= persons
    known = found["free_days"].drop_nulls()
    assert 0 < known.len() < found.height  # some are censored before day 90
    assert known.is_between(0, 90).all()


def test_what_cannot_be_is_refused(store):
    with pytest.raises(StudyError, match="horizon is 101; give 1 to 100 days"):
        co.care_free_days(COHORT, store, PAIN, horizon=101)
    with pytest.raises(StudyError, match="apart_days is -1"):
        co.recurrent_events(COHORT, store, PAIN, apart_days=-1)
