"""How much memory a bucket needs, and whether there is room for one more."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import ResourceError, StudyError
from cohort.store.store import Store
from cohort.store.tables import TABLES

FACTOR = 3.0
"""Peak of the process over its resident size before, as a multiple of the largest bucket's decoded rows."""

OF_A_PROCESS = 400 << 20
"""Bytes that a process holds before it reads a row: Python, polars, numpy, numba."""

_WIDTH = {pl.Int8: 1, pl.Int16: 2, pl.Int32: 4, pl.Date: 4, pl.Boolean: 1, pl.String: 16}
"""Bytes of a cell in memory; text of up to 12 bytes is inside its view. Everything else has 8."""

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, slots=True)
class Budget:
    """What the process may hold, what one bucket needs, and how many buckets fit beside each other."""

    limit: int
    need: int
    most: int

    def has_room(self, under_way: int) -> bool:
        """Return whether one more bucket may begin: results pile up, so what is held now counts too."""
        return under_way < self.most and resident() + self.need <= self.limit


def memory_of(text: str) -> int:
    """Return the bytes of an amount of memory such as ``4GB``; a unit is a power of 1,000.

    Raises
    ------
    StudyError
        If it is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", text.strip(), flags=re.IGNORECASE)
    if found is None or not float(found[1]):
        raise StudyError("--memory is an amount such as 4GB or 512MB")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def budget_of(store: Store, memory: int | None, processes: int = 0) -> Budget | None:
    """Return the budget of a walk over the buckets of a store; none without a limit.

    Raises
    ------
    ResourceError
        If not even one bucket fits.
    """
    if memory is None:
        return None
    need = need_of_bucket(store) + (OF_A_PROCESS if processes else 0)
    most = (memory - resident()) // need
    if most < 1:
        raise ResourceError(
            f"a bucket of this store needs about {_shown(need)} beside the {_shown(resident())} that are held, more "
            f"than --memory {_shown(memory)}; allow more, or ingest into more than {store.buckets} buckets"
        )
    return Budget(memory, need, most)


def need_of_bucket(store: Store) -> int:
    """Return the bytes that work on the largest bucket of a store needs at its peak, estimated from its manifest."""
    sizes: Counter[int] = Counter()
    for name, files in store.manifest.tables.items():
        width = sum(_WIDTH.get(type(dtype), 8) for dtype in TABLES[name].schema.values())
        for file in files:
            sizes[file.bucket] += file.rows * width
    return int(FACTOR * max(sizes.values(), default=0)) + 1


def resident() -> int:
    """Return the bytes of memory that this process holds; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _shown(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{max(size / 1e6, 1):.0f} MB"
