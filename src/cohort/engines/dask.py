"""The Dask engine: one task a bucket, on a client that the user has or on one made for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, Result, on_workers, opened
from cohort.errors import ResourceError, StudyError
from cohort.store.store import Store

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, slots=True, eq=False)
class Dask:
    """Buckets as tasks of a Dask client."""

    client: Client
    name: str = "dask"

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`.

        Raises
        ------
        CohortError
            If a bucket failed: which, and why.
        ResourceError
            If Dask gave the job up.
        """
        numbers = range(store.buckets) if buckets is None else buckets
        futures = self.client.map(on_workers(store, function).attempt, numbers, pure=False)
        for done, (number, future) in enumerate(zip(numbers, futures, strict=True)):
            if progress is not None:
                progress(step, done, len(numbers))
            try:
                part, failure = future.result()
            except Exception as error:  # noqa: BLE001 -- of many kinds; its text may be a worker's traceback
                self.client.cancel(futures)
                raise ResourceError(f"Dask gave bucket {number} up ({type(error).__name__}); see its own log") from None
            future.release()
            yield opened(number, part, failure)
        if progress is not None:
            progress(step, len(numbers), len(numbers))


def dask(client: Client | None = None, *, workers: int | None = None) -> Dask:
    """Return the engine on a client; without one, on processes of this machine.

    Parameters
    ----------
    workers
        Number of processes, default one a core; only without a client.

    Raises
    ------
    StudyError
        If Dask is not installed.
    """
    try:
        from distributed import Client as Connection
    except ImportError:
        raise StudyError("the Dask engine needs dask and distributed; install cohort with the extra `dask`") from None
    if client is None:
        client = Connection(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    return Dask(client)
