"""From files to typed records: every record is staged, or counted and kept aside with the reason why it is rejected.

A file is read block by block; what can be said of a cell is said once per distinct text of a block. The count of
records is held against the count of lines that the guard took from the raw bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.errors import InputRefusedError
from cohort.ingest.casts import Cast, cast
from cohort.ingest.cells import Column, Ints, Misfit, Parser, composed, encoded
from cohort.ingest.chunks import Chunk, dealt, write_chunk
from cohort.ingest.engine import Connection, literal, quoted, translated
from cohort.ingest.guard import Block, Inspection, file_state, record_blocks
from cohort.ingest.layouts import Layout
from cohort.ingest.parquet import read_parquet
from cohort.ingest.sources import Source, SourceColumn
from cohort.ingest.workers import Workers
from cohort.store.manifest import InputFile

BLOCK = 16 << 20
"""Bytes of delimited text that are taken at a time, and ``ROWS``, records of Parquet: about 200 MB each in work."""

ROWS = 500_000
_NOT_IN_THE_HEADER = ("file_name", "record")
_PLAIN = ("text", "date", "integer", "number")
_REJECTED = pl.Schema([("line", pl.Int64()), ("reason", pl.String()), ("cells", pl.List(pl.String()))])


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of a file: the cells of every declared column, their numbers (0 = first), and those that do not fit.

    ``lines`` are the physical lines on which records ``first``, ``first + 1`` … start.
    """

    columns: dict[str, Column]
    numbers: Ints
    misfits: list[Misfit]
    first: int
    lines: npt.NDArray[np.int64] | range


@dataclass(frozen=True, slots=True)
class Delivery:
    """One file of an extract: its source table, what the guard saw, and where its declared columns stand."""

    source: str
    declared: Source
    inspection: Inspection
    positions: dict[str, int | None]

    @classmethod
    def match(cls, name: str, source: Source, inspection: Inspection) -> Delivery:
        """Map the declared columns to the file's header by name, upper and lower case alike.

        Raises
        ------
        InputRefusedError
            If a column that is not optional is absent, or a name stands twice. Only names from the layout are
            printed: the first line of a file without a header is a person's.
        """
        header = [column.lower() for column in inspection.columns]
        columns = {name: column for name, column in source.expanded.items() if column.type not in _NOT_IN_THE_HEADER}
        wanted = {column.named or name: column.optional for name, column in columns.items()}
        wanted |= {column.within: False for column in columns.values() if column.within}
        twice = [column for column in wanted if header.count(column.lower()) > 1]
        if twice:
            raise InputRefusedError(f"{inspection.path.name}: columns named twice in the header: {', '.join(twice)}")
        positions = {name: header.index(name.lower()) if name.lower() in header else None for name in wanted}
        missing = [name for name, at in positions.items() if at is None and not wanted[name]]
        if missing:
            raise InputRefusedError(
                f"{inspection.path.name}: the header lacks {', '.join(missing)}; "
                f"correct the file, or mark the column optional in the layout ({name})"
            )
        return cls(name, source, inspection, positions)

    @property
    def name(self) -> str:
        """Return the file's base name."""
        return self.inspection.path.name

    @property
    def used(self) -> set[int]:
        """Return the positions of the columns that are read."""
        return {at for at in self.positions.values() if at is not None}

    @property
    def lacking(self) -> set[str]:
        """Return the declared columns that the file has not, and of which nothing can be wrong."""
        return {
            name
            for name, column in self.declared.expanded.items()
            if column.type in _PLAIN and not column.filled and self.positions[column.named or name] is None
        }

    @property
    def _person_at(self) -> int | None:
        name = self.declared.person
        return self.positions.get(self.declared.expanded[name].named or name) if name else None

    def read(self, connection: Connection, layout: Layout) -> Iterator[Callable[[], Records]]:
        """Yield pieces of the file, each a call that makes its records: reading is in turn, parsing need not be."""
        if self.inspection.kinds:
            first = 0
            for batch in connection.sql(self._parquet(layout)).to_arrow_reader(ROWS):
                yield partial(self._of_parquet, batch, first)
                first += batch.num_rows
        else:
            parser = Parser(layout.dialect, len(self.inspection.columns), self.used)
            for block in record_blocks(self.inspection, layout.dialect, BLOCK):
                yield partial(self._of_text, parser, block)

    def _of_text(self, parser: Parser, block: Block) -> Records:
        parsed = parser.parse(block)
        if len(parsed.records) + len(parsed.misfits) != len(block.lines):
            raise _disagreement(self.name, len(parsed.records) + len(parsed.misfits), len(block.lines))
        columns = {
            name: self._cells(column, parsed.columns, column.named or name, parsed.records)
            for name, column in self.declared.expanded.items()
        }
        misfits = [Misfit(one.record, one.reason, self._of_misfit(one.cells)) for one in parsed.misfits]
        return Records(columns, parsed.records, misfits, block.first, block.lines)

    def _cells(self, column: SourceColumn, found: dict[int, Column], header: str, records: Ints) -> Column:
        """Return one declared column of records."""
        if column.type == "file_name":
            return Column.constant(self.name, len(records))
        if column.type == "record":  # names may repeat
            numbers = pl.Series(records + 1).cast(pl.String)
            return Column.of((f"{self.inspection.sha256[:16]}/" + numbers).to_arrow().cast(pa.string()))
        at = self.positions[header]
        if at is None:
            return Column.constant(None, len(records))
        outer = self.positions[column.within] if column.within else None
        return found[at] if outer is None else composed(found[outer], found[at])

    def _of_misfit(self, cells: list[str | None]) -> list[str | None]:
        """Return what a record that does not fit has in the places of the declared columns."""
        places = [self.positions.get(column.named or name) for name, column in self.declared.expanded.items()]
        return [cells[at] if at is not None and at < len(cells) else None for at in places]

    def _parquet(self, layout: Layout) -> str:
        """Return the query for the declared columns of Parquet as text, under their declared names."""
        chosen = [f"{self._cell(name, column)} as {quoted(name)}" for name, column in self.declared.expanded.items()]
        reader = read_parquet(self.inspection, self.used, layout.date_formats[0], self._person_at)
        return f"select {', '.join(chosen)} from ({reader})"

    def _cell(self, name: str, column: SourceColumn) -> str:
        if column.type == "file_name":
            return literal(self.name)
        if column.type == "record":
            return f"{literal(self.inspection.sha256[:16])} || '/' || row_number() over ()"
        at = self.positions[column.named or name]
        cell = "null::varchar" if at is None else f"c{at}"
        if column.within:
            return f"{_bare(f'c{self.positions[column.within]}')} || '/' || {_bare(cell)}"
        return cell

    def _of_parquet(self, batch: pa.RecordBatch, first: int) -> Records:
        columns = {name: encoded(batch[name]) for name in batch.schema.names}
        numbers = np.arange(first, first + batch.num_rows)
        return Records(columns, numbers, [], first, range(first + 1, first + 1 + batch.num_rows))


