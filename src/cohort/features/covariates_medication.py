"""Covariates of medication: days covered, opioid dose, new use, two classes at the same time."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.codelist import Codelist
from cohort.codes.records import Record, Tables, dispensing
from cohort.codes.reference import Codes
from cohort.features.adherence import covered_days
from cohort.features.at_entry import rows_of, spans_of
from cohort.features.covariate import Flag, Measured, whole_number
from cohort.features.medication import concurrent_days as days_with_both
from cohort.features.medication import new_use as first_uses
from cohort.features.opioids import daily_mme, dose_definitions, with_products
from cohort.spec import Whole
from cohort.time import Window

NO_FACTOR = "buprenorphine"
"""The opioid that the guidelines give no factor on purpose: left out of every dose."""


class _OfSupply(Measured):
    """A measure of supplied days: dispensings before the window may reach into it, later ones are not read."""

    unknown: ClassVar[str] = "a dispensing without days' supply"

    @model_validator(mode="after")
    def _closed(self) -> _OfSupply:
        if self.window.first is None or self.window.last is None:
            raise ValueError("supplied days need a window with both ends")
        return self

    def dispensed(self, tables: Tables, numbers: pl.LazyFrame, record: Record) -> pl.LazyFrame:
        """Return the dispensings up to the last day of each entry's window."""
        return rows_of(record.rows(tables).unique(), numbers, Window(None, self.window.last))

    def unsupplied(self, rows: pl.LazyFrame, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries with a dispensing in the window that does not say how long it lasts."""
        spans = spans_of(numbers, self.window)
        silent = rows.filter(pl.col("days_supply").fill_null(0) <= 0).join(spans, on="person_id")
        return silent.filter(pl.col("date") >= pl.col("start_date")).select("person_id").unique()


class PercentCovered(_OfSupply):
    """Percent of the days of a window that dispensed supply covers; early refills wait for the supply before them.

    References
    ----------
    Vollmer WM et al. BMC Health Serv Res 2012;12:155. doi:10.1186/1472-6963-12-155.
    """

    kind: Literal["percent_covered"] = "percent_covered"
    codes: Annotated[Codes, Field(description="drugs whose supply counts")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"percent of days covered by {self.codes.name} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the percentage."""
        rows = self.dispensed(tables, numbers, self.records[0])
        dated = rows.join(spans_of(numbers, self.window), on="person_id")
        covered: pl.LazyFrame = covered_days(dated, "person_id", window=("start_date", "end_date"))
        percent = (pl.col("covered_days") * 200 + pl.col("window_days")) // (pl.col("window_days") * 2)
        value = pl.when(pl.col("unknown_supply") == 0).then(percent)
        return covered.select(person_id="person", value=value)


class OpioidDose(_OfSupply):
    """Morphine milligram equivalents per day of a window: the mean over its days, those without supply 0, or the most.

    Strengths come from CDC's table of 2016 by NDC. The dose is null where a dispensing has no product, quantity or
    supply that could be converted; buprenorphine has no factor and is left out. Window [0, 0] is the dose at index.

    References
    ----------
    Dowell D et al. MMWR Recomm Rep 2022;71(3):1-95. doi:10.15585/mmwr.rr7103a1.
    Dasgupta N et al. Clin J Pain 2021;37:565-574. doi:10.1097/AJP.0000000000000948.
    """

    kind: Literal["opioid_dose"] = "opioid_dose"
    what: Annotated[Literal["mean", "maximum"], Field(description="mean of all days of the window, or the most")] = (
        "mean"
    )
    version: Annotated[Literal["cdc2022", "cdc2016"], Field(description="conversion factors")] = "cdc2022"
    unknown: ClassVar[str] = "an opioid whose dose cannot be converted"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        opioids = Codelist.shipped("opioid")
        return (dispensing(opioids.only(category=[c for c in opioids.categories if c != NO_FACTOR])),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.what} of daily morphine milligram equivalents ({self.version}) from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the dose in whole milligrams."""
        spans = spans_of(numbers, self.window)
        rows = self.dispensed(tables, numbers, self.records[0]).join(spans, on="person_id")
        supply = pl.duration(days=pl.col("days_supply").fill_null(1).clip(1) - 1)
        reaching = rows.filter(pl.col("date") + supply >= pl.col("start_date")).drop("start_date", "end_date")
        daily: pl.LazyFrame = daily_mme(with_products(reaching), "person_id", form="form", version=self.version)
        inside = daily.rename({"person": "person_id"}).join(spans, on="person_id")
        inside = inside.filter(pl.col("date").is_between("start_date", "end_date"))
        column = {"mean": "per_window_day", "maximum": "maximum"}[self.what]
        doses = dose_definitions(inside.drop("start_date", "end_date"), spans).select("person_id", dose=column)
        converted = inside.group_by("person_id").agg(_all=(pl.col("unconverted") == 0).all())
        value = pl.when("_all").then(whole_number(pl.col("dose")))
        return converted.join(doses, on="person_id").select("person_id", value=value)


class NewUse(Flag):
    """A dispensing in a window with none of the same list in the ``washout_days`` days before it, all observed.

    References
    ----------
    Ray WA. Am J Epidemiol 2003;158:915-920. doi:10.1093/aje/kwg231.
    """

    kind: Literal["new_use"] = "new_use"
    codes: Annotated[Codes, Field(description="drugs whose first use counts")]
    washout_days: Annotated[Whole, Field(ge=1, description="days without a dispensing before it")] = 365
    settled: ClassVar[bool] = False

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    @property
    def must_observe(self) -> Window:
        """Return the days that must be enrolled: those of the washout too."""
        first = None if self.window.first is None else self.window.first - self.washout_days
        return Window(first, self.window.last)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"new use of {self.codes.name} from {self.window}, none in the {self.washout_days} days before"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the new users."""
        rows = rows_of(self.records[0].rows(tables), numbers, Window(None, self.window.last))
        new = first_uses(rows, washout_days=self.washout_days).join(spans_of(numbers, self.window), on="person_id")
        users = new.filter(pl.col("date") >= pl.col("start_date")).select("person_id").unique()
        return users.with_columns(value=pl.lit(value=True))


class ConcurrentDays(_OfSupply):
    """Days of a window on which two drug classes are both supplied, such as an opioid and a benzodiazepine."""

    kind: Literal["concurrent_days"] = "concurrent_days"
    one: Annotated[Codes, Field(description="drugs of the first class")]
    other: Annotated[Codes, Field(description="drugs of the second class")]

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.one.codelist), dispensing(self.other.codelist))

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"days with supply of both {self.one.name} and {self.other.name} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of days."""
        one, other = (self.dispensed(tables, numbers, record) for record in self.records)
        silent = pl.concat([self.unsupplied(one, numbers), self.unsupplied(other, numbers)]).unique()
        days = days_with_both(one, other, spans_of(numbers, self.window))
        unknown = days.join(silent.with_columns(_silent=pl.lit(value=True)), on="person_id", how="left")
        return unknown.select("person_id", value=pl.when(pl.col("_silent").is_null()).then("days"))


def percent_covered(codes: Any, window: Window, **choices: Any) -> PercentCovered:
    """Return the percentage of days covered by dispensed supply (PDC)."""
    return PercentCovered.of(codes=codes, window=window, **choices)


def opioid_dose(window: Window, **choices: Any) -> OpioidDose:
    """Return the daily opioid dose in MME; ``what, version, name`` as in `OpioidDose`."""
    return OpioidDose.of(window=window, **choices)


def new_use(codes: Any, window: Window, **choices: Any) -> NewUse:
    """Return whether drugs are used for the first time in ``washout_days``."""
    return NewUse.of(codes=codes, window=window, **choices)


def concurrent_days(one: Any, other: Any, window: Window, **choices: Any) -> ConcurrentDays:
    """Return the days on which two drug classes are both supplied."""
    return ConcurrentDays.of(one=one, other=other, window=window, **choices)
