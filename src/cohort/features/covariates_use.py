"""Covariates of care: exposure to a record, encounters, admissions, days with a procedure, treatments, cost."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.codelist import Codelist
from cohort.codes.records import Record, Setting, Tables, dispensing, procedure
from cohort.codes.reference import Codes
from cohort.features.at_entry import alive_spans, rows_of, spans_of
from cohort.features.covariate import Flag, Measured, counted, flagged
from cohort.features.intervals import days_covered
from cohort.features.utilisation import admissions as stays
from cohort.features.utilisation import encounter_days as days_by_setting
from cohort.spec import nearest
from cohort.time import Window

_LISTS = ("treatment_modalities", "treatment_classes")


class Exposed(Flag):
    """Whether a qualifying record lies in a window: dispensings of a codelist unless another table is named."""

    kind: Literal["exposed"] = "exposed"
    record: Annotated[Record, Field(description="the record that exposes")]
    named_after: ClassVar[None] = None

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (self.record,)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"any {self.record} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the exposed entries."""
        return flagged(rows_of(self.record.days(tables), numbers, self.window))


class EncounterDays(Measured):
    """Distinct days on which an encounter starts in a window, for any cause, in one setting of care or in all.

    Several claim lines of one day and setting are one encounter day.
    """

    kind: Literal["encounter_days"] = "encounter_days"
    setting: Annotated[Setting | None, Field(description="setting of care; absent = any but laboratory")] = None
    whole: ClassVar[tuple[str, ...]] = ("diagnosis", "procedure")

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        where = "in any setting but a laboratory" if self.setting is None else f"in the setting {self.setting}"
        return f"days with an encounter {where} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of days."""
        diagnoses, procedures = (rows_of(_days(tables[name]), numbers, self.window) for name in self.whole)
        if self.setting is not None:
            windows = spans_of(numbers, self.window)
            return counted(days_by_setting(diagnoses, procedures, windows), self.setting)
        days = pl.concat([diagnoses, procedures]).filter(pl.col("setting").ne_missing("laboratory"))
        return days.group_by("person_id").agg(value=pl.col("date").n_unique().cast(pl.Int64))


class Admissions(Measured):
    """Hospital admissions that start in a window, or days in hospital within it; a transfer is no second admission."""

    kind: Literal["admissions"] = "admissions"
    what: Annotated[Literal["admissions", "inpatient_days"], Field(description="what is counted")] = "admissions"
    named_after: ClassVar[str] = "what"
    whole: ClassVar[tuple[str, ...]] = ("diagnosis",)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{'admissions' if self.what == 'admissions' else 'days in hospital'} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number."""
        inpatient = tables["diagnosis"].filter(pl.col("setting") == "inpatient")
        # a stay that began before the window has days in it, so all history up to its last day is read
        rows = rows_of(inpatient, numbers, Window(None, self.window.last))
        return counted(stays(rows, spans_of(numbers, self.window)), self.what)


class ProcedureDays(Measured):
    """Distinct days with a listed procedure in a window."""

    kind: Literal["procedure_days"] = "procedure_days"
    codes: Annotated[Codes, Field(description="procedures that count")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (procedure(self.codes.codelist),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"days with a procedure of {self.codes.name} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of days."""
        days = rows_of(self.records[0].days(tables), numbers, self.window)
        return days.group_by("person_id").agg(value=pl.len().cast(pl.Int64))


class Treated(Flag):
    """Any procedure or dispensing of a treatment modality, or of a class of treatment, in a window."""

    kind: Literal["treated"] = "treated"
    category: Annotated[str, Field(description="label of the shipped treatment_modalities or treatment_classes")]
    named_after: ClassVar[str] = "category"

    @model_validator(mode="after")
    def _known(self) -> Treated:
        known = [label for name in _LISTS for label in Codelist.shipped(name).categories]
        if self.category not in known:
            raise ValueError(f"no treatment is called {self.category!r}; {nearest(self.category, known)}")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        codelist = _treatments(self.category)
        return (procedure(codelist), dispensing(codelist))

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"any procedure or dispensing of {self.category.replace('_', ' ')} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the treated entries."""
        days = pl.concat(record.days(tables) for record in self.records)
        return flagged(rows_of(days, numbers, self.window))


