"""The cohort as a study file says it, how the protocol prints it, and what the audit makes of it."""

from __future__ import annotations

import datetime as dt

import pytest

import cohort as co
from cohort.errors import StudyError
from cohort.protocol import codelists, protocol
from cohort.timeline import timeline

TOML = """
title = "New users of duloxetine or pregabalin"

[cohort]
name = "New users"

[cohort.entry]
at = "each"
washout_days = 365
overlap = "skip"

[[cohort.entry.arms]]
name = "opioid"
record = { table = "dispensing", codes = "opioid" }

[[cohort.entry.arms]]
name = "pregabalin"
record = { table = "dispensing", codes = { name = "pregabalin", rows = [{ system = "atc", code = "N02BF02" }] } }

[[cohort.rules]]
rule = "index_in"
periods = [[2018-01-01, 2019-12-31], [2022-01-01, 2023-12-31]]

[[cohort.rules]]
rule = "enrolled"
window = [-365, 0]

[[cohort.rules]]
rule = "present"
record = { table = "episode", record = { table = "diagnosis", codes = "low_back_pain" }, gap_days = 60 }
window = [-365, 0]
at_least = 2
at_most = 5
because = "back pain"

[[cohort.rules]]
rule = "exclude"
record = { table = "measurement", instrument = "NRS", below = 4 }
window = [-30, 0]
because = "little pain"

[cohort.start]
at = "record"
record = { table = "measurement" }

[cohort.end]
max_days = 365
censor_records = [{ table = "diagnosis", codes = "active_cancer" }]

[outcome]
kind = "first_record"
record = { table = "diagnosis", codes = "chronic_pain_explicit" }

[[analyses]]
kind = "cox"
terms = "arm"
"""

PREGABALIN = co.Codelist.from_rows("pregabalin", [{"system": "atc", "code": "N02BF02"}])


def python_study():
    people = (
        co.Cohort("New users")
        .enter_at_each(
            {"opioid": co.dispensing("opioid"), "pregabalin": co.dispensing(PREGABALIN)},
            washout_days=365,
        )
        .require_index_in(
            (dt.date(2018, 1, 1), dt.date(2019, 12, 31)),
            (dt.date(2022, 1, 1), dt.date(2023, 12, 31)),
        )
        .require_enrolled(co.Window(-365, 0))
        .require(
            co.episode_of(co.diagnosis("low_back_pain"), gap_days=60),
            co.Window(-365, 0),
            reason="back pain",
            at_least=2,
            at_most=5,
        )
        .exclude(co.measurement("NRS", below=4), co.Window(-30, 0), reason="little pain")
        .at_risk_from(co.measurement())
        .follow_up(max_days=365, censor_at=["disenrolment", co.diagnosis("active_cancer")])
    )
    return co.Study(
        people,
        title="New users of duloxetine or pregabalin",
        outcome=co.first_record(co.diagnosis("chronic_pain_explicit")),
        analyses=[co.cox("arm")],
    )


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TOML)
    return co.Study.from_toml(path)


def test_the_study_file_and_python_say_the_same(study, tmp_path):
    assert study == python_study()
    study.to_toml(tmp_path / "again.toml")
    assert co.Study.from_toml(tmp_path / "again.toml").sha256 == study.sha256


def test_the_protocol_says_every_choice(study):
    said = {(section, item): text for section, item, text in protocol(study)}
    assert said["Population", "index date"] == (
        "every dispensing of opioid or dispensing of pregabalin that passes every requirement"
    )
    assert said["Population", "candidates"] == "No record of any arm in the 365 days before"
    assert said["Population", "arms"] == (
        "opioid: dispensing of opioid; pregabalin: dispensing of pregabalin; "
        "a day with the records of two arms is no index date"
    )
    assert said["Population", "further entries"].startswith("outside the follow-up of an earlier entry")
    assert said["Population", "requirement 1"] == ("Index date in 2018-01-01 to 2019-12-31 or 2022-01-01 to 2023-12-31")
    assert said["Population", "requirement 3"] == "With back pain in 2 to 5 episodes (day -365 to day 0)"
    assert said["Follow-up", "starts"] == "after the first day with a measurement, from the index date on"
    assert "the first diagnosis of active cancer after index" in said["Follow-up", "ends at the earliest of"]
    assert [codelist.name for codelist in codelists(study)] == [
        "active_cancer",
        "chronic_pain_explicit",
        "low_back_pain",
        "opioid",
        "pregabalin",
    ]


