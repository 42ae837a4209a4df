"""Persons seen for pain leave their plan: weights of leaving find the risk, and a page shows what others miss by.

`docs/scenarios/informative_censoring.md` has the truth: risks of 0.35 and 0.31, of which 0.29 is left where leaving is
taken as random. The study file runs through the command line.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

import cohort as co
from cohort.cli import app
from cohort.results.trial_designs import RANDOM
from cohort.truth import known_truth

START, ABSTAIN = "start within 14 days", "do not start within 14 days"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("informative_censoring")
    co.simulate("informative_censoring", persons=16_000, seed=5, layout="tuva", out=folder / "extract")
    co.ingest(folder / "extract", "tuva", folder / "store", buckets=2)
    return folder


@pytest.fixture(scope="module")
def page(folder, root) -> str:
    text = (root / "examples" / "leaving_follows_care.toml").read_text("utf-8")
    (folder / "study.toml").write_text(text.replace("replicates = 200", "replicates = 20"))
    asked = ["run", "study.toml", "--store", "store", "--out", "out", "--show-bias", "extract"]
    done = CliRunner().invoke(
        app, [str(folder / part) if part in {"study.toml", "store", "out", "extract"} else part for part in asked]
    )
    assert done.exit_code == 0, done.output
    return (folder / "out" / "report.html").read_text("utf-8")


def risk(rows: pl.DataFrame, group: str, category: str | None = None) -> dict[str, float]:
    found = rows.filter(pl.col("analysis") == 1, pl.col("estimand") == "risk", pl.col("group") == group)
    return found.filter(pl.col("category").eq_missing(category)).row(0, named=True)


def test_weights_of_leaving_find_the_risks_that_leaving_hides(folder, page) -> None:
    rows = pl.read_parquet(folder / "out" / "estimates.parquet")
    truth = known_truth(folder / "extract", co.Store.open(folder / "store"))
    treated, untreated = truth.risks[365]
    for group, true in ((START, treated), (ABSTAIN, untreated)):
        found, random = risk(rows, group), risk(rows, group, RANDOM)
        assert found["status"] == "ok"
        # some 500 persons start and 1,600 do not: standard errors of 0.03 and 0.013, of the truth 0.01 and less
        assert abs(found["value"] - true) < 3 * found["std_error"] + 0.01 < 0.12
        assert found["value"] - random["value"] > 0.015  # half of what is missed in 409,600 persons
    assert risk(rows, ABSTAIN, RANDOM)["value"] < untreated


def test_the_page_shows_the_error_of_risks_beside_the_truth(page) -> None:
    section = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split('<section id="bias">')[1].split("</section>")[0]))
    for words in (
        "Truth, by day 365",
        "The answer, under its weights",
        "Natural censoring taken as random",
        "Risk if not (error)",
    ):
        assert words in section
    assert re.search(r"Natural censoring taken as random [^(]*\d\.\d\d", section)
    assert "weighted for" in page  # the protocol says what leaving does
