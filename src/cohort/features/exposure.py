"""Exposures: treatments that may start after index, and when they do.

An exposure is no covariate. Whoever starts in month five has stayed at risk until then, so a group of "ever exposed"
borrows time in which nothing could happen. Only analyses that know the day of the start may read an exposure.
"""

from __future__ import annotations

from typing import Annotated

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.features.covariate import Name
from cohort.spec import Spec, Whole


class Exposure(Spec):
    """A treatment that may start after index: the day of its first record from the index date on, null for never.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """

    name: Annotated[Name, Field(description="name of the exposure")]
    record: Annotated[Record, Field(description="the record that starts it")]
    lasts_days: Annotated[
        Whole | None,
        Field(ge=1, description="days that each record lasts, gaps allowed for; absent = for good, once started"),
    ] = None

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    @property
    def label(self) -> str:
        """Return what tables and figures call it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        lasts = "" if self.lasts_days is None else f" and lasts {self.lasts_days} days from each of them"
        return f"starts on the day of the first {self.record} from the index date on{lasts}"

    @property
    def days(self) -> str:
        """Return what the analysis table calls the days of its records, of an exposure that ends."""
        return f"{self.name}.days"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the day of the start (Int64, days after index), of the entries that start.

        An exposure that ends adds the days of all of its records from index on (List of Int64, ascending).
        """
        days = relative_days(self.record.days(tables), entries).filter(pl.col("day") >= 0)
        each = [] if self.lasts_days is None else [pl.col("day").unique().sort().alias(self.days)]
        return days.group_by(KEY).agg(pl.col("day").min().alias(self.name), *each)


def exposure(name: str, record: Record, lasts_days: int | None = None) -> Exposure:
    """Return a treatment that may start after index; ``record`` is what starts it, and may end when records do."""
    return Exposure.of(name=name, record=record, lasts_days=lasts_days)
