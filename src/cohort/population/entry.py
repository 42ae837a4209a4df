"""When a person joins: the candidate index dates that a record and its washout give."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import Record, Tables
from cohort.spec import Spec, Whole
from cohort.time import days_between


class Entry(Spec):
    """Entry at a person's first record with a clean washout, or at the n-th, that passes every requirement.

    A record day is a *candidate* index date when none of the ``washout_days`` days before it holds a qualifying
    record; without a washout only a person's first record ever is a candidate. A person enters at the first
    candidate that every later requirement keeps, which is why attrition counts persons and entries.
    """

    at: Annotated[Literal["first", "nth"], Field(description="which record day may become the index date")] = "first"
    record: Annotated[Record, Field(description="the record that makes a candidate")]
    washout_days: Annotated[
        Whole | None, Field(ge=1, description="days without such a record before it; absent = none ever before")
    ] = None
    n: Annotated[Whole | None, Field(ge=1, description="the record day's number, counted from 1, for at = nth")] = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Entry:
        if (self.at == "nth") != (self.n is not None):
            raise ValueError("at = 'nth' needs n, and n needs at = 'nth'")
        if self.at == "nth" and self.washout_days is not None:
            raise ValueError("the n-th record has others before it, so it cannot have a washout")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    def record_days(self, tables: Tables) -> pl.LazyFrame:
        """Return the distinct days with a qualifying record, of persons in the person table."""
        persons = tables["person"].select("person_id")
        days = self.record.days(tables).join(persons, on="person_id", how="semi")
        return days.rename({"date": "index_date"}).sort("person_id", "index_date")

    def candidates(self, days: pl.LazyFrame) -> pl.LazyFrame:
        """Keep the record days (sorted, distinct) whose washout is clean, or the n-th of each person."""
        if self.n is not None:
            return days.filter(pl.col("index_date").cum_count().over("person_id") == self.n)
        clean = pl.col("person_id").ne_missing(pl.col("person_id").shift())
        if self.washout_days is not None:
            since = days_between(pl.col("index_date").shift(), pl.col("index_date"))
            clean = clean | (since > self.washout_days)
        return days.filter(clean)

    def candidate_text(self) -> str:
        """Return what makes a candidate, as the flow diagram prints it."""
        if self.n is not None:
            return f"Record day number {self.n}"
        if self.washout_days is None:
            return "First such record ever"
        return f"No such record in the {self.washout_days} days before"


def first_per_person(entries: pl.LazyFrame) -> pl.LazyFrame:
    """Keep each person's earliest entry."""
    return entries.filter(pl.col("index_date") == pl.col("index_date").min().over("person_id"))
