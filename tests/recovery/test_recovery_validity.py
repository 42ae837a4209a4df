"""From random numbers through files, store and study to estimates: what comes out is what was put in.

The full grid is `cohort bench --validity`; its scoreboard is tracked, and read here.
"""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

import cohort as co
from cohort import survival as sv
from cohort.simulate import load_scenario, shipped_scenarios, simulate
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.truth import NEITHER, find_index, usual_care
from cohort.simulate.world import draw_world
from cohort.validity import board as scoreboard
from cohort.validity.designs import default_study
from cohort.validity.replicates import missing, one_batch


@pytest.fixture(scope="module")
def board(root):
    with (root / "benchmarks/results/validity.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def observed_truth(name: str, persons: int, seed: int) -> pl.DataFrame:
    """Return the outcome of everybody at risk at the landmark, until they leave the plan, without any extract."""
    rows = []
    for number in range(-(-persons // BLOCK)):
        world = draw_world(load_scenario(name), Block(seed, number))
        index = find_index(world, persons, new_episodes=False)
        care = usual_care(world, index)
        enrolled = world.enrolment.last_day(index.person, index.day) - index.day
        seen = np.where(care.time <= enrolled, care.cause, NEITHER)
        rows.append(pl.DataFrame({"time": np.minimum(care.time, enrolled), "cause": seen}))
    landmark = load_scenario(name).truth.rule_first_day - 1
    return pl.concat(rows).filter(pl.col("time") > landmark).with_columns(entry=pl.lit(landmark))


@pytest.mark.parametrize("name", ["low_back_pain", "fibromyalgia_crps"])
def test_spotless_extracts_give_the_estimate_of_the_truth_to_the_last_digit(tmp_path, name):
    simulate(name, persons=8000, seed=5, out=tmp_path / "extracts")
    store = co.ingest(tmp_path / "extracts", "tuva", tmp_path / "store", buckets=1)
    result = default_study(load_scenario(name)).run(store)
    truth = observed_truth(name, 8000, 5)
    assert result.table.lazy().collect().height == truth.height > 400
    curve = sv.cumulative_incidence(truth, time="time", cause="cause", entry="entry").to_polars().filter(cause=1)
    ours = result.study.analyses[0].estimate(1, result.table).to_polars().filter(outcome="chronification")
    assert ours["time"].to_list() == curve["time"].to_list()
    assert ours["value"].to_list() == curve["estimate"].to_list()


@pytest.fixture(scope="module")
def replicates():
    """Return sixteen replicates of 1,500 persons, from dirty CSV."""
    return one_batch("null_effect", 7, 1500)


def test_dirty_replicates_find_the_truth_and_cover_it(replicates, board):
    for estimand in ("risk of chronification", "log hazard ratio"):
        told = next(
            row
            for row in board
            if (row["scenario"], row["design"], row["estimand"]) == ("null_effect", "default", estimand)
        )
        truth, error = float(told["truth"]), float(told["truth_error"])
        found = replicates.filter(design="default", estimand=estimand)
        standard_error = found["std_error"].mean() / np.sqrt(16)
        assert found["value"].mean() == pytest.approx(truth, abs=4 * np.hypot(standard_error, error))
        # of 16 intervals that hold with 0.95 each, 11 or fewer cover once in 2,700 times
        assert found.select(pl.lit(truth).is_between("lower", "upper")).to_series().sum() > 11


def test_a_scoreboard_of_replicates_by_hand(tmp_path, monkeypatch):
    # values 0.1, 0.3, 0.5 against a truth of 0.2: bias 0.1, deviation 0.2; intervals +-0.15 cover twice of three times
    head = (load_scenario("null_effect").hash[:12], 2000)
    rows = [
        (*head, number, "default", "risk", value, 0.08, value - 0.15, value + 0.15, 700, 2.0, 500.0 + number)
        for number, value in enumerate((0.1, 0.3, 0.5))
    ]
    # of another version of the scenario; without an interval
    rows += [("older", 2000, 3, *rows[0][3:]), (*rows[0][:7], float("nan"), *rows[0][8:])]
    pl.DataFrame(rows, schema=scoreboard.KEPT, orient="row").write_csv(tmp_path / "null_effect.csv")
    monkeypatch.setattr(scoreboard, "true_values", lambda *_: {"risk": SimpleNamespace(value=0.2, error=0.01)})
    (row,) = scoreboard.board(tmp_path, ["null_effect"]).to_dicts()
    assert (row["replicates"], row["n"], row["seconds"], row["peak_mb"]) == (3, 700, 2.0, 502.0)
    assert row["bias"] == pytest.approx(0.1)
    assert row["bias_error"] == pytest.approx(0.2 / 3**0.5, abs=1e-5)
    assert row["coverage"] == pytest.approx(2 / 3, abs=1e-5)
    assert row["width"] == pytest.approx(0.3)


def test_only_missing_batches_are_run_and_old_versions_are_dropped(replicates, tmp_path):
    file = tmp_path / "null_effect.csv"
    assert missing(file, "null_effect", 40, 2000) == [0, 1, 2]
    with file.open("a") as stream:
        stream.write(replicates.write_csv(include_header=False))  # batch 7
    assert missing(file, "null_effect", 160, 1500) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert missing(file, "null_effect", 160, 6000) == list(range(10))
    replicates.with_columns(scenario_hash=pl.lit("older")).write_csv(file)
    assert missing(file, "null_effect", 128, 1500) == list(range(8))
    assert pl.read_csv(file).height == 0


def test_the_scoreboard_is_that_of_the_scenarios_as_they_are(board):
    told = {row["scenario"]: row["scenario_hash"] for row in board}
    assert told == {name: load_scenario(name).hash[:12] for name in shipped_scenarios()}, (
        "run cohort bench --validity again"
    )


def test_the_default_design_covers_the_truth(board):
    for row in board:
        if row["design"] != "default":
            continue
        if row["estimand"] == "risk of death" and float(row["truth"]) < 0.05:
            continue  # a handful of deaths per replicate: intervals by the normal law do not hold
        # 3.5 binomial standard errors of a true 95 %
        allowed = 3.5 * np.sqrt(0.95 * 0.05 / int(row["replicates"]))
        assert abs(float(row["coverage"]) - 0.95) <= allowed, row
        error = np.hypot(float(row["bias_error"]), float(row["truth_error"]))
        # the defects take 1 % of the visits away for good; 1.7 % of the index dates are not those of a new episode
        assert abs(float(row["bias"])) <= 0.005 + 4 * error, row


def test_naive_designs_miss_by_the_amounts_that_the_pages_state(board):
    bias = {(row["scenario"], row["design"], row["estimand"]): float(row["bias"]) for row in board}
    risk, ratio = "risk of chronification", "log hazard ratio"
    assert bias["strong_confounding", "crude", ratio] > 0.1
    assert bias["immortal_time_trap", "ever treated as a baseline group", ratio] < -0.3
    assert bias["competing_death", "1 - Kaplan-Meier, death censored", risk] > 0.01
    assert bias["informative_censoring", "leaving taken as random", risk] < -0.02
    assert bias["informative_censoring", "event dated back to index", risk] < -0.03
    for name in shipped_scenarios():
        assert bias[name, "prevalent pain", risk] > (-0.03 if name == "informative_censoring" else 0.005)
