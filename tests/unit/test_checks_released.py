"""The section of data quality in a report that leaves: no count, nothing about a few rows, and of the same snapshot."""

import re

import pytest
import report_content as made_up
from typer.testing import CliRunner

import cohort as co
from cohort.checks.counts import Counts
from cohort.checks.document import found_in_bands, released_section
from cohort.checks.judge import CheckResult, Judgement, Status
from cohort.checks.rules import Rule
from cohort.cli import app
from cohort.errors import InputRefusedError
from cohort.report.document import render
from cohort.results.disclosure import DisclosureRule
from cohort.results.estimates import WITHHELD
from cohort.shipped import shipped


def judged(offending, examined, part=None, name="r", **threshold):
    told = {"what": "what offends", "severity": "error", "repair": "p", "source": "s"}
    rule = Rule(id=name, family="f", table="t", **told, **(threshold or {"max_count": 0}))
    status = Status.FAILED if offending or offending is None else Status.PASSED
    return Judgement(rule, status, part, offending, examined)


def result(*judgements):
    counts = Counts(
        snapshot=1, fingerprint="a7" * 32, previous=None, counted_by="", definitions={}, counts=(), failures={}
    )
    return CheckResult(counts, judgements)


@pytest.mark.parametrize(
    ("offending", "examined", "said"),
    [
        (0, 100_000, "none"),
        (1, 100_000, WITHHELD),
        (10, 100_000, WITHHELD),
        (11, 100_000, "under 0.1 %"),
        (100, 100_000, "0.1 to 1 %"),  # the lower end belongs to the band
        (999, 100_000, "0.1 to 1 %"),
        (1_000, 100_000, "1 to 10 %"),
        (10_000, 100_000, "10 to 50 %"),
        (50_000, 100_000, "over 50 %"),
        (99_989, 100_000, "over 50 %"),
        (99_990, 100_000, WITHHELD),  # ten rows that do not offend
        (100_000, 100_000, "over 50 %"),
    ],
)
def test_a_count_is_a_band_or_withheld(offending, examined, said):
    assert found_in_bands(judged(offending, examined), DisclosureRule(minimum=11)) == said


def test_the_rule_decides_what_is_small_and_whether_anything_is():
    assert found_in_bands(judged(4, 1_000), DisclosureRule(minimum=5)) == WITHHELD
    assert found_in_bands(judged(5, 1_000), DisclosureRule(minimum=5)) == "0.1 to 1 %"
    assert found_in_bands(judged(0, 1_000), DisclosureRule(show_zero=False)) == WITHHELD
    assert found_in_bands(judged(4, 1_000), DisclosureRule(minimum=0)).startswith("4 of 1")


def test_a_ratio_leaves_with_one_decimal():
    assert found_in_bands(judged(12_345, 1_000, between=(0, 5)), DisclosureRule()) == "about 12.3"


def test_the_section_holds_no_count_and_no_place_of_a_small_one():
    section = released_section(
        result(judged(7, 4_321, "2019-03", "few"), judged(1_234, 4_321, "2019-04", "many"), judged(0, 4_321)),
        DisclosureRule(),
    )
    text = re.sub(r"<[^>]+>", " ", str(section))
    assert "2019-03" not in text
    assert "2019-04" in text
    assert "10 to 50 %" in text
    assert not re.search("1\\W?234|4\\W?321|\\b7\\b", text)
    assert "The store does not pass its check." in text
    assert "1 further rules are kept" in text


def test_the_page_has_the_section_only_if_there_was_a_check():
    from dataclasses import replace

    content = made_up.content()
    assert "data-quality" not in render(content)
    page = render(replace(content, quality=released_section(result(judged(0, 9)), DisclosureRule())))
    assert '<section id="data-quality">' in page
    assert '<a href="#data-quality">' in page


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Return a store, its check, and a study."""
    folder = tmp_path_factory.mktemp("quality")
    co.simulate("low_back_pain", persons=300, seed=7, out=folder / "extract")
    store = co.ingest(folder / "extract", "tuva", folder / "store", keep_ids=True)
    return folder, store, shipped("examples") / "low_back_pain.toml"


def test_a_report_says_how_good_its_data_are_and_refuses_the_check_of_others(world):
    folder, store, study = world
    check = co.check(store, out=folder / "check")
    run = co.Study.from_toml(study).run(store)
    page = run.report(folder / "report", check=check).read_text()
    assert '<section id="data-quality">' in page
    other = result(judged(0, 9))
    with pytest.raises(InputRefusedError, match="another snapshot"):
        run.report(folder / "other", check=other)
    asked = ["run", str(study), "--store", str(folder / "store"), "--out", str(folder / "cli")]
    answer = CliRunner().invoke(app, [*asked, "--check", str(folder / "check" / "counts.json")])
    assert answer.exit_code == 0, answer.output
    assert (folder / "cli" / "report.html").read_text() == page
