"""A supplier's columns mapped to a store table in ``layout.toml``, for files that need no SQL of their own.

A mapping is compiled into what a folder of SQL declares by hand: a source, and one select statement for the table.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from cohort.errors import StudyError
from cohort.ingest.engine import literal, quoted
from cohort.ingest.sources import Declared, Source, SourceColumn
from cohort.store.tables import TABLES, Table

_DAYS = {"days": 1, "weeks": 7}
_SOURCE_TYPES: dict[type[pl.DataType], Literal["text", "date", "integer", "number"]] = {
    pl.String: "text",
    pl.Date: "date",
    pl.Float64: "number",
    pl.Int32: "number",
    pl.Int16: "number",
}


def _cell(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Cell(Declared):
    """Where the value of one store column comes from: a column, a constant, or a time after a day of origin.

    ``words`` translates what the supplier writes, ``divide_by`` changes the unit of a number; ``origin`` is a day or a
    column of days, ``plus`` a whole number or a column of them, in ``unit``.
    """

    column: str | None = None
    constant: str | float | dt.date | None = None
    words: dict[str, str] = Field({})
    divide_by: float = Field(1, gt=0)
    origin: str | dt.date | None = None
    plus: str | int = 0
    unit: Literal["days", "weeks", "months", "years"] = "days"


Mapped = Annotated[Cell, BeforeValidator(_cell)]


class Value(Declared):
    """One value column of a wide file: what it measures and when, where that differs from the other columns."""

    instrument: Mapped | None = None
    date: Mapped | None = None
    plus: str | int | None = None
    unit: Mapped | None = None
    divide_by: float = Field(1, gt=0)


class Person(Declared):
    """The identifier of the person: one column, one that is unique within another, or the record itself."""

    column: str | None = None
    within: str | None = None
    record: bool = False


class Mapping(Declared):
    """``[tables.<store table>]`` of ``layout.toml``: files, the person, and store column = where it comes from."""

    files: list[str] = Field(min_length=1)
    person: Annotated[Person, BeforeValidator(_cell)]
    optional: bool = False
    columns: dict[str, Mapped] = Field({})
    values: dict[str, Value] = Field({})


@dataclass(slots=True)
class _Reader:
    """Collects the supplier's columns that a mapping reads, each under a plain name of its own."""

    columns: dict[str, SourceColumn] = field(default_factory=dict)

    def read(
        self,
        header: str,
        column_type: Literal["text", "date", "integer", "number"],
        allowed: tuple[str, ...] | None = None,
    ) -> str:
        """Return the quoted name of a column of the file."""
        wanted = SourceColumn(type=column_type, named=header, allowed=list(allowed) if allowed else None)
        for name, column in self.columns.items():
            if column == wanted:
                return quoted(name)
        name = f"c{len(self.columns)}"
        self.columns[name] = wanted
        return quoted(name)


def compile_mappings(table: str, mappings: list[Mapping]) -> tuple[dict[str, Source], str]:
    """Return the sources that the mappings of a store table read, and the select statement that makes it of them.

    Raises
    ------
    StudyError
        If a column is not one of the store table's, or a required one is not given.
    """
    sources, selects = {}, []
    for number, mapping in enumerate(mappings, 1):
        name = f"mapped_{table}" if number == 1 else f"mapped_{table}_{number}"
        sources[name], select = _compile(TABLES[table], mapping, name)
        selects.append(select)
    return sources, "\nunion all by name\n".join(selects)


def _compile(table: Table, mapping: Mapping, source: str) -> tuple[Source, str]:
    """Return the source that one mapping reads under the given name, and its select statement."""
    _check(table, mapping)
    reader = _Reader()
    reader.columns["person"] = _person(mapping.person)
    if mapping.values:
        sql = _wide(reader, table, mapping, source)
    else:
        cells = {name: _expression(reader, table, name, cell) for name, cell in mapping.columns.items()}
        if "end_date" in table.columns and "date" in cells:
            cells.setdefault("end_date", cells["date"])
        chosen = ", ".join(["person", *(f"{cell} as {quoted(name)}" for name, cell in cells.items())])
        filled = " where value is not null" if table.name == "measurement" else ""
        sql = f"select * from (select {chosen} from extract.{quoted(source)}){filled}"
    return Source(files=mapping.files, columns=reader.columns, optional=mapping.optional), sql


