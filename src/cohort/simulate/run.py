"""Simulation runs: blocks of the world written one after the other, so that memory stays flat."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import ResourceError, StudyError
from cohort.simulate.blocks import FORMATS, Format, Made, Request
from cohort.simulate.counts import TruthCounts, no_counts
from cohort.simulate.dirt import LEDGER
from cohort.simulate.drafts import Drafts
from cohort.simulate.effects import finish
from cohort.simulate.layouts import LAYOUTS
from cohort.simulate.makers import make_blocks
from cohort.simulate.scenario import load_scenario
from cohort.simulate.streams import BLOCK

MOST_PERSONS = 10_000_000
LEDGER_FILE = "truth/ledger.csv"

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a run has written.

    Attributes
    ----------
    files
        The extract files, in the order of the layout.
    truth
        Folder of the truth beside them.
    persons, seed, dirt, layout
        As asked for.
    rows
        Extract file name → rows; in a text format, physical lines without the header.
    defects
        Defects planted, as many as the ledger has lines.
    scenario, scenario_hash
        Name and SHA-256 of the parameters.
    """

    files: tuple[Path, ...]
    truth: Path
    persons: int
    rows: dict[str, int]
    defects: int
    seed: int
    dirt: float
    layout: str
    scenario: str
    scenario_hash: str


def simulate(
    scenario: str | Path = "low_back_pain",
    persons: int = 2000,
    seed: int = 7,
    layout: str = "tuva",
    *,
    out: str | Path,
    dirt: float = 0.0,
    format: Format = "csv",
    workers: int = 2,
    progress: Progress | None = None,
) -> Simulation:
    """Write the extracts of a simulated population, and the truth beside them in ``out/truth``.

    Parameters
    ----------
    scenario
        Name of a shipped scenario, or a TOML file.
    persons, seed
        1 to 10,000,000 persons; the same seed gives the same bytes, and the first persons of a larger population.
    layout, out, dirt
        Layout of the files, the folder they are written to (made if need be), and 0 (spotless) to 1 (hostile).
    format, workers
        ``csv``, ``csv.gz`` or ``parquet`` (with the defects that typed cells can hold), and blocks made side by side.
    progress
        Called with blocks done and blocks in all.

    Raises
    ------
    StudyError
        If the scenario or an argument asks for something impossible.
    ResourceError
        If the files cannot be written.
    """
    plan = load_scenario(scenario)
    request = Request(plan, persons, seed, dirt, layout, format)
    _check(request, workers)
    folder = Path(out)
    try:
        rows, defects = _write(request, folder, workers, progress)
    except OSError as fault:
        raise ResourceError(f"cannot write to {folder}: {fault.strerror or type(fault).__name__}") from None
    files = tuple(folder / name for name in rows)
    return Simulation(
        files, folder / "truth", persons, rows, defects, seed, dirt, layout, scenario=plan.name, scenario_hash=plan.hash
    )


def _check(request: Request, workers: int) -> None:
    if not 1 <= request.persons <= MOST_PERSONS:
        raise StudyError(f"persons must be 1 to {MOST_PERSONS:,}, not {request.persons}")
    if not 0 <= request.seed < 2**64:
        raise StudyError("seed must be 0 or a positive number below 2^64")
    if request.layout not in LAYOUTS:
        raise StudyError(f"layout {request.layout} cannot be simulated; choose one of {', '.join(LAYOUTS)}")
    if request.format not in FORMATS:
        raise StudyError(f"format {request.format} cannot be written; choose one of {', '.join(FORMATS)}")
    if not 0 <= request.dirt <= 1:
        raise StudyError(f"dirt must lie between 0 and 1, not {request.dirt}")
    if workers < 1:
        raise StudyError(f"workers must be at least 1, not {workers}")


def _write(request: Request, folder: Path, workers: int, progress: Progress | None) -> tuple[dict[str, int], int]:
    """Write every block; return rows by extract file, and the number of defects."""
    blocks = -(-request.persons // BLOCK)
    counts = no_counts(request.scenario)
    rows: dict[str, int] = {}
    defects = 0
    with Drafts(folder) as drafts:
        drafts.append_bytes(LEDGER_FILE, f"{','.join(LEDGER)}\n".encode())
        for number, made in enumerate(make_blocks(request, blocks, workers, folder)):
            defects += _append_extracts(drafts, made, rows)
            for name, frame in made.truth.items():
                drafts.append_parquet(f"truth/{name}.parquet", frame)
            counts += made.counts
            if progress is not None:
                progress(number + 1, blocks)
        drafts.append_bytes("truth/truth.json", _truth_json(request, counts))
    return rows, defects


def _append_extracts(drafts: Drafts, made: Made, rows: dict[str, int]) -> int:
    """Append one block to the extract files and to the ledger; return the number of its defects."""
    defects = 0
    for name, part in made.extracts.items():
        if isinstance(part.content, pl.DataFrame):
            drafts.append_parquet(name, part.content)
        else:
            drafts.append_bytes(name, b"" if name in rows else part.header)
            drafts.append_bytes(name, part.content)
        before = rows.setdefault(name, 0) + 1  # the header is line 1
        ledger = part.ledger.select(pl.lit(name).alias("file"), pl.all()).with_columns(
            pl.col("line", "original_line") + before
        )
        drafts.append_bytes(LEDGER_FILE, ledger.write_csv(include_header=False).encode())
        rows[name] += part.rows
        defects += ledger.height
    return defects


def _truth_json(request: Request, counts: TruthCounts) -> bytes:
    head = {
        "scenario": request.scenario.name,
        "scenario_hash": request.scenario.hash,
        "persons": request.persons,
        "seed": request.seed,
    }
    return (json.dumps({**head, **finish(request.scenario, counts)}, indent=1) + "\n").encode()
