"""Simulation runs: blocks of the world written one after the other, so that memory stays flat."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import ResourceError, StudyError
from cohort.simulate.counts import TruthCounts, count_block, no_counts, outcomes_by_strategy
from cohort.simulate.dirt import LEDGER, soil
from cohort.simulate.drafts import Drafts
from cohort.simulate.effects import finish
from cohort.simulate.extracts import LAYOUTS, tuva
from cohort.simulate.scenario import Scenario, load_scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.truth import find_index
from cohort.simulate.truth_files import truth_frames
from cohort.simulate.world import draw_world

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
        Extract file name → physical lines without the header.
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


@dataclass(frozen=True, slots=True)
class _Request:
    """What to write, checked."""

    scenario: Scenario
    persons: int
    seed: int
    dirt: float


def simulate(
    scenario: str | Path = "low_back_pain",
    persons: int = 2000,
    seed: int = 7,
    layout: str = "tuva",
    *,
    out: str | Path,
    dirt: float = 0.0,
    progress: Progress | None = None,
) -> Simulation:
    """Write the claims extracts of a simulated population, and the truth beside them in ``out/truth``.

    Parameters
    ----------
    scenario
        Name of a shipped scenario, or a TOML file.
    persons, seed
        1 to 10,000,000 persons; the same seed gives the same bytes, and the first persons of a larger population.
    layout, out, dirt
        Layout of the files, the folder they are written to (made if need be), and 0 (spotless) to 1 (hostile).
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
    _check_arguments(persons, seed, layout, dirt)
    folder = Path(out)
    try:
        rows, defects = _write(_Request(plan, persons, seed, dirt), folder, progress)
    except OSError as fault:
        raise ResourceError(f"cannot write to {folder}: {fault.strerror or type(fault).__name__}") from None
    files = tuple(folder / name for name in rows)
    return Simulation(
        files, folder / "truth", persons, rows, defects, seed, dirt, layout, scenario=plan.name, scenario_hash=plan.hash
    )


def _check_arguments(persons: int, seed: int, layout: str, dirt: float) -> None:
    if not 1 <= persons <= MOST_PERSONS:
        raise StudyError(f"persons must be 1 to {MOST_PERSONS:,}, not {persons}")
    if not 0 <= seed < 2**64:
        raise StudyError("seed must be 0 or a positive number below 2^64")
    if layout not in LAYOUTS:
        raise StudyError(f"layout {layout} cannot be simulated; choose one of {', '.join(LAYOUTS)}")
    if not 0 <= dirt <= 1:
        raise StudyError(f"dirt must lie between 0 and 1, not {dirt}")


def _write(request: _Request, folder: Path, progress: Progress | None) -> tuple[dict[str, int], int]:
    """Write every block; return physical lines by extract file, without headers, and the number of defects."""
    blocks = -(-request.persons // BLOCK)
    counts = no_counts(request.scenario)
    with Drafts(folder) as drafts:
        drafts.append_csv(LEDGER_FILE, pl.DataFrame(schema=LEDGER))
        for number in range(blocks):
            counts += _write_block(drafts, request, Block(request.seed, number))
            if progress is not None:
                progress(number + 1, blocks)
        drafts.append_bytes("truth/truth.json", _truth_json(request, counts))
        lines = drafts.lines
    defects = lines.pop(LEDGER_FILE) - 1
    return {name: count - 1 for name, count in lines.items()}, defects


def _write_block(drafts: Drafts, request: _Request, block: Block) -> TruthCounts:
    """Append one block to the extract and truth files; return its counts of potential outcomes."""
    world = draw_world(request.scenario, block)
    for name, frame in tuva(world, request.persons).items():
        drafts.append_csv(LEDGER_FILE, _append_extract(drafts, f"{name}.csv", frame, block, request.dirt))
    index = find_index(world, request.persons)
    outcomes = outcomes_by_strategy(world, index)
    inside = world.persons.number <= request.persons
    for name, frame in truth_frames(world, inside, index, outcomes).items():
        drafts.append_parquet(f"truth/{name}.parquet", frame)
    return count_block(world, index, outcomes)


def _append_extract(drafts: Drafts, file: str, frame: pl.DataFrame, block: Block, dirt: float) -> pl.DataFrame:
    """Append one block to one extract file; return the ledger of the defects planted in it."""
    if dirt == 0:
        drafts.append_csv(file, frame)
        return pl.DataFrame(schema=LEDGER)
    drafts.append_csv(file, frame.clear())
    content, ledger = soil(file, frame, drafts.lines[file], block, dirt)
    drafts.append_bytes(file, content)
    return ledger


def _truth_json(request: _Request, counts: TruthCounts) -> bytes:
    head = {
        "scenario": request.scenario.name,
        "scenario_hash": request.scenario.hash,
        "persons": request.persons,
        "seed": request.seed,
    }
    return (json.dumps({**head, **finish(request.scenario, counts)}, indent=1) + "\n").encode()
