"""Who enters, when, until when, and how the outcome is dated: one small world, every person worked by hand.

Days of 2020 (a leap year): 1 March + 90 = 30 May, + 92 = 1 June, + 365 = 1 March 2021.
"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from worlds import world

import cohort as co
from cohort.plan import codes_needed, run_bucket

BACK = co.Codelist.from_rows("back", [{"system": "icd10cm", "code": "M54.5"}])
EXPLICIT = co.Codelist.from_rows("explicit", [{"system": "icd10cm", "code": "G89.2"}])
CANCER = co.Codelist.from_rows("cancer", [{"system": "icd10cm", "code": "C50"}])

WORLD = world(
    person="""
        person_id birth_date sex    death_date
        1         1970-01-01 female -
        2         1970-01-01 male   -
        3         1970-01-01 female -
        4         2003-03-02 female -
        5         1970-01-01 female -
        6         1970-01-01 female -
        7         1970-01-01 female -
        8         1970-01-01 female 2020-04-20
        9         1970-01-01 female -
        10        1970-01-01 male   2020-09-17
        11        1970-01-01 male   -
        12        1970-01-01 male   -
        13        1970-01-01 male   -
        14        1970-01-01 male   -
        15        -          male   -
    """,
    enrolment="""
        person_id start_date end_date
        1  2018-01-01 2022-12-31
        2  2018-01-01 2022-12-31
        3  2018-01-01 2022-12-31
        4  2018-01-01 2022-12-31
        5  2019-03-03 2022-12-31
        6  2018-01-01 2022-12-31
        7  2018-01-01 2022-12-31
        8  2018-01-01 2022-12-31
        9  2018-01-01 2022-12-31
        10 2018-01-01 2022-12-31
        11 2018-01-01 2020-03-31
        11 2020-05-02 2020-06-29
        11 2020-08-01 2022-12-31
        12 2019-03-02 2022-12-31
        13 2018-01-01 2022-12-31
        14 2018-01-01 2020-07-09
        15 2018-01-01 2022-12-31
    """,
    diagnosis="""
        person_id date       code
        1  2020-03-01 M545
        1  2020-06-01 M5450
        1  2020-06-01 M545
        2  2020-03-01 M545
        2  2020-04-30 M545
        3  2019-06-01 M545
        3  2020-02-01 M545
        3  2020-05-10 G8929
        4  2020-03-01 M545
        5  2020-03-01 M545
        6  2020-03-01 M545
        6  2019-03-02 C509
        7  2020-03-01 M545
        7  2020-03-01 G8921
        8  2020-03-01 M545
        10 2020-03-01 M545
        11 2020-03-01 M545
        12 2020-03-01 M545
        12 2020-05-30 M545
        13 2020-03-01 M545
        13 2021-03-02 M545
        14 2020-03-01 M545
        14 2020-07-09 M545
        14 2020-07-09 G894
        15 2020-03-01 M545
        99 2020-03-01 M545
    """,
)

COHORT = (
    co.Cohort("Incident back pain")
    .enter_at_first(co.diagnosis(BACK), washout_days=180)
    .require_index_between(dt.date(2020, 1, 1), dt.date(2020, 12, 31))
    .require_age(18, 100)
    .require_enrolled(co.Window(-365, 0), bridge_days=31)
    .exclude(co.diagnosis(CANCER), co.Window(-365, 0), reason="cancer")
    .follow_up(until=dt.date(2021, 12, 31), max_days=365)
)
OUTCOME = co.chronification(BACK, after_days=90, within_days=365, explicit=EXPLICIT)
DATA_END = dt.date(2022, 12, 31)


def run(tables, cohort, outcome, covariates=()):
    return run_bucket(tables, cohort, outcome, covariates, codes_needed(cohort, outcome, covariates), DATA_END)


@pytest.fixture(scope="module")
def part():
    return run(WORLD, COHORT, OUTCOME, (co.age(), co.sex()))


def test_every_entry_is_dated_and_its_exit_explained(part):
    rows = {row["person_id"]: (row["time"], row["cause"], row["exit_reason"]) for row in part.rows.to_dicts()}
    assert rows == {
        1: (92, 1, "chronification"),  # second encounter on day 92; two rows of one day are one encounter
        2: (365, 0, "longest follow-up"),  # an encounter on day 60 is too early, and none later
        3: (99, 1, "chronification"),  # explicit code; index is 2020-02-01, 245 days after the last, clean washout
        10: (200, 2, "death"),
        11: (120, 0, "disenrolment"),  # the gap of 31 days in April is bridged, the one of 32 days in July is not
        12: (90, 1, "chronification"),  # day 90 is the first day that counts
        13: (365, 0, "longest follow-up"),  # day 366 is too late
        14: (130, 1, "chronification"),  # the event on the last enrolled day counts
    }


def test_index_dates_follow_the_washout(part):
    index = dict(part.rows.select("person_id", "index_date").iter_rows())
    assert index[3] == dt.date(2020, 2, 1)
    assert set(index.values()) == {dt.date(2020, 2, 1), dt.date(2020, 3, 1)}


def test_risk_starts_the_day_before_the_outcome_can_happen(part):
    assert part.rows["entry"].unique().to_list() == [89]


def test_attrition_names_every_loss_and_adds_up(part):
    steps = [(s.reason, s.persons_kept, s.persons_removed, s.entries_kept) for s in part.attrition.steps]
    assert steps == [
        ("Persons in the store", 15, 0, None),
        ("With a diagnosis of back", 14, 1, 20),  # 9 has none; 99 is nobody; 20 distinct record days
        ("No such record in the 180 days before", 14, 0, 16),  # two candidates for 3 and for 13
        ("Index date between 2020-01-01 and 2020-12-31", 14, 0, 14),
        ("Aged 18 to 100 at index", 12, 2, 12),  # 4 turns 17 the day after index; 15 has no birth date
        ("Enrolled from day -365 to day 0, gaps of up to 31 days bridged", 11, 1, 11),  # 5 lacks one day, 12 does not
        ("No cancer (day -365 to day 0)", 10, 1, 10),  # 6 on day -365
        ("No chronification on the index date", 9, 1, 9),  # 7
        ("First such entry of each person", 9, 0, 9),
        ("Without the outcome by day 89", 9, 0, 9),
        ("Not dead by day 89", 8, 1, 8),  # 8 on day 50
        ("Followed beyond day 89, when risk starts", 8, 0, 8),
    ]


def test_an_empty_bucket_gives_an_empty_part_with_the_same_steps(part):
    empty = run(world(), COHORT, OUTCOME, (co.age(), co.sex()))
    assert empty.rows.is_empty()
    assert empty.rows.schema == part.rows.schema
    assert (part.attrition + empty.attrition).steps == part.attrition.steps


def test_the_first_candidate_that_passes_every_rule_is_the_index():
    """Person 3's first record (2019) fails the period; the later clean one is taken, not lost."""
    only_2019 = COHORT.model_copy(update={"rules": ()})
    part = run(WORLD, only_2019, OUTCOME)
    index = dict(part.rows.select("person_id", "index_date").iter_rows())
    assert index[3] == dt.date(2019, 6, 1)


