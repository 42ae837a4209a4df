"""Tables for a manuscript: the page's cells in LaTeX and HTML, foreign text inert in both."""

from __future__ import annotations

import re
import sys
from dataclasses import replace

import polars as pl
import pytest
import report_content as made_up

from cohort.errors import StudyError
from cohort.report.document import compose
from cohort.report.publication import write_publication

HOSTILE = "<script>x</script> \\input{y} $z$ 5 % [a](javascript:b) \u202ec"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("great_tables")
    pytest.importorskip("css_inline")
    out = tmp_path_factory.mktemp("tables")
    write_publication(compose(made_up.content()), out)
    return out


def test_every_table_and_the_flow_is_there_in_both_forms(folder):
    names = {"table_1", "attrition", "curve_1", "curve_2", "rates_1", "model_1"}
    assert {path.name for path in folder.iterdir()} == {f"{name}.{kind}" for name in names for kind in ("html", "tex")}


def test_the_cells_are_those_of_the_page(folder):
    table = {name: table for name, _, table in compose(made_up.content()).tables()}["model_1"]
    html, tex = ((folder / f"model_1.{kind}").read_text("utf-8") for kind in ("html", "tex"))
    for line in table.lines:
        for cell in line.cells:
            assert cell.text in html
    assert "1.72 (1.50 to 1.97)" in tex
    assert r"\toprule" in tex


def test_a_withheld_cell_keeps_its_token(folder):
    assert "[c]" in (folder / "table_1.html").read_text("utf-8")
    assert "[c]" in (folder / "table_1.tex").read_text("utf-8")


def test_the_same_content_gives_the_same_bytes(folder, tmp_path):
    again = write_publication(compose(made_up.content()), tmp_path)
    assert all(path.read_bytes() == (folder / path.name).read_bytes() for path in again)


def test_styles_stand_on_the_elements_and_thin_spaces_are_latex(folder):
    html, tex = (folder / "table_1.html").read_text("utf-8"), (folder / "table_1.tex").read_text("utf-8")
    assert "<style" not in html
    assert re.search(r'<td [^>]*style="[^"]*padding', html)
    assert tex.isascii() or not set(tex) & set("\u202f\u2003\u2212–")
    assert r"95\,\% CI" in (folder / "model_1.tex").read_text("utf-8")


def test_foreign_text_is_inert_in_both(tmp_path):
    pytest.importorskip("great_tables")
    pytest.importorskip("css_inline")
    people = made_up.persons(400).with_columns(
        sex=pl.when(pl.col("sex") == "F").then(pl.lit(HOSTILE)).otherwise(pl.lit("M"))
    )
    content = made_up.content(made_up.DisclosureRule(minimum=0), people, title=HOSTILE)
    content = replace(content, labels={"age": HOSTILE, "chronic_pain": HOSTILE, "early_opioid": HOSTILE})
    for path in write_publication(compose(content), tmp_path):
        text = path.read_text("utf-8")
        assert "\u202e" not in text
        if path.suffix == ".html":
            assert "<script" not in text
            assert "href" not in text
        else:
            assert r"\input" not in text
            assert not re.search(r"(?<!\\)\$z", text)


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "great_tables", None)
    with pytest.raises(StudyError, match=r"\.\[tables\]"):
        write_publication(compose(made_up.content()), tmp_path)
