"""What is printed of the timings."""

from __future__ import annotations

from collections.abc import Sequence

from cohort.bench.measure import Timing

HEAD = ("persons", "step", "seconds", "rows", "rows/s", "peak MB", "disk MB", "beside ours")


def text(timings: Sequence[Timing]) -> str:
    """Return a table for a terminal: a line per contender, with how long it takes against our step."""
    ours = {(timing.persons, timing.step): timing.seconds for timing in timings if timing.contender == timing.step}
    lines = [HEAD, *(cells(timing, ours) for timing in timings)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 1 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def cells(timing: Timing, ours: dict[tuple[int, str], float]) -> tuple[str, ...]:
    """Return one line: the contender's numbers, and how long it takes against our step."""
    own = ours.get((timing.persons, timing.step))
    beside = "" if timing.contender == timing.step or not own else f"{timing.seconds / own:.1f} ×"
    numbers = (timing.rows, timing.rows_per_s, timing.peak_mb, timing.disk_mb)
    return (
        f"{timing.persons:,}",
        timing.contender,
        f"{timing.seconds:.2f}",
        *(f"{number:,}" for number in numbers),
        beside,
    )
