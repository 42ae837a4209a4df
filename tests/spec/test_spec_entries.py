"""How persons join: at records, measurements, episodes and dates; once, repeatedly, by arms; and at risk from when.

``d0`` is 1 March 2020. Every expected value can be read off the table above it.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest
from worlds import INDEX, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.results.analysis_table import AnalysisTable

BACK = co.Codelist.from_rows("back", [{"system": "icd10cm", "code": "M54.5"}])
CHRONIC = co.Codelist.from_rows("chronic", [{"system": "icd10cm", "code": "G89"}])
OPIOID = co.Codelist.from_rows("opioid", [{"system": "atc", "code": "N02A"}])
GABAPENTINOID = co.Codelist.from_rows("gabapentinoid", [{"system": "atc", "code": "N02BF"}])
OUTCOME = co.first_record(co.diagnosis(CHRONIC))
DATA_END = dt.date(2022, 12, 31)


def run(tables, cohort, outcome=OUTCOME):
    return run_bucket(tables, cohort, outcome, (), codes_needed(cohort, outcome, ()), DATA_END)


def entered(tables, cohort, *columns):
    """Return {(person, day of entry): value or values of the columns}."""
    rows = run(tables, cohort).rows.to_dicts()
    return {
        (row["person_id"], (row["index_date"] - INDEX).days): (
            row[columns[0]] if len(columns) == 1 else tuple(row[name] for name in columns)
        )
        for row in rows
    }


def index_days(tables, cohort):
    return sorted(entered(tables, cohort, "time"))


def flow(tables, cohort, outcome=OUTCOME):
    """Return (reason, persons kept, entries kept) of every step after the records were found."""
    steps = run(tables, cohort, outcome).attrition.steps[2:]
    return [(step.reason, step.persons_kept, step.entries_kept) for step in steps]


# Entering at each record ------------------------------------------------------------------------------------------

VISITS = world(
    **people(1, 2),
    diagnosis="""
        person_id date code
        1         d0   M545
        1         d10  M545
        1         d100 M545
        1         d120 G890
        1         d130 M545
        2         d0   M545
    """,
)


def each(**rule):
    return co.Cohort("c").enter_at_each(co.diagnosis(BACK), **rule).follow_up(max_days=50)


def test_each_record_outside_the_follow_up_of_an_earlier_entry_is_one():
    """1 is followed to day 50, so day 10 is no entry; from day 100 to the outcome on day 120, so day 130 is one."""
    assert entered(VISITS, each(), "time", "cause") == {
        (1, 0): (50, 0),
        (1, 100): (20, 1),
        (1, 130): (50, 0),
        (2, 0): (50, 0),
    }


def test_overlapping_follow_up_where_the_study_allows_it():
    assert index_days(VISITS, each(overlap="allow")) == [(1, 0), (1, 10), (1, 100), (1, 130), (2, 0)]


def test_each_record_with_a_clean_washout():
    """Day 100 is 90 days after day 10, day 130 only 30 after day 100."""
    assert index_days(VISITS, each(washout_days=30, overlap="allow")) == [(1, 0), (1, 100), (2, 0)]
    assert index_days(VISITS, each(washout_days=29, overlap="allow")) == [(1, 0), (1, 100), (1, 130), (2, 0)]


@pytest.mark.parametrize(("day", "entries"), [(50, [0]), (51, [0, 51])])
def test_the_last_day_of_follow_up_belongs_to_it(day, entries):
    tables = world(**people(1), diagnosis=f"person_id date code\n1 d0 M545\n1 d{day} M545")
    assert [index for _, index in index_days(tables, each())] == entries


def test_an_entry_that_a_rule_removes_covers_nothing():
    """Day 0 is refused, so day 10 is the first entry, and its follow-up hides nothing after day 60."""
    late = each().require_index_between(INDEX + dt.timedelta(days=5), dt.date(2021, 1, 1))
    assert index_days(VISITS, late) == [(1, 10), (1, 100), (1, 130)]


def test_attrition_counts_persons_and_entries():
    assert flow(VISITS, each()) == [
        ("Every such record", 2, 5),
        ("Not in the follow-up of an earlier entry", 2, 4),
        ("Without the outcome before the index date", 2, 4),
        ("Not dead before the index date", 2, 4),
        ("Followed on the index date", 2, 4),
    ]


# Entering at measurements, episodes and dates ---------------------------------------------------------------------

REGISTRY = world(
    **people(1, 2, 3),
    measurement="""
        person_id date instrument value
        1         d0   NRS        3
        1         d30  NRS        4
        1         d60  NRS        8
        2         d0   BDI        20
        2         d5   NRS        2
        2         d5   NRS        7
    """,
)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        (co.measurement("NRS", at_least=4), [(1, 30), (2, 5)]),  # any value of the day
        (co.measurement("NRS", below=4), [(1, 0), (2, 5)]),
        (co.measurement("NRS", at_least=3, below=4), [(1, 0)]),
        (co.measurement("NRS", at_least=3.5, below=4), []),
        (co.measurement("BDI"), [(2, 0)]),
        (co.measurement(), [(1, 0), (2, 0)]),  # any visit
    ],
)
def test_the_first_visit_with_a_score(what, expected):
    assert index_days(REGISTRY, co.Cohort("c").enter_at_first(what)) == expected


def test_registry_entry_by_number_counts_days_not_values():
    assert index_days(REGISTRY, co.Cohort("c").enter_at_nth(co.measurement(), 2)) == [(1, 30), (2, 5)]


SUPPLY = world(
    **people(1),
    dispensing="""
        person_id date code    system days_supply
        1         d0   N02AA01 atc    30
        1         d40  N02AA01 atc    10
        1         d100 N02AA01 atc    -
        1         d110 N02AA01 atc    10
    """,
)


@pytest.mark.parametrize(
    ("gap_days", "starts"),
    [
        (11, [0, 100]),  # the supply of day 0 ends on day 29, 11 days before day 40; that of day 40 on day 49
        (10, [0, 40, 100]),  # 100 without a supply is one day, 10 days before day 110
        (9, [0, 40, 100, 110]),
    ],
)
def test_an_episode_starts_after_a_gap_in_supply(gap_days, starts):
    cohort = co.Cohort("c").enter_at_each(co.episode_of(co.dispensing(OPIOID), gap_days=gap_days), overlap="allow")
    assert [day for _, day in index_days(SUPPLY, cohort)] == starts


def test_the_washout_of_an_episode_counts_from_its_last_day():
    """The first episode lasts from day 0 to day 49 (gap of 11 days bridged), 51 days before the next."""
    entry = co.episode_of(co.dispensing(OPIOID), gap_days=11)
    for washout, days in ((50, [0, 100]), (51, [0])):
        cohort = co.Cohort("c").enter_at_each(entry, washout_days=washout, overlap="allow")
        assert [day for _, day in index_days(SUPPLY, cohort)] == days


def test_everybody_who_is_there_on_a_census_day():
    """3 was born and enrolled like the others; of two dates each is an entry, once the first follow-up is over."""
    census = co.on_dates(dt.date(2020, 3, 1), dt.date(2021, 3, 1))
    cohort = co.Cohort("c").enter_at_each(census).require_enrolled(co.Window(0, 0)).follow_up(max_days=364)
    assert index_days(REGISTRY, cohort) == [(1, 0), (1, 365), (2, 0), (2, 365), (3, 0), (3, 365)]


# Requirements -----------------------------------------------------------------------------------------------------

HISTORY = world(
    **people(1, 2, 3, 4),
    diagnosis="""
        person_id date  code
        1         d0    M545
        2         d-5   G890
        2         d-3   G891
        2         d-3   G892
        2         d0    M545
        3         d-9   G890
        3         d-5   G890
        3         d-3   G891
        3         d0    M545
        4         d0    M545
    """,
    dispensing="""
        person_id date  code    system days_supply
        4         d-40  N02AA01 atc    30
        4         d20   N02AA01 atc    30
    """,
    measurement="person_id date instrument value\n1 d-2 NRS 6\n4 d-2 NRS 3",
)
BASE = co.Cohort("c").enter_at_first(co.diagnosis(BACK))
BEFORE = co.Window(-10, -1)


@pytest.mark.parametrize(
    ("cohort", "persons"),
    [
        (BASE.require(co.diagnosis(CHRONIC), BEFORE, "it", at_least=2), [2, 3]),  # days, not rows
        (BASE.require(co.diagnosis(CHRONIC), BEFORE, "it", at_least=1, at_most=2), [2]),
        (BASE.require(co.diagnosis(CHRONIC), BEFORE, "it", at_least=0, at_most=2), [1, 2, 4]),
        (BASE.require(co.measurement("NRS", at_least=4), BEFORE, "pain of 4 or more"), [1]),
        (BASE.exclude(co.measurement("NRS", below=4), BEFORE, "little pain"), [1, 2, 3]),
        # the supply of day -40 lasts to day -11
        (BASE.exclude(co.episode_of(co.dispensing(OPIOID)), co.Window(-11, 0), "opioids in use"), [1, 2, 3]),
        # and is not known to go on: what bridges the gap is dispensed after index
        (BASE.exclude(co.episode_of(co.dispensing(OPIOID)), co.Window(-10, 0), "opioids in use"), [1, 2, 3, 4]),
        (BASE.require(co.episode_of(co.dispensing(OPIOID)), co.Window(None, 0), "opioids"), [4]),
        (BASE.require_index_in((dt.date(2019, 1, 1), dt.date(2019, 12, 31))), []),
        (BASE.require_index_in((dt.date(2019, 1, 1), dt.date(2019, 1, 1)), (INDEX, INDEX)), [1, 2, 3, 4]),
    ],
)
def test_requirements(cohort, persons):
    assert [person for person, _ in index_days(HISTORY, cohort)] == persons


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "With pain (day -10 to day -1)"),
        ({"at_least": 2}, "With pain on at least 2 days (day -10 to day -1)"),
        ({"at_least": 2, "at_most": 4}, "With pain on 2 to 4 days (day -10 to day -1)"),
        ({"at_least": 0, "at_most": 4}, "With pain on at most 4 days (day -10 to day -1)"),
    ],
)
def test_how_a_count_is_said(counts, text):
    assert BASE.require(co.diagnosis(CHRONIC), BEFORE, "pain", **counts).rules[0].reason == text


def test_episodes_are_counted_as_episodes():
    rule = BASE.require(co.episode_of(co.diagnosis(CHRONIC)), BEFORE, "pain", at_least=2).rules[0]
    assert rule.reason == "With pain in at least 2 episodes (day -10 to day -1)"


# Arms -------------------------------------------------------------------------------------------------------------

DRUGS = world(
    **people(1, 2, 3, 4),
    dispensing="""
        person_id date code    system
        1         d0   N02AA01 atc
        1         d30  N02BF02 atc
        2         d0   N02BF02 atc
        2         d9   N02BF01 atc
        3         d0   N02AA01 atc
        3         d0   N02BF01 atc
        3         d400 N02AA01 atc
        4         d-90 N02AA01 atc
        4         d0   N02BF02 atc
    """,
)
ARMS = {"opioid": co.dispensing(OPIOID), "gabapentinoid": co.dispensing(GABAPENTINOID)}


def test_a_person_enters_by_the_arm_that_comes_first():
    """1 starts the other drug on day 30: in the arm of the first. 4 took an opioid 90 days before: new to neither."""
    cohort = co.Cohort("c").enter_at_first(ARMS, washout_days=180).require_index_between(INDEX, DATA_END)
    assert entered(DRUGS, cohort, "arm") == {(1, 0): "opioid", (2, 0): "gabapentinoid", (3, 400): "opioid"}


def test_a_day_with_both_drugs_belongs_to_no_arm():
    assert flow(DRUGS, co.Cohort("c").enter_at_first(ARMS, washout_days=80))[:3] == [
        ("No record of any arm in the 80 days before", 4, 6),  # days 0 of 1, 2, 3, 4; d-90 of 4; d400 of 3
        ("By one arm only", 4, 5),
        ("First such entry of each person", 4, 4),
    ]


def test_without_a_washout_only_the_first_record_of_any_arm_is_a_candidate():
    """3 starts both on the first day, so nothing tells the arms apart."""
    assert entered(DRUGS, co.Cohort("c").enter_at_first(ARMS), "arm") == {
        (1, 0): "opioid",
        (2, 0): "gabapentinoid",
        (4, -90): "opioid",
    }


def test_arms_may_be_entered_again():
    cohort = co.Cohort("c").enter_at_each(ARMS).follow_up(max_days=20)
    assert entered(DRUGS, cohort, "arm")[1, 30] == "gabapentinoid"


def test_the_arm_is_a_variable_of_the_study_and_splits_table_one():
    cohort = co.Cohort("c").enter_at_first(ARMS, washout_days=180).require_enrolled(co.Window(-180, 0))
    study = co.Study(cohort, outcome=OUTCOME, covariates=[co.age()], analyses=[co.cox("arm + age")])
    assert (study.grouping, study.variables) == ("arm", {"arm": "categorical", "age": "integer"})
    assert study.audit() == ()


def test_the_first_arm_is_the_treated_of_an_effect():
    frame = pl.DataFrame(
        {
            "person_id": range(200),
            "index_date": [INDEX] * 200,
            "entry": [0] * 200,
            "time": [20 + n % 7 for n in range(200)],
            "cause": [1 if n % 3 == 0 else 0 for n in range(200)],
            "arm": ["opioid" if n % 2 else "gabapentinoid" for n in range(200)],
            "age": [40 + n * n % 37 for n in range(200)],
        }
    )
    kinds = {"arm": "categorical", "treated": "boolean", "age": "integer"}
    table = AnalysisTable((frame,), ("pain", "death"), 0, kinds, arms=("opioid", "gabapentinoid"))
    same = frame.with_columns(treated=pl.col("arm") == "opioid")
    by_arm = co.treatment_effect("arm", "age", 26).estimate(1, table).frame
    by_flag = co.treatment_effect("treated", "age", 26).estimate(1, replace(table, parts=(same,))).frame
    assert by_arm["value"].to_list() == by_flag["value"].to_list()
    assert by_arm["value"].count(), by_arm["status"].to_list()


@pytest.mark.parametrize(
    ("make", "repair"),
    [
        (lambda: co.Cohort("c").enter_at_first({"a": co.dispensing(OPIOID)}), "two arms or more"),
        (lambda: co.Cohort("c").enter_at_nth(ARMS, 2), "use first or each"),
        (lambda: co.Study(co.Cohort("c").enter_at_first(co.diagnosis(BACK)), outcome=OUTCOME,
                          analyses=[co.cumulative_incidence(by="arm")]), "'arm', which is no covariate"),
    ],
)  # fmt: skip
def test_comparisons_that_are_none(make, repair):
    with pytest.raises(StudyError, match=repair):
        make()


# Delayed entry ----------------------------------------------------------------------------------------------------

LATE = world(
    person="""
        person_id birth_date sex    death_date
        1         1970-01-01 female -
        2         1970-01-01 female -
        3         1970-01-01 female d20
        4         1970-01-01 female -
        5         1970-01-01 female -
    """,
    enrolment="""
        person_id start_date end_date
        1         d-9        d90
        2         d10        d90
        3         d30        d90
        4         d10        d90
        5         d-90       d-1
    """,
    diagnosis="""
        person_id date code
        1         d0   M545
        2         d0   M545
        2         d10  G890
        3         d0   M545
        4         d0   M545
        4         d5   G890
        5         d0   M545
    """,
    measurement="""
        person_id date instrument value
        1         d0   NRS        5
        2         d9   NRS        5
        4         d-9  NRS        5
        4         d4   NRS        5
    """,
)


def test_at_risk_from_the_first_day_enrolled():
    """2 is at risk on day 10, its first day enrolled, so (9, 10] holds the event; 4 has it before, 3 has died."""
    cohort = BASE.at_risk_from("enrolment")
    assert entered(LATE, cohort, "entry", "time", "cause") == {(1, 0): (0, 90, 0), (2, 0): (9, 10, 1)}
    assert flow(LATE, cohort)[2:] == [
        ("At risk on the first day enrolled, from the index date on", 4, 4),  # 5 was never enrolled again
        ("Without the outcome before risk starts", 3, 3),
        ("Not dead before risk starts", 2, 2),
        ("Followed beyond the start of risk", 2, 2),
    ]


def test_at_risk_after_the_first_visit_from_index_on():
    """Visits on days 0, 9 and 4 (that of day -9 is history); 4 has the event on day 5, in (4, 5]."""
    cohort = BASE.at_risk_from(co.measurement("NRS")).follow_up(censor_at=[], max_days=50)
    assert entered(LATE, cohort, "entry", "time", "cause") == {
        (1, 0): (0, 50, 0),
        (2, 0): (9, 10, 1),
        (4, 0): (4, 5, 1),
    }


def test_delayed_entry_and_a_landmark_take_the_later():
    outcome = co.first_record(co.diagnosis(CHRONIC), from_day=6)
    cohort = BASE.at_risk_from(co.measurement("NRS")).follow_up(censor_at=[], max_days=50)
    rows = run(LATE, cohort, outcome).rows
    assert dict(rows.select("person_id", "entry").iter_rows()) == {1: 5, 2: 9}  # 4 has the event on day 5


def test_a_fine_gray_model_has_no_risk_sets_with_delayed_entry():
    with pytest.raises(StudyError, match="has risk sets that need everybody from one day on"):
        co.Study(BASE.at_risk_from("enrolment"), outcome=OUTCOME, covariates=[co.age()], analyses=[co.fine_gray("age")])


# Degenerate worlds ------------------------------------------------------------------------------------------------

EVERY_ENTRY = [
    co.Cohort("c").enter_at_first(co.diagnosis(BACK)),
    each(),
    each(washout_days=30),
    co.Cohort("c").enter_at_nth(co.measurement("NRS"), 1),
    co.Cohort("c").enter_at_each(co.episode_of(co.diagnosis(BACK)), washout_days=90),
    co.Cohort("c").enter_at_first(co.on_dates(INDEX)),
    co.Cohort("c").enter_at_first(ARMS, washout_days=9),
    BASE.at_risk_from("enrolment"),
    BASE.at_risk_from(co.measurement()),
]


@pytest.mark.parametrize("cohort", EVERY_ENTRY)
@pytest.mark.parametrize("tables", [world(), world(person="person_id birth_date sex death_date\n1 - - -")])
def test_nobody_and_one_person_without_anything(tables, cohort):
    """The dates of a calendar are everybody's; who is not enrolled leaves on day 0."""
    part = run(tables, cohort)
    there = tables["person"].collect().height * (cohort.entry.occurrences[0].table == "calendar")
    assert (part.rows.height, part.attrition.steps[-1].entries_kept) == (there, there)
