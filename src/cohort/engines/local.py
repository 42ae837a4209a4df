"""The local engine: buckets in order on this machine, two under way at a time, polars' threads inside each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from cohort.codes.records import Tables
from cohort.store.store import Store

Task = TypeVar("Task")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told the step's name, what is done and the total."""

MOST_AT_A_TIME = 2
"""Threads: one plans in Python while polars works for the other. More would only hold more rows in memory."""


def map_buckets(
    store: Store, function: Callable[[Tables], Result], step: str, progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``function`` of every bucket in bucket order; only `MOST_AT_A_TIME` buckets' rows are in memory at a time.

    ``function`` runs in several threads, so it must not change what it shares.
    """
    results = in_order(lambda number: function(store.bucket(number)), range(store.buckets))
    for done in range(store.buckets):
        if progress is not None:
            progress(step, done, store.buckets)
        yield next(results)
    if progress is not None:
        progress(step, store.buckets, store.buckets)


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
