"""Small worlds for specifications: text tables in, the tables of one bucket out."""

from __future__ import annotations

import datetime as dt

import polars as pl

from cohort.store.tables import TABLES

_DEFAULTS = {"setting": "outpatient", "system": "icd10cm"}


def world(**tables: str) -> dict[str, pl.LazyFrame]:
    """Return one bucket from text tables: a header line, then one row per line, ``-`` for null."""
    return {name: _table(name, tables.get(name, "person_id")) for name in TABLES}


def _table(name: str, text: str) -> pl.LazyFrame:
    header, *rows = [line.split() for line in text.strip().splitlines()]
    schema = TABLES[name].schema
    columns: dict[str, list[object]] = {
        column: [_value(row[header.index(column)], schema[column]) for row in rows] for column in header
    }
    for column in schema:
        if column not in columns:
            columns[column] = [_DEFAULTS.get(column)] * len(rows)
    if "end_date" in schema and "end_date" not in header:
        columns["end_date"] = columns["date"] if "date" in columns else [None] * len(rows)
    return pl.DataFrame(columns, schema=schema).lazy()


def _value(text: str, dtype: pl.DataType) -> object:
    if text == "-":
        return None
    if dtype == pl.Date:
        return dt.date.fromisoformat(text)
    return int(text) if dtype.is_integer() else float(text) if dtype.is_float() else text
