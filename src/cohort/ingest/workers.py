"""Threads that each have an engine of their own, and work that is handed to them piece by piece."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from cohort.ingest.engine import Connection, sandbox

Piece = TypeVar("Piece")
Result = TypeVar("Result")

PER_WORKER = 700 << 20
"""Bytes that a worker may take: a block of a file or a bucket, with what is made of it."""

_UNITS = {"K": 1, "M": 2, "G": 3, "T": 4}


class Workers:
    """Does the same work on many pieces, as many at a time as there are engines.

    The engines, DuckDB and Arrow and polars, let go of Python's lock, so threads do.
    """

    def __init__(self, connections: list[Connection]) -> None:
        self.connections = connections
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        for connection in connections:
            self._idle.put(connection)

    def map(self, work: Callable[[Connection, Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """Yield the result of every piece, in the order of the pieces; few of them are in memory at a time."""
        if len(self.connections) == 1:
            yield from (work(self.connections[0], piece) for piece in pieces)
            return
        pending: deque[Future[Result]] = deque()
        with ThreadPoolExecutor(len(self.connections)) as threads:
            try:
                for piece in pieces:
                    pending.append(threads.submit(self._with_engine, work, piece))
                    if len(pending) > len(self.connections):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _with_engine(self, work: Callable[[Connection, Piece], Result], piece: Piece) -> Result:
        connection = self._idle.get()
        try:
            return work(connection, piece)
        finally:
            self._idle.put(connection)


@contextmanager
def engaged(
    readable: list[Path],
    work: Path,
    memory_limit: str | None,
    threads: int | None,
    prepare: Callable[[Connection], None],
) -> Iterator[Workers]:
    """Open as many engines as threads and memory allow, each prepared alike, with its share of the memory."""
    with ExitStack() as stack:
        number = threads or os.cpu_count() or 1
        if memory_limit:
            number = max(1, min(number, _bytes(memory_limit) // PER_WORKER))
        share = f"{_bytes(memory_limit) // number // 1000}KB" if memory_limit and number > 1 else memory_limit
        connections = []
        for each in range(number):
            folder = work / f"engine-{each}"
            folder.mkdir(exist_ok=True)
            connections.append(stack.enter_context(sandbox([*readable, work], folder, share, 1)))
            prepare(connections[-1])
        yield Workers(connections)


def _bytes(size: str) -> int:
    """Return a size such as 4GB or 500MiB in bytes; what is no size is for the engine to refuse."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])(i?)B", size)
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS[found[2]]) if found else 0
