"""Which physical lines of an extract a person's stored rows come from, found again in the files when it is asked.

The store keeps no line numbers: a row may come from many lines, and most are never asked about. The guarded reader
that loaded the files numbers their records once more, after the files are held against the hashes of the ingestion.
"""

from __future__ import annotations

import datetime as dt
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cohort.errors import InputRefusedError
from cohort.ingest import pseudonyms
from cohort.ingest.casts import cast
from cohort.ingest.engine import Connection, sandbox, translated
from cohort.ingest.guard import inspect
from cohort.ingest.layouts import Layout
from cohort.ingest.parquet import inspect_parquet, is_parquet
from cohort.ingest.spelling import create_vocabulary
from cohort.ingest.staging import Delivery, judged
from cohort.store.store import Store

_SEPARATORS = re.compile(r"[.\s-]")
_DATES = ("date", "start_date", "end_date", "birth_date", "death_date")
"""The columns of store tables that a line can be told by."""


@dataclass(frozen=True)
class SourceLine:
    """One accepted record of a person: the source and file it is in, its physical line, and its cells as text."""

    source: str
    file: str
    line: int
    cells: tuple[str, ...]
    date_formats: tuple[str, ...]

    @cached_property
    def words(self) -> frozenset[str]:
        """Return the cells as codes are compared: upper case, without separators."""
        return frozenset(_spelled(cell) for cell in self.cells)

    @cached_property
    def dates(self) -> frozenset[dt.date]:
        """Return the cells that are dates in a format of the layout."""
        return frozenset(date for cell in self.cells for date in _dates(cell, self.date_formats))

    @cached_property
    def numbers(self) -> frozenset[float]:
        """Return the cells that are numbers."""
        return frozenset(float(cell) for cell in self.cells if re.fullmatch(r"[+-]?\d{1,15}(\.\d*)?", cell))


@dataclass(frozen=True, slots=True)
class SourceLines:
    """A person's lines, and which sources each table of the store is made from."""

    lines: tuple[SourceLine, ...]
    sources: Mapping[str, frozenset[str]]

    def of(self, table: str, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return ``file:line`` of the lines that hold a stored row: a date of it, and its code or its value.

        Where no line holds both, those with the code or value of another day are given and say so: an encounter is
        dated by all lines of its claim.
        """
        days = {row[name] for name in _DATES if row.get(name) is not None}
        here = [line for line in self.lines if line.source in self.sources.get(table, frozenset())]
        like = [line for line in here if _says(line, row)]
        found = [line for line in like if days & line.dates]
        told_by = row.get("code") is not None or row.get("value") is not None
        if found or not told_by:
            return tuple(f"{line.file}:{line.line}" for line in found)
        return tuple(f"{line.file}:{line.line} (of another date)" for line in like)


def lines_of(
    extracts: Path, store: Store, person: int, layout: Path | None, key_file: Path | None, keep_ids: bool
) -> SourceLines:
    """Find the accepted lines of one person in the files that a store was loaded from.

    Raises
    ------
    InputRefusedError
        If a file is not the one that was loaded, or the key or the layout not the ones it was loaded with.
    """
    manifest = store.manifest
    chosen = Layout.read(layout or manifest.layout)
    if chosen.sha256 != manifest.layout_sha256:
        raise InputRefusedError(
            f"layout {chosen.name} has changed since the store was loaded; give the one it was with"
        )
    key = pseudonyms.key_of(store.path, manifest.key_id, key_file, keep_ids)
    deliveries = _deliveries(extracts, chosen, {file.sha256 for file in manifest.inputs})
    private = store.path / "private"
    with tempfile.TemporaryDirectory(dir=private, prefix="why-") as work:
        readable = [extracts.resolve()]
        with sandbox(readable, Path(work).resolve()) as connection, translated("source lines"):
            create_vocabulary(connection)
            lines = [line for one in deliveries for line in _lines(connection, one, chosen, key, person)]
    return SourceLines(tuple(lines), {table: _sources(chosen, sql) for table, sql in chosen.tables.items()})


def _deliveries(extracts: Path, layout: Layout, loaded: set[str]) -> list[Delivery]:
    found, _ = layout.find(extracts)
    deliveries = []
    for name, path in ((name, path) for name, paths in found.items() for path in paths):
        seen = inspect_parquet(path, _quiet) if is_parquet(path) else inspect(path, layout.dialect, _quiet)
        if seen.sha256 not in loaded:
            raise InputRefusedError(f"{path.name} is not a file that this snapshot was loaded from; give those files")
        if layout.sources[name].person:
            deliveries.append(Delivery.match(name, layout.sources[name], seen))
    return deliveries


def _quiet(done: int) -> None:
    """Report no progress."""


def _lines(connection: Connection, delivery: Delivery, layout: Layout, key: bytes, person: int) -> Iterator[SourceLine]:
    """Yield the accepted records of a person in one file."""
    name = str(delivery.declared.person)
    for piece in delivery.read(connection.cursor(), layout):
        records = piece()
        cells = records.columns[name]
        said = cast(connection, name, delivery.declared.expanded[name], cells, layout)
        known = np.flatnonzero(said.values.is_valid())
        ids = pseudonyms.pseudonyms(connection, said.values.take(pa.array(known)), key)
        theirs = np.flatnonzero(np.isin(cells.codes, known[ids == person]))
        if len(theirs):
            _, fault, _ = judged(connection, delivery, layout, records)
            for place in theirs[fault[theirs] == 0].tolist():
                line = int(records.lines[int(records.numbers[place]) - records.first])
                texts = [column.texts[column.codes[place]].as_py() for column in records.columns.values()]
                kept = tuple(text.strip() for text in texts if text and text.strip())
                yield SourceLine(delivery.source, delivery.name, line, kept, layout.date_formats)


def _sources(layout: Layout, sql: str) -> frozenset[str]:
    """Return the sources that a select reads, through the layout's views."""
    named = set(re.findall(r"extract\.\"?(\w+)", sql))
    through = [_sources(layout, layout.views[name]) for name in named & set(layout.views)]
    return frozenset(named & set(layout.sources)).union(*through)


def _says(line: SourceLine, row: Mapping[str, Any]) -> bool:
    """Return whether a line holds the code or the value of a row, where it has one."""
    if row.get("code") is not None:
        return _spelled(row["code"]) in line.words
    return row.get("value") is None or float(row["value"]) in line.numbers


def _spelled(text: str) -> str:
    return _SEPARATORS.sub("", text).upper()


def _dates(cell: str, formats: tuple[str, ...]) -> Iterator[dt.date]:
    for written in formats:
        try:
            yield dt.datetime.strptime(cell, written).date()
        except ValueError:
            continue
