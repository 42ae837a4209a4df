"""Ingestion: ours whole (guard, types, keys, long rows, buckets, hashes) beside DuckDB's plain copy of the same files.

The yardstick checks nothing: it copies every cell as text, in the file's order, into one Parquet file. `wide` are claim
lines with five diagnoses and no claims logic; `tuva` is what a user meets first, simulated persons in the Tuva layout:
eligibility, medical and pharmacy claims, with versions of claims settled and seven tables written.
"""

from __future__ import annotations

import operator
import shutil
import subprocess
import sys
from pathlib import Path

from harness import Case

SIMULATE = """
import sys
from cohort.simulate.run import simulate
simulate("low_back_pain", persons=int(sys.argv[1]), layout="tuva", out=sys.argv[2])
"""
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


def _tuva_extract(n: int, folder: Path) -> Path:
    """Return the folder of the claims of ``n`` simulated persons, made by a process of its own."""
    if not (folder / "extract").exists():
        subprocess.run([sys.executable, "-c", SIMULATE, str(n), folder / "extract"], check=True)
    return folder / "extract"


def _tuva(n: int, folder: Path):
    """Ingest a Tuva extract into a new store; every record is loaded or rejected."""
    import cohort as co

    extract = _tuva_extract(n, folder)

    def run() -> int:
        shutil.rmtree(folder / "store", ignore_errors=True)
        return sum(file.loaded + file.rejected for file in co.ingest(extract, "tuva", folder / "store").account.files)

    return run


def _tuva_plain(n: int, folder: Path):
    """Copy the same files, one by one."""
    import duckdb

    copies = [
        f"copy (from read_csv('{file}', all_varchar = true)) to '{folder / file.stem}.parquet' (format parquet)"
        for file in sorted(_tuva_extract(n, folder).glob("*.csv"))
    ]
    return lambda: sum(duckdb.connect().execute(copy).fetchall()[0][0] for copy in copies)


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
    Case("tuva", _tuva, _tuva_plain, "duckdb copy", same=operator.eq),
    _case("wide"),
    _case("wide_2gb", memory_limit="2GB"),
    _case("wide_gzip", options=("--gzip",)),
    _case("wide_quarter_rejected", memory_limit="2GB", options=("--bad", "0.25")),
]
