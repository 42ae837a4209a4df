"""Circe expressions, piece by piece: what becomes a rule, and what is refused by its path."""

from __future__ import annotations

import copy
import datetime as dt
import json

import pytest
from typer.testing import CliRunner

import cohort as co
from cohort.cli import app
from cohort.errors import StudyError
from cohort.population.criteria import Enrolled, Exclude, IndexBetween, Present, SexIs


def icd(code, *, below=True, excluded=False):
    concept = {"VOCABULARY_ID": "ICD10CM", "CONCEPT_CODE": code, "CONCEPT_NAME": "a name"}
    return {"concept": concept, "includeDescendants": below, "isExcluded": excluded}


BASE = {
    "ConceptSets": [
        {"id": 0, "name": "Back pain", "expression": {"items": [icd("M54.5")]}},
        {"id": 1, "name": "Cancer", "expression": {"items": [icd("C50")]}},
    ],
    "PrimaryCriteria": {
        "CriteriaList": [{"ConditionOccurrence": {"CodesetId": 0}}],
        "ObservationWindow": {"PriorDays": 365, "PostDays": 30},
        "PrimaryCriteriaLimit": {"Type": "All"},
    },
    "QualifiedLimit": {"Type": "All"},
    "ExpressionLimit": {"Type": "First"},
    "InclusionRules": [
        {
            "name": "no cancer",
            "expression": {
                "Type": "ALL",
                "CriteriaList": [
                    {
                        "Criteria": {"ConditionOccurrence": {"CodesetId": 1}},
                        "StartWindow": {"Start": {"Days": 365, "Coeff": -1}, "End": {"Days": 1, "Coeff": -1}},
                        "Occurrence": {"Type": 0, "Count": 0},
                    }
                ],
                "DemographicCriteriaList": [],
                "Groups": [],
            },
        }
    ],
    "EndStrategy": {"DateOffset": {"DateField": "StartDate", "Offset": 365}},
    "CensoringCriteria": [],
    "CollapseSettings": {"CollapseType": "ERA", "EraPad": 0},
    "CensorWindow": {},
}
CRITERION = "PrimaryCriteria.CriteriaList[0].ConditionOccurrence"
RULE = "InclusionRules[0].expression"
CORRELATED = f"{RULE}.CriteriaList[0]"


def changed(path, value):
    """Return the base expression with another value at a path such as ``InclusionRules[0].expression.Type``."""
    document = copy.deepcopy(BASE)
    *steps, last = path.replace("[", ".[").split(".")
    place = document
    for step in steps:
        place = place[int(step[1:-1])] if step.startswith("[") else place.setdefault(step, {})
    place[int(last[1:-1]) if last.startswith("[") else last] = value
    return document


def read(document, folder, **options):
    (folder / "x.json").write_text(json.dumps(document))
    return co.from_circe(folder / "x.json", **options)


def test_what_can_be_said_is_the_cohort_written_by_hand(tmp_path):
    cohort = read(BASE, tmp_path, name="Back pain")
    pain, cancer = (cohort.entry.record.codes.codelist, cohort.rules[1].record.codes.codelist)
    assert pain.rows.select("system", "code").rows() == [("icd10cm", "M545")]
    assert cancer.rows.select("system", "code").rows() == [("icd10cm", "C50")]
    by_hand = (
        co.Cohort("Back pain")
        .enter_at_first(co.diagnosis(pain), washout_days=0)
        .require_enrolled(co.Window(-365, 30), bridge_days=0)
        .exclude(co.diagnosis(cancer), co.Window(-365, -1), reason="no cancer")
        .follow_up(max_days=365, censor_at=["disenrolment"], bridge_days=0)
    )
    assert cohort == by_hand


