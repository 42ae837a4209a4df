"""What can happen to a person on a day: a record, a measurement, an episode's start, a date of the calendar or drawn.

Entry, requirements, exclusions and ends of follow-up all ask for one of these, so that each can be written wherever
another can.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.features.episodes import bridge_episodes
from cohort.population.hashing import of_persons
from cohort.spec import Date, Number, Spec, Whole
from cohort.time import Window


class Measurement(Spec):
    """Rows of the measurement table of an instrument, with a value in a range: a visit of a registry.

    A day qualifies if any value on it does.
    """

    table: Literal["measurement"] = "measurement"
    instrument: Annotated[
        str | None, Field(min_length=1, description="instrument, as the store spells it; absent = any")
    ] = None
    at_least: Annotated[Number | None, Field(description="lowest value that counts; absent = any")] = None
    below: Annotated[Number | None, Field(description="values from here on do not count; absent = any")] = None

    @model_validator(mode="after")
    def _is_possible(self) -> Measurement:
        if self.instrument is None and (self.at_least is not None or self.below is not None):
            raise ValueError("values of different instruments cannot be compared; name the instrument")
        if self.at_least is not None and self.below is not None and self.below <= self.at_least:
            raise ValueError("no value is at_least and below at once")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return none: measurements carry no codes."""
        return ()

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return the qualifying rows of one bucket."""
        asked = [pl.col("instrument") == self.instrument] if self.instrument is not None else []
        asked += [pl.col("value") >= self.at_least] if self.at_least is not None else []
        asked += [pl.col("value") < self.below] if self.below is not None else []
        return tables[self.table].filter(*asked) if asked else tables[self.table]

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and date of the qualifying days, each person-day once."""
        return self.rows(tables).select("person_id", "date").unique()

    def __str__(self) -> str:
        """Name it as protocol tables and reasons do."""
        if self.instrument is None:
            return "measurement"
        low = f" of {self.at_least:g} or more" if self.at_least is not None else ""
        high = f"{' and' if low else ' of'} less than {self.below:g}" if self.below is not None else ""
        return f"measurement of {self.instrument}{low}{high}"


