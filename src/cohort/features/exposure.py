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
from cohort.spec import Spec


class Exposure(Spec):
    """A treatment that may start after index: the day of its first record from the index date on, null for never.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """

    name: Annotated[Name, Field(description="name of the exposure")]
    record: Annotated[Record, Field(description="the record that starts it")]

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
        return f"starts on the day of the first {self.record} from the index date on"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the day of the start (Int64, days after index), of the entries that start."""
        days = relative_days(self.record.days(tables), entries).filter(pl.col("day") >= 0)
        return days.group_by(KEY).agg(pl.col("day").min().alias(self.name))


def exposure(name: str, record: Record) -> Exposure:
    """Return a treatment that may start after index; ``record`` is what starts it."""
    return Exposure.of(name=name, record=record)
