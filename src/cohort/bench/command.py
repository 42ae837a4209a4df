"""``cohort bench``: the command; `cohort.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from cohort.errors import CohortError, StudyError
from cohort.progress import LogFormat, LogOption, Reporter


def bench(
    sizes: Annotated[
        str, typer.Option(metavar="NUMBERS", help="Numbers of persons, such as 1e4,1e5; those that fit are run.")
    ] = "1e4,1e5,1e6",
    out: Annotated[Path, typer.Option("--out", help="Folder for bench.csv, bench.json and bench.svg.")] = Path("bench"),
    work: Annotated[Path | None, typer.Option(help="Folder with room for the data; default: the system's.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Turns of every step; the median counts.")] = 1,
    compare: Annotated[Path | None, typer.Option(help="bench.csv of an earlier run; slower steps fail.")] = None,
    factor: Annotated[float, typer.Option(min=1.0, help="How many times as long a step may take.")] = 1.3,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Time every step of the demo study on this machine, beside what else is installed; exit code 1 if slower."""
    from cohort.bench.measure import measure, read, slower, write
    from cohort.bench.tables import text
    from cohort.report.figures_scaling import Line, scaling

    before = read(compare) if compare else []
    numbers = _numbers(sizes)
    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        timings = measure(numbers, work or Path(gettempdir()), turns, reporter)
    out.mkdir(parents=True, exist_ok=True)
    write(timings, out / "bench.csv")
    points = [Line(timing.contender, timing.persons, timing.seconds, timing.peak_mb) for timing in timings]
    (out / "bench.svg").write_text(scaling(points), encoding="utf-8")
    typer.echo(text(timings))
    left_out = sorted({*numbers} - {timing.persons for timing in timings})
    if left_out:
        typer.echo(f"left out, since they do not fit here: {', '.join(f'{n:,}' for n in left_out)} persons")
    typer.echo(f"table: {out / 'bench.csv'} · figure: {out / 'bench.svg'}")
    if lines := slower(timings, before, factor):
        raise CohortError(f"slower than {factor} times before:\n" + "\n".join(lines))


def _numbers(text: str) -> list[int]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [0.0]
    if not all(number >= 1 and number.is_integer() for number in numbers):
        raise StudyError(f"--sizes {text!r}: give whole numbers of persons with commas between, such as 1e4,1e5")
    return sorted({int(number) for number in numbers})
