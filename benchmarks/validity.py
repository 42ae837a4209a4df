"""Whether the numbers are right: every shipped scenario through the whole pipeline, many times, against its truth.

``python benchmarks/validity.py run [--scenario NAME …] [--replicates 400] [--jobs 2] [--persons 6000]`` adds what is
missing to ``results/validity/<scenario>.csv``: it may be stopped at any time and started again, and split by scenario.
``python benchmarks/validity.py board`` turns those files into the scoreboard, ``results/validity.csv``: estimator ×
scenario × size, with truth, bias, coverage and width of the 95 % intervals, seconds and memory. ``--quick`` runs one
small batch and prints its scoreboard; nothing is kept.

A batch is one population, written as dirty CSV, ingested and studied. Its buckets are disjoint random samples of
independent persons, so that each bucket is one replicate: replicate r is bucket r % 16 of the population with seed
1000 + r // 16. Pseudonyms are made with the published key, so a replicate has the same persons on every machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple
from multiprocessing import get_context
from pathlib import Path

import polars as pl

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from validity_board import KEPT, board, lines  # noqa: E402 -- the benchmarks are scripts
from validity_designs import default_estimates, naive_estimates  # noqa: E402

import cohort as co  # noqa: E402
from cohort.simulate import load_scenario, shipped_scenarios  # noqa: E402

RESULTS = HERE / "results"
DIRT = 0.5
SAMPLES = 16
"""Replicates per batch: buckets of one store, as many lanes in each."""
FIRST_SEED = 1000
MEMORY = "2GB"


def one_batch(name: str, batch: int, persons: int) -> pl.DataFrame:
    """Return the estimates of one population, from random numbers to studies: columns of ``KEPT``."""
    start = time.perf_counter()
    scenario = load_scenario(name)
    with tempfile.TemporaryDirectory(prefix="cohort-validity-") as folder:
        co.simulate(name, persons * SAMPLES, FIRST_SEED + batch, out=f"{folder}/extracts", dirt=DIRT, workers=1)
        # at dirt 0.5, 0.2 % of the lines cannot be read
        store = co.ingest(
            *(f"{folder}/extracts", "tuva", f"{folder}/store"),
            **{"buckets": SAMPLES, "max_reject_rate": 0.01, "keep_ids": True, "memory_limit": MEMORY},
        )
        designs = zip(default_estimates(scenario, store), naive_estimates(scenario, store), strict=True)
        found = [(number, estimate) for number, both in enumerate(designs) for part in both for estimate in part]
    cost = ((time.perf_counter() - start) / SAMPLES, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    head = (scenario.hash[:12], persons)
    rows = [(*head, batch * SAMPLES + number, *astuple(estimate), *cost) for number, estimate in found]
    return pl.DataFrame(rows, schema=KEPT, orient="row").with_columns(pl.col(pl.Float64).round(6))


def missing(file: Path, name: str, replicates: int, persons: int) -> list[int]:
    """Return the batches that a file does not hold yet; results of another version of the scenario are dropped."""
    batches = range(-(-replicates // SAMPLES))
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{','.join(KEPT)}\n", "utf-8")
        return list(batches)
    kept = pl.read_csv(file, schema=KEPT)
    valid = kept.filter(scenario_hash=load_scenario(name).hash[:12])
    if valid.height < kept.height:
        valid.write_csv(file)
    done = set(valid.filter(persons=persons)["replicate"].to_list())
    return [batch for batch in batches if batch * SAMPLES not in done]


def run(names: list[str], replicates: int, persons: int, jobs: int, folder: Path) -> None:
    """Add the missing batches of some scenarios, which advance together."""
    files = {name: folder / f"{name}.csv" for name in names}
    todo = sorted((batch, name) for name in names for batch in missing(files[name], name, replicates, persons))
    os.environ["POLARS_MAX_THREADS"] = "1"
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(one_batch, name, batch, persons): (name, batch) for batch, name in todo}
        for job in as_completed(pending):
            name, batch = pending[job]
            with files[name].open("a", encoding="utf-8") as file:
                file.write(job.result().write_csv(include_header=False))  # one write: whole batches or nothing
            print(f"{name} batch {batch} of {-(-replicates // SAMPLES)}", file=sys.stderr, flush=True)


def main() -> None:
    """Read the arguments and run, or make the scoreboard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("run", "board"), default="run")
    parser.add_argument(
        "--scenario", action="append", choices=shipped_scenarios(), help="may be repeated; default: all"
    )
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--persons", type=int, default=6000, help="mean persons per replicate")
    parser.add_argument("--jobs", type=int, default=2, help="batches side by side")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--quick", action="store_true", help="one batch of 1,500 persons; nothing is kept")
    chosen = parser.parse_args()
    names = chosen.scenario or list(shipped_scenarios())
    if chosen.quick:
        with tempfile.TemporaryDirectory() as folder:
            run(names, SAMPLES, 1500, chosen.jobs, Path(folder) / "validity")
            print("\n".join(lines(board(Path(folder) / "validity", names, truth_persons=40_960))))
    elif chosen.what == "run":
        run(names, chosen.replicates, chosen.persons, chosen.jobs, chosen.out / "validity")
    else:
        table = board(chosen.out / "validity", list(shipped_scenarios()))
        table.write_csv(chosen.out / "validity.csv")
        print("\n".join(lines(table)))


if __name__ == "__main__":
    main()
