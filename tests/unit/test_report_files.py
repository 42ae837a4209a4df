"""The report beside its page: Markdown, tables and figures as data, the checklist."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import report_content as made_up

from cohort.report.checklist import ABSENT, AUTHORS
from cohort.report.document import compose, render, write_report
from cohort.report.markdown import escaped, render_markdown
from cohort.results.disclosure import DisclosureRule
from cohort.results.estimates import write_csv


@pytest.fixture(scope="module")
def content():
    return made_up.content()


@pytest.fixture(scope="module")
def printed(content):
    return compose(content)


@pytest.fixture(scope="module")
def folder(content, tmp_path_factory) -> Path:
    return write_report(content, tmp_path_factory.mktemp("out")).parent


def test_every_table_and_figure_of_the_page_is_a_file(folder, printed):
    tables = {path.name for path in (folder / "tables").iterdir()}
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert tables == {f"{name}.{kind}" for name in [
        "table_1", "curve_1", "curve_2", "model_1", "rates_1", "checklist"] for kind in ("csv", "parquet")}  # fmt: skip
    assert figures == {
        f"{name}.{kind}" for name in ["curve_1", "curve_2", "model_1"] for kind in ("svg", "csv", "parquet")
    }
    assert len([*printed.tables()]) == 5
    assert len([*printed.figures()]) == 3


def test_the_data_of_a_curve_are_the_released_points_that_it_draws(folder, content):
    drawn = pl.read_csv(folder / "figures" / "curve_1.csv")
    rows = content.released.estimates.select(analysis=1).filter(pl.col("outcome") == "chronic_pain")
    assert drawn["group"].unique().sort().to_list() == [
        "Opioid in the first 14 days: no",
        "Opioid in the first 14 days: yes",
    ]
    assert drawn["value"].to_list() == rows.filter(pl.col("value").is_not_null())["value"].to_list()
    parquet = pl.read_parquet(folder / "figures" / "curve_1.parquet")
    assert drawn.drop("censored").equals(parquet.drop("censored", "withheld"))
    # the commonest outcome does not tell censorings from deaths: withheld, and neither 0 nor missing
    assert set(drawn["censored"]) == {"[c]"}
    assert set(parquet["withheld"]) == {"censored"}


def test_a_table_is_one_row_per_cell_and_a_withheld_one_keeps_its_token(folder):
    table = pl.read_csv(folder / "tables" / "table_1.csv")
    female = table.filter(pl.col("label") == "Female", pl.col("column") == "All").row(0, named=True)
    assert (female["under"], female["kind"]) == ("Sex", "number")
    withheld = table.filter(pl.col("kind") == "withheld")
    assert withheld.height > 0
    assert set(withheld["text"]) == {"[c]"}


def test_figures_are_files_of_their_own_that_say_what_they_show(folder):
    for path in (folder / "figures").glob("*.svg"):
        tree = ET.parse(path)  # noqa: S314 -- our own file
        assert len(tree.getroot().attrib["aria-label"]) > 80


def test_markdown_has_the_sections_tables_and_sentences_of_the_page(content, printed):
    text = render_markdown(content, printed)
    html = render(content)
    on_the_page = list(re.findall(r"<h2>(.*?)</h2>", html))
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == on_the_page
    for sentence in printed.summary:
        assert escaped(sentence) in text
    for _, _, table in printed.tables():
        for line in table.lines:
            assert escaped(line.label) in text
    assert text.count("](figures/curve_1.svg)") == 1


def test_rows_of_a_markdown_table_have_as_many_cells_as_its_heading(content, printed):
    lines = render_markdown(content, printed).splitlines()
    for before, rule in pairwise(lines):
        if re.fullmatch(r"\|(---\|)+", rule):
            assert len(re.findall(r"(?<!\\)\|", before)) == len(re.findall(r"\|", rule))


def test_foreign_text_is_neither_markup_nor_a_link_in_markdown():
    assert escaped("<b>*a*</b> [x](y) `c` | $z$") == r"\<b\>\*a\*\</b\> \[x\](y) \`c\` \| \$z\$"
    assert "http://" not in escaped("http://x")
    assert "\u202e" not in escaped("a\u202eb")


def test_an_item_of_the_checklist_is_answered_with_numbers_or_left_to_the_authors(printed):
    items = {(item.statement, item.number): item for item in printed.checklist}
    by_statement = [
        sum(name == item.statement for item in printed.checklist) for name in ("STROBE", "RECORD", "RECORD-PE")
    ]
    assert by_statement == [34, 13, 15]
    assert len(items) == len(printed.checklist)
    # 81 974 in the flow's first step, 4 000 after the last: 61 210 + 3 + 1 950 + 14 007 + 804 left out
    said = "81\u202f974 persons in the data, 4\u202f000 after the last step."
    assert items["STROBE", "13a"].answer == said
    assert [anchor for anchor, _ in items["STROBE", "13a"].sections] == ["flow"]
    assert items["STROBE", "2"].answer == AUTHORS
    assert items["STROBE", "22"].answer == AUTHORS
    assert items["RECORD", "12.2"].answer == ABSENT  # the content has no data quality
    assert items["RECORD", "7.1"].answer.startswith("1 codelist with 42 rows")


def test_a_section_that_the_page_lacks_is_not_linked(content, printed):
    html = render(content)
    ids = set(re.findall(r'<section id="([\w-]+)"', html))
    assert {anchor for item in printed.checklist for anchor, _ in item.sections} <= ids
    assert "effects" not in ids


def test_withheld_counts_are_in_no_file(tmp_path):
    people = made_up.persons()
    small = people.filter(pl.col("region").is_null()).height
    assert 0 < small < 11
    folder = write_report(made_up.content(people=people), tmp_path).parent
    table = pl.read_csv(folder / "tables" / "table_1.csv").filter(
        pl.col("label") == "missing", pl.col("column") == "All"
    )
    assert table["text"].to_list() == ["[c]"]


def test_a_report_replaces_an_older_one_with_all_its_files(tmp_path):
    content = made_up.content()
    write_report(content, tmp_path)
    (tmp_path / "tables" / "old.csv").write_text("x")
    (tmp_path / "mine.txt").write_text("kept")
    write_report(replace(content, title="Other"), tmp_path)
    assert not (tmp_path / "tables" / "old.csv").exists()
    assert (tmp_path / "mine.txt").exists()
    assert "# Other" in (tmp_path / "report.md").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "＝", "＋", "－", "＠"])
def test_a_text_that_a_spreadsheet_would_run_gets_an_apostrophe(tmp_path, sign):
    write_csv(pl.DataFrame({"label": [f"{sign}1+cmd|'/c calc'!A0"], "n": [-5]}), tmp_path / "x.csv")
    read = pl.read_csv(tmp_path / "x.csv")
    assert read["label"][0].startswith("'")
    assert read["n"][0] == -5


def test_without_a_rule_markdown_says_that_it_is_not_for_release():
    content = made_up.content(DisclosureRule(minimum=0))
    assert "**Not for release.**" in render_markdown(content, compose(content))
