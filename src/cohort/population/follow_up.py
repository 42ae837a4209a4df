"""When follow-up stops and why: the earliest of study end, longest follow-up, end of data, leaving, and death."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.population.observation import spans
from cohort.spec import Date, Spec, Whole
from cohort.time import days_between


class FollowUp(Spec):
    """Follow-up from the index date (day 0) to the earliest censoring day; death is kept apart.

    The last day of a span, of the study and of the data belongs to follow-up: an event on it counts.
    """

    until: Annotated[Date | None, Field(description="last calendar day of follow-up")] = None
    max_days: Annotated[Whole | None, Field(ge=1, description="longest follow-up in days")] = None
    censor_at: Annotated[
        tuple[Literal["disenrolment"], ...], Field(description="events of observation that end follow-up")
    ] = ("disenrolment",)
    censor_records: Annotated[
        tuple[Record, ...], Field(description="records whose first day after index ends follow-up")
    ] = ()
    bridge_days: Annotated[Whole, Field(ge=0, description="longest enrolment gap that does not end follow-up")] = 31

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return self.censor_records

    def ends(self, tables: Tables, entries: pl.LazyFrame, data_end: dt.date) -> pl.LazyFrame:
        """Return, per entry, ``censor_day`` and ``death_day`` (Int64 days after index) and ``censor_reason``.

        A person who is not enrolled on the index date leaves on day 0 when disenrolment censors. ``death_day`` is
        null for the living. Ties between reasons are settled in the order of the columns below.
        """
        days = self._observed_until(tables, entries).join(
            tables["person"].select("person_id", "death_date"), on="person_id", how="left"
        )
        reasons = {
            "disenrolment": pl.col("leaves_on") if "disenrolment" in self.censor_at else None,
            "end of study": pl.lit(self.until) if self.until else None,
            "end of data": pl.lit(data_end),
        }
        columns = {name: days_between(pl.col("index_date"), date) for name, date in reasons.items() if date is not None}
        if self.max_days is not None:
            columns["longest follow-up"] = pl.lit(self.max_days, dtype=pl.Int64)
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

    def _observed_until(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Add ``leaves_on``: the last day of the bridged span that holds the index date, else the index date."""
        holding = (
            entries.select(KEY)
            .join(spans(tables, self.bridge_days), on="person_id")
            .filter(pl.col("index_date").is_between("start_date", "end_date"))
            .select(*KEY, leaves_on=pl.col("end_date"))
        )
        return (
            entries.select(KEY)
            .join(holding, on=KEY, how="left")
            .with_columns(pl.col("leaves_on").fill_null(pl.col("index_date")))
        )