def _check(table: Table, mapping: Mapping) -> None:
    if mapping.values and "value" not in table.columns:
        raise StudyError(f"tables.{table.name}: only measurement takes `values`; give `columns`")
    unknown = set(mapping.columns) - set(table.columns) - ({"as_of"} if table.name == "person" else set())
    absent = set(table.required) - {"person_id"} - _given(table, mapping)
    if unknown or absent:
        raise StudyError(
            f"tables.{table.name}: "
            + "; ".join(
                f"{text} {', '.join(sorted(names))}"
                for text, names in (("lacks column", absent), ("has unknown column", unknown))
                if names
            )
        )


def _given(table: Table, mapping: Mapping) -> set[str]:
    """Return the columns that a mapping fills, those that it leaves to a rule included."""
    given = set(mapping.columns)
    if mapping.values:
        given |= {"value", "instrument"} | ({"date"} if all(value.date for value in mapping.values.values()) else set())
    if "date" in given and "end_date" in table.columns:
        given |= {"end_date"}
    return given


def _person(person: Person) -> SourceColumn:
    if person.record == (person.column is not None):
        raise StudyError("a mapping's `person` is either a column or `record = true`")
    if person.record:
        return SourceColumn(type="record")
    return SourceColumn(type="person", named=person.column, within=person.within)


def _wide(reader: _Reader, table: Table, mapping: Mapping, source: str) -> str:
    """Return the statement that puts the value columns of a wide file one below the other, empty ones left out."""
    rows = []
    for header, value in mapping.values.items():
        instrument = value.instrument or mapping.columns.get("instrument") or Cell(constant=header)
        day = value.date or mapping.columns.get("date") or Cell()
        if value.plus is not None:
            day = day.model_copy(update={"plus": value.plus})
        unit = value.unit or mapping.columns.get("unit") or Cell(constant=None)
        cells = {
            "date": day,
            "instrument": instrument,
            "value": Cell(column=header, divide_by=value.divide_by),
            "unit": unit,
        }
        rows.append({name: _expression(reader, table, name, cell) for name, cell in cells.items()})
    lists = ", ".join(
        f"unnest([{', '.join(row[name] for row in rows)}]) as {quoted(name)}"
        for name in ("date", "instrument", "value", "unit")
    )
    return f"select * from (select person, {lists} from extract.{quoted(source)}) where value is not null"


def _expression(reader: _Reader, table: Table, name: str, cell: Cell) -> str:
    """Return the SQL of one store column."""
    dtype = pl.Date if name == "as_of" else type(table.columns[name].dtype)
    if cell.origin is not None:
        return _relative(reader, cell)
    if cell.column is None:
        return _constant(cell.constant)
    if cell.words:
        return _translated(reader, cell, closed=dtype not in (pl.String, pl.Date))
    column = reader.read(cell.column, _SOURCE_TYPES[dtype])
    return column if cell.divide_by == 1 else f"{column} / {cell.divide_by}"


def _translated(reader: _Reader, cell: Cell, closed: bool) -> str:
    """Return what the supplier's words mean; a word that is not listed stands for itself, or is unreadable."""
    column = reader.read(str(cell.column), "text", tuple(cell.words) if closed else None)
    pairs = ", ".join(f"{literal(word)}: {literal(means)}" for word, means in cell.words.items())
    return f"coalesce(map {{{pairs}}}[{column}], {column})"


def _relative(reader: _Reader, cell: Cell) -> str:
    """Return the day that lies a number of days, weeks, months or years after the day of origin."""
    origin = _constant(cell.origin) if isinstance(cell.origin, dt.date) else reader.read(str(cell.origin), "date")
    plus = str(cell.plus) if isinstance(cell.plus, int) else reader.read(cell.plus, "integer")
    if cell.unit in _DAYS:
        return f"{origin} + ({plus} * {_DAYS[cell.unit]})::integer"
    return f"({origin} + to_{cell.unit}(({plus})::integer))::date"


def _constant(value: str | float | dt.date | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, dt.date):
        return f"date {literal(value.isoformat())}"
    return literal(value) if isinstance(value, str) else repr(value)
