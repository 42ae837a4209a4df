"""The study as data: Python and TOML make the same object; what cannot be is refused with file, key and repair."""

from __future__ import annotations

import datetime as dt

import pytest

import cohort as co
from cohort.errors import StudyError


def python_study():
    people = (
        co.Cohort("Incident low back pain")
        .enter_at_first(co.diagnosis("low_back_pain"), washout_days=180)
        .require_index_between(dt.date(2018, 1, 1), dt.date(2023, 12, 31))
        .require_age(18, 100)
        .require_enrolled(co.Window(-365, 0), bridge_days=31)
        .exclude(co.diagnosis("active_cancer"), co.Window(-365, 0), reason="active cancer")
        .follow_up(until=dt.date(2024, 12, 31), max_days=1095, censor_at=["disenrolment"])
    )
    return co.Study(
        people,
        outcome=co.chronification("low_back_pain", after_days=90, within_days=365, competing=["death"]),
        covariates=[
            co.age(),
            co.sex(),
            co.charlson(co.Window(-365, -1)),
            co.pain_sites(co.Window(-180, -1)),
            co.exposed("opioid", co.Window(0, 14), name="early_opioid"),
        ],
        analyses=[
            co.cumulative_incidence(by="early_opioid"),
            co.incidence_rate(by="sex", per=1000),
            co.cox("early_opioid + age + sex + charlson"),
        ],
        disclosure=co.DisclosureRule(minimum=11),
    )


TOML = """
title = "Incident low back pain"

[cohort]
name = "Incident low back pain"

[cohort.entry]
record = { table = "diagnosis", codes = "low_back_pain" }
washout_days = 180

[[cohort.rules]]
rule = "index_between"
start = 2018-01-01
end = 2023-12-31

[[cohort.rules]]
rule = "age"
minimum = 18
maximum = 100

[[cohort.rules]]
rule = "enrolled"
window = [-365, 0]

[[cohort.rules]]
rule = "exclude"
record = { table = "diagnosis", codes = "active_cancer" }
window = [-365, 0]
because = "active cancer"

[cohort.end]
until = 2024-12-31
max_days = 1095

[outcome]
kind = "chronification"
codes = "low_back_pain"
explicit = "chronic_pain_explicit"

[[covariates]]
kind = "age"

[[covariates]]
kind = "sex"

[[covariates]]
kind = "charlson"
window = [-365, -1]

[[covariates]]
kind = "pain_sites"
window = [-180, -1]

[[covariates]]
kind = "exposed"
name = "early_opioid"
record = { table = "dispensing", codes = "opioid" }
window = [0, 14]

[[analyses]]
kind = "cumulative_incidence"
by = "early_opioid"

[[analyses]]
kind = "incidence_rate"
by = "sex"
per = 1000

[[analyses]]
kind = "cox"
terms = "early_opioid + age + sex + charlson"

[disclosure]
minimum = 11
"""


@pytest.fixture
def study_file(tmp_path):
    def write(text: str = TOML):
        path = tmp_path / "study.toml"
        path.write_text(text)
        return path

    return write


def test_python_and_toml_make_the_same_study_with_the_same_hash(study_file):
    read = co.Study.from_toml(study_file())
    assert read == python_study()
    assert read.sha256 == python_study().sha256


def test_a_study_survives_the_round_trip(tmp_path):
    path = tmp_path / "written.toml"
    python_study().to_toml(path)
    assert co.Study.from_toml(path) == python_study()


def test_the_hash_is_of_what_the_codelist_says_not_of_where_it_lies(tmp_path):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.csv").write_text("system,code,term,category,source\nicd10cm,M54.5,,,local\n")
    here, there = (
        co.Study(co.Cohort("c").enter_at_first(co.diagnosis(str(tmp_path / name / "mine.csv"))),
                 outcome=co.chronification("low_back_pain"))
        for name in ("here", "there")
    )  # fmt: skip
    assert here == there
    assert here.sha256 == there.sha256


def test_a_codelist_beside_the_study_file_is_found_and_written_relative(tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "mine.csv").write_text("system,code,term,category,source\nicd10cm,M54.5,,,local\n")
    (tmp_path / "study.toml").write_text(TOML.replace('codes = "low_back_pain" }', 'codes = "lists/mine.csv" }'))
    study = co.Study.from_toml(tmp_path / "study.toml")
    study.to_toml(tmp_path / "again.toml")
    assert 'codes = "lists/mine.csv"' in (tmp_path / "again.toml").read_text()
    assert co.Study.from_toml(tmp_path / "again.toml") == study


