"""Outcomes: the event, how it is dated, from which day it can be seen, and what competes with it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, diagnosis, relative_days
from cohort.codes.reference import Codes
from cohort.spec import Spec, Whole
from cohort.time import Window

Competing = tuple[Literal["death"], ...]


class Chronification(Spec):
    """Acute pain becomes persistent care for pain: the default definition of this package.

    The event is the first day after index on which either (i) a second encounter of the same region lies
    ``after_days`` to ``within_days`` days after index, or (ii) an explicit chronic-pain code is written. It is dated
    at that encounter, never back at index: dating it at the first code would credit the days in between as risk-free
    (immortal time). Nobody can meet (i) before ``after_days``, so risk starts there and earlier losses are tabulated.
    An explicit code on the index day marks a prevalent case. It measures persistent *care*: "not seen again" is not
    "recovered".

    References
    ----------
    Treede RD et al. Chronic pain as a symptom or a disease: the IASP classification for ICD-11. Pain 2019;160:19-27.
    doi:10.1097/j.pain.0000000000001384 (pain that lasts or recurs for more than 3 months).
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """

    kind: Literal["chronification"] = "chronification"
    codes: Annotated[Codes, Field(description="pain codes of the region that the cohort enters with")]
    after_days: Annotated[Whole, Field(ge=1, description="earliest day of the second encounter")] = 90
    within_days: Annotated[Whole, Field(ge=1, description="latest day of the second encounter")] = 365
    explicit: Annotated[Codes | None, Field(description="codes that state chronic pain; absent = rule (i) alone")] = (
        None
    )
    competing: Annotated[Competing, Field(description="events after which the outcome cannot happen")] = ("death",)

    @model_validator(mode="after")
    def _in_order(self) -> Chronification:
        if self.within_days < self.after_days:
            raise ValueError("within_days is before after_days, so no second encounter can count")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        explicit = () if self.explicit is None else (diagnosis(self.explicit.codelist),)
        return (diagnosis(self.codes.codelist), *explicit)

    @property
    def name(self) -> str:
        """Return the outcome's name in estimates."""
        return "chronification"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        stated = f", or a code of {self.explicit.label}" if self.explicit else ""
        span = f"{self.after_days} to {self.within_days} days"
        return f"a second encounter for {self.codes.label} {span} after index{stated}"

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.after_days - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        window = Window(self.after_days, self.within_days)
        second = relative_days(diagnosis(self.codes.codelist).days(tables), entries)
        met = [second.filter(window.contains(pl.col("day")))]
        if self.explicit is not None:
            met.append(self._explicit_days(tables, entries).filter(pl.col("day") > 0))
        return pl.concat([days.select(*KEY, "day") for days in met])

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame | None:
        """Return the entries that have the outcome already on the index day; nothing if no code states it."""
        if self.explicit is None:
            return None
        return self._explicit_days(tables, entries).filter(pl.col("day") == 0).select(KEY).unique()

    def _explicit_days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        assert self.explicit is not None  # noqa: S101 -- both callers have asked
        return relative_days(diagnosis(self.explicit.codelist).days(tables), entries)


class FirstRecord(Spec):
    """The first qualifying record on or after ``from_day``; earlier records are losses before risk starts."""

    kind: Literal["first_record"] = "first_record"
    record: Annotated[Record, Field(description="the record that is the event")]
    from_day: Annotated[
        Whole, Field(ge=1, description="first day on which it counts: follow-up starts the day before")
    ] = 1
    label: Annotated[str | None, Field(description="the outcome's name in estimates; absent = the codelist's")] = None
    competing: Annotated[Competing, Field(description="events after which the outcome cannot happen")] = ("death",)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    @property
    def name(self) -> str:
        """Return the outcome's name in estimates."""
        return self.label or self.record.codes.name

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"the first {self.record} from day {self.from_day} after index"

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.from_day - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index with such a record, of any entry."""
        found = relative_days(self.record.days(tables), entries)
        return found.filter(pl.col("day") > 0).select(*KEY, "day")

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> None:
        """Return nothing: a record on the index day may be the entry itself, so a study excludes it by a rule."""


Outcome = Annotated[Chronification | FirstRecord, Field(discriminator="kind")]
"""Any outcome of a study."""


def chronification(
    codes: Any,
    after_days: int = 90,
    within_days: int = 365,
    explicit: Any = "chronic_pain_explicit",
    competing: Competing | list[str] = ("death",),
) -> Chronification:
    """Return chronification of pain in one region (see `Chronification` for the definition and its sources)."""
    return Chronification.of(
        codes=codes, after_days=after_days, within_days=within_days, explicit=explicit, competing=tuple(competing)
    )


def first_record(
    record: Record, from_day: int = 1, label: str | None = None, competing: Competing | list[str] = ("death",)
) -> FirstRecord:
    """Return the first qualifying record on or after ``from_day`` days after index."""
    return FirstRecord.of(record=record, from_day=from_day, label=label, competing=tuple(competing))
