"""One bucket of staged records as the layout's SQL sees it: ``extract.<source>``, and the layout's views upon them."""

from __future__ import annotations

import re
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


def same_in_all_buckets(connection: Connection, staged: dict[str, list[Chunk]], layout: Layout) -> dict[str, pa.Table]:
    """Return the sources that every bucket sees whole: those without a person, and those that were not delivered."""
    return {
        name: pa.concat_tables(chunk.part(0, list(source.expanded)) for chunk in staged[name])
        if staged[name]
        else _empty(connection, source)
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
    for name in layout.sources:
        connection.unregister(f"staged_{name}")  # lets go of the bucket before
    tables = {name: table for name, table in same.items() if name in shown.names}
    for name in shown.names & layout.sources.keys() - same.keys():
        columns = list(layout.sources[name].expanded)
        tables[name] = pa.concat_tables(chunk.part(bucket, columns) for chunk in staged[name])
    people = {name: person for name in tables if (person := layout.sources[name].person)}
    found = [tables[name][person].to_numpy() for name, person in people.items()]
    persons = Persons.among(found)
    for (name, person), person_id in zip(people.items(), found, strict=True):
        at = tables[name].column_names.index(person)
        tables[name] = tables[name].set_column(at, person, pa.array(persons.numbers(person_id)))
    for name, table in tables.items():
        connection.register(f"staged_{name}", table)
        connection.execute(f"create or replace view extract.{quoted(name)} as from {quoted(f'staged_{name}')}")
    for name in [name for name in layout.views if name in shown.names]:
        with translated(f"layout {layout.name}, {name}.sql"):
            claims.create_view(connection, layout, name)
    return persons


def _empty(connection: Connection, source: Source) -> pa.Table:
    types = {name: SQL_TYPES[column.type] for name, column in source.expanded.items()}
    types |= {source.person: "bigint"} if source.person else {}
    columns = [f"null::{kind} as {quoted(name)}" for name, kind in types.items()]
    return connection.sql(f"select {', '.join(columns)} where false").to_arrow_table()
