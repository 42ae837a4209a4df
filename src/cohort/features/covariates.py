"""Covariates of a study: what is known about each entry, one column each, as data."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, diagnosis, dispensing, relative_days
from cohort.features.comorbidity import flags, load_index, score
from cohort.features.demographics import age_at, sex_at
from cohort.features.pain import pain_sites as count_pain_sites
from cohort.spec import Spec
from cohort.time import Window

VariableType = Literal["integer", "boolean", "categorical"]


class Age(Spec):
    """Age in completed years at index; null without a birth date."""

    kind: Literal["age"] = "age"
    records: ClassVar[tuple[Record, ...]] = ()
    type: ClassVar[VariableType] = "integer"
    name: ClassVar[str] = "age"
    label: ClassVar[str] = "Age, years"
    text: ClassVar[str] = "age in completed years at index"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return age_at(tables, entries)


class Sex(Spec):
    """Administrative sex as the supplier records it; null when it does not say."""

    kind: Literal["sex"] = "sex"
    records: ClassVar[tuple[Record, ...]] = ()
    type: ClassVar[VariableType] = "categorical"
    name: ClassVar[str] = "sex"
    label: ClassVar[str] = "Sex"
    text: ClassVar[str] = "administrative sex as the supplier records it"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate."""
        return sex_at(tables, entries)


class Charlson(Spec):
    """Charlson comorbidity score (weights of 1987) of the diagnoses in a window.

    References
    ----------
    Charlson ME et al. J Chronic Dis 1987;40:373-383. doi:10.1016/0021-9681(87)90171-8.
    Quan H et al. Med Care 2005;43:1130-1139. doi:10.1097/01.mlr.0000182534.19832.83.
    """

    kind: Literal["charlson"] = "charlson"
    window: Annotated[Window, Field(description="days relative to index whose diagnoses count")]
    type: ClassVar[VariableType] = "integer"
    name: ClassVar[str] = "charlson"
    label: ClassVar[str] = "Charlson score"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(load_index("charlson").codelist),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"Charlson score, weights of 1987, of diagnoses from {self.window}"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate: 0 for an entry without such a diagnosis."""
        index = load_index("charlson")
        scores = score(flags(_of_entries(tables["diagnosis"], entries, self.window), index), index)
        return _per_entry(entries, scores.select("person_id", charlson="score_1987"))


class PainSites(Spec):
    """Number of distinct body regions with a pain code in a window; codes without a region do not count."""

    kind: Literal["pain_sites"] = "pain_sites"
    window: Annotated[Window, Field(description="days relative to index whose diagnoses count")]
    type: ClassVar[VariableType] = "integer"
    name: ClassVar[str] = "pain_sites"
    label: ClassVar[str] = "Pain sites"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis("pain_regions"),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"distinct body regions with a pain code from {self.window}"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate: 0 for an entry without such a diagnosis."""
        return _per_entry(entries, count_pain_sites(_of_entries(tables["diagnosis"], entries, self.window)))


class Exposed(Spec):
    """Whether a qualifying record lies in a window: dispensings of a codelist unless another table is named."""

    kind: Literal["exposed"] = "exposed"
    record: Annotated[Record, Field(description="the record that exposes")]
    window: Annotated[Window, Field(description="days relative to index in which it exposes")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="name of the covariate")]
    type: ClassVar[VariableType] = "boolean"

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
        return f"any {self.record} from {self.window}"

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the covariate, never null."""
        found = relative_days(self.record.days(tables), entries).filter(self.window.contains(pl.col("day")))
        flag = found.select(KEY).unique().with_columns(pl.lit(True).alias(self.name))
        return entries.select(KEY).join(flag, on=KEY, how="left").with_columns(pl.col(self.name).fill_null(False))


Covariate = Annotated[Age | Sex | Charlson | PainSites | Exposed, Field(discriminator="kind")]
"""Any covariate of a study."""


def age() -> Age:
    """Return age in completed years at index."""
    return Age()


def sex() -> Sex:
    """Return administrative sex."""
    return Sex()


def charlson(window: Window) -> Charlson:
    """Return the Charlson score of the diagnoses in a window."""
    return Charlson.of(window=window)


def pain_sites(window: Window) -> PainSites:
    """Return the number of body regions with a pain code in a window."""
    return PainSites.of(window=window)


def exposed(what: Any, window: Window, name: str) -> Exposed:
    """Return whether a record lies in a window; a codelist or its name means dispensings of it."""
    return Exposed.of(record=what if isinstance(what, Record) else dispensing(what), window=window, name=name)


def _of_entries(rows: pl.LazyFrame, entries: pl.LazyFrame, window: Window) -> pl.LazyFrame:
    """Return system and code of the rows in each entry's window, the entry's key standing as the person.

    A person who enters twice has two windows, so builders that count per person must count per entry.
    """
    inside = relative_days(rows, entries).filter(window.contains(pl.col("day")))
    return inside.select("system", "code", person_id=pl.struct(KEY))


def _per_entry(entries: pl.LazyFrame, counted: pl.LazyFrame) -> pl.LazyFrame:
    """Return the key and the counted column, 0 for entries that nothing was counted for."""
    counts = counted.unnest("person_id")
    return entries.select(KEY).join(counts, on=KEY, how="left").with_columns(pl.exclude(KEY).fill_null(0))
