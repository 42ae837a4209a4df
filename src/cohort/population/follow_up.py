"""When risk starts, and when follow-up stops and why: study end, longest follow-up, end of data, leaving, death."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.population.entry import OTHER
from cohort.population.observation import spans
from cohort.population.occurrence import Occurrence, with_article
from cohort.spec import Date, Spec, Whole
from cohort.time import days_between


class RiskStart(Spec):
    """Delayed entry: risk starts on the index date, with enrolment, or after the first occurrence from index on.

    Who is known only from a later day on could not have been seen to have the event, or to die, before it: such an
    entry joins the risk sets late (left truncation), and what happens earlier is counted in the attrition. Enrolment
    that begins on day s after index puts an entry at risk from that day, (s − 1, exit]; an occurrence on day v from
    the next, (v, exit]. Without either, an entry never comes to be at risk.

    References
    ----------
    Keiding N. Independent delayed entry. In: Klein JP, Goel PK (eds). Survival analysis: state of the art. Kluwer 1992,
    309-326. doi:10.1007/978-94-015-7983-4_18.
    """

    at: Annotated[Literal["index", "enrolment", "record"], Field(description="what risk starts with")] = "index"
    record: Annotated[Occurrence | None, Field(description="the occurrence, for at = record")] = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> RiskStart:
        if (self.at == "record") != (self.record is not None):
            raise ValueError("at = 'record' needs a record, and a record needs at = 'record'")
        return self

    @property
    def delayed(self) -> bool:
        """Return whether entries may join the risk sets at different days."""
        return self.at != "index"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the coded records that it reads."""
        return () if self.record is None else self.record.records

    @property
    def text(self) -> str:
        """Return the start as the protocol and the flow diagram say it."""
        if self.record is not None:
            return f"after the first day with {with_article(self.record)}, from the index date on"
        return "on the index date" if self.at == "index" else "on the first day enrolled, from the index date on"

    def days(self, tables: Tables, entries: pl.LazyFrame, bridge_days: int) -> pl.LazyFrame:
        """Return the key and ``start_day`` (Int64): risk sets are (start_day, exit]; none for who never is at risk."""
        if self.record is not None:
            seen = relative_days(self.record.days(tables), entries).filter(pl.col("day") >= 0)
            return seen.group_by(KEY).agg(start_day=pl.col("day").min())
        if self.at == "index":
            return entries.select(*KEY, start_day=pl.lit(0, dtype=pl.Int64))
        first = days_between(pl.col("index_date"), pl.col("start_date")) - 1
        return observed_from(tables, entries, bridge_days).select(*KEY, start_day=pl.max_horizontal(first, 0))


LEFT, OTHER_ARM = "disenrolment", "record of another arm"
ADMINISTRATIVE = ("end of study", "end of data", "longest follow-up")
"""Reasons of exit: leaving enrolment, the other arm, and the ends that say nothing of the person."""


class FollowUp(Spec):
    """Follow-up from the index date (day 0) to the earliest censoring day; death is kept apart.

    The last day of a span, of the study and of the data belongs to follow-up: an event on it counts.
    """

    until: Annotated[Date | None, Field(description="last calendar day of follow-up")] = None
    max_days: Annotated[Whole | None, Field(ge=1, description="longest follow-up in days")] = None
    censor_at: Annotated[
        tuple[Literal["disenrolment", "other_arm"], ...],
        Field(description="what ends follow-up: leaving enrolment, and a record of another arm after index"),
    ] = ("disenrolment",)
    censor_records: Annotated[
        tuple[Occurrence, ...], Field(description="occurrences whose first day after index ends follow-up")
    ] = ()
    bridge_days: Annotated[Whole, Field(ge=0, description="longest enrolment gap that does not end follow-up")] = 31

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the coded records that it reads."""
        return tuple(record for occurrence in self.censor_records for record in occurrence.records)

    def ends(self, tables: Tables, entries: pl.LazyFrame, data_end: dt.date, start: RiskStart) -> pl.LazyFrame:
        """Return, per entry, ``censor_day`` and ``death_day`` (Int64 days after index) and ``censor_reason``.

        A person who is not enrolled on the index date leaves on day 0 when disenrolment censors, unless risk starts
        with enrolment. ``death_day`` is null for the living. Ties between reasons are settled in the order of the
        columns below.
        """
        days = self._observed_until(tables, entries, start).join(
            tables["person"].select("person_id", "death_date"), on="person_id", how="left"
        )
        reasons = {
            LEFT: pl.col("leaves_on") if "disenrolment" in self.censor_at else None,
            ADMINISTRATIVE[0]: pl.lit(self.until) if self.until else None,
            ADMINISTRATIVE[1]: pl.lit(data_end),
        }
        if "other_arm" in self.censor_at:
            days = days.join(entries.select(*KEY, OTHER), on=KEY, how="left")
            reasons[OTHER_ARM] = pl.col(OTHER)
        columns = {name: days_between(pl.col("index_date"), date) for name, date in reasons.items() if date is not None}
        if self.max_days is not None:
            columns[ADMINISTRATIVE[2]] = pl.lit(self.max_days, dtype=pl.Int64)
        for number, record in enumerate(self.censor_records):
            found = relative_days(record.days(tables), entries).filter(pl.col("day") > 0)
            first = found.group_by(KEY).agg(pl.col("day").min().alias(f"record_{number}"))
            days = days.join(first, on=KEY, how="left")
            columns[str(record)] = pl.col(f"record_{number}")
        earliest = pl.min_horizontal(columns.values())
        reason = pl.coalesce(pl.when(day == earliest).then(pl.lit(name)) for name, day in columns.items())
        return days.select(
            *KEY,
            censor_day=earliest,
            censor_reason=reason,
            death_day=days_between(pl.col("index_date"), pl.col("death_date")),
        )

    def _observed_until(self, tables: Tables, entries: pl.LazyFrame, start: RiskStart) -> pl.LazyFrame:
        """Add ``leaves_on``: the last day of the bridged span that holds the index date, else the index date.

        Of entries that wait for enrolment, the span that they wait for.
        """
        held = observed_from(tables, entries, self.bridge_days)
        if start.at != "enrolment":
            held = held.filter(pl.col("start_date") <= pl.col("index_date"))
        return (
            entries.select(KEY)
            .join(held.select(*KEY, leaves_on="end_date"), on=KEY, how="left")
            .with_columns(pl.col("leaves_on").fill_null(pl.col("index_date")))
        )


def observed_from(tables: Tables, entries: pl.LazyFrame, bridge_days: int) -> pl.LazyFrame:
    """Return the key, ``start_date`` and ``end_date`` of each entry's first bridged span not over before index."""
    not_over = (
        entries.select(KEY)
        .join(spans(tables, bridge_days), on="person_id")
        .filter(pl.col("end_date") >= pl.col("index_date"))
    )
    return not_over.group_by(KEY).agg(pl.col("start_date", "end_date").min())
