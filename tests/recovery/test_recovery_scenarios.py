"""Every shipped scenario has a page, and what the page says is its truth."""

from __future__ import annotations

import csv
import re
import runpy

import numpy as np
import pytest

from cohort.simulate import load_scenario, shipped_scenarios
from cohort.simulate.effects import true_effects


@pytest.fixture(scope="module")
def script(root):
    return runpy.run_path(str(root / "benchmarks/scenario_truth.py"))


@pytest.fixture(scope="module")
def results(root):
    with (root / "benchmarks/results/scenario_truth.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", shipped_scenarios())
def test_the_page_carries_the_table_of_the_tracked_results(root, script, name):
    page = (root / f"docs/scenarios/{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    assert "**What it is for.**" in page
    assert f"{script['BEGIN']}\n{script['table'](name)}\n{script['END']}" in page


def test_the_list_of_scenarios_is_whole_and_its_example_loads(root, tmp_path):
    text = (root / "docs/scenarios/README.md").read_text("utf-8")
    assert set(re.findall(r"^\| \[(\w+)\]", text, re.MULTILINE)) == set(shipped_scenarios())
    (tmp_path / "mine.toml").write_text(text.split("```toml\n")[1].split("```")[0])
    assert load_scenario(tmp_path / "mine.toml").opioid.log_hazard_ratio_remission == -0.9


@pytest.mark.parametrize("name", shipped_scenarios())
def test_tracked_results_are_those_of_the_scenario_as_it_is(results, name):
    hashes = {row["scenario_hash"] for row in results if row["scenario"] == name}
    assert hashes == {load_scenario(name).hash}, "run python benchmarks/scenario_truth.py again"


@pytest.mark.parametrize("name", ["low_back_pain", "competing_death", "immortal_time_trap"])
def test_another_population_has_the_same_truth(results, name):
    """Five blocks of another seed agree within four standard errors of the difference."""
    told = {
        (row["section"], row["estimand"], row["strategy"], int(row["day"])): row
        for row in results
        if row["scenario"] == name and row["value"]
    }
    truth = true_effects(load_scenario(name), 20_480, 99)
    for section in ("effects", "usual_care", "naive"):
        for effect in truth[section]:
            row = told[section, effect["estimand"], effect["strategy"], effect["day"]]
            # 409,600 / 20,480 = 20 times as many persons: errors are sqrt(20) times as large here
            error = float(row["monte_carlo_error"]) * np.sqrt(1 + 20)
            assert effect["value"] == pytest.approx(float(row["value"]), abs=4 * error + 1e-9), effect


def test_naive_designs_miss_by_the_amounts_that_the_pages_state(results):
    """Each scenario misleads the design that it is made for, far beyond Monte Carlo error."""
    at_a_year = {
        (row["scenario"], row["section"], row["estimand"]): float(row["value"])
        for row in results
        if row["day"] == "365" and row["value"] and row["strategy"] not in ("early_opioid", "no_early_opioid")
    }
    truth, crude = (
        {name: at_a_year[name, section, "log_hazard_ratio"] for name in shipped_scenarios()}
        for section in ("effects", "naive")
    )
    assert truth["null_effect"] == truth["immortal_time_trap"] == 0
    assert crude["immortal_time_trap"] < -0.4
    assert crude["null_effect"] > 0.05
    assert truth["strong_confounding"] < 0 < crude["strong_confounding"]
    assert crude["low_back_pain"] - truth["low_back_pain"] > 0.03
    dying = {key[2]: value for key, value in at_a_year.items() if key[0] == "competing_death"}
    assert dying["one_minus_kaplan_meier"] - dying["cumulative_incidence"] > 0.03
    assert dying["aalen_johansen"] == pytest.approx(dying["cumulative_incidence"], abs=0.012)
    leaving = {key[2]: value for key, value in at_a_year.items() if key[0] == "informative_censoring"}
    assert leaving["cumulative_incidence"] - leaving["aalen_johansen"] > 0.03
