"""Replicates: every scenario through the whole pipeline, many times, from random numbers to estimates.

A batch is one population, written as dirty CSV, ingested and studied. Its buckets are disjoint random samples of
independent persons, so that each bucket is one replicate: replicate r is bucket r % 16 of the population with seed
1000 + r // 16. Pseudonyms are made with the published key, so a replicate has the same persons on every machine.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple
from multiprocessing import get_context
from pathlib import Path

import polars as pl

from cohort.engines.local import polars_threads
from cohort.ingest.load import ingest
from cohort.simulate import load_scenario, simulate
from cohort.validity.board import KEPT
from cohort.validity.designs import default_estimates, naive_estimates

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
        simulate(name, persons * SAMPLES, FIRST_SEED + batch, out=f"{folder}/extracts", dirt=DIRT, workers=1)
        # at dirt 0.5, 0.2 % of the lines cannot be read
        store = ingest(
            f"{folder}/extracts",
            "tuva",
            f"{folder}/store",
            buckets=SAMPLES,
            max_reject_rate=0.01,
            keep_ids=True,
            memory_limit=MEMORY,
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


def add_missing(
    names: Sequence[str],
    sizes: Sequence[int],
    replicates: int,
    folder: Path,
    *,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Add to ``folder/<scenario>.csv`` the replicates that it lacks; the scenarios advance together.

    Parameters
    ----------
    names, sizes, replicates
        Scenarios; mean numbers of persons of one replicate; replicates wanted of each, in whole batches.
    folder, jobs
        Where the files are or shall be, and batches side by side, each with up to 4.5 GB of memory.
    progress
        Called with the step, batches done and batches in all.
    """
    todo = sorted(
        (batch, name, size)
        for name in names
        for size in sizes
        for batch in missing(folder / f"{name}.csv", name, replicates, size)
    )
    report = progress or (lambda *_: None)
    report("replicates", 0, len(todo))
    with polars_threads(1), ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(one_batch, name, batch, size): name for batch, name, size in todo}
        for done, job in enumerate(as_completed(pending), start=1):
            with (folder / f"{pending[job]}.csv").open("a", encoding="utf-8") as file:
                file.write(job.result().write_csv(include_header=False))  # one write: whole batches or nothing
            report("replicates", done, len(todo))
