"""Make a store of two snapshots of simulated claims: ``python benchmarks/checked_store.py PERSONS FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import cohort as co


def main(n: int, folder: Path) -> None:
    """Commit all persons but the last hundredth first, then all."""
    for persons, name in ((n - n // 100, "first"), (n, "second")):
        co.simulate("low_back_pain", persons=persons, seed=7, out=folder / name)
        co.ingest(folder / name, "tuva", folder / "store", keep_ids=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
