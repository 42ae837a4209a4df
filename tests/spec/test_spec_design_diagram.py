"""The design diagram shows every window of a study relative to index, from the study itself."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

import cohort as co
from cohort.report.figures_design import design, spoken, standalone
from cohort.timeline import timeline

EXAMPLE = [
    ("Index date", "first diagnosis of low back pain that passes every requirement", "day 0"),
    ("Washout", "no diagnosis of low back pain", "day -180 to day -1"),
    ("Enrolment required", "gaps of up to 31 days bridged", "day -365 to day 0"),
    ("Required", "Index date between 2018-01-01 and 2022-12-31; aged 18 to 100 at index", "day 0"),
    ("Excluded if present", "active cancer", "day -365 to day 0"),
    ("Excluded if present", "chronic pain already recorded", "day -365 to day -1"),
    ("Covariates", "Age, years; sex", "day 0"),
    ("Covariates", "Charlson score", "day -365 to day -1"),
    ("Covariates", "Pain sites", "day -180 to day -1"),
    ("Exposure", "Early opioid", "day 0 to day 14"),
    ("Until the landmark", "not yet at risk; losses by then are counted in the flow", "day 0 to day 89"),
    ("Follow-up, at risk", "outcome: chronification", "day 90 to day 365"),
]


@pytest.fixture(scope="module")
def example(root):
    return timeline(co.Study.from_toml(root / "examples" / "low_back_pain.toml"))


def rows(spans):
    return [(span.title, span.text, span.days) for span in spans]


def test_every_window_of_the_example(example):
    assert rows(example) == EXAMPLE


def test_open_ends_and_no_landmark():
    study = co.Study(
        co.Cohort("c")
        .enter_at_first(co.dispensing("opioid"))
        .require(co.diagnosis("mood"), co.Window(None, 0), "mood"),
        outcome=co.first_record(co.diagnosis("chronic_pain_explicit")),
    )
    assert rows(timeline(study)) == [
        ("Index date", "first dispensing of opioid that passes every requirement", "day 0"),
        ("Washout", "no dispensing of opioid", "any time before to day -1"),
        ("Required", "mood", "any time before to day 0"),
        ("Follow-up, at risk", "outcome: chronic pain explicit", "from day 1"),
    ]


def test_the_nth_record_has_no_washout():
    people = co.Cohort("c").enter_at_nth(co.dispensing("opioid"), 3)
    spans = timeline(co.Study(people, outcome=co.first_record(co.diagnosis("mood"))))
    assert spans[0].text.startswith("day number 3 with a dispensing of opioid")
    assert "washout" not in [span.part for span in spans]


def test_covariates_of_one_window_share_a_row():
    window = co.Window(-365, -1)
    study = co.Study(
        co.Cohort("c").enter_at_first(co.diagnosis("low_back_pain")),
        outcome=co.first_record(co.diagnosis("mood")),
        covariates=[co.charlson(window), co.pain_sites(window)],
    )
    assert ("Covariates", "Charlson score; pain sites", "day -365 to day -1") in rows(timeline(study))


def test_the_figure_says_in_words_and_shows_as_text_what_it_draws(example):
    figure = str(design(example))
    assert spoken(example).startswith("Design diagram, days relative to the index date. Index date: first diagnosis")
    for title, _, days in EXAMPLE:
        assert f">{title}<" in figure
        assert f">{days}<" in figure
        assert days in re.search('aria-label="([^"]*)"', figure)[1]
    assert str(design(example)) == figure  # the same bytes


def test_the_page_gives_the_colours(example):
    """Light, dark and print resolve names; a colour of its own would be lost in one of them."""
    assert set(re.findall(r"#[0-9a-f]{6}", str(design(example)))) == set()


def test_the_file_stands_alone(example):
    tree = ET.fromstring(standalone(design(example)))  # noqa: S314 -- our own file
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--series-1: #0072b2" in tree[0].text


def test_text_of_a_study_is_text(example):
    people = co.Cohort("c").enter_at_first(co.diagnosis("mood"))
    people = people.exclude(co.diagnosis("sleep"), co.Window(-9, 0), reason="<b>&$x_1$")
    figure = str(design(timeline(co.Study(people, outcome=co.first_record(co.diagnosis("fatigue"))))))
    assert "&lt;b&gt;&amp;$x_1$" in figure
    assert "<b>" not in figure


def cohort(folder, *arguments):
    command = [sys.executable, "-m", "cohort.cli", "run", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_explain_prints_protocol_and_audit_and_draws_the_diagram_without_data(root, tmp_path):
    done = cohort(tmp_path, root / "examples" / "injury_to_chronic_pain.toml", "--explain", "--out", "here")
    assert done.returncode == 0, done.stderr
    assert "the first diagnosis of chronic pain snomed from day" in done.stdout
    assert "warning (enrolment_not_required): cohort.rules" in done.stdout
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["design.svg"]


def test_explain_of_a_study_that_would_not_run_ends_with_2(tmp_path):
    people = co.Cohort("c").enter_at_first(co.diagnosis("mood")).follow_up(until=dt.date(2020, 1, 1))
    late = [co.exposed("opioid", co.Window(0, 30), name="opioid")]
    co.Study(people, outcome=co.first_record(co.diagnosis("sleep")), covariates=late).to_toml(tmp_path / "s.toml")
    done = cohort(tmp_path, "s.toml", "--explain")
    assert done.returncode == 2
    assert "error (immortal_time): covariates[1].window" in done.stdout
    assert done.stderr == "cohort: error: 1 design error stops this study; see above\n"
    assert (tmp_path / "design.svg").exists()


def test_a_run_needs_store_and_out(root, tmp_path):
    done = cohort(tmp_path, root / "examples" / "low_back_pain.toml", "--out", "out")
    assert done.returncode == 2
    assert "--store and --out" in done.stderr
