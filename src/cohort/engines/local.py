"""The local engine: buckets in order on this machine, as many under way at a time as the memory allows."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, on_workers
from cohort.engines.memory import Budget, budget_of
from cohort.engines.tasks import Result, opened
from cohort.errors import ResourceError
from cohort.store.store import Store

Work = TypeVar("Work")

MOST_AT_A_TIME = 2
"""Threads: one plans in Python while polars works for the other. More would only hold more rows in memory."""


@dataclass(frozen=True, slots=True)
class Local:
    """Buckets in order, a few in memory at a time: in `MOST_AT_A_TIME` threads, or in ``processes``.

    With ``memory`` (bytes) a bucket begins only while what the process holds and what the bucket needs stay below it.
    """

    memory: int | None = None
    processes: int = 0
    name: str = "local"

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`.

        ``function`` runs in several threads, so it must not change what it shares; for processes it must pickle.

        Raises
        ------
        ResourceError
            If not even one bucket fits into the memory, or the system ended a process.
        """
        numbers = range(store.buckets) if buckets is None else buckets
        budget = budget_of(store, self.memory, self.processes)
        results = self._in_processes(store, function, numbers, budget) if self.processes else None
        if results is None:
            results = in_order(lambda number: function(store.bucket(number)), numbers, MOST_AT_A_TIME, budget)
        for done in range(len(numbers)):
            if progress is not None:
                progress(step, done, len(numbers))
            yield next(results)
        if progress is not None:
            progress(step, len(numbers), len(numbers))

    def _in_processes(
        self, store: Store, function: Callable[[Tables], Result], numbers: Sequence[int], budget: Budget | None
    ) -> Iterator[Result]:
        attempt = on_workers(store, function, numbers).attempt
        with polars_threads(max(1, (os.cpu_count() or 1) // self.processes)):  # read when a process starts
            pool = ProcessPoolExecutor(self.processes, mp_context=get_context("spawn"), initializer=_end_with_parent)
            try:
                yield from map(opened, _walk(pool, attempt, range(len(numbers)), self.processes, budget))
            except BrokenProcessPool:
                raise ResourceError(
                    "the system ended a process of the run, most likely for want of memory; allow fewer processes, "
                    "or ingest into more buckets"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def local(*, memory: int | None = None, processes: int = 0) -> Local:
    """Return the engine that walks the buckets on this machine.

    Parameters
    ----------
    memory
        Bytes that the whole process may hold while buckets are under way; default no limit.
    processes
        Number of processes to do the work in, each with its share of the cores; default none but this one.
    """
    return Local(memory, processes)


def in_order(
    function: Callable[[Work], Result], tasks: Iterable[Work], most: int = MOST_AT_A_TIME, budget: Budget | None = None
) -> Iterator[Result]:
    """Yield ``function`` of every task in the order of the tasks, at most ``most`` of them under way in threads."""
    threads = ThreadPoolExecutor(at_a_time := min(most, os.cpu_count() or 1))
    try:
        yield from _walk(threads, function, tasks, at_a_time, budget)
    finally:  # who stops early does not wait for what is under way
        threads.shutdown(wait=False, cancel_futures=True)


def _walk(
    pool: Executor, function: Callable[[Work], Result], tasks: Iterable[Work], most: int, budget: Budget | None
) -> Iterator[Result]:
    """Yield results in the order of the tasks; the next begins when there is room, and one always does."""
    waiting = deque(tasks)
    under_way: deque[Future[Result]] = deque()

    def begin() -> None:
        while waiting and len(under_way) < most:
            if under_way and budget is not None and not budget.has_room(len(under_way)):
                return
            under_way.append(pool.submit(function, waiting.popleft()))

    begin()
    while under_way:
        result = under_way.popleft().result()
        begin()
        yield result


def _end_with_parent() -> None:
    """Leave it to the parent when a worker ends: it alone hears Ctrl-C, and nobody works for a parent that is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def polars_threads(number: int) -> Iterator[None]:
    """Let processes that are started inside use so many threads in polars."""
    before = os.environ.get("POLARS_MAX_THREADS")
    os.environ["POLARS_MAX_THREADS"] = str(number)
    try:
        yield
    finally:
        if before is None:
            del os.environ["POLARS_MAX_THREADS"]
        else:
            os.environ["POLARS_MAX_THREADS"] = before
