"""Typed records on their way into buckets: files of Arrow in the private work folder, dealt so that a part is a slice.

Records are dealt twice. First into shares, by a hash of the identifier, so that all spellings of one identifier are
together and each is made a pseudonym once; then into buckets, by the pseudonym. Whatever is in memory is one block of a
file, one share or one bucket, so memory does not grow with the extract.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A file of records; those of part n are the rows from ``starts[n]`` up to ``starts[n + 1]``.

    ``person`` is the column that identifies the person; without one the chunk has a single part.
    """

    path: Path
    starts: Places
    person: str | None

    def part(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return one part's records, read from where they stand in the file; a chunk without persons is one part.

        Of ``columns`` those that the file of the records had.
        """
        at = number if self.person else 0
        return self._rows(int(self.starts[at]), int(self.starts[at + 1]), columns)

    def whole(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all records."""
        return self._rows(0, int(self.starts[-1]), columns)

    def _rows(self, start: int, end: int, columns: Sequence[str] | None) -> pa.Table:
        with pa.memory_map(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            stored = reader.read_all().slice(start, end - start)
            names = [name for name in columns or stored.column_names if name in stored.column_names]
            return pa.table({name: _plain(stored[name]) for name in names})


def dealt(part: npt.NDArray[np.integer], parts: int) -> tuple[Places, Places]:
    """Return the places of records in the order of their parts, and where each part starts in it."""
    starts = np.concatenate(([0], np.cumsum(np.bincount(part, minlength=parts))))
    return np.argsort(part.astype(np.uint8), kind="stable"), starts


def write_chunk(path: Path, columns: dict[str, pa.Array], starts: Places, person: str | None) -> Chunk:
    """Write records that are in the order of their parts."""
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)
    return Chunk(path, starts, person)


def redealt(chunk: Chunk, person_id: Places, part: npt.NDArray[np.integer], parts: int, path: Path) -> Chunk:
    """Write the records of a chunk again, in other parts and with pseudonyms in the place of identifiers."""
    order, starts = dealt(part, parts)
    with pa.memory_map(str(chunk.path)) as file, pa.ipc.open_file(file) as reader:
        batch = reader.get_batch(0)
        columns = {
            name: pa.array(person_id[order]) if name == chunk.person else gathered(batch[name], order)
            for name in batch.schema.names
        }
        written = write_chunk(path, columns, starts, chunk.person)
    chunk.path.unlink()
    return written


def gathered(values: pa.Array, places: npt.NDArray[np.integer]) -> pa.Array:
    """Return the values at places; of a column held as numbers into distinct texts only the numbers move."""
    if pa.types.is_dictionary(values.type):
        return pa.DictionaryArray.from_arrays(pa.array(values.indices.to_numpy()[places]), values.dictionary)
    return values.take(pa.array(places))


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column written out and in memory of its own.

    Every chunk has its own distinct texts, and some have none; and what still pointed into a mapped file would keep all
    of it that was ever touched.
    """
    if pa.types.is_dictionary(column.type):
        return pa.chunked_array([one.dictionary.take(one.indices) for one in column.chunks], column.type.value_type)
    return column.take(pa.array(np.arange(len(column))))