PRIMARY = "PrimaryCriteria.CriteriaList[0]"
SAID = {
    "first ever": (f"{CRITERION}.First", True, lambda c: c.entry.washout_days is None),
    "settings": (
        f"{CRITERION}.VisitType",
        [{"CONCEPT_ID": 9201}, {"CONCEPT_ID": 9203}],
        lambda c: c.entry.record.settings == ("inpatient", "emergency"),
    ),
    "sex": (f"{CRITERION}.Gender", [{"CONCEPT_ID": 8532}], lambda c: c.rules[1] == SexIs(sex="female")),
    "period": (
        f"{CRITERION}.OccurrenceStartDate",
        {"Op": "bt", "Value": "2018-01-01", "Extent": "2019-12-31"},
        lambda c: c.rules[1] == IndexBetween(start=dt.date(2018, 1, 1), end=dt.date(2019, 12, 31)),
    ),
    "after a day": (
        f"{CRITERION}.OccurrenceStartDate",
        {"Op": "gt", "Value": "2018-01-01"},
        lambda c: c.rules[1].start == dt.date(2018, 1, 2),
    ),
    "drug": (PRIMARY, {"DrugExposure": {"CodesetId": 0}}, lambda c: c.entry.record.table == "dispensing"),
    "procedure": (PRIMARY, {"ProcedureOccurrence": {"CodesetId": 0}}, lambda c: c.entry.record.table == "procedure"),
    "more days observed": (
        "PrimaryCriteria.ObservationWindow.PriorDays",
        730,
        lambda c: c.rules[0] == Enrolled(window=co.Window(-730, 30), bridge_days=0),
    ),
    "present": (f"{CORRELATED}.Occurrence", {"Type": 2, "Count": 1}, lambda c: isinstance(c.rules[1], Present)),
    "two days": (
        f"{CORRELATED}.Occurrence",
        {"Type": 2, "Count": 2, "IsDistinct": True, "CountColumn": "START_DATE"},
        lambda c: (c.rules[1].at_least, c.rules[1].at_most) == (2, None),
    ),
    "exactly two days": (
        f"{CORRELATED}.Occurrence",
        {"Type": 0, "Count": 2, "IsDistinct": True, "CountColumn": "START_DATE"},
        lambda c: (c.rules[1].at_least, c.rules[1].at_most) == (2, 2),
    ),
    "any of one": (f"{RULE}.Type", "ANY", lambda c: isinstance(c.rules[1], Exclude)),
    "sex of a rule": (
        f"{RULE}.DemographicCriteriaList",
        [{"Gender": [{"CONCEPT_ID": 8507}]}],
        lambda c: c.rules[2] == SexIs(sex="male"),
    ),
    "to the end of observation": ("EndStrategy", {}, lambda c: c.end.max_days is None),
    "a code taken out": (
        "ConceptSets[0].expression.items",
        [icd("M54"), icd("M54.2", excluded=True)],
        lambda c: (
            [c.entry.record.codes.codelist.contains("icd10cm", code) for code in ("M545", "M542", "M5421")]
            == [True, False, False]
        ),
    ),
    "a code taken out with what is below it": (
        "ConceptSets[0].expression.items",
        [icd("M54"), icd("M54.5"), icd("M54", excluded=True), icd("M79")],
        lambda c: c.entry.record.codes.codelist.contains("icd10cm", "M545") is False,
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_feature_that_can_be_said(case, tmp_path):
    path, value, holds = SAID[case]
    assert holds(read(changed(path, value), tmp_path))


UNSAID = {
    "unknown key at the top": ("Surprise", 1, "Surprise: cannot be said here"),
    "misspelt key": ("QualifiedLimits", {}, "QualifiedLimits: cannot be said here; did you mean 'QualifiedLimit'?"),
    "unknown key of a criterion": (f"{CRITERION}.StopReason", "x", f"{CRITERION}.StopReason: cannot be said here"),
    "unknown key of a concept": ("ConceptSets[0].expression.items[0].concept.X", 1, "items[0].concept.X: cannot"),
    "mapped codes": ("ConceptSets[0].expression.items[0].includeMapped", True, "includeMapped: mapped source codes"),
    "only the code itself": (
        "ConceptSets[0].expression.items[0].includeDescendants",
        False,
        "items[0]: a code of icd10cm stands for all",
    ),
    "any code": (f"{CRITERION}.CodesetId", None, f"{CRITERION}.CodesetId: any code at all"),
    "no such set": (f"{CRITERION}.CodesetId", 9, f"{CRITERION}.CodesetId: there is no concept set 9"),
    "age": (f"{CRITERION}.Age", {"Value": 18, "Op": "gte"}, f"{CRITERION}.Age: Circe's age is the difference"),
    "kind of record": (f"{CRITERION}.ConditionTypeExclude", True, "ConditionTypeExclude: excludes types of record"),
    "kind of visit": (f"{CRITERION}.VisitType", [{"CONCEPT_ID": 262}], "VisitType: a kind of visit"),
    "both sexes": (f"{CRITERION}.Gender", [{"CONCEPT_ID": 8507}, {"CONCEPT_ID": 8532}], "Gender: one sex"),
    "operator": (
        f"{CRITERION}.OccurrenceStartDate",
        {"Op": "!bt", "Value": "2018-01-01"},
        "OccurrenceStartDate.Op: the operator '!bt'",
    ),
    "domain": (PRIMARY, {"Measurement": {"CodesetId": 0}}, f"{PRIMARY}.Measurement: the domain Measurement"),
    "era": (PRIMARY, {"ConditionEra": {"CodesetId": 0}}, "the domain ConditionEra has no table"),
    "two criteria": (
        "PrimaryCriteria.CriteriaList",
        [{"ConditionOccurrence": {"CodesetId": 0}}, {"ConditionOccurrence": {"CodesetId": 1}}],
        "PrimaryCriteria.CriteriaList: 2 criteria",
    ),
    "last event": ("ExpressionLimit.Type", "Last", "ExpressionLimit.Type: 'Last'"),
    "every event": ("ExpressionLimit.Type", "All", "ExpressionLimit: every event enters"),
    "first before the rules": ("QualifiedLimit.Type", "First", "QualifiedLimit: only the first event is judged"),
    "alternatives": (f"{RULE}.Type", "AT_MOST", f"{RULE}.Type: AT_MOST of several"),
    "rows counted": (
        f"{CORRELATED}.Occurrence",
        {"Type": 2, "Count": 2},
        f"{CORRELATED}.Occurrence.Count: rows are counted",
    ),
    "distinct concepts": (f"{CORRELATED}.Occurrence.IsDistinct", True, "IsDistinct: distinct concepts"),
    "unobserved window": (
        f"{CORRELATED}.StartWindow.Start.Days",
        366,
        f"{CORRELATED}.IgnoreObservationPeriod: only records while observed",
    ),
    "end of the index event": (
        f"{CORRELATED}.StartWindow.UseIndexEnd",
        True,
        "StartWindow.UseIndexEnd: days from the end",
    ),
    "second window": (f"{CORRELATED}.EndWindow", {}, f"{CORRELATED}.EndWindow: cannot be said here"),
    "same visit": (f"{CORRELATED}.RestrictVisit", True, "RestrictVisit: records of the same visit"),
    "first of a rule": (
        f"{CORRELATED}.Criteria.ConditionOccurrence.First",
        True,
        f"{CORRELATED}.Criteria: a criterion of a criterion",
    ),
    "race": (f"{RULE}.DemographicCriteriaList", [{"Race": []}], "DemographicCriteriaList[0].Race: cannot be said here"),
    "censoring record": (
        "CensoringCriteria",
        [{"ConditionOccurrence": {"CodesetId": 1}}],
        "CensoringCriteria[0]: a record on the very day",
    ),
    "era of a drug": (
        "EndStrategy",
        {"CustomEra": {"DrugCodesetId": 0, "GapDays": 30, "Offset": 0}},
        "EndStrategy.CustomEra: follow-up that ends",
    ),
    "end of the record": (
        "EndStrategy.DateOffset.DateField",
        "EndDate",
        "EndStrategy.DateOffset.DateField: follow-up is counted",
    ),
    "calendar window": ("CensorWindow.StartDate", "2018-01-01", "CensorWindow.StartDate: cannot be said here"),
    "not a list": ("InclusionRules", {}, "InclusionRules: not what stands here"),
}


@pytest.mark.parametrize("case", UNSAID)
def test_a_feature_that_cannot_be_said_is_refused_by_its_path(case, tmp_path):
    path, value, message = UNSAID[case]
    with pytest.raises(StudyError) as refused:
        read(changed(path, value), tmp_path)
    assert message in str(refused.value)


def test_records_out_of_observation_may_be_asked_for(tmp_path):
    document = changed(f"{CORRELATED}.StartWindow.Start", {"Coeff": -1})
    document["InclusionRules"][0]["expression"]["CriteriaList"][0]["IgnoreObservationPeriod"] = True
    assert read(document, tmp_path).rules[1].window == co.Window(None, -1)


def test_entry_alone_leaves_the_end_of_follow_up_to_the_study(tmp_path):
    document = changed("EndStrategy", {"CustomEra": {"DrugCodesetId": 0, "GapDays": 30, "Offset": 0}})
    assert read(document, tmp_path, entry_only=True).end.max_days is None
    document["EndStrategy"]["Surprise"] = 1
    with pytest.raises(StudyError, match=r"EndStrategy\.Surprise: cannot be said here"):
        read(document, tmp_path, entry_only=True)


@pytest.mark.parametrize("text", ["", "[]", "3", '{"ConceptSets": 3}', '{"PrimaryCriteria": {"CriteriaList": [3]}}'])
def test_what_is_no_expression_is_refused(text, tmp_path):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(StudyError):
        co.from_circe(tmp_path / "x.json")


def test_the_command_prints_a_cohort_that_a_study_file_can_hold(tmp_path):
    (tmp_path / "back_pain.json").write_text(json.dumps(BASE))
    printed = CliRunner().invoke(app, ["circe", str(tmp_path / "back_pain.json")])
    outcome = '[outcome]\nkind = "ohdsi_era"\ncodes = "low_back_pain"\n'
    (tmp_path / "study.toml").write_text(f'title = "t"\n{printed.stdout}\n{outcome}')
    study = co.Study.from_toml(tmp_path / "study.toml")
    assert study.cohort == co.from_circe(tmp_path / "back_pain.json")
