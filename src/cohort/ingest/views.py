"""One bucket of staged records as the layout's SQL sees it: ``extract.<source>``, and the layout's views upon them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from cohort.ingest import claims
from cohort.ingest.casts import SQL_TYPES
from cohort.ingest.chunks import Chunk
from cohort.ingest.engine import Connection, quoted, translated
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import Source

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Persons:
    """The persons of one bucket: their pseudonyms in ascending order.

    Until they are stored, rows carry a person's place among them: such numbers sort as pseudonyms do and are small
    enough to be sorted together with the rest of a row.
    """

    person_id: Ids

    @classmethod
    def among(cls, found: Sequence[Ids]) -> Persons:
        """Return the persons that occur in pseudonyms as they come."""
        ordered = np.sort(np.concatenate(found)) if found else np.array([], np.int64)
        return cls(ordered[np.append(ordered[:-1] != ordered[1:], True)] if len(ordered) else ordered)

    def numbers(self, person_id: Ids) -> Ids:
        """Return the place of pseudonyms, all of which occur.

        Pseudonyms are spread evenly, so their first bits all but say the place: ten times faster than bisection.
        """
        shift = 63 - (4 * len(self.person_id)).bit_length()
        before = np.cumsum(np.bincount(self.person_id >> shift, minlength=(1 << (63 - shift)) + 1))
        places: Ids = np.append(0, before)[person_id >> shift]
        while (behind := self.person_id[places] < person_id).any():
            places += behind
        return places

    def identify(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Put pseudonyms in the place of numbers."""
        places = rows["person_id"].cast(pl.UInt32)
        return rows.with_columns(pl.Series("person_id", self.person_id).gather(places))


@dataclass(frozen=True, slots=True)
class Shown:
    """The sources and views that some statements need, and whether the lines of the claim views are counted, too."""

    names: frozenset[str]
    claims: bool

    @classmethod
    def by(cls, layout: Layout, statements: Sequence[str], *, claims: bool) -> Shown:
        """Return what statements name, or the views that they name rest on."""
        found: set[str] = set(layout.claims) if claims else set()
        texts = [*statements, *(layout.views[name] for name in found)]
        while texts:
            words = {word.lower() for word in re.findall(r"\w+", texts.pop())}
            new = {name for name in (*layout.sources, *layout.views) if name.lower() in words} - found
            found |= new
            texts += [layout.views[name] for name in new if name in layout.views]
        return cls(frozenset(found), claims)


def same_in_all_buckets(staged: dict[str, list[Chunk]], layout: Layout) -> dict[str, pa.Table]:
    """Return the sources that every bucket sees whole: those without a person, and those that were not delivered."""
    return {
        name: _records(staged[name], source, 0)
        for name, source in layout.sources.items()
        if not (source.person and staged[name])
    }


def show_bucket(
    connection: Connection,
    staged: dict[str, list[Chunk]],
    layout: Layout,
    bucket: int,
    shown: Shown,
    same: dict[str, pa.Table],
) -> Persons:
    """Let ``extract.<source>`` show the accepted records of one bucket, and the layout's own views rest on them."""
    let_go(connection, layout)
    tables = {name: table for name, table in same.items() if name in shown.names}
    for name in shown.names & layout.sources.keys() - same.keys():
        tables[name] = _records(staged[name], layout.sources[name], bucket)
    people = {name: person for name in tables if (person := layout.sources[name].person)}
    found = [tables[name][person].to_numpy() for name, person in people.items()]
    persons = Persons.among(found)
    for (name, person), person_id in zip(people.items(), found, strict=True):
        at = tables[name].column_names.index(person)
        tables[name] = tables[name].set_column(at, person, pa.array(persons.numbers(person_id)))
    for name, table in tables.items():
        connection.register(f"staged_{name}", table)
        columns = ", ".join(_offered(layout.sources[name], table))
        connection.execute(
            f"create or replace view extract.{quoted(name)} as select {columns} from {quoted(f'staged_{name}')}"
        )
    for name in [name for name in layout.views if name in shown.names]:
        with translated(f"layout {layout.name}, {name}.sql"):
            claims.create_view(connection, layout, name)
    return persons


def let_go(connection: Connection, layout: Layout) -> None:
    """Free what is held of the bucket before."""
    for name in layout.sources:
        connection.unregister(f"staged_{name}")
    for name in layout.kept:
        connection.execute(f"drop table if exists kept.{quoted(name)}")


def _records(chunks: Sequence[Chunk], source: Source, part: int) -> pa.Table:
    """Return one part of all chunks of a source, repeated columns that are listed as lists."""
    if not chunks:
        return pa.table({source.person or "nobody": pa.array([], pa.int64())})
    tables = []
    for chunk in chunks:
        table = chunk.part(part, list(source.expanded))
        for name, column in source.columns.items():
            if column.listed:
                table = _listed(table, name, column.names(name))
        tables.append(table)
    return pa.concat_tables(tables, promote_options="default")  # a column that some files lack is null there


def _listed(table: pa.Table, name: str, repeated: Sequence[str]) -> pa.Table:
    """Put one column of lists in the place of repeated ones; a list ends with the last place that is filled."""
    present = [one for one in repeated if one in table.column_names]
    if not present:
        return table
    kind, rows = table[present[0]].type, len(table)
    width = repeated.index(present[-1]) + 1
    cells = [table[one].combine_chunks() if one in present else pa.nulls(rows, kind) for one in repeated[:width]]
    filled = np.column_stack([cell.is_valid().to_numpy(zero_copy_only=False) for cell in cells])
    lengths = (filled * np.arange(1, width + 1)).max(axis=1)
    row, place = np.nonzero(np.arange(width) < lengths[:, np.newaxis])
    values = pa.concat_arrays(cells).take(pa.array(place * rows + row))
    ends = np.cumsum(lengths, dtype=np.int32)
    lists = pa.ListArray.from_arrays(pa.array(np.append(np.int32(0), ends)), values)
    return table.drop_columns(present).append_column(name, lists)


def _offered(source: Source, table: pa.Table) -> Iterator[str]:
    """Yield the columns of a source as SQL, null those that no file had."""
    for name, column in source.columns.items():
        kind = "bigint" if name == source.person else SQL_TYPES[column.type]
        for one in [name] if column.listed else column.names(name):
            absent = f"null::{kind}{'[]' if column.listed else ''} as {quoted(one)}"
            yield quoted(one) if one in table.column_names else absent
