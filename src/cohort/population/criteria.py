"""Requirements and exclusions: each keeps a subset of the candidate entries and says why."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.features.demographics import age_at
from cohort.population.observation import spans
from cohort.population.occurrence import Occurrence, count_in
from cohort.spec import Date, Spec, Whole
from cohort.time import Window


class IndexBetween(Spec):
    """The index date lies in a calendar period, both ends included."""

    rule: Literal["index_between"] = "index_between"
    records: ClassVar[tuple[Record, ...]] = ()
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


class IndexIn(Spec):
    """The index date lies in one of several calendar periods, both ends of each included."""

    rule: Literal["index_in"] = "index_in"
    records: ClassVar[tuple[Record, ...]] = ()
    periods: Annotated[tuple[tuple[Date, Date], ...], Field(min_length=1, description="first and last day of each")]

    @model_validator(mode="after")
    def _in_order(self) -> IndexIn:
        if any(start > end for start, end in self.periods):
            raise ValueError("a period ends before it starts")
        return self

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Index date in {' or '.join(f'{start} to {end}' for start, end in self.periods)}"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries whose index date lies in a period."""
        inside = [pl.col("index_date").is_between(start, end) for start, end in self.periods]
        return entries.filter(pl.any_horizontal(inside))


class AgeBetween(Spec):
    """Age in completed years at index, both ends included; a person without a birth date is removed."""

    rule: Literal["age"] = "age"
    records: ClassVar[tuple[Record, ...]] = ()
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
    records: ClassVar[tuple[Record, ...]] = ()
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


class SexIs(Spec):
    """Administrative sex; a person of unknown sex is removed."""

    rule: Literal["sex"] = "sex"
    records: ClassVar[tuple[Record, ...]] = ()
    sex: Annotated[Literal["female", "male", "other"], Field(description="the sex required")]

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Sex: {self.sex}"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries of persons of that sex."""
        return entries.join(tables["person"].filter(pl.col("sex") == self.sex), on="person_id", how="semi")


class RegionIn(Spec):
    """Region of residence; a person of unknown region is removed."""

    rule: Literal["region"] = "region"
    records: ClassVar[tuple[Record, ...]] = ()
    regions: Annotated[tuple[str, ...], Field(min_length=1, description="the regions, as the store spells them")]

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"Region: {', '.join(self.regions)}"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries of persons of these regions."""
        within = tables["person"].filter(pl.col("region").is_in(self.regions))
        return entries.join(within, on="person_id", how="semi")


class Present(Spec):
    """An occurrence on at least, and at most, so many distinct days of a window relative to index.

    Of an episode, the episodes are counted that cover a day of the window.
    """

    rule: Literal["present"] = "present"
    record: Annotated[Occurrence, Field(description="what is required")]
    window: Annotated[Window, Field(description="days relative to index in which it must lie")]
    at_least: Annotated[Whole, Field(ge=0, description="least distinct days with it")] = 1
    at_most: Annotated[Whole | None, Field(ge=1, description="most distinct days with it; absent = no limit")] = None
    because: Annotated[str, Field(min_length=1, description="the requirement, as the flow diagram prints it")]

    @model_validator(mode="after")
    def _counts(self) -> Present:
        if self.at_least == 0 and self.at_most is None:
            raise ValueError("at_least 0 without at_most requires nothing")
        if self.at_most is not None and self.at_most < self.at_least:
            raise ValueError("at_most is below at_least")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return self.record.records

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        often = f"at least {self.at_least}" if self.at_least > 1 else ""
        if self.at_most is not None:
            often = f"{self.at_least} to {self.at_most}" if self.at_least else f"at most {self.at_most}"
        units = " in {} episodes" if self.record.table == "episode" else " on {} days"
        return f"With {self.because}{units.format(often) if often else ''} ({self.window})"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries with the occurrence on enough days of the window, and not on too many."""
        found = count_in(self.record, tables, entries, self.window)
        if self.at_most is not None:
            entries = entries.join(found.filter(pl.col("count") > self.at_most), on=KEY, how="anti")
        enough = found.filter(pl.col("count") >= self.at_least)
        return entries.join(enough, on=KEY, how="semi") if self.at_least else entries


class Exclude(Spec):
    """No occurrence in a window relative to index; of an episode, none that covers a day of it."""

    rule: Literal["exclude"] = "exclude"
    record: Annotated[Occurrence, Field(description="what excludes")]
    window: Annotated[Window, Field(description="days relative to index in which it excludes")]
    because: Annotated[str, Field(min_length=1, description="the reason, as the flow diagram prints it")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return self.record.records

    @property
    def reason(self) -> str:
        """Return the rule as the flow diagram prints it."""
        return f"No {self.because} ({self.window})"

    def keep(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Keep entries without it in the window."""
        return entries.join(count_in(self.record, tables, entries, self.window), on=KEY, how="anti")


Rule = Annotated[
    IndexBetween | IndexIn | AgeBetween | SexIs | RegionIn | Enrolled | Present | Exclude, Field(discriminator="rule")
]
"""Any requirement or exclusion of a cohort."""
