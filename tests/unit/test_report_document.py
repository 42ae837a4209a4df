"""The page: self-contained, inert, the same bytes for the same content, and it says what it cannot show."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
import report_content as made_up

from cohort.errors import CohortError
from cohort.report.document import ReportContent, render, write_report
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates
from cohort.results.table_one import count_table_one


class Page(HTMLParser):
    """What a browser would make of the page: tags with attributes, and the text outside style sheets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._style = "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._style = tag == "style"

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        self.text += "" if self._style else data


def test_the_same_content_gives_the_same_bytes(tmp_path: Path):
    first, second = (write_report(made_up.content(), tmp_path / name).parent for name in ("first", "second"))
    names = sorted(path.name for path in first.iterdir())
    assert names == [
        *("attrition.csv", "estimates.csv", "estimates.parquet", "figures"),
        *("report.html", "report.md", "run.json", "tables"),
    ]
    files = [path.relative_to(first) for path in first.rglob("*.*")]
    assert len(files) > 25
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_the_page_needs_nothing_from_outside_and_runs_nothing():
    html = render(made_up.content())
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "img",
        "base",
        "form",
        "image",
    }
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("href", "src", "xlink:href", "action"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "://" not in html
    assert "@import" not in html
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_every_figure_is_named_in_words_and_has_its_numbers_beside_it():
    page = Page(render(made_up.content()))
    figures = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert len(figures) == 3  # two curves, one forest plot
    assert all(figure["role"] == "img" and len(figure["aria-label"]) > 80 for figure in figures)
    assert page.text.count("Numbers behind this figure") == 2  # the forest plot stands above its table


def test_every_link_of_the_page_has_a_target_and_no_id_is_given_twice():
    page = Page(render(made_up.content()))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in page.tags if "href" in a} <= set(ids)


def test_no_clock_time_is_on_the_page():
    content = made_up.content()
    later = replace(content, provenance=replace(content.provenance, started=None, finished=None))
    assert render(later) == render(content)


PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1) //",
    "{{ 7 * 7 }}{% raw %}",
    "$\\frac{1}{0}$",
    "\u202e4321 elpoep\u202c",
    "_hidden",
    "]]><![CDATA[ --> <svg onload=alert(1)>",
)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_texts_from_outside_come_out_inert(payload: str):
    people = made_up.persons(400).with_columns(
        sex=pl.when(pl.col("sex") == "F").then(pl.lit(payload)).otherwise(pl.lit("M"))
    )
    content = made_up.content(DisclosureRule(minimum=0), people, title=payload)
    content = replace(
        content,
        warnings=(payload,),
        protocol=((payload, payload, payload),),
        labels={**made_up.LABELS, "chronic_pain": payload, "age": payload, "early_opioid=true": payload},
    )
    page = Page(render(content))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "image"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "\u202e" not in page.text
    assert not any("\u202e" in (value or "") for _, attributes in page.tags for value in attributes.values())
    assert "49" not in page.text.split("Summary")[0]  # a template inside a label is text


def test_a_report_prints_released_results_only():
    content = made_up.content()
    fields = {name: getattr(content, name) for name in ("title", "protocol", "provenance")}
    with pytest.raises(CohortError, match="released"):
        ReportContent(**fields, released=content.released.estimates)


def test_withheld_numbers_are_a_token_and_nowhere_else_on_the_page():
    people = made_up.persons()  # two levels of missing region with 3 and 1 persons, see Table 1
    html = render(made_up.content(people=people))
    assert 'class="withheld">[c]</td>' in html
    released = made_up.content(people=people).released.estimates.to_polars()
    withheld = released.filter(pl.col("status") == "suppressed")
    assert withheld.height > 3
    assert (
        withheld.select("value", "std_error", "lower", "upper", "n", "events").null_count().sum_horizontal().item()
        == 6 * withheld.height
    )


def test_without_a_rule_the_page_says_in_red_that_it_is_not_for_release():
    off, on = (render(made_up.content(DisclosureRule(minimum=minimum))) for minimum in (0, 11))
    assert 'class="banner"' in off
    assert "No disclosure rule was applied" in off
    assert 'class="banner"' not in on


def test_an_empty_cohort_has_a_report():
    people = made_up.persons().clear()
    table = count_table_one(people.lazy(), made_up.KINDS, by="early_opioid").finish()
    content = replace(made_up.content(), released=release(table, made_up.attrition(0), DisclosureRule()))
    assert "nobody in the data meets the criteria" in render(content)


def test_one_group_has_a_report():
    people = made_up.persons().with_columns(early_opioid=pl.lit(False))
    html = render(made_up.content(people=people))
    assert "Cumulative incidence" in html


def test_a_model_that_cannot_be_estimated_says_why():
    rows = pl.DataFrame({"term": ["age"], "n": [4000], "events": [900]})
    failed = Estimates.from_rows(
        rows,
        analysis=3,
        estimand="hazard_ratio",
        outcome="chronic_pain",
        status="not_estimable: monotone_likelihood(age)",
    )
    content = replace(made_up.content(), released=release(failed, made_up.attrition(4000), DisclosureRule()))
    page = Page(render(content))
    assert "monotone likelihood(age)" in page.text
    assert not [tag for tag, _ in page.tags if tag == "svg"]


def test_importing_the_report_does_not_load_matplotlib():
    code = "import sys, cohort.report.document; sys.exit('matplotlib' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
