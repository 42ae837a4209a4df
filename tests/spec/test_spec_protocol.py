"""The study in words: the report's protocol and definitions are printed from the object that runs."""

from __future__ import annotations

import pytest

import cohort as co
from cohort.protocol import codelists, definitions, protocol


@pytest.fixture(scope="module")
def study(root):
    return co.Study.from_toml(root / "examples" / "low_back_pain.toml")


def test_every_choice_that_decides_a_number_is_in_the_protocol(study):
    said = {(section, item): text for section, item, text in protocol(study)}
    assert said["Population", "index date"] == "first diagnosis of low back pain that passes every requirement"
    assert said["Population", "candidates"] == "No such record in the 180 days before"
    assert said["Population", "requirement 3"] == "Enrolled from day -365 to day 0, gaps of up to 31 days bridged"
    assert said["Follow-up", "starts"] == "after day 89"
    assert said["Outcome", "chronification"] == (
        "a second encounter for low back pain 90 to 365 days after index, or a code of chronic pain explicit"
    )
    assert said["Covariates", "Early opioid"] == "any dispensing of opioid from day 0 to day 14"
    assert said["Release", "disclosure rule"].startswith("cms: counts of 1 to 10 withheld")


def test_definitions_carry_this_studys_settings_and_their_sources(study):
    told = {name: (text, sources) for name, text, sources in definitions(study)}
    text, sources = told["Chronification"]
    assert "lies 90 to 365 days after index" in text
    assert "doi:10.1097/j.pain.0000000000001384" in sources
    assert not {"`", "*"} & set("".join(text for pair in told.values() for text in pair))
    assert next(iter(told)) == "Chronification"


def test_every_codelist_that_the_study_reads_is_named(study):
    assert [codelist.name for codelist in codelists(study)] == [
        "active_cancer",
        "charlson_quan2005",
        "chronic_pain_explicit",
        "low_back_pain",
        "opioid",
        "pain_regions",
    ]


def test_definitions_say_whether_a_setting_is_on_and_call_analyses_what_the_page_calls_them(study):
    said = {name: text for name, text, _ in definitions(study)}
    assert "cancer free (here off) gives tumours and metastases no weight" in said["Charlson"]
    assert "Cause-specific Cox model" in said
