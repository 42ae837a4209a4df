"""From one bucket's staged rows to the store's tables: mapped by the layout's SQL, normalised, freed of repeats."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from cohort.errors import InputRefusedError, ResourceError, StudyError
from cohort.ingest.engine import Connection, literal, quoted, translated
from cohort.ingest.layouts import Layout, shipped_sql, sql_root
from cohort.store.files import make_folder, publish, sha256_of
from cohort.store.manifest import StoredFile, TableCount
from cohort.store.tables import SETTINGS, SEXES, SYSTEMS, Table

ROW_GROUP = 122_880
_SQL_TYPES: dict[type[pl.DataType], str] = {
    pl.Int64: "bigint",
    pl.Int32: "integer",
    pl.Int16: "smallint",
    pl.Float64: "double",
    pl.String: "varchar",
    pl.Date: "date",
}
_SPEAKS_FROM = {"as_of": "date"}  # a layout's person rows may say from which day they speak; the grain step reads it
_WORDS = {"sexes": list(SEXES), "settings": list(SETTINGS), "systems": list(SYSTEMS)}


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

    def write(self, bucket: int) -> tuple[StoredFile | None, TableCount, dt.date | None]:
        """Write one bucket; return the file (None if it has no rows), the count of rows and the latest date."""
        with translated(self._where):
            self._normalise()
        with translated(f"table {self.table.name}"):
            self._settle()
            count, latest = self._count()
            if not count.adds_up:
                raise InputRefusedError(f"{self._where}: rows do not add up ({count})")
            if count.rejected:
                self._write_rejected(bucket)
            file = self._file(bucket, count.stored) if count.stored else None
            for table in ("normalised", "complete", "final"):
                self.connection.execute(f"drop table {table}")
            return file, count, latest

    def _normalise(self) -> None:
        """Create ``normalised``: a row for every row of the layout's SQL, cast, columns that it leaves out null."""
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
        normalise = shipped_sql(f"ingest/normalise/{self.table.name}.sql")
        words = {name: value for name, value in _WORDS.items() if name in used_parameters(normalise)}
        self.connection.execute(
            f"create temp table normalised as with supplied as (select {columns} from ({sql}\n)) {normalise}",
            chosen | words,
        )
        self.connection.execute("alter table normalised add column if not exists reason varchar")  # null = not rejected

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
            )

    def _settle(self) -> None:
        """Create ``complete`` (no repeats, no rejects, nothing required missing) and ``final``, the stored rows."""
        self.connection.execute(
            "create temp table complete as "
            f"select distinct * exclude (repaired, reason) from normalised where reason is null and {self._present}"
        )
        grain = f"ingest/grain/{self.table.name}.sql"
        stored = shipped_sql(grain) if (sql_root() / grain).is_file() else "from complete"
        self.connection.execute(f"create temp table final as {stored}")

    @property
    def _present(self) -> str:
        """Return the test that no required column is empty."""
        return " and ".join(f"{quoted(name)} is not null" for name in self.table.required)

    def _count(self) -> tuple[TableCount, dt.date | None]:
        latest = "max(date)" if "date" in self.table.columns else "max(null::date)"
        row = self.connection.execute(
            "select (select count(*) from normalised), "
            f"(select count(*) from normalised where reason is null and not ({self._present})), "
            "(select count(*) from complete), (select count(*) from final), "
            f"(select count(*) filter (where repaired) from normalised), (select {latest} from final)"
        ).fetchone()
        supplied, incomplete, complete, stored, repaired, last = row or (0, 0, 0, 0, 0, None)
        reasons = self.connection.execute(
            "select reason, count(*) from normalised where reason is not null group by reason order by reason"
        ).fetchall()
        count = TableCount(
            supplied=supplied,
            stored=stored,
            duplicates=supplied - incomplete - complete - sum(rows for _, rows in reasons),
            superseded=complete - stored,
            incomplete=incomplete,
            rejected=dict(reasons),
            repaired=repaired,
        )
        return count, last

    def _write_rejected(self, bucket: int) -> None:
        """Leave the rejected rows in the work folder, for the custodian's eyes only."""
        target = self.work / f"rejected-{self.table.name}-{bucket:04d}.parquet"
        rows = "select * exclude (repaired) from normalised where reason is not null order by all"
        self.connection.execute(f"copy ({rows}) to {literal(target)} (format parquet, compression zstd)")

    def _file(self, bucket: int, rows: int) -> StoredFile:
        """Write ``final`` sorted, check the footer, and only then give the file its name."""
        relative = f"{self.snapshot}/{self.table.name}/{bucket:04d}.parquet"
        path = self.store / relative
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.writing")
        columns = ", ".join(quoted(name) for name in self.table.columns)
        order = ", ".join(quoted(name) for name in self.table.sort)
        self.connection.execute(
            f"copy (select {columns} from final order by {order}) to {literal(temporary)} "
            f"(format parquet, compression zstd, row_group_size {ROW_GROUP})"
        )
        check_footer(temporary, self.table, rows)
        stored = StoredFile(
            path=relative, bucket=bucket, rows=rows, bytes=temporary.stat().st_size, sha256=sha256_of(temporary)
        )
        publish(temporary, path)
        return stored


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