class EpisodeOf(Spec):
    """An episode: records joined as long as no more than ``gap_days`` days lie between them; it happens when it starts.

    A diagnosis lasts to the end of its encounter and a dispensing to the end of its supply (one day if that is not
    recorded). In a window counts each episode that covers a day of it, made from the records up to its last day.

    References
    ----------
    de Vet HCW et al. Episodes of low back pain. Spine 2002;27:2409-2416. doi:10.1097/01.BRS.0000030307.34002.BE.
    """

    table: Literal["episode"] = "episode"
    record: Annotated[Record, Field(description="the record that episodes are made of")]
    gap_days: Annotated[Whole, Field(ge=0, description="longest distance in days that continues an episode")] = 90

    @model_validator(mode="after")
    def _of_rows(self) -> EpisodeOf:
        if self.record.evidence != "any":
            raise ValueError("an episode is made of rows as they stand; leave out evidence")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return the rows that its episodes are made of."""
        return self.record.rows(tables)

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and date of the first day of every episode, and ``until``, its last day."""
        found = bridge_episodes(self._lasting(tables), gap_days=self.gap_days)
        return found.select("person_id", date="start", until="end")

    def count(self, tables: Tables, entries: pl.LazyFrame, window: Window) -> pl.LazyFrame:
        """Return the key and how many episodes cover a day of the window, for entries with one."""
        day = relative_days(self._lasting(tables), entries)
        known = day if window.last is None else day.filter(pl.col("day") <= window.last)
        found = bridge_episodes(known, by=KEY, gap_days=self.gap_days)
        if window.first is not None:
            end = (pl.col("end") - pl.col("index_date")).dt.total_days()
            found = found.filter(end >= window.first)
        return found.group_by(KEY).agg(count=pl.len().cast(pl.Int64))

    def _lasting(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id, date and end_date of the rows, supplies and encounters with their length."""
        rows = self.record.rows(tables)
        if self.record.table == "dispensing":
            last = pl.col("date") + pl.duration(days=pl.col("days_supply").fill_null(1) - 1)
            return rows.select("person_id", "date", end_date=last)
        return rows.select("person_id", "date", end_date="end_date" if self.record.table == "diagnosis" else "date")

    def __str__(self) -> str:
        """Name it as protocol tables and reasons do."""
        return f"episode of {self.record}, gaps of up to {self.gap_days} days bridged"


class CalendarDates(Spec):
    """Dates of the calendar, the same for every person: everybody who is there on a census day."""

    table: Literal["calendar"] = "calendar"
    dates: Annotated[tuple[Date, ...], Field(min_length=1, description="the dates")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return none: the calendar is in no table."""
        return ()

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return a row per person and date."""
        return self.days(tables)

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and date, for every person and date."""
        dates = pl.LazyFrame({"date": sorted(set(self.dates))}, schema={"date": pl.Date})
        return tables["person"].select("person_id").join(dates, how="cross")

    def __str__(self) -> str:
        """Name it as protocol tables and reasons do."""
        return f"date of the calendar ({', '.join(str(date) for date in self.dates)})"


class DrawnDay(Spec):
    """One day of a period for each person, drawn at random: an index date for those whom nothing happened to.

    As an arm it makes comparators of the general population. A drawn day is no record: it washes nothing out, and a
    day that holds a record of another arm belongs to that arm. Which day is drawn depends on the seed and the person
    only. Drawn over the whole period before anybody looks at what happens, it favours nobody who stays free.

    References
    ----------
    Lund JL, Richardson DB, Stürmer T. The active comparator, new user study design in pharmacoepidemiology. Curr
    Epidemiol Rep 2015;2:221-228. doi:10.1007/s40471-015-0053-5 (why index dates of non-users must be assigned).
    Zhou Z et al. Survival bias associated with time-to-treatment initiation in drug effectiveness evaluation. Am J
    Epidemiol 2005;162:1016-1023. doi:10.1093/aje/kwi307 (dates assigned by the distribution of the others').
    """

    table: Literal["drawn"] = "drawn"
    start: Annotated[Date, Field(description="first day that can be drawn")]
    end: Annotated[Date, Field(description="last day that can be drawn")]
    seed: Annotated[Whole, Field(ge=0, description="which day of each person is drawn")] = 1

    @model_validator(mode="after")
    def _in_order(self) -> DrawnDay:
        if self.start > self.end:
            raise ValueError("the period ends before it starts")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return none: it is drawn, not recorded."""
        return ()

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return a row per person."""
        return self.days(tables)

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and the day drawn for every person."""
        persons = tables["person"].select("person_id").collect()
        length = (self.end - self.start).days + 1
        drawn = of_persons(persons["person_id"].to_numpy(), self.seed ^ _DRAW) % np.uint64(length)
        drawn_of = persons.with_columns(_drawn=pl.Series(drawn.astype(np.int64)))
        return drawn_of.lazy().select("person_id", date=pl.lit(self.start) + pl.duration(days="_drawn"))

    def __str__(self) -> str:
        """Name it as protocol tables and reasons do."""
        return f"day drawn at random from {self.start} to {self.end}"


_DRAW = 0x64726177
"""Keeps the days that are drawn apart from what the same seed decides elsewhere."""

Occurrence = Annotated[Record | Measurement | EpisodeOf | CalendarDates | DrawnDay, Field(discriminator="table")]
"""What can happen to a person on a day."""


def count_in(occurrence: Any, tables: Tables, entries: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return the key and in how many distinct days, or episodes, of a window it happened (Int64), if in any."""
    if isinstance(occurrence, EpisodeOf):
        return occurrence.count(tables, entries, window)
    found = relative_days(occurrence.days(tables), entries).filter(window.contains(pl.col("day")))
    return found.group_by(KEY).agg(count=pl.col("day").n_unique().cast(pl.Int64))


def with_article(occurrence: Any) -> str:
    """Return its name with the indefinite article."""
    name = str(occurrence)
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def measurement(
    instrument: str | None = None, at_least: float | None = None, below: float | None = None
) -> Measurement:
    """Return measurements of an instrument, or of any: visits of a registry; see `Measurement`."""
    return Measurement.of(instrument=instrument, at_least=at_least, below=below)


def episode_of(record: Record, gap_days: int = 90) -> EpisodeOf:
    """Return the episodes that records make under a gap rule; see `EpisodeOf`."""
    return EpisodeOf.of(record=record, gap_days=gap_days)


def on_dates(*dates: Any) -> CalendarDates:
    """Return dates of the calendar, the same for every person."""
    return CalendarDates.of(dates=dates)


def drawn_day(start: Any, end: Any, seed: int = 1) -> DrawnDay:
    """Return one day of a period for each person, drawn at random; see `DrawnDay`."""
    return DrawnDay.of(start=start, end=end, seed=seed)
