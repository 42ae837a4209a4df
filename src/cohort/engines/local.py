"""The local engine: buckets in order on this machine, a few of them under way at a time, polars' threads in each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, Result
from cohort.store.store import Store

Task = TypeVar("Task")

MOST_AT_A_TIME = 2
"""Threads: one plans in Python while polars works for the other. More would only hold more rows in memory."""


@dataclass(frozen=True, slots=True)
class Local:
    """Buckets in order: only `MOST_AT_A_TIME` buckets' rows are in memory at a time."""

    name: str = "local"

    def map(
        self, store: Store, function: Callable[[Tables], Result], step: str, progress: Progress | None = None
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`.

        ``function`` runs in several threads, so it must not change what it shares.
        """
        results = in_order(lambda number: function(store.bucket(number)), range(store.buckets))
        for done in range(store.buckets):
            if progress is not None:
                progress(step, done, store.buckets)
            yield next(results)
        if progress is not None:
            progress(step, store.buckets, store.buckets)


def local() -> Local:
    """Return the engine that walks the buckets on this machine."""
    return Local()


def in_order(function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
    """Yield ``function`` of every task in the order of the tasks, `MOST_AT_A_TIME` of them under way."""
    waiting = iter(tasks)
    at_a_time = min(MOST_AT_A_TIME, os.cpu_count() or 1)
    with ThreadPoolExecutor(at_a_time) as threads:
        under_way = deque(threads.submit(function, task) for task in islice(waiting, at_a_time))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(threads.submit(function, task) for task in islice(waiting, 1))
            yield result
