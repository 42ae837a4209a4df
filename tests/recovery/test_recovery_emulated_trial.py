"""A useless drug, given by chance up to half a year after index: the trial finds nothing, "ever treated" a benefit.

`docs/scenarios/immortal_time_trap.md` has the truth: a log hazard ratio of 0, and -0.49 for ever treated.
"""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

import cohort as co
from cohort.errors import InputRefusedError
from cohort.result import Result
from cohort.results.trial_designs import EVER, TIME_VARYING
from cohort.truth import known_truth


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("immortal_time_trap")
    co.simulate("immortal_time_trap", persons=8000, seed=5, layout="tuva", out=folder / "extract")
    co.ingest(folder / "extract", "tuva", folder / "store", buckets=2)
    return folder


@pytest.fixture(scope="module")
def result(folder, root) -> Result:
    text = (root / "examples" / "opioid_target_trial.toml").read_text("utf-8")
    (folder / "study.toml").write_text(text.replace("replicates = 200", "replicates = 40"))
    study = co.Study.from_toml(folder / "study.toml")
    assert [finding.code for finding in study.audit()] == ["trial_after_landmark"] * 3
    return study.run(folder / "store")


@pytest.fixture(scope="module")
def estimates(result) -> pl.DataFrame:
    return result.estimates.to_polars()


def ratio(estimates: pl.DataFrame, category: str | None) -> dict[str, float]:
    named = pl.col("category").is_null() if category is None else pl.col("category") == category
    return estimates.filter(pl.col("estimand") == "marginal_hazard_ratio", named).row(0, named=True)


def test_the_trial_finds_that_the_drug_does_nothing(estimates) -> None:
    found = ratio(estimates, None)
    assert found["status"] == "ok"
    # some 1,200 persons: a standard error of the log hazard ratio of 0.05 to 0.07
    assert abs(math.log(found["value"])) < 3 * found["std_error"] < 0.25
    difference = estimates.filter(pl.col("estimand") == "risk_difference", pl.col("category").is_null()).row(
        0, named=True
    )
    assert difference["lower"] < 0 < difference["upper"]


def test_ever_treated_misses_and_a_time_varying_exposure_does_not(estimates) -> None:
    assert ratio(estimates, EVER)["upper"] < 0.85
    assert abs(math.log(ratio(estimates, TIME_VARYING)["value"])) < 3 * ratio(estimates, TIME_VARYING)["std_error"]


@pytest.mark.parametrize("analysis", [2, 3])  # day by day, and at a landmark
def test_models_of_the_exposure_find_nothing_either(estimates, analysis) -> None:
    rows = estimates.filter(pl.col("analysis") == analysis, pl.col("term") == "opioid", pl.col("category") == "true")
    found = rows.row(0, named=True)
    assert found["lower"] < 1 < found["upper"]


def test_the_report_shows_the_error_beside_the_truth(folder, result, tmp_path) -> None:
    truth = known_truth(folder / "extract", result.store)
    assert truth.scenario == "immortal_time_trap"
    assert truth.at(364) == (365, 1.0)
    page = result.report(tmp_path, truth=truth).read_text("utf-8")
    section = page.split('<section id="bias">')[1].split("</section>")[0]
    assert "What immortal time does" in section
    for name in ("Truth, by day 365", "The answer, under its weights", "Ever treated, as if at index", "Time-varying"):
        assert name in section
    assert '<section id="bias">' not in result.report(tmp_path).read_text("utf-8")


def test_the_truth_of_other_data_is_refused(folder, result, tmp_path) -> None:
    with pytest.raises(InputRefusedError, match="no truth"):
        known_truth(tmp_path, result.store)
    co.simulate("immortal_time_trap", persons=500, seed=6, layout="tuva", out=tmp_path)
    with pytest.raises(InputRefusedError, match="is not that of the store"):
        known_truth(tmp_path, result.store)


@pytest.mark.parametrize("analysis", [4, 5])  # nested trials, a marginal structural model
def test_nested_trials_and_the_structural_model_find_nothing_either(estimates, analysis) -> None:
    rows = estimates.filter(pl.col("analysis") == analysis)
    found = ratio(rows, None)
    assert found["status"] == "ok"
    # the model has some 300 events in half a year, a quarter of them exposed: a standard error of 0.14
    assert abs(math.log(found["value"])) < 3 * found["std_error"] < 0.5


def test_every_design_has_the_same_bytes_whatever_the_buckets(folder, tmp_path) -> None:
    co.simulate("immortal_time_trap", persons=2500, seed=6, layout="tuva", out=tmp_path / "extract")
    why = 'unsealed = "too few persons for any gate"'
    text = (folder / "study.toml").read_text("utf-8").replace("replicates = 40", "replicates = 20")
    for kind in ("emulated_trial", "nested_trials", "structural_cox"):
        text = text.replace(f'kind = "{kind}"', f'kind = "{kind}"\n{why}')
    (tmp_path / "study.toml").write_text(text)
    study, written = co.Study.from_toml(tmp_path / "study.toml"), {}
    for buckets in (1, 7):
        # the published key: with a key of its own each store would draw its bootstrap samples in another order
        co.ingest(tmp_path / "extract", "tuva", tmp_path / str(buckets), buckets=buckets, keep_ids=True)
        told = study.estimates(study.entries(tmp_path / str(buckets))[0])
        assert {"ok"} == set(told.to_polars().filter(pl.col("estimand") == "marginal_hazard_ratio")["status"])
        written[buckets] = told.write(tmp_path)[0].read_bytes()
    assert written[1] == written[7]
