"""What every engine is, and what all of them do: read a bucket, apply a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cohort.codes.records import Tables
from cohort.engines.tasks import Job, Result
from cohort.store.places import absolute
from cohort.store.store import Store

Progress = Callable[[str, int, int], None]
"""Told the step's name, what is done and the total."""


class Engine(Protocol):
    """A way to walk over the buckets of a store."""

    @property
    def name(self) -> str:
        """What the command line calls it."""

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order.

        Parameters
        ----------
        function
            A pure function of one bucket's tables; for a cluster it must pickle, and so must its result.
        step
            What progress is reported as.
        buckets
            Only these, in this order; default all.
        """


@dataclass(frozen=True, slots=True)
class OfBucket:
    """A function of a bucket's tables as one of its number: paths travel, the worker reads the rows itself."""

    store: Store
    function: Callable[[Tables], Any]

    def __call__(self, number: int) -> Any:
        """Read a bucket and apply the function."""
        return self.function(self.store.bucket(number))


def on_workers(store: Store, function: Callable[[Tables], Any], numbers: Sequence[int]) -> Job:
    """Return the work on some buckets; the store's folder is made absolute, since workers start elsewhere."""
    work = OfBucket(Store(absolute(store.path), store.manifest), function)
    return Job(work, numbers, [f"bucket {number}" for number in numbers])
