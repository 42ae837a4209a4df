"""Simulation runs: blocks of the world written one after the other, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import polars as pl

from cohort.errors import ResourceError, StudyError
from cohort.simulate.extracts import LAYOUTS, tuva
from cohort.simulate.scenario import Scenario, load_scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.simulate.world import draw_world

MOST_PERSONS = 10_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a run has written.

    Attributes
    ----------
    files
        The extract files, in the order of the layout.
    persons, seed, dirt, layout
        As asked for.
    rows
        File name → rows without the header.
    scenario, scenario_hash
        Name and SHA-256 of the parameters.
    """

    files: tuple[Path, ...]
    persons: int
    rows: dict[str, int]
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
    progress: Progress | None = None,
) -> Simulation:
    """Write the claims extracts of a simulated population.

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
        folder.mkdir(parents=True, exist_ok=True)
        rows = _write(plan, persons, seed, folder, progress)
    except OSError as fault:
        raise ResourceError(f"cannot write to {folder}: {fault.strerror or type(fault).__name__}") from None
    files = tuple(folder / f"{name}.csv" for name in rows)
    named = {file.name: count for file, count in zip(files, rows.values(), strict=True)}
    return Simulation(files, persons, named, seed, dirt, layout, plan.name, plan.hash)


def _check_arguments(persons: int, seed: int, layout: str, dirt: float) -> None:
    if not 1 <= persons <= MOST_PERSONS:
        raise StudyError(f"persons must be 1 to {MOST_PERSONS:,}, not {persons}")
    if not 0 <= seed < 2**64:
        raise StudyError("seed must be 0 or a positive number below 2^64")
    if layout not in LAYOUTS:
        raise StudyError(f"layout {layout} cannot be simulated; choose one of {', '.join(LAYOUTS)}")
    if not 0 <= dirt <= 1:
        raise StudyError(f"dirt must lie between 0 and 1, not {dirt}")
    if dirt > 0:
        raise StudyError("only spotless extracts can be simulated so far: leave dirt at 0")


def _write(scenario: Scenario, persons: int, seed: int, folder: Path, progress: Progress | None) -> dict[str, int]:
    """Append block by block to temporary files, then give them their names: an interrupted run leaves no extract."""
    rows: dict[str, int] = {}
    blocks = -(-persons // BLOCK)
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}
        for block, frames in enumerate(_blocks(scenario, persons, seed, blocks)):
            for name, frame in frames.items():
                if name not in files:
                    files[name] = stack.enter_context((folder / f"{name}.csv.part").open("wb"))
                frame.write_csv(files[name], include_header=name not in rows)
                rows[name] = rows.get(name, 0) + frame.height
            if progress is not None:
                progress(block + 1, blocks)
    for name in rows:
        (folder / f"{name}.csv.part").replace(folder / f"{name}.csv")
    return rows


def _blocks(scenario: Scenario, persons: int, seed: int, blocks: int) -> Iterator[dict[str, pl.DataFrame]]:
    for block in range(blocks):
        yield tuva(draw_world(scenario, Block(seed, block)), persons)
