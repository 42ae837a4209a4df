"""What every engine is, and the one task that all of them run: read a bucket, apply a function."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cohort.codes.records import Tables
from cohort.errors import CohortError
from cohort.store.places import absolute
from cohort.store.store import Store

Result = TypeVar("Result")
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
class Task:
    """One bucket's work as it travels to a worker, which reads the store itself: paths travel, rows do not."""

    store: Store
    function: Callable[[Tables], Any]

    def run(self, number: int) -> bytes:
        """Return the pickled result of a bucket."""
        return pickle.dumps(self.function(self.store.bucket(number)), protocol=pickle.HIGHEST_PROTOCOL)

    def attempt(self, number: int) -> tuple[bytes | None, str | None]:
        """Return the pickled result of a bucket, or the pickled error that says which bucket failed and why.

        What a worker raises would be printed by the cluster with its traceback, which may quote a person's values; and
        it would be tried again, though the same bucket gives the same error every time.
        """
        try:
            return self.run(number), None
        except CohortError as error:
            return None, f"bucket {number}: {error}"
        except MemoryError:
            return None, f"bucket {number}: out of memory; give workers more of it, or ingest into more buckets"
        except Exception as error:  # noqa: BLE001 -- whatever it is, only its kind and place may travel
            place = traceback.extract_tb(error.__traceback__)[-1]
            return None, f"bucket {number}: {type(error).__name__} at {Path(place.filename).name}:{place.lineno}"


def on_workers(store: Store, function: Callable[[Tables], Any]) -> Task:
    """Return the task of a function; the store's folder is made absolute, since workers start elsewhere."""
    return Task(Store(absolute(store.path), store.manifest), function)


def opened(number: int, part: bytes | None, failure: str | None) -> Any:
    """Return what a worker sent back.

    Raises
    ------
    CohortError
        If the bucket failed there: which bucket and why, without a person's value.
    """
    if failure is not None or part is None:
        raise CohortError(failure or f"bucket {number}: the worker sent nothing back")
    return pickle.loads(part)  # noqa: S301 -- made by our own workers a moment ago
