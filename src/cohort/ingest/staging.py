"""From files to typed, keyed rows: every record becomes a staged row, or is counted with the reason why it is rejected.

Staged rows lie in Parquet below the private work folder, in chunks sorted by bucket, so that a bucket is a slice of
every chunk and memory does not grow with the file. The count of records is held against the count of lines that the
guard took from the raw bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError
from cohort.ingest import claims
from cohort.ingest.engine import Connection, literal, quoted, read_csv, translated
from cohort.ingest.guard import Inspection, file_state, packed_as, record_lines
from cohort.ingest.layouts import Layout
from cohort.ingest.parquet import read_parquet
from cohort.ingest.sources import Source, SourceColumn
from cohort.store.manifest import InputFile

_SQL_TYPES = {
    "person": "bigint",
    "text": "varchar",
    "file_name": "varchar",
    "record": "bigint",
    "date": "date",
    "integer": "bigint",
    "number": "double",
}
CHUNK = 1_000_000
"""Records that are sorted by bucket and written at a time: about 300 MB."""

STAGED_ROWS = 32_768  # rows of a group: what is read for a bucket beside its own rows
_NOT_IN_THE_HEADER = ("file_name", "record")
_FIRST_DAY, _LAST_DAY = "date '0001-01-01'", "date '9999-12-31'"
_INTEGER, _NUMBER = r"[+-]?\d{1,18}", r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)"


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
    def _person_at(self) -> int | None:
        name = self.declared.person
        return self.positions.get(self.declared.expanded[name].named or name) if name else None

    def cells(self, layout: Layout) -> str:
        """Return the query for the file's declared columns as text, under their declared names."""
        chosen = [f"{self._cell(name, column)} as {quoted(name)}" for name, column in self.declared.expanded.items()]
        if self.inspection.kinds:
            reader = read_parquet(self.inspection, self.used, layout.date_formats[0], self._person_at)
            return f"select {', '.join(chosen)}, false as short_row, false as long_row from ({reader})"
        width = len(self.inspection.columns)
        reader = read_csv(
            self.inspection.path,
            width,
            layout.dialect.delimiter,
            layout.dialect.encoding,
            parallel=self.inspection.continuation == 0,
            compression=packed_as(self.inspection.path),
        )
        chosen += [f"c{width - 1} is null as short_row", "beyond0 is not null as long_row"]
        return f"select {', '.join(chosen)} from ({reader})"

    def _cell(self, name: str, column: SourceColumn) -> str:
        """Return the expression for the text of one declared column."""
        if column.type == "file_name":
            return literal(self.name)
        if column.type == "record":
            return f"{literal(self.inspection.sha256[:16])} || '/' || row_number() over ()"  # names may repeat
        at = self.positions[column.named or name]
        cell = "null::varchar" if at is None else f"c{at}"
        if column.within:
            return f"{_bare(f'c{self.positions[column.within]}')} || '/' || {_bare(cell)}"
        return cell


def collect_identifiers(connection: Connection, deliveries: Sequence[Delivery], layout: Layout) -> None:
    """Create table ``identifier``: the distinct identifiers of all files, trimmed."""
    connection.execute("create table identifier (person varchar)")
    parts = []
    for delivery in deliveries:
        if delivery.declared.person:
            person = _trimmed(quoted(delivery.declared.person), layout.missing)
            parts.append(f"select {person} as person from ({delivery.cells(layout)})")
    with translated("identifiers"):
        union = " union all ".join(parts)
        connection.execute(f"insert into identifier select distinct person from ({union}) where person is not null")


