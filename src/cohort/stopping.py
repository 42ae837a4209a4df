"""Stopping before the end: Ctrl-C, SIGTERM and a time limit all unwind the work, so that nothing half-done stays."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SAID = {
    signal.SIGINT: "stopped by Ctrl-C",
    signal.SIGTERM: "stopped by SIGTERM",
    signal.SIGALRM: "stopped: the time of --timeout is over",
}
_AGAIN = 2.0
"""Seconds until `Stop` is raised again: where Python calls back from a library, an exception may go no further."""

_reason: list[str] = []  # what the first signal was


class Stop(BaseException):
    """Raised in the main thread when a signal comes; no ``except Exception`` on the way may take it for a failure."""


def stop_on_signals() -> None:
    """Turn Ctrl-C and SIGTERM into `Stop`; the second of a kind ends the process at once, which costs no result."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and shells that start jobs in the background
            signal.signal(number, _stop)


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `Stop` in the main thread after so many seconds of elapsed time, whatever the clock on the wall does."""
    if seconds is None:
        yield
        return
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        stopped()
        signal.signal(signal.SIGALRM, before)


def stopped() -> None:
    """Say that a `Stop` was heard, or that there is nothing to stop any more: it is not raised again."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    _reason.clear()


def end_now(code: int) -> NoReturn:
    """End the process without waiting for threads that are still at work on what nobody will read."""
    os._exit(code)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    _reason.append(_SAID[signal.Signals(number)])
    if number != signal.SIGALRM:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Stop(_reason[0])
