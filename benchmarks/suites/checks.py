"""`cohort check` of a store beside reading the same columns of the same files with polars.

The rules read every column of every table and, for drift, those of the snapshot before. The yardstick reads all that
once, column by column, and asks of each only its nulls, bounds and distinct values: what any look at data quality must
do at least, and none of the rules that relate rows or tables to each other.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import Case

GENERATOR = Path(__file__).resolve().parents[1] / "checked_store.py"


def _store(n: int, folder: Path) -> Path:
    """Return a store of ``n`` simulated persons with two snapshots; the second contender finds the first one's.

    Made by a process of its own, so that what that takes does not count.
    """
    if not (folder / "store").exists():
        subprocess.run([sys.executable, GENERATOR, str(n), folder], check=True)
    return folder / "store"


def _ours(n: int, folder: Path):
    import cohort as co

    store = _store(n, folder)

    def run() -> int:
        found = co.check(store)
        return sum(judged.parts_examined > 0 for judged in found.judgements) > 60

    return run


def _reading(n: int, folder: Path):
    import polars as pl

    from cohort.store.store import Store

    store = _store(n, folder)

    def run() -> bool:
        seen = 0
        for snapshot in (1, 2):
            opened = Store.open(store, as_of=snapshot)
            for table in opened.manifest.tables:
                rows = opened.scan(table)
                for name in rows.collect_schema().names():
                    column = pl.col(name)
                    asked = {"nulls": column.null_count(), "least": column.min(), "most": column.max()}
                    seen += rows.select(**asked, distinct=column.n_unique()).collect().width
        return seen > 60

    return run


CASES = [Case("check", _ours, _reading, "polars reading", same=lambda ours, theirs: bool(ours) and bool(theirs))]
