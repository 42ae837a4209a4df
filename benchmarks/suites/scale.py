"""The whole pipeline, extracts to report, of five times as many persons: time should be five times, memory the same.

Extracts are CSV; both contenders are held to 4 GB, 3 of them for DuckDB. A simulated person has about 13 lines of
extracts, of which 36 rows of the store come.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from harness import Case

import cohort as co

STUDY = Path(__file__).resolve().parents[2] / "examples" / "low_back_pain.toml"
TIMES = 5


def many(n: int, folder: Path):
    """So many persons."""
    return _pipeline(n, folder)


def few(n: int, folder: Path):
    """A fifth of them."""
    return _pipeline(n // TIMES, folder)


def _pipeline(n: int, folder: Path):
    extracts, store = folder / f"extracts-{n}", folder / f"store-{n}"
    make = ["simulate", "--persons", n, "--out", extracts]
    subprocess.run([sys.executable, "-m", "cohort.cli", *map(str, make)], check=True, capture_output=True)

    def run() -> None:
        shutil.rmtree(store, ignore_errors=True)
        co.ingest(extracts, "tuva", store, memory_limit="3GB")
        engine = co.engines.local(memory=4 * 10**9)
        co.Study.from_toml(STUDY).run(store, engine=engine).report(folder / f"report-{n}")

    return run


CASES = [Case("five_times_as_many", many, few, "a fifth")]
