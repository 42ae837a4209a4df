"""The Dask engine: one task a bucket, on a client that the user has or on one made for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, on_workers
from cohort.engines.tasks import Job, Piece, Result, added, group_size, opened
from cohort.errors import ResourceError, StudyError
from cohort.store.store import Store

if TYPE_CHECKING:
    from distributed import Client, Future


@dataclass(frozen=True, slots=True, eq=False)
class Dask:
    """Buckets as tasks of a Dask client."""

    client: Client
    scratch: Path | None = None
    name: str = "dask"

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`, and `Cluster` for what is raised."""
        numbers = range(store.buckets) if buckets is None else buckets
        results = self._answers(on_workers(store, function, numbers))
        for done in range(len(numbers)):
            if progress is not None:
                progress(step, done, len(numbers))
            yield next(results)
        if progress is not None:
            progress(step, len(numbers), len(numbers))

    def each(self, work: Callable[[Piece], Result], pieces: Sequence[Piece], names: Sequence[str]) -> Iterator[Result]:
        """Yield ``work`` of every piece, in the order of the pieces; see `Cluster`."""
        yield from self._answers(Job(work, pieces, names))

    def total(
        self,
        work: Callable[[Piece], Result],
        pieces: Sequence[Piece],
        names: Sequence[str],
        add: Callable[[Result, Result], Result],
    ) -> Result:
        """Return the sum of ``work`` over all pieces; see `Cluster`."""
        futures, size = self._asked(Job(work, pieces, names)), group_size(len(pieces))
        groups = [futures[at : at + size] for at in range(0, len(futures), size)]
        answers = [self.client.submit(added, group, add, pure=False) for group in groups]
        sums: Iterator[Result] = self._opened(answers, [f"{names[at]} and later" for at in range(0, len(pieces), size)])
        return reduce(add, sums)

    def _answers(self, job: Job) -> Iterator[Any]:
        return self._opened(self._asked(job), job.names)

    def _asked(self, job: Job) -> list[Future]:
        # goes once to every worker and not with every task; of what is computed, a lost copy can be made again
        held = self.client.submit(_as_it_is, job, pure=False)
        futures: list[Future] = self.client.map(_attempt, range(len(job.pieces)), job=held, pure=False)
        return futures

    def _opened(self, futures: list[Future], names: Sequence[str]) -> Iterator[Any]:
        """Yield what was answered, in order."""
        for name, future in zip(names, futures, strict=True):
            try:
                answer = future.result()
            except Exception as error:  # noqa: BLE001 -- of many kinds; its text may be a worker's traceback
                self.client.cancel(futures)
                raise ResourceError(f"Dask gave {name} up ({type(error).__name__}); see its own log") from None
            future.release()
            yield opened(answer)


def _as_it_is(job: Job) -> Job:
    return job


def _attempt(at: int, job: Job) -> bytes:
    return job.attempt(at)


def dask(client: Client | None = None, *, workers: int | None = None, scratch: str | Path | None = None) -> Dask:
    """Return the engine on a client; without one, on processes of this machine.

    Parameters
    ----------
    workers
        Number of processes, default one a core; only without a client.
    scratch
        A folder that all workers see, where the analysis table stays while only sums of it travel (`Spread`); default:
        its rows come here.

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
    return Dask(client, None if scratch is None else Path(scratch).resolve())