def test_a_codelist_made_in_python_is_written_in_place(tmp_path):
    mine = co.Codelist.from_rows("mine", [{"system": "icd10cm", "code": "M54.5"}])
    study = co.Study(co.Cohort("c").enter_at_first(co.diagnosis(mine)), outcome=co.chronification(mine))
    study.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml") == study


def test_a_changed_study_has_another_hash(study_file):
    changed = co.Study.from_toml(study_file(TOML.replace("washout_days = 180", "washout_days = 181")))
    assert changed.sha256 != python_study().sha256


FAULTS = {
    "unknown key": ("washout_days = 180", "washout_day = 180", "cohort.entry.washout_day: unknown key; did you mean 'washout_days'?"),
    "unknown key in a rule": ("maximum = 100", "maximun = 100", "cohort.rules[2].maximun: unknown key; did you mean 'maximum'?"),
    "wrong type": ("washout_days = 180", 'washout_days = "180"', "cohort.entry.washout_days: input should be a valid integer (given: '180')"),
    "a number for a whole number": ("max_days = 1095", "max_days = 1095.5", "cohort.end.max_days: input should be a valid integer (given: 1095.5)"),
    "true for a number": ("minimum = 11", "minimum = true", "disclosure.minimum: input should be a valid integer (given: True)"),
    "text for a date": ("start = 2018-01-01", 'start = "2018-01-01"', "cohort.rules[1].start: input should be a valid date"),
    "impossible value": ("washout_days = 180", "washout_days = -1", "cohort.entry.washout_days: input should be greater than or equal to 0"),
    "window reversed": ("window = [0, 14]", "window = [14, 0]", "covariates[5].window: the window ends (day 0) before it starts (day 14)"),
    "window of three": ("window = [0, 14]", "window = [0, 7, 14]", "covariates[5].window: a window is two days: [first, last]"),
    "unknown kind": ('kind = "cumulative_incidence"', 'kind = "cumulative_incidense"', "analyses[1]: 'cumulative_incidense' is not a known kind; did you mean 'cumulative_incidence'?"),
    "kind missing": ('kind = "age"\n', "", "covariates[1]: add the key 'kind' that says which kind this is"),
    "required key missing": ('because = "active cancer"\n', "", "cohort.rules[4].because: this key is required; add it"),
    "unknown codelist": ('codes = "opioid"', 'codes = "opiod"', "covariates[5].record.codes: no shipped codelist is called 'opiod'; the nearest are opioid"),
    "codelist file missing": ('codes = "opioid"', 'codes = "nowhere.csv"', "covariates[5].record.codes:"),
    "period reversed": ("end = 2023-12-31", "end = 2017-12-31", "cohort.rules[1]: the period ends before it starts"),
    "covariate not there": ('by = "early_opioid"', 'by = "early_opioids"', "analyses[1] uses 'early_opioids', which is no covariate; did you mean 'early_opioid'?"),
    "term not there": ('terms = "early_opioid + age', 'terms = "early_opioid + ages', "analyses[3] uses 'ages', which is no covariate; did you mean 'age'?"),
    "code in a formula": ('terms = "early_opioid + age', "terms = \"{__import__('os').system('id')} + age", "analyses[3].terms:"),
    "grouping by a number": ('by = "sex"', 'by = "age"', "analyses[2] groups by 'age', which is a whole number"),
    "two covariates of one name": ('name = "early_opioid"', 'name = "age"', "two covariates or analyses are named age"),
    "not TOML": ("[cohort]", "[cohort", "not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_with_file_key_and_repair(study_file, fault):
    was, becomes, message = FAULTS[fault]
    assert was in TOML
    path = study_file(TOML.replace(was, becomes, 1))
    with pytest.raises(StudyError) as refused:
        co.Study.from_toml(path)
    assert str(path) in str(refused.value)
    assert message in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(StudyError, match=r"nowhere\.toml"):
        co.Study.from_toml(tmp_path / "nowhere.toml")


def test_a_fault_in_python_names_class_and_field():
    with pytest.raises(StudyError, match="Enrolled: bridge_days"):
        co.Cohort("c").require_enrolled(co.Window(-365, 0), bridge_days=-1)


def test_a_changed_copy_has_a_hash_of_its_own():
    study = python_study()
    before = study.sha256
    assert study.model_copy(update={"title": "Another"}).sha256 != before == study.sha256
