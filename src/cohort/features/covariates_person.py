"""Covariates of the person and the calendar: age, sex, region, deprivation, and when the entry was."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.features.covariate import MISSING, VariableType
from cohort.features.demographics import age_at, sex_at
from cohort.spec import Spec, Whole

AGE_BOUNDS = (18, 30, 45, 60, 75)
"""Lower bounds of the usual age groups."""

SEASONS = ("winter", "spring", "summer", "autumn")
"""Meteorological seasons of the northern hemisphere, from December."""


class _OfPerson(Spec):
    """A covariate that needs no records, only the person and the index date."""

    records: ClassVar[tuple[Record, ...]] = ()
    whole: ClassVar[tuple[str, ...]] = ()
    type: ClassVar[VariableType] = "categorical"
    name: ClassVar[str]
    unknown: ClassVar[str] = "not recorded"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        raise NotImplementedError

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, the covariate, and why it is null (String ``<name>_missing``)."""
        reason = pl.when(pl.col(self.name).is_null()).then(pl.lit(self.unknown))
        return self.value(tables, entries).select(*KEY, self.name, reason.alias(f"{self.name}{MISSING}"))


class Age(_OfPerson):
    """Age in completed years at index; null without a birth date."""

    kind: Literal["age"] = "age"
    type: ClassVar[VariableType] = "integer"
    name: ClassVar[str] = "age"
    label: ClassVar[str] = "Age, years"
    text: ClassVar[str] = "age in completed years at index"
    unknown: ClassVar[str] = "no birth date"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return age_at(tables, entries)


class AgeGroup(_OfPerson):
    """Age at index in groups, each from its lower bound to the day before the next; null without a birth date."""

    kind: Literal["age_group"] = "age_group"
    bounds: Annotated[tuple[Whole, ...], Field(min_length=1, description="lower bounds, ascending, in years")] = (
        AGE_BOUNDS
    )
    name: ClassVar[str] = "age_group"
    label: ClassVar[str] = "Age group, years"
    unknown: ClassVar[str] = "no birth date"

    @model_validator(mode="after")
    def _ascending(self) -> AgeGroup:
        if any(low >= high for low, high in zip(self.bounds, self.bounds[1:], strict=False)) or self.bounds[0] < 1:
            raise ValueError("bounds of age groups ascend from 1 year or more")
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """Return the names of the groups, youngest first, in digits that sort by age."""
        inner = (f"{low:02}-{high - 1:02}" for low, high in zip(self.bounds, self.bounds[1:], strict=False))
        return (f"00-{self.bounds[0] - 1:02}", *inner, f"{self.bounds[-1]:02}+")

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"age in completed years at index, in groups {', '.join(self.groups)}"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        place = pl.sum_horizontal((pl.col("age") >= low).cast(pl.Int64) for low in self.bounds)
        named = place.replace_strict(dict(enumerate(self.groups)), return_dtype=pl.String)
        group = pl.when(pl.col("age").is_not_null()).then(named)
        return age_at(tables, entries).select(*KEY, age_group=group)


class Sex(_OfPerson):
    """Administrative sex as the supplier records it; null when it does not say."""

    kind: Literal["sex"] = "sex"
    name: ClassVar[str] = "sex"
    label: ClassVar[str] = "Sex"
    text: ClassVar[str] = "administrative sex as the supplier records it"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return sex_at(tables, entries)


class Region(_OfPerson):
    """Region of residence as the supplier names it, one per person; null when it does not say."""

    kind: Literal["region"] = "region"
    name: ClassVar[str] = "region"
    label: ClassVar[str] = "Region"
    text: ClassVar[str] = "region of residence as the supplier names it"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return entries.select(KEY).join(tables["person"].select("person_id", "region"), on="person_id", how="left")


class Deprivation(_OfPerson):
    """Group of deprivation as the supplier names it, one per person; null when it does not say.

    Suppliers count from either end and over areas or households: the names of the groups are theirs.
    """

    kind: Literal["deprivation"] = "deprivation"
    name: ClassVar[str] = "deprivation"
    label: ClassVar[str] = "Deprivation"
    text: ClassVar[str] = "group of deprivation as the supplier names it"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        persons = tables["person"].select("person_id", "deprivation")
        return entries.select(KEY).join(persons, on="person_id", how="left")


class IndexYear(_OfPerson):
    """Calendar year of the index date."""

    kind: Literal["index_year"] = "index_year"
    name: ClassVar[str] = "index_year"
    label: ClassVar[str] = "Year of index"
    text: ClassVar[str] = "calendar year of the index date"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return entries.select(*KEY, index_year=pl.col("index_date").dt.year().cast(pl.String))


class IndexSeason(_OfPerson):
    """Meteorological season of the index date: winter is December to February (northern hemisphere)."""

    kind: Literal["index_season"] = "index_season"
    name: ClassVar[str] = "index_season"
    label: ClassVar[str] = "Season of index"
    text: ClassVar[str] = "meteorological season of the index date, winter from December"

    def value(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        season = pl.col("index_date").dt.month() % 12 // 3
        return entries.select(
            *KEY, index_season=season.replace_strict(dict(enumerate(SEASONS)), return_dtype=pl.String)
        )


def age() -> Age:
    """Return age in completed years at index."""
    return Age()


def age_group(*bounds: int) -> AgeGroup:
    """Return age at index in groups with the given lower bounds, by default `AGE_BOUNDS`."""
    return AgeGroup.of(bounds=bounds or AGE_BOUNDS)


def sex() -> Sex:
    """Return administrative sex."""
    return Sex()


def region() -> Region:
    """Return region of residence."""
    return Region()


def deprivation() -> Deprivation:
    """Return group of deprivation."""
    return Deprivation()


def index_year() -> IndexYear:
    """Return the calendar year of the index date."""
    return IndexYear()


def index_season() -> IndexSeason:
    """Return the season of the index date."""
    return IndexSeason()
