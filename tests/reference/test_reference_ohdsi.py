"""Expectations of OHDSI's and DARWIN EU's packages on their own mock tables, where the concept exists here.

What is not covered, and why, is in docs/ohdsi.md. A cohort row of theirs becomes a record on its start date; a cohort
end that matters becomes a record of its own.
"""

from __future__ import annotations

import datetime as dt
import json
import re

import polars as pl
import pytest

import cohort as co
from cohort import survival as sv
from cohort.outcomes import outcome as make
from cohort.plan import codes_needed, run_bucket
from cohort.store.tables import TABLES

TARGET, EVENT, EXIT, DRUG = (
    co.Codelist.from_rows(code.lower(), [{"system": system, "code": code}])
    for code, system in (("TARGET", "ccam"), ("EVENT", "ccam"), ("EXIT", "ccam"), ("DRUG", "rxnorm"))
)
DATA_END = dt.date(2023, 12, 31)


def steps(shared, file, test):
    document = json.loads((shared / f"reference/ohdsi/{file}.json").read_text())
    return next(entry["steps"] for entry in document["tests"] if entry["test"] == test)


def mock_tables(found):
    return [(step["name"], step["rows"]) for step in found if step["type"] == "table"]


def expected(found, pattern):
    """Return the numbers of the first expectation that a pattern finds."""
    text = next(step["code"] for step in found if step["type"] == "expect" and re.search(pattern, step["code"]))
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", re.search(pattern, text).group(1))]


def day(text):
    return dt.date.fromisoformat(text)


def bucket(persons, observed, records, dispensed=()):
    """Return the tables of one bucket: persons (id, birth, sex), spans, records (person, date, code) and supplies."""
    rows = {
        "person": [(n, birth, sex, None, None, None) for n, birth, sex in persons],
        "enrolment": observed,
        "procedure": [(n, when, "ccam", code, "outpatient") for n, when, code in records],
        "dispensing": [(n, when, "rxnorm", "DRUG", None, days) for n, when, days in dispensed],
    }
    return {
        name: pl.DataFrame(rows.get(name, []), schema=table.schema, orient="row").lazy()
        for name, table in TABLES.items()
    }


def table(tables, cohort, outcome):
    return run_bucket(tables, cohort, outcome, (), codes_needed(cohort, outcome, ()), DATA_END).rows


def survival_world(found, outcomes):
    """Return the bucket of a CohortSurvival test; ``outcomes`` is the position of its outcome table."""
    named = mock_tables(found)
    target = next(rows for name, rows in named if name in ("cohort", "exposure_cohort"))
    events = [rows for name, rows in named if name in ("events", "outcome_cohort")][outcomes]
    spans = next(rows for name, rows in named if name == "observation_period")
    records = [(row["subject_id"], day(row["cohort_start_date"]), "TARGET") for row in target]
    records += [(row["subject_id"], day(row["cohort_end_date"]), "EXIT") for row in target]
    records += [(row["subject_id"], day(row["cohort_start_date"]), "EVENT") for row in events]
    observed = [
        (row["person_id"], day(row["observation_period_start_date"]), day(row["observation_period_end_date"]))
        for row in spans
    ]
    return bucket([(row["subject_id"], None, None) for row in target], observed, records)


OUTCOME = co.first_record(co.procedure(EVENT), competing=[])
BASE = co.Cohort("target").enter_at_first(co.procedure(TARGET))
CLEAN = BASE.exclude(co.procedure(EVENT), co.Window(None, 0), reason="earlier event")  # their outcomeWashout = Inf


def exits(rows):
    return dict(zip(rows["person_id"], zip(rows["time"], rows["cause"], strict=True), strict=True))


def test_follow_up_ends_after_some_days_or_with_the_cohort(shared):
    found = steps(shared, "CohortSurvival__test-addCohortSurvival", "followUpDays")
    tables = survival_world(found, 0)
    for name, end in {
        "cohortFollowUp": {"max_days": 20},
        "cohortFUandCE": {"max_days": 20, "censor_at": ["disenrolment", co.procedure(EXIT)]},
    }.items():
        days = expected(found, rf"{name}, time\)\) == c\(([^)]*)\)")
        status = expected(found, rf"{name}, status\)\) == c\(([^)]*)\)")
        assert exits(table(tables, CLEAN.follow_up(**end), OUTCOME)) == {n + 1: (days[n], status[n]) for n in range(3)}


def test_follow_up_ends_on_a_date_and_earlier_events_exclude(shared):
    """Theirs gives status NA to person 1, whose event came before; here the person leaves in the attrition."""
    found = steps(shared, "CohortSurvival__test-addCohortSurvival", "censorOnDate")
    rows = table(survival_world(found, 0), CLEAN.follow_up(until=dt.date(2021, 1, 4)), OUTCOME)
    assert exits(rows) == {2: (3, 1), 3: (3, 0)}


