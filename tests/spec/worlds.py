"""Small worlds for specifications: text tables in, the tables of one bucket out."""

from __future__ import annotations

import datetime as dt

import polars as pl

from cohort.plan import codes_needed, run_bucket
from cohort.store.tables import PHARMACY_BENEFIT, TABLES

INDEX = dt.date(2020, 3, 1)
"""The date that ``d0`` stands for in a text table; ``d90`` is 90 days later, ``d-1`` the day before."""

_DEFAULTS = {"setting": "outpatient", "system": "icd10cm"}


def world(**tables: str) -> dict[str, pl.LazyFrame]:
    """Return one bucket from text tables: a header line, then one row per line, ``-`` for null, ``d90`` for a date.

    A table that is not given has no rows; only of pharmacy benefit nothing is then said.
    """
    names = [name for name in TABLES if name in tables or name != PHARMACY_BENEFIT]
    return {name: _table(name, tables.get(name, "person_id")) for name in names}


def _table(name: str, text: str) -> pl.LazyFrame:
    header, *rows = [line.split() for line in text.splitlines() if line.strip()]
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
    if dtype == pl.Date and text.startswith("d"):
        return INDEX + dt.timedelta(days=int(text[1:]))
    if dtype == pl.Date:
        return dt.date.fromisoformat(text)
    return int(text) if dtype.is_integer() else float(text) if dtype.is_float() else text


def people(*numbers: int, died: str = "") -> dict[str, str]:
    """Return the person and enrolment tables of persons observed from 2018 to 2022; ``died`` is ``"3:d40 7:d100"``."""
    deaths = dict(pair.split(":") for pair in died.split())
    person = "\n".join(f"{n} 1970-01-01 female {deaths.get(str(n), '-')}" for n in numbers)
    enrolment = "\n".join(f"{n} 2018-01-01 2022-12-31" for n in numbers)
    return {
        "person": f"person_id birth_date sex death_date\n{person}",
        "enrolment": f"person_id start_date end_date\n{enrolment}",
    }


def exits(tables, cohort, outcome, data_end=dt.date(2022, 12, 31)):
    """Return {person: (time, cause)} of those at risk, and {reason: persons} of the steps that removed somebody."""
    part = run_bucket(tables, cohort, outcome, (), codes_needed(cohort, outcome, ()), data_end)
    rows = {row["person_id"]: (row["time"], row["cause"]) for row in part.rows.to_dicts()}
    return rows, {step.reason: step.persons_removed for step in part.attrition.steps if step.persons_removed}
