"""One bucket of staged records as the layout's SQL sees it: ``extract.<source>``, and the layout's views upon them."""

from __future__ import annotations

from collections.abc import Sequence
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


def show_bucket(connection: Connection, staged: dict[str, list[Chunk]], layout: Layout, bucket: int) -> Persons:
    """Let ``extract.<source>`` show the accepted records of one bucket, and the layout's own views rest on them."""
    tables: dict[str, pa.Table] = {}
    for name, source in layout.sources.items():
        parts = [chunk.part(bucket, list(source.expanded)) for chunk in staged[name]]
        tables[name] = pa.concat_tables(parts) if parts else _empty(connection, source)
    people = {name: source.person for name, source in layout.sources.items() if source.person}
    found = [tables[name][person].to_numpy() for name, person in people.items()]
    persons = Persons.among(found)
    for (name, person), person_id in zip(people.items(), found, strict=True):
        at = tables[name].column_names.index(person)
        tables[name] = tables[name].set_column(at, person, pa.array(persons.numbers(person_id)))
    for name, table in tables.items():
        connection.register(f"staged_{name}", table)
        connection.execute(f"create or replace view extract.{quoted(name)} as from {quoted(f'staged_{name}')}")
    for name in layout.views:
        with translated(f"layout {layout.name}, {name}.sql"):
            claims.create_view(connection, layout, name)
    return persons


def _empty(connection: Connection, source: Source) -> pa.Table:
    types = {name: SQL_TYPES[column.type] for name, column in source.expanded.items()}
    types |= {source.person: "bigint"} if source.person else {}
    columns = [f"null::{kind} as {quoted(name)}" for name, kind in types.items()]
    return connection.sql(f"select {', '.join(columns)} where false").to_arrow_table()
