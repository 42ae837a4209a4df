"""Estimates of effects find the truth of small worlds whose truth is a closed form, where naive ones miss it.

``benchmarks/effects_coverage.py`` has the same worlds 400 times; here each is met a few times.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def worlds(root: Path):
    sys.path.insert(0, str(root / "benchmarks"))
    yield importlib.import_module("effects_coverage")
    sys.path.remove(str(root / "benchmarks"))


# the naive estimator of each world, and by how much it misses at least: half of its bias in 400 replicates
NAIVE = {
    "strong_confounding": ("naive", 0.06),
    "immortal_time": ("ever treated", 0.8),
    "informative_censoring": ("naive", 0.02),
    "varying_confounding": ("naive", 0.15),
}


@pytest.mark.parametrize("world", NAIVE)
def test_the_truth_is_found_where_the_naive_analysis_misses_it(world: str, worlds, monkeypatch) -> None:
    monkeypatch.setattr(worlds, "SAMPLES", 20)
    found = worlds.coverage([worlds.replicate(world, 1500, number) for number in range(6)])
    naive, least = NAIVE[world]
    for row in found.iter_rows(named=True):
        if row["estimator"] == naive:
            assert abs(row["bias"]) > least
        else:
            # six replicates: 4 of their own standard errors, which are uncertain themselves, are t on 5 degrees (1 %)
            assert abs(row["bias"]) < 4.03 * row["mc_error"] + 0.005


def test_the_closed_form_is_that_of_a_large_population(worlds) -> None:
    random = np.random.default_rng(0)
    n = 200_000
    sick, old = random.random(n) < worlds.SICK, random.random(n) < worlds.OLD
    died = random.exponential(1 / worlds._hazard(sick, old, 1)) <= worlds.HORIZON
    assert died.mean() == pytest.approx(worlds._risk(1), abs=4 * 0.5 / np.sqrt(n))