def test_without_a_washout_only_the_first_record_ever_is_a_candidate():
    ever = (
        co.Cohort("first ever")
        .enter_at_first(co.diagnosis(BACK))
        .require_index_between(dt.date(2020, 1, 1), dt.date(2020, 12, 31))
    )
    part = run(WORLD, ever, OUTCOME)
    assert 3 not in part.rows["person_id"]


def test_a_first_record_outcome_starts_risk_the_day_before_it_counts():
    outcome = co.first_record(co.diagnosis(BACK), from_day=61, label="again")
    part = run(WORLD, COHORT, outcome)
    rows = {row["person_id"]: (row["entry"], row["time"], row["cause"]) for row in part.rows.to_dicts()}
    assert rows[1] == (60, 92, 1)
    assert 2 not in rows  # its record on day 60 comes before risk starts
    lost = {step.reason: step.persons_removed for step in part.attrition.steps}
    assert lost["Without the outcome by day 60"] == 1
    assert lost["Not dead by day 60"] == 1


def test_without_a_landmark_a_follow_up_of_zero_days_counts():
    ends_at_index = COHORT.follow_up(until=dt.date(2020, 3, 1))
    part = run(WORLD, ends_at_index, co.first_record(co.diagnosis(CANCER)))
    zero = part.rows.filter(pl.col("index_date") == dt.date(2020, 3, 1))
    assert zero["time"].unique().to_list() == [0]


def test_death_that_does_not_compete_is_a_censoring():
    outcome = co.chronification(BACK, explicit=EXPLICIT, competing=())
    part = run(WORLD, COHORT, outcome)
    row = part.rows.filter(pl.col("person_id") == 10).row(0, named=True)
    assert (row["time"], row["cause"], row["exit_reason"]) == (200, 0, "death")


def test_sex_region_and_records_are_required():
    people = world(
        person="""
            person_id birth_date sex    region
            1         1970-01-01 female north
            2         1970-01-01 male   north
            3         1970-01-01 female south
            4         1970-01-01 female -
            5         1970-01-01 -      north
            6         1970-01-01 female north
        """,
        diagnosis="\n".join(
            ["person_id date code"]
            + [f"{n} 2020-03-01 M545" for n in range(1, 7)]
            + ["1 2020-02-01 G894", "1 2020-02-02 G894", "6 2020-02-01 G894", "6 2020-02-01 G8929"]
        ),
    )
    again = co.Codelist.from_rows("pain", [{"system": "icd10cm", "code": "G89"}])
    cohort = (
        co.Cohort("required")
        .enter_at_first(co.diagnosis(BACK))
        .require_sex("female")
        .require_region("north", "west")
        .require(co.diagnosis(again), co.Window(-60, -1), reason="pain recorded", at_least=2)
    )
    steps = [
        (s.reason, s.persons_kept) for s in run(people, cohort, co.first_record(co.diagnosis(CANCER))).attrition.steps
    ]
    assert steps[3:6] == [
        ("Sex: female", 4),  # 2 is male, the sex of 5 unknown
        ("Region: north, west", 2),  # 3 lives elsewhere, 4 nobody knows where
        ("With pain recorded on at least 2 days (day -60 to day -1)", 1),  # two codes of one day are one day: 6
    ]
