"""The demo study's work on persons in 64 buckets, on Spark and Dask beside the local engine, two workers each.

``spark`` and ``dask`` are timed on a session and on workers that stand; ``spark_with_start`` makes a session, works,
and ends it. Spark's JVM is no part of the peak memory, nor are the workers.
"""

from __future__ import annotations

import os
from pathlib import Path

from generated_store import generated_store
from harness import Case

import cohort as co
from cohort.engines.engine import Engine

STUDY = Path(__file__).resolve().parents[2] / "examples" / "low_back_pain.toml"
BUCKETS, WORKERS = 64, 2


def _rows(engine: Engine, n: int, folder: Path) -> int:
    """Work on every bucket by itself, 64 tasks; return how many entries are at risk."""
    store, study = generated_store(n, folder, BUCKETS, care=True), co.Study.from_toml(STUDY)
    return sum(part.rows.height for part in engine.map(store, study.bucket_function(store), "cohort"))


def here(n: int, folder: Path):
    """Two threads, each with all the cores that polars finds."""
    generated_store(n, folder, BUCKETS, care=True)
    return lambda: _rows(co.engines.local(), n, folder)


def _spark():
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return co.engines.spark(master=f"local[{WORKERS}]")


def on_spark(n: int, folder: Path):
    """A session that stands."""
    engine = _spark()
    generated_store(n, folder, BUCKETS, care=True)
    return lambda: _rows(engine, n, folder)


def on_spark_with_start(n: int, folder: Path):
    """A session made for the work."""
    generated_store(n, folder, BUCKETS, care=True)

    def run() -> int:
        engine = _spark()
        found = _rows(engine, n, folder)
        engine.session.stop()
        return found

    return run


def on_dask(n: int, folder: Path):
    """Workers that stand."""
    engine = co.engines.dask(workers=WORKERS)
    generated_store(n, folder, BUCKETS, care=True)
    return lambda: _rows(engine, n, folder)


def _same(ours: object, theirs: object) -> bool:
    return ours == theirs


CASES = [
    Case("spark", on_spark, here, "local", _same),
    Case("spark_with_start", on_spark_with_start, here, "local", _same),
    Case("dask", on_dask, here, "local", _same),
]
