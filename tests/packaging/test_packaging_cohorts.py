"""What docs/cohorts.md prints is what it says: the study file and the Python are one study, and it can run."""

from __future__ import annotations

import datetime as dt
import re

import pytest

import cohort as co


@pytest.fixture(scope="module")
def blocks(root):
    text = (root / "docs" / "cohorts.md").read_text(encoding="utf-8")
    found = re.findall(r"```(toml|python)\n(.*?)```", text, flags=re.S)
    return dict(reversed(found)) | {"population": found[-1][1]}  # of each language the first: one study twice


@pytest.fixture(scope="module")
def printed(blocks, tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "study.toml"
    path.write_text(blocks["toml"], encoding="utf-8")
    return co.Study.from_toml(path)


def test_file_and_python_are_one_study(blocks, printed):
    names = {}
    exec(compile(blocks["python"], "cohorts.md", "exec"), names)  # noqa: S102 -- our own page
    assert names["study"].sha256 == printed.sha256


def test_the_comparators_of_the_population_are_a_cohort_that_can_run(blocks):
    names = {"co": co, "date": dt.date}
    exec(compile(blocks["population"], "cohorts.md", "exec"), names)  # noqa: S102 -- our own page
    outcome = co.first_record(co.diagnosis("chronic_pain_explicit"))
    study = co.Study(names["people"], outcome=outcome, analyses=[co.cox("arm")])
    assert [finding.code for finding in study.audit() if finding.severity == "error"] == []


def test_the_design_stands(printed):
    assert [finding.code for finding in printed.audit()] == []


def test_every_rule_and_occurrence_is_on_the_page(root):
    text = (root / "docs" / "cohorts.md").read_text(encoding="utf-8")
    from cohort.population import criteria, matching, occurrence

    kinds = [
        *(rule.model_fields["rule"].default for rule in vars(criteria).values() if hasattr(rule, "keep")),
        *(
            one.model_fields["table"].default
            for one in (occurrence.Measurement, occurrence.EpisodeOf, occurrence.DrawnDay)
        ),
        *(one.model_fields["kind"].default for one in (matching.MatchedArms, matching.RiskSets)),
    ]
    assert [kind for kind in kinds if kind not in text] == []
