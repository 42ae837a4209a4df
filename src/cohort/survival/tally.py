"""Counting rows by cell, compiled on first use: numpy's ``bincount`` copies its numbers and holds Python's lock."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from cohort.survival.compiling import compiled
from cohort.survival.types import Ints


@compiled
def tally(place: NDArray[Any], table: Ints) -> None:
    """Add 1 to ``table`` (cells,) at every ``place`` (n,), which must lie in it."""
    for i in range(place.size):
        table[place[i]] += 1
