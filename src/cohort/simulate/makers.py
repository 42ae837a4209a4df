"""Makers: processes of their own that make blocks side by side.

A maker is a plain command that reads block numbers from a pipe and writes blocks to another; the lines of a block's
files go through files of their own, which are cheaper than a pipe. So it runs nothing of the program that asked for it:
a notebook, or a script without a main guard, can simulate as well.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue

from cohort.errors import ResourceError
from cohort.simulate.blocks import Made, Request, make_block

FEW = 16
"""Up to this many blocks are made in threads: starting makers would take longer."""
VARIABLES = {
    "POLARS_MAX_THREADS": "1",  # blocks are small: the processes are the parallelism
    # the C library keeps the memory of one block for the next instead of giving it back to the system
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
}
_DEAD = "a process that makes blocks has died; choose fewer workers, or free memory"
_COMMAND = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from cohort.simulate.makers import serve; serve()"
)


class Maker:
    """One process that makes blocks."""

    def __init__(self, request: Request, scratch: Path) -> None:
        """Start it, with a folder for the lines of its blocks; it finds the package where this process did."""
        self._process = subprocess.Popen(  # noqa: S603 -- a fixed command
            [sys.executable, "-c", _COMMAND], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | VARIABLES
        )
        self._send(sys.path)
        self._send((request, scratch))

    def __enter__(self) -> Maker:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        self._process.kill()
        self._process.communicate()

    def make(self, number: int) -> Made:
        """Return one block, whose lines are in files that the caller removes.

        Raises
        ------
        ResourceError
            If the process has died.
        OSError
            If it cannot write its files.
        """
        self._send(number)
        try:
            made: Made | OSError = pickle.load(self._process.stdout)  # type: ignore[arg-type]  # noqa: S301 -- our own
        except (EOFError, pickle.UnpicklingError):
            raise ResourceError(_DEAD) from None
        if isinstance(made, OSError):
            raise made
        return made

    def _send(self, message: object) -> None:
        try:
            pickle.dump(message, self._process.stdin, protocol=5)  # type: ignore[arg-type]  # a pipe was asked for
            self._process.stdin.flush()  # type: ignore[union-attr]  # a pipe was asked for
        except OSError:
            raise ResourceError(_DEAD) from None


def serve() -> None:
    """Make the blocks whose numbers come in, until nobody asks any more: the command of a maker."""
    numbers, blocks = sys.stdin.buffer, sys.stdout.buffer
    request, scratch = pickle.load(numbers)  # noqa: S301 -- from the process that started this one
    while True:
        try:
            number: int = pickle.load(numbers)  # noqa: S301 -- as above
        except EOFError:
            return
        pickle.dump(_made(request, number, scratch), blocks, protocol=5)
        blocks.flush()


def _made(request: Request, number: int, scratch: Path) -> Made | OSError:
    try:
        return _put_down(make_block(request, number), scratch / str(number))
    except OSError as fault:
        return fault


def _put_down(made: Made, place: Path) -> Made:
    """Return a block with its lines in files."""
    parts = dict(made.extracts)
    for number, (name, part) in enumerate(made.extracts.items()):
        if isinstance(part.content, bytes):
            file = place.with_suffix(f".{number}")
            file.write_bytes(part.content)
            parts[name] = replace(part, content=file)
    return replace(made, extracts=parts)


def make_blocks(request: Request, blocks: int, workers: int, folder: Path) -> Iterator[Made]:
    """Yield the blocks in order, made ahead by some workers: threads for a few blocks, processes for many."""
    with ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".blocks-", dir=folder)))
        idle: SimpleQueue[Callable[[int], Made]] = SimpleQueue()
        for _ in range(workers):
            if workers == 1 or blocks <= FEW:
                idle.put(lambda number: make_block(request, number))
            else:
                idle.put(stack.enter_context(Maker(request, scratch)).make)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        ahead: deque[Future[Made]] = deque()
        for number in range(blocks):
            ahead.append(pool.submit(_next, idle, number))
            if len(ahead) > workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _next(idle: SimpleQueue[Callable[[int], Made]], number: int) -> Made:
    """Let an idle worker make a block."""
    worker = idle.get()
    try:
        return worker(number)
    finally:
        idle.put(worker)
