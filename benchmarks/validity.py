"""Whether the numbers are right: every shipped scenario through the whole pipeline, many times, against its truth.

Run ``python benchmarks/validity.py [--replicates 400] [--persons 6000] [--quick] [SCENARIO …]``. Each run simulates a
population, writes it as dirty CSV, ingests the files and runs the studies; its buckets are disjoint random samples of
independent persons, so that each bucket is one replicate. The scoreboard is printed and written to
``results/validity.csv``, where scenarios that are not named keep their lines: truth, bias, coverage and width of the
95 % intervals, seconds and memory, for the default design and for the naive designs that the scenarios mislead.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import resource
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from validity_designs import Estimate, default_estimates, naive_estimates  # noqa: E402 -- the benchmarks are scripts
from validity_truth import Truth, true_values  # noqa: E402

import cohort as co  # noqa: E402
from cohort.simulate import load_scenario, shipped_scenarios  # noqa: E402

RESULTS = HERE / "results" / "validity.csv"
DIRT = 0.5
SAMPLES = 50
"""Replicates per run: buckets of one store."""
FIRST_SEED = 1000
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Run:
    """The estimates of each sample of one run, its seconds and the peak memory of its process."""

    scenario: str
    samples: list[list[Estimate]]
    seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the scoreboard.

    ``bias`` and ``coverage`` come with their Monte Carlo errors; ``width`` is the mean width of the intervals,
    ``seconds`` those of the whole pipeline per replicate, ``persons`` the mean number in the analysis.
    """

    scenario: str
    scenario_hash: str
    design: str
    estimand: str
    replicates: int
    persons: float
    truth: float
    truth_error: float
    mean: float
    bias: float
    bias_error: float
    coverage: float
    coverage_error: float
    width: float
    std_error: float
    deviation: float
    seconds: float
    peak_mb: float


def one_run(name: str, seed: int, persons: int, samples: int) -> Run:
    """Take one population from random numbers to estimates."""
    start = time.perf_counter()
    scenario = load_scenario(name)
    with tempfile.TemporaryDirectory(prefix="cohort-validity-") as folder:
        co.simulate(name, persons * samples, seed, out=f"{folder}/extracts", dirt=DIRT)
        # at dirt 0.5, 0.2 % of the lines cannot be read
        store = co.ingest(f"{folder}/extracts", "tuva", f"{folder}/store", buckets=samples, max_reject_rate=0.01)
        found = [
            a + b for a, b in zip(default_estimates(scenario, store), naive_estimates(scenario, store), strict=True)
        ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Run(name, found, time.perf_counter() - start, peak)


def score(name: str, runs: list[Run], truth: dict[str, Truth]) -> list[Score]:
    """Return the scoreboard of one scenario."""
    found = defaultdict(list)
    for estimate in (estimate for run in runs for sample in run.samples for estimate in sample):
        if np.isfinite([estimate.lower, estimate.upper]).all():
            found[estimate.design, estimate.estimand].append(estimate)
    pace = sum(run.seconds for run in runs) / sum(len(run.samples) for run in runs)
    peak = max(run.peak_mb for run in runs)
    return [_score(name, key, rows, truth[key[1]], (pace, peak)) for key, rows in found.items()]


def _score(name: str, key: tuple[str, str], rows: list[Estimate], truth: Truth, cost: tuple[float, float]) -> Score:
    value, error, lower, upper, n = np.array([dataclasses.astuple(row)[2:] for row in rows]).T
    covered = float(np.mean((lower <= truth.value) & (truth.value <= upper)))
    deviation = float(np.std(value, ddof=1)) if len(rows) > 1 else float("nan")
    return Score(
        *(name, load_scenario(name).hash, *key, len(rows), float(n.mean()), truth.value, truth.error),
        *(float(value.mean()), float(value.mean() - truth.value), deviation / len(rows) ** 0.5),
        *(covered, (covered * (1 - covered) / len(rows)) ** 0.5, float(np.mean(upper - lower))),
        *(float(error.mean()), deviation, *cost),
    )


def main() -> None:
    """Read the arguments, run, and write the scoreboard after every run, so that a stopped benchmark has one too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", default=shipped_scenarios())
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--persons", type=int, default=6000, help="mean persons per replicate")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="10 replicates; nothing is written")
    chosen = parser.parse_args()
    samples = 10 if chosen.quick else min(SAMPLES, chosen.replicates)
    rounds = 1 if chosen.quick else -(-chosen.replicates // samples)
    runs: dict[str, list[Run]] = defaultdict(list)
    os.environ["POLARS_MAX_THREADS"] = "1"
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        truths = dict(zip(chosen.scenario, pool.map(true_values, map(load_scenario, chosen.scenario)), strict=True))
        # all scenarios advance together
        jobs = [
            pool.submit(one_run, name, FIRST_SEED + number, chosen.persons, samples)
            for number in range(rounds)
            for name in chosen.scenario
        ]
        others = [row for row in _told(chosen.out) if row["scenario"] not in chosen.scenario]
        board: list[Score] = []
        for job in as_completed(jobs):
            run = job.result()
            runs[run.scenario].append(run)
            board = [line for name in chosen.scenario if name in runs for line in score(name, runs[name], truths[name])]
            if not chosen.quick:
                _write([*others, *(_row(line) for line in board)], chosen.out)
    for line in board:
        print(_line(line))


def _told(file: Path) -> list[dict[str, object]]:
    """Return the lines of the scoreboard as it is."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _row(line: Score) -> dict[str, object]:
    values = dataclasses.asdict(line).items()
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in values}


def _write(rows: list[dict[str, object]], file: Path) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Score)], lineterminator="\n")
        table.writeheader()
        table.writerows(sorted(rows, key=lambda row: str(row["scenario"])))


def _line(row: Score) -> str:
    return (
        f"{row.scenario:<22}{row.design:<36}{row.estimand:<24}{row.replicates:>5}  truth {row.truth:8.4f}  "
        f"bias {row.bias:8.4f} ± {row.bias_error:.4f}  coverage {row.coverage:6.1%} ± {row.coverage_error:.1%}  "
        f"width {row.width:.4f}"
    )


if __name__ == "__main__":
    main()
