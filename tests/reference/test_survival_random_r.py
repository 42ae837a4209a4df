"""Random small data sets (ties, strata, entry, weights, clusters, two causes) against R: recorded, and live with Rscript.

`survival_random_sets.json` holds twelve sets and what R 4.2.2 (survival 3.5-3, cmprsk 2.2-11) answered, written by
`python tests/reference/test_survival_random_r.py`. Where R fails or warns, we must refuse with a typed outcome.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.errors import NotEstimableError
from cohort.survival import cox_residuals as residuals
from cohort.survival import fit_fine_gray, kaplan_meier, logrank
from cohort.survival.cox_concordance import concordance
from cohort.survival.cox_model import Follow, estimate

HERE = Path(__file__).resolve().parent
RECORD = HERE / "survival_random_sets.json"
Answers = dict[str, list[float]]
# relative to the standard error for coefficients, to 1 for residuals; R's crr stops at a gradient of 1e-10
TOLERANCE = {"coef": 1e-9, "crr": 1e-7, "crr_se": 1e-8, "martingale": 1e-7, "fine_gray_se": 1e-7, "std_error": 1e-7}
STANDARD_ERROR = {"coef": "std_error", "crr": "crr_se", "fine_gray": "fine_gray_se"}


def random_sets(seed: int, count: int) -> pl.DataFrame:
    """Return data sets of 10 to 40 rows one below the other; -1 as entry means from the start."""
    random = np.random.default_rng(seed)
    sets = []
    for number in range(count):
        n = int(random.integers(10, 41))
        time = random.integers(1, random.choice([4, 12, 60]) + 1, n)
        weight = [np.ones(n), random.integers(1, 4, n), random.uniform(0.2, 4, n).round(3)][number % 3]
        late, layered = random.random() < 0.4, random.random() < 0.4
        sets.append(
            pl.DataFrame(
                {
                    "set": np.full(n, number),
                    "time": time,
                    "entry": np.floor(time * random.random(n) * 0.9).astype(int) if late else np.full(n, -1),
                    "cause": random.choice(3, n, p=[0.35, 0.4, 0.25]),
                    "stratum": random.integers(0, 3, n) if layered else np.zeros(n, dtype=int),
                    "weight": weight.astype(float),
                    "cluster": random.integers(0, max(3, n // 3), n),
                    "ties": [str(random.choice(["efron", "breslow"]))] * n,
                    "robust": [int(random.random() < 0.5)] * n,
                    "x1": random.integers(0, 2, n).astype(float),
                    "x2": (random.standard_normal(n) * 10.0 ** random.integers(-2, 3)).round(4),
                }
            )
        )
    return pl.concat(sets)


def answers_of_r(sets: pl.DataFrame) -> list[Answers]:
    """Return what R answers for each set."""
    with tempfile.TemporaryDirectory() as folder:
        sets.write_csv(Path(folder) / "sets.csv")
        subprocess.run(["Rscript", "--vanilla", str(HERE / "random_sets.R"), folder], check=True)
        lines = (Path(folder) / "answers.txt").read_text().splitlines()
    answers: list[Answers] = [{} for _ in range(sets["set"].n_unique())]
    for line in lines:
        number, key, *values = line.split()
        answers[int(number)][key] = [float(value) for value in values]
    return answers


def ours(rows: pl.DataFrame) -> dict[str, Any]:
    """Return our answers for one set, under R's names."""
    late, weight = rows["entry"][0] >= 0, rows["weight"].to_numpy()
    entry = rows["entry"].to_numpy() if late else None
    follow = Follow(rows["time"].to_numpy(), (rows["cause"] == 1).to_numpy(), entry, rows["stratum"].to_numpy(), weight)
    found: dict[str, Any] = {}
    frame = rows.with_columns(event=pl.col("cause") == 1, group=pl.col("cluster") % 2)
    curve = kaplan_meier(frame, "time", "event", entry="entry" if late else None).to_polars()
    found |= {"survival": curve["estimate"].to_numpy(), "survival_se": curve["std_error"].to_numpy()}
    try:
        x, robust = np.asfortranarray(rows.select("x1", "x2").to_numpy()), rows["robust"][0] == 1
        cluster = rows["cluster"].to_numpy() if robust else None
        fit = estimate(x, follow, ("x1", "x2"), rows["ties"][0], robust=robust, cluster=cluster)
        found |= {"coef": fit.coef, "std_error": fit.std_error, "score_test": [fit.score_test]}
        found["log_likelihood"] = [fit.optimum.null.log_likelihood, fit.point.log_likelihood]
        found["martingale"] = residuals.martingale(fit)
        found["concordance"] = [concordance(residuals.linear_predictor(fit), follow).estimate]
    except NotEstimableError:
        pass
    if late:
        return found
    for name, ties in (("crr", "breslow"), ("fine_gray", "efron")):
        try:
            model = fit_fine_gray(rows, "time", "cause", 1, terms="x1 + x2", ties=ties)  # type: ignore[arg-type]  # literal
            found |= {name: model.coef, f"{name}_se": model.std_error}
        except NotEstimableError:
            pass
    try:
        found["logrank"] = [logrank(frame, "time", "event", "group", strata="stratum").statistic]
    except NotEstimableError:
        found["logrank"] = [0.0]  # nothing to compare: R's statistic is 0
    return found


def compare(sets: pl.DataFrame, answers: list[Answers]) -> None:
    """Compare every number; a model that R gives and we refuse, or the reverse, is a difference too."""
    for number, expected in enumerate(answers):
        found = ours(sets.filter(pl.col("set") == number))
        assert "coef" in found or "coef" not in expected, f"set {number}: R has a Cox model, we refuse"
        assert "coef" in expected or "coef" not in found, f"set {number}: R has no Cox model, we do"
        for key, values in expected.items():
            if key not in found:  # crr and finegray() go on where the likelihood has no maximum
                continue
            known = ~np.isnan(values)  # R's standard error of a survival of 0 is 0 times infinity
            scale = found[STANDARD_ERROR[key]] if key in STANDARD_ERROR else np.maximum(np.abs(values), 1e-12)
            gap = np.abs(np.asarray(found[key], dtype=float) - values) / (1.0 if key == "martingale" else scale)
            assert (gap[known] <= TOLERANCE.get(key, 1e-9)).all(), f"set {number}: {key}"


def test_recorded_sets_equal_r() -> None:
    record = json.loads(RECORD.read_text())
    compare(pl.DataFrame(record["sets"]), record["answers"])


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="Rscript is not installed; the recorded sets are compared")
def test_fresh_sets_equal_r() -> None:
    sets = random_sets(20261120, 60)
    try:
        answers = answers_of_r(sets)
    except subprocess.CalledProcessError:
        pytest.skip("R is there without its packages survival and cmprsk")
    compare(sets, answers)


if __name__ == "__main__":
    recorded = random_sets(int(sys.argv[1]) if len(sys.argv) > 1 else 7, 12)
    text = json.dumps({"sets": recorded.to_dict(as_series=False), "answers": answers_of_r(recorded)})
    RECORD.write_text(text + "\n")
