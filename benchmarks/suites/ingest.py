"""Ingestion of wide claims: ours whole (guard, types, keys, long rows, buckets, hashes) beside DuckDB's plain copy.

The yardstick checks nothing: it copies every cell as text, in the file's order, into one Parquet file.
"""

from __future__ import annotations

import operator
import shutil
import subprocess
import sys
from pathlib import Path

from harness import Case

GENERATOR = Path(__file__).resolve().parents[1] / "wide_claims.py"


def _extract(n: int, folder: Path, options: tuple[str, ...]) -> Path:
    """Return the folder of ``n`` claim lines; the second contender finds the first one's.

    Made by a process of its own, so that what that takes does not count.
    """
    if not (folder / "extract").exists():
        subprocess.run([sys.executable, GENERATOR, str(n), folder, *options], check=True)
    return folder / "extract"


def _case(name: str, memory_limit: str | None = None, options: tuple[str, ...] = ()) -> Case:
    return Case(
        name,
        _Ours(memory_limit, options),
        _Plain(options),
        "duckdb copy",
        same=operator.eq,
    )


class _Ours:
    """Ingest into a new store; every record is loaded or rejected."""

    def __init__(self, memory_limit: str | None, options: tuple[str, ...]) -> None:
        self.memory_limit, self.options = memory_limit, options

    def __call__(self, n: int, folder: Path):
        import cohort as co

        extract = _extract(n, folder, self.options)

        def run() -> int:
            shutil.rmtree(folder / "store", ignore_errors=True)
            store = co.ingest(
                extract, folder / "layout", folder / "store", memory_limit=self.memory_limit, max_reject_rate=1
            )
            return sum(file.loaded + file.rejected for file in store.account.files)

        return run


class _Plain:
    """Copy the same file."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self.options = options

    def __call__(self, n: int, folder: Path):
        import duckdb

        (file,) = _extract(n, folder, self.options).iterdir()
        copy = f"copy (from read_csv('{file}', all_varchar = true)) to '{folder / 'plain.parquet'}' (format parquet)"
        return lambda: duckdb.connect().execute(copy).fetchall()[0][0]


CASES = [
    _case("wide"),
    _case("wide_2gb", memory_limit="2GB"),
    _case("wide_gzip", options=("--gzip",)),
    _case("wide_quarter_rejected", memory_limit="2GB", options=("--bad", "0.25")),
]