def collect_identifiers(connection: Connection, deliveries: Sequence[Delivery], layout: Layout) -> None:
    """Create table ``identifier``: the distinct identifiers of all files, trimmed."""
    connection.execute("create table identifier (person varchar primary key)")
    reading = connection.cursor()
    for delivery in deliveries:
        name = delivery.declared.person or ""
        with translated("identifiers"):
            for records in delivery.read(reading, layout) if name else ():
                said = cast(connection, name, delivery.declared.expanded[name], records().columns[name], layout)
                connection.register("found", pa.table({"person": said.values}))
                connection.execute(
                    "insert or ignore into identifier select distinct person from found where person is not null"
                )
                connection.unregister("found")


@dataclass(frozen=True, slots=True)
class _Staged:
    """What became of some records: the chunk of those accepted, and the others with line, reason and cells."""

    chunk: Chunk
    rejected: pl.DataFrame


def stage(
    workers: Workers, delivery: Delivery, layout: Layout, folder: Path, shares: int
) -> tuple[InputFile, list[Chunk], Path | None]:
    """Write one file's good records, typed, into ``folder``, and the rejected ones beside them.

    Returns
    -------
    account, chunks, rejects
        Where the file's lines went; the accepted records, dealt by identifier into ``shares``; the others, by line,
        for the custodian's eyes only.

    Raises
    ------
    InputRefusedError
        If the parser and the guard disagree about the number of records, or the file changed meanwhile.
    """
    reasons: Counter[str] = Counter()
    chunks: list[Chunk] = []

    def staged(connection: Connection, piece: tuple[int, Callable[[], Records]]) -> _Staged:
        return _stage(connection, delivery, layout, piece[1](), folder / f"{piece[0]:06d}.arrow", shares)

    with translated(delivery.name), _Rejects(folder / "rejects.parquet", delivery.name) as rejects:
        reading = workers.connections[0].cursor()
        for part in workers.map(staged, enumerate(delivery.read(reading, layout))):
            chunks.append(part.chunk)
            reasons.update(dict(part.rejected["reason"].value_counts(sort=False).rows()))
            rejects.write(part.rejected)
    if file_state(delivery.inspection.path) != delivery.inspection.state:
        raise InputRefusedError(f"{delivery.name} changed while it was read; wait until its delivery has ended")
    loaded = sum(int(chunk.starts[-1]) for chunk in chunks)
    return _account(delivery, loaded, dict(reasons)), chunks, rejects.path if reasons else None


