"""What every covariate of a study has in common: a name, a type, and an answer per entry that may be unknown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.features.at_entry import number_entries, observed_throughout
from cohort.spec import Spec
from cohort.store.tables import PHARMACY_BENEFIT
from cohort.time import Window

VariableType = Literal["integer", "boolean", "categorical"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="name of the covariate")]
"""The name of a column of the analysis table; a study with two of a kind names them apart."""

MISSING = "_missing"
"""Ending of the column that says why a covariate is null; null itself where the value is known."""

KNOWN = "known"
"""What Table 1 shows as the reason of a value that is not missing."""

NOT_OBSERVED = "not enrolled throughout the window"
NO_BENEFIT = "no pharmacy benefit throughout the window"


class Measured(Spec):
    """A covariate measured in a window, one value per entry.

    A value that could not be known is null, and ``<name>_missing`` says why: a person who is not enrolled on every
    day of the window (gaps of up to 31 days bridged) may have had care that nobody recorded, so that nothing found is
    not nothing there. What is read of dispensings asks the same of pharmacy benefit, where the store says who had it.
    A record that is found needs no enrolment to be true. ``observed = "assumed"`` is for stores that do not say when
    persons are observed.

    Class variables: ``absent`` is the value where nothing is found; ``unknown`` why a value that is found is null;
    ``settled`` whether true needs no enrolment; ``describes`` whether it tells what came after, which pathways may
    show and nothing else may use; ``whole`` the tables of which every row is read, whatever its code.
    """

    kind: str
    window: Annotated[Window, Field(description="days relative to index in which records count")]
    observed: Annotated[
        Literal["throughout", "assumed"], Field(description="whether the whole window must be enrolled to be known")
    ] = "throughout"
    name: Name
    type: ClassVar[VariableType] = "integer"
    named_after: ClassVar[str | None] = "kind"
    absent: ClassVar[Any] = 0
    unknown: ClassVar[str] = "not recorded"
    settled: ClassVar[bool] = False
    describes: ClassVar[bool] = False
    whole: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        """Name the column after the kind, or after what tells two of a kind apart."""
        if not isinstance(values, dict) or "name" in values or cls.named_after is None:
            return values
        return values | {"name": values.get(cls.named_after, cls.model_fields["kind"].default)}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """Say that a name may be left out, and what it then is."""
        made = dict(handler.resolve_ref_schema(handler(core)))
        if (after := cls.named_after) is not None:
            made["required"] = [key for key in made["required"] if key != "name"]
            name = made["properties"]["name"]
            name["description"] += "; absent = the kind" if after == "kind" else f"; absent = the value of `{after}`"
        return made

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return ()

    @property
    def label(self) -> str:
        """Return what tables and figures call it."""
        return self.name.replace("_", " ").capitalize()

    @property
    def must_observe(self) -> Window:
        """Return the days that must be enrolled."""
        return self.window

    @property
    def reads_dispensings(self) -> bool:
        """Return whether pharmacy benefit is needed for its value to be known."""
        return any(record.table == "dispensing" for record in self.records)

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return ``person_id`` (the entry's number) and ``value`` of the entries that something was found for.

        A null value is one that what was found does not settle; `unknown` says why. An entry that does not appear has
        the value `absent`.
        """
        raise NotImplementedError

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, the covariate, and why it is null (String ``<name>_missing``)."""
        numbers = number_entries(entries)
        found = self.measure(tables, numbers).select(entry="person_id", value="value", _found=pl.lit(value=True))
        values = numbers.join(found, on="entry", how="left", validate="1:1")
        value = pl.when(pl.col("_found").is_null()).then(pl.lit(self.absent)).otherwise("value")
        reason: pl.Expr = pl.when(value.is_null()).then(pl.lit(self.unknown))
        settled = value.fill_null(value=False) if self.settled else pl.lit(value=False)
        for table, lacking in self._must_cover(tables):
            seen = observed_throughout(tables[table], numbers, self.must_observe)
            seen = seen.select(pl.col("person_id").alias("entry"), pl.lit(value=True).alias(table))
            values = values.join(seen.unique(), on="entry", how="left")
            reason = pl.when(pl.col(table).is_null() & ~settled).then(pl.lit(lacking)).otherwise(reason)
        if absent := sorted({record.table for record in self.records} - set(tables)):
            reason = pl.when(~settled).then(pl.lit(f"no {' and '.join(absent)} in the store")).otherwise(reason)
        return values.select(
            *KEY, pl.when(reason.is_null()).then(value).alias(self.name), reason.alias(f"{self.name}{MISSING}")
        )

    def _must_cover(self, tables: Tables) -> Iterator[tuple[str, str]]:
        """Yield the tables of spans that must hold every day that is observed, with what is said where they do not."""
        if self.observed == "throughout":
            if self.reads_dispensings and PHARMACY_BENEFIT in tables:
                yield PHARMACY_BENEFIT, NO_BENEFIT
            yield "enrolment", NOT_OBSERVED


class Flag(Measured):
    """A yes/no covariate: true for the entries that something was found for."""

    type: ClassVar[VariableType] = "boolean"
    absent: ClassVar[Any] = False
    settled: ClassVar[bool] = True


def flagged(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return ``value`` true for every entry with a row."""
    return rows.select("person_id").unique().with_columns(value=pl.lit(value=True))


def counted(frame: pl.LazyFrame, column: str) -> pl.LazyFrame:
    """Return ``person_id`` and one column as ``value``."""
    return frame.select("person_id", value=column)


def whole_number(value: pl.Expr) -> pl.Expr:
    """Return a non-integer measure as the nearest whole number, halves upwards; null and NaN stay null."""
    return pl.when(value.is_finite()).then((value + 0.5).floor()).cast(pl.Int64)