def stage(connection: Connection, delivery: Delivery, layout: Layout, folder: Path) -> tuple[InputFile, list[Path]]:
    """Write one file's good records, typed and keyed, into ``folder``; return where its lines went, and the files.

    Raises
    ------
    InputRefusedError
        If the parser and the guard disagree about the number of records, or the file changed meanwhile.
    """
    fates: Counter[str | None] = Counter()
    staged: list[Path] = []
    with translated(delivery.name):
        for batch in connection.sql(f"from ({typed(delivery, layout)})").to_arrow_reader(CHUNK):
            chunk = pl.DataFrame(batch)
            fates.update(dict(chunk["reason"].value_counts(sort=False).rows()))
            good = chunk.filter(pl.col("reason").is_null()).drop("reason")
            path = folder / f"{len(staged):06d}.parquet"
            dealt = good[np.argsort(good["bucket"].fill_null(0).to_numpy(), kind="stable")]
            dealt.write_parquet(path, compression="uncompressed", row_group_size=STAGED_ROWS)
            staged.append(path)
    if file_state(delivery.inspection.path) != delivery.inspection.state:
        raise InputRefusedError(f"{delivery.name} changed while it was read; wait until its delivery has ended")
    return _account(delivery, dict(fates)), staged


def _account(delivery: Delivery, reasons: dict[str | None, int]) -> InputFile:
    loaded = reasons.pop(None, 0)
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
        reasons={str(reason): count for reason, count in reasons.items()},
    )
    if not account.adds_up:
        raise InputRefusedError(
            f"{delivery.name}: the reader found {account.loaded + account.rejected:,} records, its bytes hold "
            f"{seen.records:,}; nothing was loaded. Check delimiter, quotes and line ends"
        )
    return account


def write_rejects(connection: Connection, delivery: Delivery, layout: Layout, target: Path) -> None:
    """Write the rejected records with file, line number, reason and raw cells, for the custodian's eyes only."""
    with translated(delivery.name):
        connection.execute(
            "create or replace temp table rejected as select record, reason, cells from "
            f"({typed(delivery, layout, keep_cells=True)}) where reason is not null order by record"
        )
        records = connection.execute("select record from rejected order by record").fetchnumpy()["record"]
        lines = record_lines(delivery.inspection, layout.dialect, np.asarray(records, np.int64))
        connection.register("reject_line", pl.DataFrame({"record": records, "line": lines}))
        connection.execute(
            f"copy (select {literal(delivery.name)} as file, line, reason, cells from rejected "
            f"join reject_line using (record) order by line) to {literal(target)} (format parquet, compression zstd)"
        )
        connection.unregister("reject_line")
        connection.execute("drop table rejected")


def typed(delivery: Delivery, layout: Layout, keep_cells: bool = False) -> str:
    """Return the query for a file's typed columns and ``reason``: null, or why the record is rejected.

    A cell is typed by ``try_cast`` and must say the same thing when written back, so that `` 2020-1-5``, ``12E3`` and
    ``20200101.0`` are not taken for what they are not. The identifier is replaced by the person's number
    (see `cohort.ingest.pseudonyms.Persons`), beside which stands the bucket. With ``keep_cells`` the raw cells stay
    beside ``record``, the record's number in the file (0 = first after the header).
    """
    columns, person = delivery.declared.expanded, delivery.declared.person
    typing = [_typed_column(name, column, layout.date_formats) for name, column in columns.items()]
    trimmed = [f"{_trimmed(quoted(name), layout.missing)} as {quoted(name)}" for name in columns]
    join = f"left join pseudonym on pseudonym.person = cell.{quoted(person)}" if person else ""
    bucket = "pseudonym.bucket" if person else "null::smallint"
    cells = f", record, [{', '.join(f'cell.{quoted(name)}' for name in columns)}] as cells" if keep_cells else ""
    # numbered below the join with the pseudonyms, which returns records in any order
    number = ", row_number() over () - 1 as record" if keep_cells else ""
    return (
        f"select {', '.join(typing)}, {_reason(columns, person, layout.date_formats)} as reason, {bucket} as bucket"
        f"{cells} "
        f"from (select {', '.join(trimmed)}, short_row, long_row{number} from ({delivery.cells(layout)})) cell {join}"
    )


def _trimmed(cell: str, missing: Sequence[str]) -> str:
    """Return the expression for a cell without blanks around it, null if nothing or a word for nothing is left."""
    nothing = ", ".join(literal(word) for word in ("", *missing))
    # trim costs more than parsing the cell, and few cells need it; without ' ' it takes blanks beyond ASCII, too
    bare = f"case when contains({cell}, ' ') then trim({cell}, ' ') else {cell} end"
    return f"case when {bare} not in ({nothing}) then {bare} end"


