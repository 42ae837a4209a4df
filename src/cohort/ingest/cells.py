"""The cells of a file as text: whole records in, a column of text for every declared column out.

The parser gets the bytes that the guard looked at, block by block. Where texts repeat, and in claims they do, a column
comes as numbers into the distinct texts, so that what is done to a cell is done once per distinct text.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from cohort.ingest.guard import Block, Dialect

Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
_REPEATS = 4
"""A column is held as numbers into its distinct texts if each occurs so often or more."""


@dataclass(frozen=True, slots=True)
class Column:
    """The cells of one column: ``texts`` (text, null = empty), of which ``codes`` picks one per record."""

    texts: pa.Array
    codes: Codes

    @classmethod
    def of(cls, cells: pa.Array) -> Column:
        """Return a column of cells as they come."""
        if pa.types.is_dictionary(cells.type):
            return cls(cells.dictionary, cells.indices.to_numpy())
        return cls(cells, np.arange(len(cells), dtype=np.int32))

    @classmethod
    def constant(cls, text: str | None, records: int) -> Column:
        """Return a column that holds one text throughout."""
        return cls(pa.array([text], pa.string()), np.zeros(records, np.int32))

    @property
    def repeats(self) -> bool:
        """Return whether texts occur often enough to be held once."""
        return len(self.texts) * _REPEATS <= len(self.codes)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A record with too few or too many cells."""

    record: int
    reason: str
    cells: list[str | None]


@dataclass(frozen=True, slots=True)
class Parsed:
    """The columns of a block by position, the record numbers of their rows, and the records that do not fit."""

    columns: dict[int, Column]
    records: Ints
    misfits: list[Misfit]


class Parser:
    """Parses the blocks of one file; learns from them in which columns texts repeat."""

    def __init__(self, dialect: Dialect, width: int, positions: set[int]) -> None:
        self.dialect, self.width, self.positions = dialect, width, positions or {0}
        self._various: set[int] = set()

    def parse(self, block: Block) -> Parsed:
        """Return the cells of the records in a block; an empty cell is an empty text.

        Raises
        ------
        pyarrow.ArrowException
            If the parser cannot read what the guard let pass.
        """
        misfits: list[Misfit] = []
        table = self._table(block, self._keep_misfit(misfits, block.first))
        columns = {at: Column.of(_whole(table[f"c{at}"])) for at in self.positions}
        self._various |= {at for at, column in columns.items() if not column.repeats}
        records = np.arange(block.first, block.first + table.num_rows + len(misfits))
        if misfits:
            records = np.delete(records, [misfit.record - block.first for misfit in misfits])
        return Parsed(columns, records, misfits)

    def _table(self, block: Block, misfit: Callable[[pa_csv.InvalidRow], str]) -> pa.Table:
        names = [f"c{at}" for at in range(self.width)]
        repeated, single = pa.dictionary(pa.int32(), pa.string()), pa.string()
        content = block.content
        if self.dialect.encoding != "utf-8":
            content = content.decode(self.dialect.encoding).encode()
        if content.startswith(codecs.BOM_UTF8):  # the parser takes one off whatever it is given: that of a record stays
            content = codecs.BOM_UTF8 + content
        return pa_csv.read_csv(
            pa.BufferReader(content),
            pa_csv.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
            pa_csv.ParseOptions(
                delimiter=self.dialect.delimiter,
                newlines_in_values=block.multiline,
                invalid_row_handler=misfit,
            ),
            pa_csv.ConvertOptions(
                include_columns=[f"c{at}" for at in sorted(self.positions)],
                column_types={f"c{at}": single if at in self._various else repeated for at in self.positions},
                strings_can_be_null=False,
            ),
        )

    def _keep_misfit(self, misfits: list[Misfit], first: int) -> Callable[[pa_csv.InvalidRow], str]:
        def keep(row: pa_csv.InvalidRow) -> str:
            reason = "short_row" if row.actual_columns < row.expected_columns else "long_row"
            misfits.append(Misfit(first + row.number - 1, reason, [*self._split(row.text)]))
            return "skip"

        return keep

    def _split(self, text: str) -> list[str]:
        try:
            return next(csv.reader([text], delimiter=self.dialect.delimiter))
        except csv.Error:  # a cell longer than the module takes
            return [text]


def composed(outer: Column, inner: Column) -> Column:
    """Return identifiers that are unique only inside another column: both texts trimmed, with a slash between."""
    parts = [pc.ascii_trim(column.texts, " ").take(pa.array(column.codes)) for column in (outer, inner)]
    given = pc.and_(*(pc.not_equal(pc.fill_null(part, ""), "") for part in parts))
    return Column.of(pc.if_else(given, pc.binary_join_element_wise(*parts, "/"), None))


def encoded(cells: pa.Array) -> Column:
    """Return cells that another reader gave as text, by their distinct texts if these repeat."""
    distinct = Column.of(pc.dictionary_encode(cells.cast(pa.string()), null_encoding="encode"))
    return distinct if distinct.repeats else Column.of(cells.cast(pa.string()))


def _whole(cells: pa.ChunkedArray) -> pa.Array:
    return cells.chunk(0) if cells.num_chunks else pa.array([], pa.string())
