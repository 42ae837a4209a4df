"""Requirements and exclusions: each keeps a subset of the candidate entries and says why."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.features.demographics import age_at
from cohort.population.observation import spans
from cohort.spec import Date, Spec, Whole
from cohort.time import Window


class IndexBetween(Spec):
    """The index date lies in a calendar period, both ends included."""

    rule: Literal["index_between"] = "index_between"
    start: Annotated[Date, Field(description="first index date")]
    end: Annotated[Date, Field(description="last index date")]

    @model_validator(mode="after")
    def _in_order(self) -> IndexBetween:
        if self.start > self.end:
            raise ValueError("the period ends before it starts")
        return self

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Index date between {self.start} and {self.end}"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries whose index date lies in the period."""
        return entries.filter(pl.col("index_date").is_between(self.start, self.end))


class AgeBetween(Spec):
    """Age in completed years at index, both ends included; a person without a birth date is removed."""

    rule: Literal["age"] = "age"
    minimum: Annotated[Whole, Field(ge=0, le=150, description="youngest age")] = 0
    maximum: Annotated[Whole, Field(ge=0, le=150, description="oldest age")] = 150

    @model_validator(mode="after")
    def _in_order(self) -> AgeBetween:
        if self.minimum > self.maximum:
            raise ValueError("the youngest age is above the oldest")
        return self

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Aged {self.minimum} to {self.maximum} at index"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries of persons of the stated age."""
        within = age_at(tables, entries).filter(pl.col("age").is_between(self.minimum, self.maximum))
        return entries.join(within, on=KEY, how="semi")


class Enrolled(Spec):
    """Observed on every day of a window, enrolment gaps of up to ``bridge_days`` days being bridged."""

    rule: Literal["enrolled"] = "enrolled"
    window: Annotated[Window, Field(description="days relative to index that must be observed")]
    bridge_days: Annotated[Whole, Field(ge=0, description="longest gap, in days, that does not count as leaving")] = 31

    @model_validator(mode="after")
    def _closed(self) -> Enrolled:
        if self.window.first is None or self.window.last is None:
            raise ValueError("a window of enrolment needs both ends")
        return self

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Enrolled from {self.window}, gaps of up to {self.bridge_days} days bridged"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries with one bridged span that covers the whole window."""
        inside = entries.select(KEY).join(spans(tables, self.bridge_days), on="person_id")
        covered = inside.filter(
            pl.col("start_date") <= pl.col("index_date").dt.offset_by(f"{self.window.first}d"),
            pl.col("end_date") >= pl.col("index_date").dt.offset_by(f"{self.window.last}d"),
        )
        return entries.join(covered, on=KEY, how="semi")


class Exclude(Spec):
    """No qualifying record in a window relative to index."""

    rule: Literal["exclude"] = "exclude"
    record: Annotated[Record, Field(description="the record that excludes")]
    window: Annotated[Window, Field(description="days relative to index in which it excludes")]
    because: Annotated[str, Field(min_length=1, description="the reason, as the flow diagram prints it")]

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"No {self.because} ({self.window})"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries without such a record in the window."""
        found = relative_days(self.record.days(tables), entries).filter(self.window.contains(pl.col("day")))
        return entries.join(found, on=KEY, how="anti")


Rule = Annotated[IndexBetween | AgeBetween | Enrolled | Exclude, Field(discriminator="rule")]
"""Any requirement or exclusion of a cohort."""
