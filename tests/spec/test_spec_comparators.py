"""Arms with washouts of their own, follow-up that ends with another arm, comparators of the general population."""

from __future__ import annotations

import datetime as dt

import pytest
from worlds import INDEX, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.why import replay

PAIN = co.diagnosis("low_back_pain")
OPIOID, OTHER = co.dispensing("opioid"), co.dispensing("benzodiazepine")
CANCER = co.first_record(co.diagnosis("active_cancer"))
END = dt.date(2022, 12, 31)


def entries(cohort, tables):
    """Return {(person, day of index): (arm, last day, why)} and {step: entries removed}."""
    part = run_bucket(tables, cohort, CANCER, (), codes_needed(cohort, CANCER, ()), END)
    rows = {
        (row["person_id"], (row["index_date"] - INDEX).days): (row["arm"], row["time"], row["exit_reason"])
        for row in part.rows.to_dicts()
    }
    return rows, {step.reason: step.entries_removed for step in part.attrition.steps if step.entries_removed}


DISPENSED = """
    person_id date system code
    1 d-30 atc N02AA01
    1 d0   atc N05BA01
    2 d-30 atc N05BA01
    2 d0   atc N02AA01
    3 d0   atc N02AA01
    3 d20  atc N05BA01
    3 d40  atc N02AA01
"""
ARMS = {"opioid": (OPIOID, 60), "other": (OTHER, 10)}
TABLES = world(**people(1, 2, 3), dispensing=DISPENSED)


def test_each_arm_has_its_washout():
    """30 days after a record of either arm is clean for "other" (10 days) and not for "opioid" (60)."""
    cohort = co.Cohort("c").enter_at_each(ARMS, overlap="allow").follow_up(max_days=5)
    rows, removed = entries(cohort, TABLES)
    assert {key: row[0] for key, row in rows.items()} == {
        (1, -30): "opioid",
        (1, 0): "other",
        (2, -30): "other",
        (3, 0): "opioid",
        (3, 20): "other",
    }
    assert removed == {"No record of any arm in the 60 days before (opioid), in the 10 days before (other)": 2}


def test_follow_up_ends_with_a_record_of_another_arm():
    cohort = co.Cohort("c").enter_at_first({"opioid": OPIOID, "other": OTHER})
    rows, _ = entries(cohort.follow_up(max_days=100, censor_at=["other_arm"]), TABLES)
    why = "record of another arm"
    assert rows == {(1, -30): ("opioid", 30, why), (2, -30): ("other", 30, why), (3, 0): ("opioid", 20, why)}


def population(start="2020-03-01", days=1, **options):
    """Return incident back pain against everybody else, on a day drawn for them."""
    first = dt.date.fromisoformat(start)
    drawn = co.drawn_day(first, first + dt.timedelta(days=days - 1), **options)
    return (
        co.Cohort("back pain against the population")
        .enter_at_each({"pain": (PAIN, 60), "population": (drawn, 3650)}, overlap="allow")
        .require_enrolled(co.Window(-60, 0))
        .follow_up(max_days=100, censor_at=["disenrolment", "other_arm"])
    )


def test_comparators_had_no_such_record_and_are_observed_on_their_day():
    """The day drawn is d0 for all. 1 has pain on it: a case, no comparator. 2 had pain before, 3 never, 4 later.

    4 is a comparator until its pain begins, and then a case. 5 is not enrolled on d0; it has no day.
    """
    persons = people(1, 2, 3, 4, 5)
    persons["enrolment"] = persons["enrolment"].replace("5 2018-01-01 2022-12-31", "5 d1 2022-12-31")
    visits = "person_id date code\n1 d0 M545\n2 d-100 M545\n4 d30 M545\n4 d40 M545"
    rows, removed = entries(population(), world(**persons, diagnosis=visits))
    limit = "longest follow-up"
    assert rows == {
        (1, 0): ("pain", 100, limit),
        (2, -100): ("pain", 100, limit),
        (3, 0): ("population", 100, limit),
        (4, 0): ("population", 30, "record of another arm"),
        (4, 30): ("pain", 100, limit),
    }
    assert removed == {
        "No record of any arm in the 60 days before (pain), in the 3650 days before (population)": 2,
        "Enrolled from day -60 to day 0, gaps of up to 31 days bridged": 1,
    }


