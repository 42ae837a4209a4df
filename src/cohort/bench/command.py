"""``cohort bench``: the command; `cohort.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from cohort.errors import CohortError, StudyError
from cohort.progress import LogFormat, LogOption, Reporter

TIMED, GRADED = "1e4,1e5,1e6", "6e3"
"""Default sizes: persons of a population that is timed, mean persons of a replicate that is graded."""


def bench(
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS",
            help="Numbers of persons, such as 1e4,1e5; those that fit are run. "
            f"Default: {TIMED}; with --validity {GRADED}, the persons of one replicate.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for the tables and the figure.")] = Path("bench"),
    work: Annotated[Path | None, typer.Option(help="Folder with room for the data; default: the system's.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Turns of every step; the median counts.")] = 1,
    compare: Annotated[Path | None, typer.Option(help="bench.csv of an earlier run; slower steps fail.")] = None,
    factor: Annotated[float, typer.Option(min=1.0, help="How many times as long a step may take.")] = 1.3,
    validity: Annotated[
        bool, typer.Option("--validity", help="Instead of timing, hold estimates against the known truth of scenarios.")
    ] = False,
    replicates: Annotated[int, typer.Option(min=1, help="With --validity: replicates of each scenario.")] = 400,
    scenario: Annotated[
        list[str] | None, typer.Option(help="With --validity: a scenario, may be repeated; default: all.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="With --validity: populations side by side, 4.5 GB each.")] = 1,
    log_format: LogOption = LogFormat.TEXT,
) -> None:
    """Time every step of the demo study on this machine, beside what else is installed; exit code 1 if slower.

    With --validity, write the scoreboard of bias, coverage and width; stopped and started again, it goes on.
    """
    if validity:
        _grade(scenario or [], _numbers(sizes or GRADED), replicates, out, jobs, log_format)
    else:
        _time(_numbers(sizes or TIMED), out, work, turns, compare, factor, log_format)


def _time(
    numbers: list[int],
    out: Path,
    work: Path | None,
    turns: int,
    compare: Path | None,
    factor: float,
    log_format: LogFormat,
) -> None:
    from cohort.bench.measure import measure, read, slower, write
    from cohort.bench.tables import text
    from cohort.report.figures_scaling import Line, scaling

    before = read(compare) if compare else []
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


def _grade(
    scenarios: list[str], sizes: list[int], replicates: int, out: Path, jobs: int, log_format: LogFormat
) -> None:
    """Add the replicates that are missing in ``out/validity`` and write the scoreboard ``out/validity.csv``."""
    from cohort.simulate import load_scenario, shipped_scenarios
    from cohort.validity.board import board, lines
    from cohort.validity.replicates import add_missing

    names = scenarios or list(shipped_scenarios())
    for name in names:
        load_scenario(name)  # an unknown one is refused before anything is computed
    with Reporter(as_json=log_format is LogFormat.JSON) as reporter:
        add_missing(names, sizes, replicates, out / "validity", jobs=jobs, progress=reporter)
    table = board(out / "validity", names)
    table.write_csv(out / "validity.csv")
    typer.echo("\n".join(lines(table)))
    typer.echo(f"scoreboard: {out / 'validity.csv'}")


def _numbers(text: str) -> list[int]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = [0.0]
    if not all(number >= 1 and number.is_integer() for number in numbers):
        raise StudyError(f"--sizes {text!r}: give whole numbers of persons with commas between, such as 1e4,1e5")
    return sorted({int(number) for number in numbers})
