"""Two programs beside each other in one run: each in a process of its own, timed in turn, with its peak memory.

A contender is a module-level function ``(n, folder) -> Callable[[], object]``: it prepares its input and returns the
call that is timed; a callable with a ``pid`` runs in that process, whose memory is then looked at. Both contenders
warm up once, then take turns, so that a slow minute of the machine falls on both; medians are reported, and the median
of the ratios of each turn.
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

Prepare = Callable[[int, Path], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Case:
    """Ours against a yardstick; ``same`` compares the two answers and must be true."""

    name: str
    ours: Prepare
    yardstick: Prepare
    yardstick_name: str
    same: Callable[[object, object], bool] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results."""

    suite: str
    case: str
    n: int
    ours_s: float
    yardstick: str
    yardstick_s: float
    ratio: float
    peak_mb: float
    yardstick_peak_mb: float


def measure(suite: str, case: Case, n: int, repeats: int) -> Row:
    """Run one case at one size."""
    with tempfile.TemporaryDirectory(prefix="cohort-bench-") as folder:
        contenders = [_Contender(prepare, n, Path(folder)) for prepare in (case.ours, case.yardstick)]
        try:
            answers = [contender.run(keep=case.same is not None)[1] for contender in contenders]
            if case.same is not None and not case.same(*answers):
                raise SystemExit(f"{suite} {case.name} at {n:,}: ours and {case.yardstick_name} disagree")
            turns = [tuple(contender.run()[0] for contender in contenders) for _ in range(repeats)]
            peaks = [contender.peak_mb() for contender in contenders]
        finally:
            for contender in contenders:
                contender.stop()
    ours, theirs = (statistics.median(turn[side] for turn in turns) for side in (0, 1))
    ratio = statistics.median(turn[0] / turn[1] for turn in turns)
    return Row(suite, case.name, n, ours, case.yardstick_name, theirs, ratio, *peaks)


class _Contender:
    """A process that has prepared its input and runs when asked."""

    def __init__(self, prepare: Prepare, n: int, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, child = context.Pipe()
        self._process = context.Process(target=_serve, args=(child, prepare, n, folder))  # may have workers of its own
        self._process.start()
        child.close()
        self._pipe.recv()  # wait until it is ready: the second contender may use what the first has prepared

    def run(self, *, keep: bool = False) -> tuple[float, object]:
        self._pipe.send("keep" if keep else "run")
        return self._pipe.recv()

    def peak_mb(self) -> float:
        self._pipe.send("peak")
        return self._pipe.recv()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, prepare: Prepare, n: int, folder: Path) -> None:
    run = prepare(n, folder)
    # the peak is of the timed call with its input in memory, not of making the input
    process = Path(f"/proc/{getattr(run, 'pid', 'self')}")
    (process / "clear_refs").write_text("5")
    pipe.send("ready")
    while True:
        request = pipe.recv()
        if request == "peak":
            pipe.send(_peak_mb(process))
            continue
        start = time.perf_counter()
        answer = run()
        seconds = time.perf_counter() - start
        pipe.send((seconds, answer if request == "keep" else None))


def _peak_mb(process: Path) -> float:
    status = (process / "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