def test_the_diagram_shows_delayed_entry(study):
    rows = {span.title: (span.text, span.days) for span in timeline(study)}
    assert rows["Delayed entry"] == (
        "at risk after the first day with a measurement, from the index date on; losses by then are counted in the "
        "flow",
        "day 0 to any time after",
    )


@pytest.mark.parametrize(
    ("entry", "index", "candidates"),
    [
        (
            co.Cohort("c").enter_at_nth(co.diagnosis("low_back_pain"), 3),
            "day number 3 with a diagnosis of low back pain, if it passes every requirement",
            "Record day number 3",
        ),
        (
            co.Cohort("c").enter_at_first(co.measurement("NRS", at_least=4)),
            "first measurement of NRS of 4 or more that passes every requirement",
            "First such record ever",
        ),
        (
            co.Cohort("c").enter_at_each(co.episode_of(co.dispensing("opioid"), gap_days=30)),
            "every episode of dispensing of opioid, gaps of up to 30 days bridged that passes every requirement",
            "Every such record",
        ),
        (
            co.Cohort("c").enter_at_first(co.on_dates(dt.date(2020, 1, 1))),
            "first date of the calendar (2020-01-01) that passes every requirement",
            "First such record ever",
        ),
    ],
)
def test_how_the_protocol_says_the_index_date(entry, index, candidates):
    study = co.Study(entry, outcome=co.first_record(co.diagnosis("chronic_pain_explicit")))
    said = {item: text for _, item, text in protocol(study)}
    assert (said["index date"], said["candidates"]) == (index, candidates)


@pytest.mark.parametrize(
    ("key", "wrong", "message"),
    [
        ('at = "each"', 'at = "nth"\nn = 2', "cohort.entry: "),
        ('overlap = "skip"', 'overlap = "some"', "cohort.entry.overlap: input should be 'skip' or 'allow'"),
        ('at = "each"\nwashout_days = 365\noverlap = "skip"', 'overlap = "allow"', "overlap needs at = 'each'"),
        ("below = 4", "belov = 4", "did you mean 'below'?"),
        ("below = 4", "below = 4, at_least = 5", "no value is at_least and below at once"),
        ('instrument = "NRS", ', "", "name the instrument"),
        ('table = "measurement", instrument', 'table = "scores", instrument', "'scores' is not a known kind"),
        ("at_most = 5", "at_most = 1", "at_most is below at_least"),
        ('[cohort.start]\nat = "record"', "[cohort.start]", "a record needs at = 'record'"),
        ("gap_days = 60", 'gap_days = "60"', "cohort.rules[3].record.gap_days: "),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(tmp_path, key, wrong, message):
    assert key in TOML
    path = tmp_path / "study.toml"
    path.write_text(TOML.replace(key, wrong))
    with pytest.raises(StudyError) as refused:
        co.Study.from_toml(path)
    assert message in str(refused.value)


BACK, YEAR = co.diagnosis("low_back_pain"), co.Window(-365, 0)
DRUGS = {"opioid": co.dispensing("opioid"), "pregabalin": co.dispensing(PREGABALIN)}


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (co.Cohort("c").enter_at_first(DRUGS, washout_days=365).require_enrolled(YEAR), []),
        (co.Cohort("c").enter_at_first(DRUGS).require_enrolled(co.Window(0, 0)), ["prevalent_users"]),
        (co.Cohort("c").enter_at_each(DRUGS).require_enrolled(YEAR), ["prevalent_users"]),
        (co.Cohort("c").enter_at_each(co.episode_of(co.dispensing("opioid"))).require_enrolled(YEAR),
         ["prevalent_users"]),
        (co.Cohort("c").enter_at_each(BACK, washout_days=90).require_enrolled(YEAR), []),
        (co.Cohort("c").enter_at_each(BACK, overlap="allow").require_enrolled(YEAR), ["overlapping_follow_up"]),
        (co.Cohort("c").enter_at_first(co.measurement("NRS")).require_enrolled(YEAR), []),
        (co.Cohort("c").enter_at_first(co.on_dates(dt.date(2020, 1, 1))), ["enrolment_not_required"]),
    ],
)  # fmt: skip
def test_the_audit_of_entries(people, expected):
    study = co.Study(people, outcome=co.first_record(co.diagnosis("chronic_pain_explicit")))
    assert [finding.code for finding in study.audit()] == expected