class CostPerMonth(Measured):
    """Amounts paid per 30 enrolled days of a window, in whole units of the currency, for all services or one.

    Null where the supplier gave no amounts at all: a person without a payment cost nothing, a store without amounts
    does not know. What all services or pharmacies were paid is known only of persons with pharmacy benefit.
    """

    kind: Literal["cost_per_month"] = "cost_per_month"
    service: Annotated[Literal["medical", "pharmacy"] | None, Field(description="what was paid for; absent = all")] = (
        None
    )
    absent: ClassVar[Any] = None
    unknown: ClassVar[str] = "no amounts in the store, or no day enrolled"
    whole: ClassVar[tuple[str, ...]] = ("cost",)

    @model_validator(mode="after")
    def _closed(self) -> CostPerMonth:
        if self.window.first is None or self.window.last is None:
            raise ValueError("a rate needs a window with both ends")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        paid = "" if self.service is None else f" for {self.service} care"
        return f"amount paid{paid} per 30 enrolled days from {self.window}"

    @property
    def reads_dispensings(self) -> bool:
        """Return whether pharmacy benefit is needed for its value to be known."""
        return self.service != "medical"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the rate, rounded halves upwards."""
        if "cost" not in tables:
            return numbers.select(person_id="entry", value=pl.lit(None, pl.Int64))
        spans = alive_spans(tables, numbers, self.window, enrolled=self.observed == "throughout")
        paid = rows_of(tables["cost"], numbers, self.window).unique()
        if self.service is not None:
            paid = paid.filter(pl.col("service") == self.service)
        sums = paid.group_by("person_id").agg(pl.col("amount").sum())
        known = days_covered(spans).join(sums, on="person_id", how="left")
        hundredths, days = pl.col("amount").fill_null(0), pl.col("days")
        return known.select("person_id", value=(hundredths * 60 + days * 100) // (days * 200))


def exposed(what: Any, window: Window, name: str, **choices: Any) -> Exposed:
    """Return whether a record lies in a window; a codelist or its name means dispensings of it."""
    return Exposed.of(
        record=what if isinstance(what, Record) else dispensing(what), window=window, name=name, **choices
    )


def encounter_days(window: Window, setting: Setting | None = None, **choices: Any) -> EncounterDays:
    """Return the days with an encounter, of one setting or of all."""
    return EncounterDays.of(window=window, setting=setting, **choices)


def emergency_visits(window: Window, **choices: Any) -> EncounterDays:
    """Return the days with an emergency visit."""
    return EncounterDays.of(**{"window": window, "setting": "emergency", "name": "emergency_visits"} | choices)


def admissions(window: Window, **choices: Any) -> Admissions:
    """Return the hospital admissions that start in a window."""
    return Admissions.of(window=window, **choices)


def inpatient_days(window: Window, **choices: Any) -> Admissions:
    """Return the days in hospital in a window."""
    return Admissions.of(what="inpatient_days", window=window, **choices)


def procedure_days(codes: Any, window: Window, **choices: Any) -> ProcedureDays:
    """Return the days with a procedure of a codelist in a window."""
    return ProcedureDays.of(codes=codes, window=window, **choices)


def treated(category: str, window: Window, **choices: Any) -> Treated:
    """Return whether a treatment of a modality or class was used in a window."""
    return Treated.of(category=category, window=window, **choices)


def cost_per_month(window: Window, service: str | None = None, **choices: Any) -> CostPerMonth:
    """Return the amount paid per 30 enrolled days, for all services, medical care or pharmacy."""
    return CostPerMonth.of(window=window, service=service, **choices)


def _treatments(category: str) -> Codelist:
    """Return the treatments of a modality or a class."""
    lists = (Codelist.shipped(name) for name in _LISTS)
    return next(codelist for codelist in lists if category in codelist.categories).only(category=category)


def _days(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.select("person_id", "date", "setting").unique()
