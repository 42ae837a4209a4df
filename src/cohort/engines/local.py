"""The local engine: buckets one after another on this machine, polars' threads inside each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, Result
from cohort.store.store import Store


@dataclass(frozen=True, slots=True)
class Local:
    """Buckets in sequence: only one bucket's rows are in memory at a time."""

    name: str = "local"

    def map(
        self, store: Store, function: Callable[[Tables], Result], step: str, progress: Progress | None = None
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`."""
        for number in range(store.buckets):
            if progress is not None:
                progress(step, number, store.buckets)
            yield function(store.bucket(number))
        if progress is not None:
            progress(step, store.buckets, store.buckets)


def local() -> Local:
    """Return the engine that walks the buckets on this machine."""
    return Local()