def _stage(
    connection: Connection, delivery: Delivery, layout: Layout, records: Records, path: Path, shares: int
) -> _Staged:
    person = delivery.declared.person
    casts, fault, reasons = judged(connection, delivery, layout, records)
    good = np.flatnonzero(fault == 0)
    starts = np.array([0, len(good)])
    if person:
        share = _shares(casts[person].values, shares)[records.columns[person].codes[good]]
        order, starts = dealt(share, shares)
        good = good[order]
    columns = {name: _typed(said, records.columns[name], good) for name, said in casts.items()}
    return _Staged(write_chunk(path, columns, starts, person), _rejected(records, fault, reasons))


def judged(
    connection: Connection, delivery: Delivery, layout: Layout, records: Records
) -> tuple[dict[str, Cast], Ints, list[str]]:
    """Return every column typed, and for each record the place of the reason to reject it (0 = none) in the reasons.

    Columns that the file lacks are left out.
    """
    declared, lacking = delivery.declared.expanded, delivery.lacking
    casts = {
        name: cast(connection, name, declared[name], cells, layout)
        for name, cells in records.columns.items()
        if name not in lacking
    }
    return casts, *_faults(casts, records, delivery.declared.person)


def _shares(identifiers: pa.Array, shares: int) -> npt.NDArray[np.uint64]:
    """Return the share of each identifier: of equal ones the same, wherever they stand."""
    return (pl.Series(identifiers).hash() % shares).to_numpy()


def _typed(said: Cast, cells: Column, places: Ints) -> pa.Array:
    """Return the values at places, texts that repeat as numbers into the distinct ones."""
    if pa.types.is_string(said.values.type) and cells.repeats:
        return pa.DictionaryArray.from_arrays(pa.array(cells.codes[places]), said.values)
    return said.values.take(pa.array(cells.codes[places]))


def _faults(casts: dict[str, Cast], records: Records, person: str | None) -> tuple[Ints, list[str]]:
    """Return for each record the place of the first reason to reject it (0 = none), and the reasons."""
    fault, reasons = np.zeros(len(records.numbers), np.int64), [""]
    for name in sorted(casts, key=lambda name: name != person):  # what is wrong with the person goes before the rest
        said = casts[name]
        if said.faults is not None:
            found = said.faults[records.columns[name].codes]
            fault = np.where((fault == 0) & (found > 0), found + (len(reasons) - 1), fault)
            reasons += said.reasons[1:]
    return fault, reasons


def _rejected(records: Records, fault: Ints, reasons: list[str]) -> pl.DataFrame:
    """Return the rejected records by line."""
    bad = np.flatnonzero(fault)
    if not len(bad) and not records.misfits:
        return pl.DataFrame(schema=_REJECTED)
    lines = np.asarray(records.lines)
    cells = [pl.Series(column.texts.take(pa.array(column.codes[bad]))) for column in records.columns.values()]
    unfit = records.misfits
    unreadable = pl.DataFrame(
        {
            "line": lines[records.numbers[bad] - records.first],
            "reason": pl.Series(reasons, dtype=pl.String).gather(fault[bad]),
            "cells": pl.DataFrame([cell.alias(str(at)) for at, cell in enumerate(cells)]).select(
                pl.concat_list(pl.all())
            ),
        },
        schema=_REJECTED,
    )
    misfits = pl.DataFrame(
        {
            "line": lines[[misfit.record - records.first for misfit in unfit]] if unfit else [],
            "reason": [misfit.reason for misfit in unfit],
            "cells": [misfit.cells for misfit in unfit],
        },
        schema=_REJECTED,
    )
    return pl.concat([unreadable, misfits]).sort("line")


class _Rejects:
    """Writes rejected records, as they come, into one file."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer:
            self._writer.close()

    def write(self, rejected: pl.DataFrame) -> None:
        """Add some."""
        if rejected.height:
            table = rejected.select(pl.lit(self.name).alias("file"), "line", "reason", "cells").to_arrow()
            self._writer = self._writer or pq.ParquetWriter(self.path, table.schema, compression="zstd")
            self._writer.write_table(table)


def _account(delivery: Delivery, loaded: int, reasons: dict[str, int]) -> InputFile:
    seen = delivery.inspection
    account = InputFile(
        source=delivery.source,
        name=delivery.name,
        bytes=seen.bytes,
        sha256=seen.sha256,
        lines=seen.lines,
        header=seen.header,
        blank=seen.blank,
        continuation=seen.continuation,
        loaded=loaded,
        rejected=sum(reasons.values()),
        reasons=reasons,
    )
    if not account.adds_up:
        raise _disagreement(delivery.name, account.loaded + account.rejected, seen.records)
    return account


def _disagreement(name: str, read: int, held: int) -> InputRefusedError:
    return InputRefusedError(
        f"{name}: the reader found {read:,} records, its bytes hold {held:,}; nothing was loaded. Check delimiter, "
        "quotes and line ends"
    )


def _bare(cell: str) -> str:
    return f"nullif(trim({cell}, ' '), '')"
