"""What a person sees while a step runs: a bar on a terminal, one log line per finished step elsewhere."""

from __future__ import annotations

import json
import resource
import sys
import time
from enum import StrEnum
from types import TracebackType
from typing import Annotated, Any, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class LogFormat(StrEnum):
    """How steps are logged where there is no terminal."""

    TEXT = "text"
    JSON = "json"


class RateColumn(ProgressColumn):
    """Units of a step per second: over the last seconds, or since it began where there was one sign of life only."""

    def render(self, task: Task) -> Text:
        """Return the rate, or nothing while there is none."""
        since = task.completed / task.elapsed if task.completed and task.elapsed else None
        return Text(rate(task.finished_speed or task.speed or since), justify="right")


def rate(speed: float | None) -> str:
    """Return units per second with few digits; bytes come in millions."""
    if speed is None:
        return ""
    size, unit = next((one for one in ((1e9, " G"), (1e6, " M"), (1e3, " k")) if speed >= 10 * one[0]), (1.0, ""))
    return f"{speed / size:,.0f}{unit}/s" if speed >= 10 else f"{speed:.1f}/s"


LogOption = Annotated[LogFormat, typer.Option("--log-format", help="Log lines as text or JSON in a batch job.")]
"""The option of every command that takes long."""


class Reporter:
    """Callable as ``reporter(step, done, total)``; use it as a context manager.

    Log lines carry the run, the step, its rows and seconds and the peak of memory, never a value of a row.
    """

    def __init__(self, as_json: bool = False) -> None:
        """Write bars to a terminal on standard error, log lines otherwise."""
        self.run_id: str | None = None
        """The run that the lines belong to; none for what is no run."""
        self.rows: dict[str, int] = {}
        """How many rows a step goes through, where that is known."""
        self._console = Console(stderr=True)
        self._json = as_json
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._json:
            columns = (TextColumn("{task.description:<12}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
            self._bars = Progress(
                *columns, RateColumn(), TimeElapsedColumn(), TimeRemainingColumn(), console=self._console
            )
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
            self._line(warning=code, message=message)
        else:
            print(f"cohort: warning: {message}", file=sys.stderr)

    def say(self, what: str, message: str, **numbers: int) -> None:
        """Say in a batch job what has been decided or estimated; a terminal has the bars."""
        if self._json:
            self._line(**{what: message}, **numbers)
        elif self._bars is None:
            print(f"cohort: {message}", file=sys.stderr)

    def _log(self, step: str, total: int) -> None:
        seconds = round(time.monotonic() - self._started.pop(step), 3)
        if self._json:
            rows = {"rows": self.rows[step]} if step in self.rows else {}
            self._line(step=step, units=total, **rows, seconds=seconds, peak_mb=peak_mb())
        else:
            print(f"cohort: {step}: done in {seconds:.1f} s", file=sys.stderr)

    def _line(self, **what: Any) -> None:
        run = {} if self.run_id is None else {"run": self.run_id}
        print(json.dumps({**run, **what}, ensure_ascii=False), file=sys.stderr)


def peak_mb() -> int:
    """Return the most memory that this process or one that it waited for has held, in MB of 2**20 bytes."""
    per_mb = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes elsewhere
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) // per_mb
