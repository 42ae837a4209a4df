"""One block from random numbers to the content of its files: a pure function, so that blocks can be made ahead."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from cohort.simulate.counts import TruthCounts, count_block, outcomes_by_strategy
from cohort.simulate.dirt import LEDGER, Roles, soil
from cohort.simulate.layouts import LAYOUTS
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import Block
from cohort.simulate.truth import find_index
from cohort.simulate.truth_files import truth_frames
from cohort.simulate.world import draw_world

Format = Literal["csv", "csv.gz", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True, slots=True)
class Request:
    """What to write, checked."""

    scenario: Scenario
    persons: int
    seed: int
    dirt: float
    layout: str
    format: Format


@dataclass(frozen=True, slots=True)
class Part:
    """One block's part of one extract file: its header, its content, its rows, and the ledger of what was planted.

    The content is a frame for Parquet, else bytes or a file of them; the ledger's lines count from the block's first.
    """

    header: bytes
    content: bytes | Path | pl.DataFrame
    rows: int
    ledger: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Made:
    """One block: extract files by name, truth files by name, and the counts of potential outcomes."""

    extracts: dict[str, Part]
    truth: dict[str, pl.DataFrame]
    counts: TruthCounts


def make_block(request: Request, number: int) -> Made:
    """Return one block of a population."""
    block = Block(request.seed, number)
    world = draw_world(request.scenario, block)
    layout = LAYOUTS[request.layout]
    extracts = {
        f"{name}.{request.format}": _part(name, frame, layout.roles[name], request, block)
        for name, frame in layout.frames(world, request.persons).items()
    }
    index = find_index(world, request.persons)
    outcomes = outcomes_by_strategy(world, index)
    inside = world.persons.number <= request.persons
    truth = truth_frames(world, inside, index, outcomes)
    return Made(extracts, truth, count_block(world, index, outcomes))


def _part(name: str, frame: pl.DataFrame, roles: Roles | None, request: Request, block: Block) -> Part:
    header = f"{','.join(frame.columns)}\n".encode()
    ledger = pl.DataFrame(schema={name: dtype for name, dtype in LEDGER.items() if name != "file"})
    typed, dirty = request.format == "parquet", request.dirt > 0 and roles is not None
    if typed and not dirty:
        return Part(header, frame, frame.height, ledger)
    content = _csv(frame)
    if dirty:
        held = _held(frame, roles or {}) if typed else roles or {}
        content, ledger = soil(content, frame.columns, held, request.dirt, block.stream(f"dirt_{name}"), typed=typed)
    rows = frame.height + ledger["original_line"].count()
    if typed:
        return Part(header, _typed(content, frame), rows, ledger)
    if request.format == "csv.gz":
        # members of one gzip file follow one another; without a time stamp they are the same bytes every day
        header, content = (gzip.compress(text, compresslevel=5, mtime=0) for text in (header, content))
    return Part(header, content, rows, ledger)


def _held(frame: pl.DataFrame, roles: Roles) -> Roles:
    """Return the roles whose defects a typed column can hold: a number cannot be an identifier that nobody has."""
    return {role: column for role, column in roles.items() if role != "person" or frame.schema[column] == pl.String}


def _typed(content: bytes, frame: pl.DataFrame) -> pl.DataFrame:
    """Return lines as rows with the types of a frame."""
    return pl.read_csv(content, schema=frame.schema, has_header=False) if content else frame


def _csv(frame: pl.DataFrame) -> bytes:
    """Return the lines of a frame; no field of an extract holds a separator, a quote or a line end."""
    written = frame.with_columns(_date_texts(column) for column in frame.select(pl.col(pl.Date)))
    lines = io.BytesIO()
    written.write_csv(lines, include_header=False, quote_style="never")
    return lines.getvalue()


def _date_texts(column: pl.Series) -> pl.Series:
    """Return dates as texts, each day being written once and then copied."""
    day = column.to_physical()
    first, last = day.min(), day.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return column.cast(pl.String)
    days = pl.int_range(first, last + 1, eager=True).cast(pl.Int32).cast(pl.Date).cast(pl.String)
    return days.gather((day - first).cast(pl.UInt32)).alias(column.name)