def test_days_are_drawn_by_seed_and_person_alone_and_evenly():
    ids = range(1, 3001)
    tables = world(person="person_id birth_date sex\n" + "\n".join(f"{n} 1970-01-01 female" for n in ids))
    one = dict(co.drawn_day(INDEX, INDEX + dt.timedelta(days=9)).days(tables).collect().iter_rows())
    again = dict(co.drawn_day(INDEX, INDEX + dt.timedelta(days=9)).days(tables).collect().reverse().iter_rows())
    other = dict(co.drawn_day(INDEX, INDEX + dt.timedelta(days=9), seed=2).days(tables).collect().iter_rows())
    assert one == again != other
    counts = [list(one.values()).count(INDEX + dt.timedelta(days=day)) for day in range(10)]
    assert sum(counts) == 3000
    assert all(234 < count < 366 for count in counts)  # 300 each, four standard deviations of 16.4


def study(cohort):
    return co.Study(cohort, outcome=CANCER, analyses=(co.cox("arm"),), disclosure=co.DisclosureRule(minimum=0))


def test_matched_sets_have_cases_and_comparators_of_their_month():
    """60 women and 60 men, each sex's first ten with pain; comparators of the month, two to each case."""
    ids = range(1, 121)
    person = "\n".join(f"{n} 1970-01-01 {'female' if n <= 60 else 'male'}" for n in ids)
    tables = world(
        person="person_id birth_date sex\n" + person,
        enrolment="person_id start_date end_date\n" + "\n".join(f"{n} 2018-01-01 2022-12-31" for n in ids),
        diagnosis="person_id date code\n" + "\n".join(f"{n} d{n % 60} M545" for n in ids if n % 60 < 10),
    )
    plan = study(population(days=31).match_arms("sex", "birth_year", "index_month", ratio=2))
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    table, released = plan.conclude((run_bucket(tables, plan.cohort, CANCER, plan.measured, codes, END),))
    sets = table.lazy().collect().group_by("matched_set").agg("arm", "person_id")
    assert sets.height == 20
    assert {tuple(sorted(arms)) for arms in sets["arm"].to_list()} == {("pain", "population", "population")}
    assert all((n <= 60) == (members[0] <= 60) for members in sets["person_id"].to_list() for n in members)
    assert released.attrition.steps[-1].entries_kept == 60


def test_the_auditor_stops_comparators_who_can_never_become_cases():
    cohort = co.Cohort("c").follow_up(max_days=100).require_enrolled(co.Window(-365, 0))
    arms = {"pain": (PAIN, 60), "population": co.drawn_day(INDEX, INDEX)}
    once = [f.code for f in study(cohort.enter_at_first(arms)).audit() if f.severity == "error"]
    assert once == ["comparators_block_cases"]
    stay = study(cohort.enter_at_each(arms, overlap="allow")).audit()
    assert {"comparators_become_cases"} == {f.code for f in stay} - {"overlapping_follow_up", "prevalent_users"}
    with pytest.raises(StudyError, match="'other_arm' needs an entry with arms"):
        co.Study(co.Cohort("c").enter_at_first(PAIN).follow_up(censor_at=["other_arm"]), outcome=CANCER)


def test_the_study_file_says_the_same(tmp_path):
    plan = study(population())
    plan.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256


def test_why_replays_a_comparator_who_became_a_case():
    """Person 4 of above: the drawn day d0, pain on d30 and d40, of which the second follows the first too closely."""
    visits = "person_id date code\n4 d30 M545\n4 d40 M545"
    found = replay(study(population()), world(**people(4), diagnosis=visits), END, 4)
    washout = found.verdicts[1]
    assert [(day - INDEX).days for day in washout.kept] == [0, 30]
    assert [(day - INDEX).days for day in washout.removed] == [40]
    assert "drawn date=2020-03-01" in str(found)
    assert "In the cohort on 2020-03-01: at risk after day 0, to day 30: record of another arm" in str(found)