# call of theirs → position of its outcome table, how follow-up ends, and which expectation has the estimates
CURVES = {
    "surv": (0, {}),
    "surv3": (2, {"censor_at": ["disenrolment", co.procedure(EXIT)]}),
    "surv4": (2, {"max_days": 10}),
    "surv6": (4, {}),
    "surv7": (5, {"until": dt.date(2020, 5, 4)}),
}
ESTIMATES = {  # day → survival from there, as their vectors say it day by day, to three digits
    "surv": {6: 0.667, 9: 0.333, 31: 0.0},
    "surv3": {6: 0.667, 31: 0.0},
    "surv4": {6: 0.667},
    "surv6": {6: 0.5, 31: 0.0},
    "surv7": {6: 0.5, 9: 0.0},
}


@pytest.mark.parametrize("call", CURVES)
def test_curves_of_the_created_dataset(shared, call):
    found = steps(shared, "CohortSurvival__test-estimateSurvival", "funcionality with created dataset")
    outcomes, end = CURVES[call]
    rows = table(survival_world(found, outcomes), CLEAN.follow_up(**end), OUTCOME)
    curve = sv.kaplan_meier(rows, "time", "cause").to_polars().filter(pl.col("n_event") > 0)
    assert dict(curve.select("time", pl.col("estimate").round(3)).iter_rows()) == ESTIMATES[call]
    at_risk = expected(found, rf"attr\({call}, \"events\"\), n_risk\)\) == c\(([^)]*)\)")
    assert rows.height == at_risk[0]  # their first row is day 0


def test_drugs_are_discontinued_at_the_end_of_their_supply(shared):
    """Theirs counts an end of supply at once; here it counts when the gap after it has been seen, so follow longer."""
    found = steps(shared, "DrugUtilisation__test-summariseDiscontinuation", "summariseDiscontinuationAsSurvival works")
    spans, observation = (rows for _, rows in mock_tables(found))
    supplies = [
        (row["subject_id"], day(row["cohort_start_date"]), (day(row["cohort_end_date"]) - day(row["cohort_start_date"])).days + 1)
        for row in spans
    ]  # fmt: skip
    observed = [
        (row["person_id"], day(row["observation_period_start_date"]), day(row["observation_period_end_date"]))
        for row in observation
    ]
    tables = bucket([(n, None, None) for n, _, _ in supplies], observed, [], supplies)
    cohort = co.Cohort("users").enter_at_first(co.dispensing(DRUG)).follow_up()
    rows = table(tables, cohort, make.discontinuation(DRUG, gap_days=10, competing=()))
    assert exits(rows) == {1: (10, 1), 2: (20, 1), 3: (30, 1), 4: (365, 0)}
    risk = sv.kaplan_meier(rows, "time", "cause").to_polars().filter(pl.col("time").is_in([10, 20, 30]))
    events = expected(found, r"n_events_count.*?c\((\"0\", \"1\", \"1\", \"1\")\)")
    assert risk["n_event"].to_list() == events[1:]


def test_observation_before_and_after_entry_is_required_of_each_entry(shared):
    """Theirs with sex "Both" drops person 2, of unknown sex; here no rule on sex drops nobody."""
    found = steps(shared, "CohortConstructor__test-requireDemographics", "Missing sex/year of birth")
    tables_of = dict(mock_tables(found))
    persons = [
        (row["person_id"], None if row["year_of_birth"] is None else dt.date(row["year_of_birth"], row["month_of_birth"], row["day_of_birth"]), None)
        for row in tables_of["person"]
    ]  # fmt: skip
    observed = [
        (row["person_id"], day(row["observation_period_start_date"]), day(row["observation_period_end_date"]))
        for row in tables_of["obs"]
    ]
    records = [(row["subject_id"], day(row["cohort_start_date"]), "TARGET") for row in tables_of["cohort_1"]]
    cohort = (
        co.Cohort("target")
        .enter_at_each(co.procedure(TARGET), overlap="allow")
        .require_age(0, 150)
        .require_enrolled(co.Window(-10, 40), bridge_days=0)
        .follow_up()
    )
    rows = table(bucket(persons, observed, records), cohort, OUTCOME)
    theirs = {(1, "2001-05-30"), (1, "2003-05-02"), (4, "1996-06-30"), (5, "2012-05-01")}
    unknown_sex = {(2, "2000-05-04"), (2, "2000-05-18")}
    assert {(n, str(when)) for n, when in rows.select("person_id", "index_date").iter_rows()} == theirs | unknown_sex
