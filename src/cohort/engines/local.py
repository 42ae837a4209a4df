"""The local engine: buckets in order on this machine, a few of them under way at a time, polars' threads inside each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from cohort.codes.records import Tables
from cohort.store.store import Store

Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told the step's name, what is done and the total."""

MOST_AT_A_TIME = 2
"""Buckets under way: one is planned in Python while polars works on the other. More would only take more memory."""


def map_buckets(
    store: Store, function: Callable[[Tables], Result], step: str, progress: Progress | None = None
) -> Iterator[Result]:
    """Yield ``function`` of every bucket in bucket order; only `MOST_AT_A_TIME` buckets' rows are in memory at a time.

    ``function`` runs in several threads, so it must not change what it shares.
    """
    at_a_time = min(MOST_AT_A_TIME, os.cpu_count() or 1, store.buckets)
    numbers = iter(range(store.buckets))
    with ThreadPoolExecutor(at_a_time) as threads:
        under_way = deque(threads.submit(_run, function, store, number) for number in islice(numbers, at_a_time))
        for done in range(store.buckets):
            if progress is not None:
                progress(step, done, store.buckets)
            result = under_way.popleft().result()
            under_way.extend(threads.submit(_run, function, store, number) for number in islice(numbers, 1))
            yield result
    if progress is not None:
        progress(step, store.buckets, store.buckets)


def _run(function: Callable[[Tables], Result], store: Store, number: int) -> Result:
    return function(store.bucket(number))