def _bare(cell: str) -> str:
    return f"nullif(trim({cell}, ' '), '')"


def _typed_column(name: str, column: SourceColumn, date_formats: Sequence[str]) -> str:
    return f"{_typed_cell(name, column, date_formats)} as {quoted(name)}"


def _typed_cell(name: str, column: SourceColumn, date_formats: Sequence[str]) -> str:
    cell = f"cell.{quoted(name)}"
    match column.type:
        case "person" | "record":
            return "pseudonym.number"
        case "text" | "file_name":
            if column.allowed:
                return f"case when {cell} in ({', '.join(literal(word) for word in column.allowed)}) then {cell} end"
            return cell
        case "date":
            return f"coalesce({', '.join(_date(cell, date_format) for date_format in date_formats)})"
        case "integer":
            return f"case when regexp_full_match({cell}, '{_INTEGER}') then try_cast({cell} as bigint) end"
        case "number":
            return f"case when regexp_full_match({cell}, '{_NUMBER}') then try_cast({cell} as double) end"


def _date(cell: str, date_format: str) -> str:
    """Return the expression for a day that is written so; DuckDB also takes ``infinity`` and years before Christ."""
    if date_format == "%Y-%m-%d":  # the cast is several times faster than the general parser
        parsed = f"try_cast({cell} as date)"
        return f"case when {parsed}::varchar = {cell} and length({cell}) = 10 then {parsed} end"
    text = literal(date_format)
    parsed = f"try_strptime({cell}, {text})"
    written, seen = f"strftime({parsed}, {text})", cell
    if "%b" in date_format:  # suppliers write 01-JAN-2015 and 01-Jan-2015
        written, seen = f"upper({written})", f"upper({seen})"
    day = f"{parsed}::date"
    return f"case when {written} = {seen} and {day} between {_FIRST_DAY} and {_LAST_DAY} then {day} end"


def _reason(columns: dict[str, SourceColumn], person: str | None, date_formats: Sequence[str]) -> str:
    """Return the expression for the first reason to reject a record, null if there is none."""
    tests = [("cell.short_row", "short_row"), ("cell.long_row", "long_row")]
    if person:
        header, within = columns[person].named or person, columns[person].within
        written = f"{within}/{header}" if within else header
        tests += [
            (f"cell.{quoted(person)} is null or pseudonym.number is null", f"missing:{header}"),
            (f"lower(cell.{quoted(person)}) = {literal(written.lower())}", "repeated_header"),
            ("pseudonym.unclean", f"invisible_character:{header}"),
            ("pseudonym.rounded", f"rounded_number:{header}"),
        ]
    for name, column in columns.items():
        header = column.named or name
        if column.filled and column.type != "person":
            tests.append((f"cell.{quoted(name)} is null", f"missing:{header}"))
        if column.type in ("date", "integer", "number") or column.allowed:
            unreadable = f"cell.{quoted(name)} is not null and {_typed_cell(name, column, date_formats)} is null"
            tests.append((unreadable, f"unreadable:{header}"))
    return "case " + " ".join(f"when {test} then {literal(reason)}" for test, reason in tests) + " end"


def create_views(connection: Connection, staged: dict[str, list[Path]], layout: Layout, bucket: int) -> None:
    """Let ``extract.<source>`` show the accepted rows of one bucket, and the layout's own views rest on them."""
    for name, source in layout.sources.items():
        files = ", ".join(literal(path) for path in staged[name])
        columns = ", ".join(quoted(column) for column in source.expanded)
        mine = f"where bucket = {bucket}" if source.person else ""
        rows = f"select {columns} from read_parquet([{files}]) {mine}" if files else _empty(source)
        connection.execute(f"create or replace view extract.{quoted(name)} as {rows}")
    for name in layout.views:
        with translated(f"layout {layout.name}, {name}.sql"):
            claims.create_view(connection, layout, name)


def _empty(source: Source) -> str:
    columns = [f"null::{_SQL_TYPES[column.type]} as {quoted(name)}" for name, column in source.expanded.items()]
    return f"select {', '.join(columns)} where false"
