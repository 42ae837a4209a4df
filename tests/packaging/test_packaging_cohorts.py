"""What docs/cohorts.md prints is what it says: the study file and the Python are one study, and it can run."""

from __future__ import annotations

import re

import pytest

import cohort as co


@pytest.fixture(scope="module")
def blocks(root):
    text = (root / "docs" / "cohorts.md").read_text(encoding="utf-8")
    return dict(re.findall(r"```(toml|python)\n(.*?)```", text, flags=re.S))


@pytest.fixture(scope="module")
def printed(blocks, tmp_path_factory):
    path = tmp_path_factory.mktemp("docs") / "study.toml"
    path.write_text(blocks["toml"], encoding="utf-8")
    return co.Study.from_toml(path)


def test_file_and_python_are_one_study(blocks, printed):
    names = {}
    exec(compile(blocks["python"], "cohorts.md", "exec"), names)  # noqa: S102 -- our own page
    assert names["study"].sha256 == printed.sha256


def test_the_design_stands(printed):
    assert [finding.code for finding in printed.audit()] == []


def test_every_rule_and_occurrence_is_on_the_page(root):
    text = (root / "docs" / "cohorts.md").read_text(encoding="utf-8")
    from cohort.population import criteria, matching, occurrence

    kinds = [
        *(rule.model_fields["rule"].default for rule in vars(criteria).values() if hasattr(rule, "keep")),
        *(one.model_fields["table"].default for one in (occurrence.Measurement, occurrence.EpisodeOf)),
        *(one.model_fields["kind"].default for one in (matching.MatchedArms, matching.RiskSets)),
    ]
    assert [kind for kind in kinds if kind not in text] == []
