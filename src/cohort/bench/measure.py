"""Steps run at growing sizes, as far as the machine's disk and memory go: seconds, rows, peak memory, disk."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from cohort.bench.steps import STEPS
from cohort.errors import InputRefusedError, ResourceError
from cohort.results.provenance import installed_versions

SIZES = (10_000, 100_000, 1_000_000)
BYTES_PER_PERSON = 8_000
"""Disk that a size needs, extracts, staging and store together: 6,100 were measured at a million persons."""
MEMORY_PER_PERSON = 2_000
LEAST_MEMORY = 2_500_000_000
"""Memory that the largest step needs: 2.3 GB at most were measured from ten thousand to a million persons."""
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Timing:
    """One contender at one size: the median of its turns, and the most memory and disk of any.

    ``disk_mb`` is what the work folder grew to while it ran, over what it held before.
    """

    persons: int
    step: str
    contender: str
    seconds: float
    rows: int
    rows_per_s: int
    peak_mb: int
    disk_mb: int
    turns: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One run of one contender."""

    seconds: float
    rows: int
    peak_mb: float
    disk_mb: float


def measure(
    sizes: Iterable[int], work: Path, turns: int = 1, progress: Callable[[str, int, int], None] | None = None
) -> list[Timing]:
    """Time every step at every size that fits; a size that does not is left out, and so are larger ones.

    Raises
    ------
    ResourceError
        If not even the smallest fits, or a step fails.
    """
    found: list[Timing] = []
    for persons in sorted(sizes):
        if reason := does_not_fit(persons, work):
            if not found:
                raise ResourceError(f"{persons:,} persons {reason}; give smaller sizes or another work folder")
            break
        with TemporaryDirectory(prefix="cohort-bench-", dir=work) as folder:
            for number, contender in enumerate(STEPS):
                if progress is not None:
                    progress(f"{persons:,} persons", number, len(STEPS))
                found.append(
                    _timing(contender, persons, [_turn(contender, Path(folder), persons) for _ in range(turns)])
                )
        if progress is not None:
            progress(f"{persons:,} persons", len(STEPS), len(STEPS))
    return found


def does_not_fit(persons: int, work: Path) -> str:
    """Return why a size would not fit on this machine, or nothing."""
    disk = shutil.disk_usage(work).free
    if persons * BYTES_PER_PERSON > disk:
        return f"need about {persons * BYTES_PER_PERSON / 1e9:.1f} GB of disk, and {disk / 1e9:.1f} are free"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if LEAST_MEMORY + persons * MEMORY_PER_PERSON > memory:
        return f"need more than this machine's {memory / 1e9:.1f} GB of memory"
    return ""


def _timing(contender: str, persons: int, turns: list[Turn]) -> Timing:
    seconds = median(turn.seconds for turn in turns)
    rows = turns[0].rows
    peak, disk = (round(max(getattr(turn, name) for turn in turns)) for name in ("peak_mb", "disk_mb"))
    rate = round(rows / seconds)
    return Timing(persons, STEPS[contender].beside, contender, round(seconds, 4), rows, rate, peak, disk, len(turns))


def _turn(contender: str, work: Path, persons: int) -> Turn:
    """Run one contender in a process of its own, with an eye on the work folder."""
    for left_over in _OUTPUTS.get(contender, ()):
        shutil.rmtree(work / left_over, ignore_errors=True)
    before, most, done = _size(work), [0], threading.Event()

    def watch() -> None:
        while not done.wait(_POLL):
            most[0] = max(most[0], _size(work) - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        command = [sys.executable, "-m", "cohort.bench.steps", contender, str(work), str(persons)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 -- our own module
    finally:
        done.set()
        watcher.join()
    if ran.returncode:
        last = ran.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ResourceError(f"{contender} at {persons:,} persons failed: {last[0]}")
    answer = json.loads(ran.stdout.splitlines()[-1])
    return Turn(answer["seconds"], answer["rows"], answer["peak_mb"], max(most[0], _size(work) - before) / 1e6)


_OUTPUTS = {"simulate": ("extracts",), "ingest": ("store",), "report": ("report",)}
"""What a turn makes anew."""


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # gone since it was listed
            continue
    return total


# Tables -------------------------------------------------------------------------------------------------------------


def write(timings: Sequence[Timing], path: Path) -> None:
    """Write the timings as CSV, and beside them, as JSON, the machine and the versions that they are from."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in dataclasses.fields(Timing)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(dataclasses.asdict(timing) for timing in timings)
    machine = {
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    document = {"machine": machine, "versions": installed_versions()}
    path.with_suffix(".json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[Timing]:
    """Read the timings of an earlier run.

    Raises
    ------
    InputRefusedError
        If the file is not such a table.
    """
    types = {
        field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in dataclasses.fields(Timing)
    }
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [Timing(**{name: make(row[name]) for name, make in types.items()}) for row in csv.DictReader(stream)]
    except OSError as error:
        raise InputRefusedError(f"{path}: {error.strerror or 'cannot be read'}; give a CSV of `cohort bench`") from None
    except (KeyError, ValueError, TypeError):
        raise InputRefusedError(f"{path}: not a table of `cohort bench`; give the CSV that it wrote") from None


def slower(now: Sequence[Timing], before: Sequence[Timing], factor: float) -> list[str]:
    """Return a line for each of our steps that takes more than ``factor`` times as long as before at the same size.

    A step of less than a tenth of a second is noise and is not judged.
    """
    known = {(timing.persons, timing.contender): timing.seconds for timing in before}
    lines = []
    for timing in now:
        was = known.get((timing.persons, timing.contender))
        if timing.contender == timing.step and was is not None and timing.seconds > max(factor * was, 0.1):
            lines.append(
                f"{timing.contender} at {timing.persons:,} persons: {timing.seconds:.2f} s, before {was:.2f} s "
                f"({timing.seconds / was:.2f} ×)"
            )
    return lines
