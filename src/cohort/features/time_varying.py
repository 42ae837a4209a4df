"""Covariates that change after index: what is known of a person from day to day, not only at the index date.

Who is treated, stops or leaves in month five is foretold by month four, not by the index date. Such a covariate is no
term of a plain model: it may be a consequence of the treatment. Only analyses that weight by it may read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.features.covariate import Name
from cohort.spec import Spec, Whole


class TimeVarying(Spec):
    """A yes/no covariate that changes after index: yes on the ``within_days`` days after each of its records.

    A record counts from the day after it, so that what is written on the day of a treatment does not foretell it;
    records of the index date, and those before it that still last, are known on day 0.

    References
    ----------
    Robins JM, Hernán MA, Brumback B. Marginal structural models and causal inference in epidemiology. Epidemiology
    2000;11:550-560. doi:10.1097/00001648-200009000-00011.
    """

    name: Annotated[Name, Field(description="name of the covariate")]
    record: Annotated[Record, Field(description="the record that makes it yes")]
    within_days: Annotated[
        Whole | None, Field(ge=1, description="days that it stays yes after a record; absent = for good")
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
        lasts = "ever before" if self.within_days is None else f"in the {self.within_days} days before"
        return f"day by day: {self.record} {lasts}"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the days of its records (List of Int64, ascending), those that last beyond index."""
        days = relative_days(self.record.days(tables), entries).select(*KEY, "day")
        if self.within_days is not None:
            days = days.filter(pl.col("day") > -self.within_days)
        each = pl.col("day").unique().sort()
        return days.group_by(KEY).agg((each if self.within_days is not None else each.head(1)).alias(self.name))


def time_varying(name: str, record: Record, within_days: int | None = None) -> TimeVarying:
    """Return a yes/no covariate that changes after index: yes for ``within_days`` days after each record."""
    return TimeVarying.of(name=name, record=record, within_days=within_days)


def known_at(days: pl.DataFrame, persons: pl.DataFrame, column: str, lasts_days: int | None) -> pl.Series:
    """Return whether a record of some days still lasts on others, records of these included.

    Parameters
    ----------
    days
        ``person_id`` and ``start`` (Int64 days after index), sorted by both.
    persons
        One row per person: ``person_id`` and, in ``column``, the days of records (List of Int64).
    """
    known = _days_of(persons, column).with_columns(_last="day")
    found = days.select("person_id", "start").join_asof(
        known, left_on="start", right_on="day", by="person_id", check_sortedness=False
    )
    lasts = pl.lit(value=True)
    if lasts_days is not None:
        lasts = pl.col("start") < pl.col("_last") + lasts_days
    return found.select((pl.col("_last").is_not_null() & lasts).fill_null(value=False)).to_series()


def histories(persons: pl.DataFrame, covariates: Sequence[TimeVarying]) -> pl.DataFrame:
    """Return rows ``person_id, start, stop`` from day 0 to the exit, one for each stretch without a change.

    Parameters
    ----------
    persons
        One row per person: ``person_id``, ``time`` (the day of the exit) and the columns of the covariates.
    """
    cuts = [persons.select("person_id", start=pl.lit(0, pl.Int64))]
    for covariate in covariates:
        days = _days_of(persons, covariate.name)
        cuts.append(days.select("person_id", start=pl.max_horizontal("day", pl.lit(0, pl.Int64))))
        if covariate.within_days is not None:
            cuts.append(days.select("person_id", start=pl.col("day") + covariate.within_days))
    inside = pl.concat(cuts).join(persons.select("person_id", "time"), on="person_id")
    rows = inside.filter((pl.col("start") == 0) | pl.col("start").is_between(0, pl.col("time"), closed="none"))
    rows = rows.unique().sort("person_id", "start")
    rows = rows.with_columns(
        known_at(rows, persons, covariate.name, covariate.within_days).alias(covariate.name) for covariate in covariates
    )
    names = [covariate.name for covariate in covariates]
    changed = [pl.col(name) != pl.col(name).shift(1).over("person_id") for name in names]
    rows = rows.filter((pl.col("start") == 0) | pl.any_horizontal(changed))
    last = pl.max_horizontal("time", pl.col("start") + 1)
    stop = pl.col("start").shift(-1).over("person_id").fill_null(last).alias("stop")
    return rows.select("person_id", "start", stop, *names)


def _days_of(persons: pl.DataFrame, name: str) -> pl.DataFrame:
    """Return ``person_id`` and ``day``, one row per record, sorted by both."""
    days = persons.select("person_id", day=name).explode("day").drop_nulls("day")
    return days.sort("person_id", "day")
