"""What a person sees while a step runs: a bar on a terminal, one log line per finished step elsewhere."""

from __future__ import annotations

import json
import sys
import time
from enum import StrEnum
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class LogFormat(StrEnum):
    """How steps are logged where there is no terminal."""

    TEXT = "text"
    JSON = "json"


class Reporter:
    """Callable as ``reporter(step, done, total)``; use it as a context manager.

    Log lines carry the step and its seconds, never a value of a row.
    """

    def __init__(self, as_json: bool = False) -> None:
        """Write bars to a terminal on standard error, log lines otherwise."""
        self._console = Console(stderr=True)
        self._json = as_json
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._json:
            columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` units of a step are finished."""
        self._started.setdefault(step, time.monotonic())
        if self._bars is not None:
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=total)
            self._bars.update(self._tasks[step], completed=done, total=total)
        elif done == total:
            self._log(step, total)

    def warn(self, code: str, message: str) -> None:
        """Say what is doubtful about the design; the run goes on."""
        if self._json:
            print(json.dumps({"warning": code, "message": message}, ensure_ascii=False), file=sys.stderr)
        else:
            print(f"cohort: warning: {message}", file=sys.stderr)

    def _log(self, step: str, total: int) -> None:
        seconds = round(time.monotonic() - self._started.pop(step), 3)
        if self._json:
            print(json.dumps({"step": step, "units": total, "seconds": seconds}), file=sys.stderr)
        else:
            print(f"cohort: {step}: done in {seconds:.1f} s", file=sys.stderr)
