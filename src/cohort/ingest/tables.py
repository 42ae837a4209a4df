"""From one bucket's staged rows to the store's tables: mapped by the layout's SQL, normalised, freed of repeats."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import polars as pl
import pyarrow.parquet as pq

from cohort.errors import InputRefusedError, ResourceError, StudyError
from cohort.ingest.engine import Connection, quoted, translated
from cohort.ingest.layouts import Layout, shipped_sql, sql_root
from cohort.ingest.packing import settle
from cohort.ingest.spelling import VOCABULARY, spelled
from cohort.ingest.views import Persons
from cohort.store.files import make_folder, publish, sha256_of
from cohort.store.manifest import StoredFile, TableCount
from cohort.store.tables import SERVICES, SEXES, Table

ROW_GROUP = 122_880
_SQL_TYPES: dict[type[pl.DataType], str] = {
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Int16: "smallint",
    pl.Float64: "double",
    pl.String: "varchar",
    pl.Date: "date",
}
_NUMBERS = (pl.Int64, pl.Int32, pl.Int16, pl.Float64, pl.Date)
_SPEAKS_FROM = {"as_of": "date"}  # a layout's person rows may say from which day they speak; the grain step reads it
_WORDS = {"services": list(SERVICES), "sexes": list(SEXES)}


@dataclass(frozen=True, slots=True)
class TableWriter:
    """Writes one table, bucket by bucket, into the folder of a snapshot."""

    connection: Connection
    layout: Layout
    table: Table
    store: Path
    snapshot: str
    work: Path
    parameters: dict[str, Any]

    @property
    def _where(self) -> str:
        return f"layout {self.layout.name}, {self.table.name}.sql"

    def write(self, bucket: int, persons: Persons) -> tuple[StoredFile | None, TableCount, dt.date | None]:
        """Write one bucket; return the file (None if it has no rows), the count of rows and the latest date."""
        with translated(self._where):
            normalised = self._normalised()
        complete = normalised
        if normalised["reason"].null_count() < normalised.height or any(
            normalised[name].null_count() for name in self.table.required
        ):
            required = pl.all_horizontal(pl.col(self.table.required).is_not_null())
            complete = normalised.filter(pl.col("reason").is_null() & required)
        with translated(f"table {self.table.name}"):
            final, distinct = self._settled(complete.drop("reason", "repaired"))
        count = _count(normalised, complete.height, distinct, final.height)
        if not count.adds_up:
            raise InputRefusedError(f"{self._where}: rows do not add up ({count})")
        if count.rejected:
            self._write_rejected(bucket, persons.identify(normalised.filter(pl.col("reason").is_not_null())))
        latest = final["date"].max() if "date" in final.columns else None
        file = self._file(bucket, persons.identify(final)) if final.height else None
        return file, count, latest  # type: ignore[return-value] # a date column's maximum is a date

    def _normalised(self) -> pl.DataFrame:
        """Return a row for every row of the layout's SQL, cast and normalised, columns that it leaves out null."""
        sql = self.layout.tables[self.table.name]
        wanted_parameters = used_parameters(sql)
        if unknown := wanted_parameters - set(self.parameters):
            raise StudyError(f"{self._where}: asks for unknown parameters {', '.join(sorted(unknown))}")
        chosen = {name: self.parameters[name] for name in wanted_parameters}
        description = self.connection.execute(f"select * from ({sql}\n) limit 0", chosen).description or []
        offered = {column[0].lower() for column in description}
        types = {name: _SQL_TYPES[type(column.dtype)] for name, column in self.table.columns.items()}
        wanted = types | (_SPEAKS_FROM if self.table.name == "person" else {})
        self._check_columns(offered, set(wanted))
        columns = ", ".join(
            f"cast({_source_of(name, offered)} as {sql_type}) as {quoted(name)}" for name, sql_type in wanted.items()
        )
        normalise = shipped_sql(f"ingest/normalise/{self.table.loaded_as or self.table.name}.sql")
        offers = _WORDS | self.parameters
        words = {name: offers[name] for name in used_parameters(normalise)}
        normalised: pl.DataFrame = self.connection.sql(
            f"with supplied as (select {columns} from ({sql}\n)) from ({normalise})", params=chosen | words
        ).pl()
        normalised = normalised.cast({name: word for name, word in VOCABULARY.items() if name in types})
        if "reason" not in normalised.columns:  # only some tables have reasons to reject a row
            normalised = normalised.with_columns(reason=pl.lit(None, pl.String))
        return spelled(self.connection, normalised)

    def _check_columns(self, offered: set[str], wanted: set[str]) -> None:
        unknown = offered - wanted - {"person"}
        absent = {"person", *self.table.required} - {"person_id"} - offered
        if unknown or absent:
            raise StudyError(
                f"{self._where}: "
                + "; ".join(
                    f"{text} {', '.join(sorted(names))}"
                    for text, names in (("lacks column", absent), ("has unknown column", unknown))
                    if names
                )
                + f"; the columns of {self.table.name} are person, {', '.join(sorted(wanted - {'person_id'}))}"
            )

    def _settled(self, complete: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        """Return the stored rows, sorted, and how many of the complete rows were distinct."""
        grain = f"ingest/grain/{self.table.loaded_as or self.table.name}.sql"
        if self.table.name == "diagnosis":
            return _settled_diagnoses(complete, self.table.sort)
        if not (sql_root() / grain).is_file():
            return settle(complete, self.table.sort)
        distinct, rows = settle(complete, complete.columns)
        self.connection.register("complete", distinct)
        final = self.connection.sql(f"from ({shipped_sql(grain)})").pl().select(list(self.table.columns))
        self.connection.unregister("complete")
        return final.sort(self.table.sort), rows

    def _write_rejected(self, bucket: int, rejected: pl.DataFrame) -> None:
        """Leave the rejected rows in the work folder, for the custodian's eyes only."""
        rows = rejected.drop("repaired")
        path = self.work / f"rejected-{self.table.name}-{bucket:04d}.parquet"
        rows.sort(rows.columns).write_parquet(temporary := _half_written(path))
        temporary.rename(path)

    def _file(self, bucket: int, final: pl.DataFrame) -> StoredFile:
        """Write the rows, check the footer, and only then give the file its name."""
        relative = f"{self.snapshot}/{self.table.name}/{bucket:04d}.parquet"
        path = self.store / relative
        make_folder(path.parent)
        temporary = _half_written(path)
        pq.write_table(
            final.with_columns(pl.col(pl.String).cast(pl.Categorical)).to_arrow(),
            temporary,
            row_group_size=ROW_GROUP,
            compression="zstd",
            store_schema=False,  # text is written from its dictionary and reads back as text
            # of text in the order of persons every row group has all, and to find the least costs a third of writing
            write_statistics=[name for name, column in self.table.columns.items() if column.dtype in _NUMBERS],
        )
        check_footer(temporary, self.table, final.height)
        stored = StoredFile(
            path=relative, bucket=bucket, rows=final.height, bytes=temporary.stat().st_size, sha256=sha256_of(temporary)
        )
        publish(temporary, path)
        return stored


def _half_written(path: Path) -> Path:
    """Return a name for a file that is being written; a cluster may do the same work twice at a time."""
    return path.with_name(f".{path.name}.{uuid4().hex}.writing")


def _settled_diagnoses(complete: pl.DataFrame, order: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """Settle diagnoses; of encounters that differ only in their end the longest is kept.

    They are settled by how long they last: within a day that sorts as the end does, and mostly it is nothing.
    """
    day, last = pl.col("date").to_physical(), pl.col("end_date").to_physical()
    lasting, distinct = settle(complete.with_columns(end_date=last - day), order, longest="end_date")
    return lasting.with_columns(end_date=(day + last).cast(pl.Date)), distinct


def _count(normalised: pl.DataFrame, complete: int, distinct: int, stored: int) -> TableCount:
    reasons = normalised["reason"].drop_nulls().value_counts(sort=False).sort("reason").rows()
    rejected = sum(rows for _, rows in reasons)
    return TableCount(
        supplied=normalised.height,
        stored=stored,
        duplicates=complete - distinct,
        superseded=distinct - stored,
        incomplete=normalised.height - rejected - complete,
        rejected=dict(reasons),
        repaired=int(normalised["repaired"].sum()),
    )


def check_footer(path: Path, table: Table, rows: int) -> None:
    """Refuse a file whose footer does not state the rows and columns that were meant to be written."""
    try:
        written = pl.scan_parquet(path, glob=False)
        same = written.collect_schema() == table.schema and written.select(pl.len()).collect().item() == rows
    except (OSError, pl.exceptions.PolarsError):
        same = False
    if not same:
        raise ResourceError(f"table {table.name}: a file does not hold what was written; check the disk")


@cache
def used_parameters(sql: str) -> frozenset[str]:
    """Return the names of the parameters of a select statement."""
    return frozenset(duckdb.extract_statements(sql)[0].named_parameters)


def _source_of(column: str, offered: set[str]) -> str:
    if column == "person_id":
        return "person"
    return quoted(column) if column in offered else "null"
