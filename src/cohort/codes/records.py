"""Which rows of the store qualify: a table and a codelist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from cohort.codes.match import matches
from cohort.codes.reference import Codes
from cohort.spec import Spec

Tables = Mapping[str, pl.LazyFrame]
"""The tables of one bucket, by name (`cohort.store.tables.TABLES`)."""

KEY = ("person_id", "index_date")
"""What identifies an entry: a person may enter a cohort more than once, on different days."""


class Record(Spec):
    """Rows of one table whose code is in a codelist."""

    table: Annotated[Literal["diagnosis", "procedure", "dispensing"], Field(description="table of the store")]
    codes: Annotated[Codes, Field(description="codelist: a shipped name, a CSV file, or rows")]

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return the qualifying rows of one bucket, each once."""
        return matches(tables[self.table], self.codes.codelist)

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and date of the qualifying rows, each person-day once."""
        return self.rows(tables).select("person_id", "date").unique()

    def __str__(self) -> str:
        """Name the record as protocol tables and reasons do."""
        return f"{self.table} of {self.codes.name.replace('_', ' ')}"


def diagnosis(codes: Any) -> Record:
    """Return diagnosis rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file."""
    return Record.of(table="diagnosis", codes=codes)


def procedure(codes: Any) -> Record:
    """Return procedure rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file."""
    return Record.of(table="procedure", codes=codes)


def dispensing(codes: Any) -> Record:
    """Return dispensing rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file."""
    return Record.of(table="dispensing", codes=codes)


def relative_days(days: pl.LazyFrame, entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return every record day of every entry's person as an integer ``day`` relative to that entry's index date."""
    return (
        entries.select(KEY)
        .join(days, on="person_id")
        .with_columns((pl.col("date") - pl.col("index_date")).dt.total_days().cast(pl.Int64).alias("day"))
    )
