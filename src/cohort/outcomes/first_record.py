"""The plainest outcome: the first qualifying record."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.outcomes.base import Event
from cohort.spec import Whole


class FirstRecord(Event):
    """The first qualifying record on or after ``from_day``; earlier records are losses before risk starts."""

    kind: Literal["first_record"] = "first_record"
    record: Annotated[Record, Field(description="the record that is the event")]
    from_day: Annotated[
        Whole, Field(ge=1, description="first day on which it counts: follow-up starts the day before")
    ] = 1

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    @property
    def name(self) -> str:
        """Return the outcome's name in estimates."""
        return self.label or self.record.codes.name

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"the first {self.record} from day {self.from_day} after index"

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.from_day - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index with such a record, of any entry.

        A record on the index day may be the entry itself, so a study excludes it by a rule.
        """
        found = relative_days(self.record.days(tables), entries)
        return found.filter(pl.col("day") > 0).select(*KEY, "day")
