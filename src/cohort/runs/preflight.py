"""What a run will need, estimated from the manifest before a row is read; a disk that is too full refuses the run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cohort.engines.memory import OF_A_PROCESS, need_of_bucket, resident
from cohort.errors import ResourceError
from cohort.store.store import Store

if TYPE_CHECKING:
    from cohort.study import Study

PAGE = 64 << 20
"""Bytes on disk for what is released, far more than any report so far."""

_OF_AN_ENTRY, _OF_A_COVARIATE = 40, 9
"""Bytes of a row of the analysis table, and of each covariate in it; on disk they are compressed, which is not counted
on."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes that a run needs at most: in memory, on the store's disk, on the disk of the results.

    Every person of the store is taken to enter once, so where persons enter several times it may be more.
    """

    memory: int
    store_disk: int
    out_disk: int


def estimate(study: Study, store: Store, at_a_time: int) -> Estimate:
    """Return what a run needs with so many buckets under way."""
    persons = sum(file.rows for file in store.manifest.tables.get("person", ()))
    table = persons * (_OF_AN_ENTRY + _OF_A_COVARIATE * len(study.covariates))
    who = 16 * persons
    return Estimate(max(resident(), OF_A_PROCESS) + at_a_time * need_of_bucket(store) + 2 * table, table + who, PAGE)


def check_disk(needed: Estimate, store: Path | None, out: Path) -> None:
    """Refuse a run that the disks cannot hold.

    Parameters
    ----------
    store
        The store's folder; none if nothing is kept there.

    Raises
    ------
    ResourceError
        Naming the folder, what it needs, and what is free.
    """
    wanted = [(out, needed.out_disk)]
    if store is not None and store.stat().st_dev == out.stat().st_dev:
        wanted = [(out, needed.out_disk + needed.store_disk)]
    elif store is not None:
        wanted.append((store, needed.store_disk))
    for folder, size in wanted:
        free = shutil.disk_usage(folder).free
        if free < size:
            raise ResourceError(
                f"the run needs up to {_megabytes(size)} on the disk of {folder}, which has {_megabytes(free)} free; "
                "nothing was written. Free space and run again"
            )


def rows_of(store: Store) -> int:
    """Return the rows of all tables of a snapshot."""
    return sum(file.rows for files in store.manifest.tables.values() for file in files)


def _megabytes(size: int) -> str:
    return f"{-(-size // 2**20):,} MB"
