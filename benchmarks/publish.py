"""Write ``benchmarks/README.md`` from a run of ``cohort bench``: its table, its figure, and what it would be at scale.

``cohort bench --sizes 1e4,1e5,1e6 --turns 3 --out benchmarks/results`` first, then ``python benchmarks/publish.py``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from cohort.bench.measure import Timing, read  # noqa: E402 -- the benchmarks are scripts
from cohort.bench.tables import HEAD, cells  # noqa: E402

RESULTS = HERE / "results"
PERSONS, ROWS = 100_000_000, 10_000_000_000
"""What is extrapolated to: persons, and rows of all their tables."""
CORES = 64
PIPELINE = ("ingest", "report")
"""The steps of a run from extracts to report; the last runs the whole study, cohort, features and models included."""


def page(timings: Sequence[Timing], about: dict) -> str:
    """Return the page."""
    ours = {(timing.persons, timing.step): timing.seconds for timing in timings if timing.contender == timing.step}
    rows = [HEAD, tuple("---:" if at != 1 else "---" for at in range(len(HEAD)))]
    rows += [cells(timing, ours) for timing in timings]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    machine, versions = about["machine"], about["versions"]
    named = ", ".join(f"{name} {versions[name]}" for name in ("python", "polars", "duckdb", "lifelines"))
    here = f"{machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']} {machine['machine']}"
    return _PAGE.format(
        table=table,
        machine=f"{here}; {named}",
        turns=timings[0].turns,
        scale=extrapolation(timings, machine["cores"]),
    )


def extrapolation(timings: Sequence[Timing], cores: int) -> str:
    """Return the paragraph on a hundred million persons, from the two largest sizes of our own steps."""
    sizes = sorted({timing.persons for timing in timings})
    own = {(timing.persons, timing.step): timing for timing in timings if timing.contender == timing.step}
    small, large = sizes[-2], sizes[-1]
    lines = []
    total = 0.0
    for step in PIPELINE:
        one, two = own[small, step], own[large, step]
        per_row = (two.seconds - one.seconds) / (two.rows - one.rows)
        hours = per_row * ROWS * cores / CORES / 3600
        total += hours
        lines.append(f"| {step} | {per_row * 1e6:.2f} | {hours:.2f} |")
    lines.append(f"| together | | {total:.2f} |")
    return "\n".join(["| step | µs a row here | hours |", "| --- | ---: | ---: |", *lines])


_PAGE = """# Benchmarks

What is measured, how, and the commands are in [docs/benchmarks.md](../docs/benchmarks.md). Every claim of speed stands
beside its yardstick in one of the tables of [results/](results), with the configuration and the machine in the JSON
file of the same name. This page is written by `python benchmarks/publish.py` from the last run of `cohort bench`.

## The demo study, step by step

{machine}. Medians of {turns} turns, each step in a process of its own. The models run on as many rows as there are
persons, drawn from the entries of the study. *Beside ours*: how many times as long the peer takes.

{table}

![Seconds and peak memory against the number of persons](results/bench.svg)

Time grows like n where the lines have slope 1; memory that does not grow is a flat line. Small sizes are all start-up.

## A hundred million persons

Extrapolated, not measured: 100 million persons with 10 billion rows, on {cores} cores. A bucket is the same work
wherever it runs and buckets share nothing, so the cost is (seconds a row here, between the two largest sizes) × rows ×
(cores here) ÷ {cores}. That assumes storage that feeds all cores, extracts that are split into files, and one more pass
over all rows, a shuffle of about 10 billion × 40 bytes = 400 GB, where a cluster ingests; the estimators add what is on
the table above for each million rows at risk, once.

{scale}
""".replace("{cores}", str(CORES))


def main() -> None:
    """Write the page."""
    about = json.loads((RESULTS / "bench.json").read_text())
    (HERE / "README.md").write_text(page(read(RESULTS / "bench.csv"), about), encoding="utf-8")


if __name__ == "__main__":
    main()
