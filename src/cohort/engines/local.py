"""The local engine: buckets one after another on this machine, polars' threads inside each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from cohort.codes.records import Tables
from cohort.store.store import Store

Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told the step's name, what is done and the total."""


def map_buckets(
    store: Store, function: Callable[[Tables], Result], step: str, progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``function`` of every bucket in bucket order; only one bucket's rows are in memory at a time."""
    for number in range(store.buckets):
        if progress is not None:
            progress(step, number, store.buckets)
        yield function(store.bucket(number))
    if progress is not None:
        progress(step, store.buckets, store.buckets)
