"""Long-term opioid use as a view of chronic pain: published definitions, each dated on the day it is first met.

All but the last count the supply of dispensings in whole days; those without a positive days' supply say when and not
how long, and count for nothing there. Definitions by episodes are in `cohort.outcomes.opioid_episodes`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, dispensing, relative_days
from cohort.codes.reference import Codes
from cohort.outcomes.base import Event, PersonEvent, shipped
from cohort.spec import Whole
from cohort.time import Window

Opioids = Annotated[Codes, Field(default_factory=shipped("opioid"), description="opioids, or any other drugs")]


class SupplyEvent(PersonEvent):
    """What definitions of a person's opioid supply share."""

    codes: Opioids

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def supplied(self, tables: Tables) -> pl.LazyFrame:
        """Return the qualifying dispensings that say a positive supply."""
        return self.records[0].rows(tables).filter(pl.col("days_supply") > 0)


class QuarterlySupply(SupplyEvent):
    """At least ``supply_days`` days' supply of opioids dispensed within one calendar quarter.

    The definition of chronic opioid therapy of Group Health, dated at the dispensing that reaches it. Quarters of the
    calendar cut the same use in two or not by the day on which it starts.

    References
    ----------
    Von Korff M et al. The impact of opioid risk reduction initiatives on high-dose opioid prescribing for patients on
    chronic opioid therapy. J Pain 2016;17:101-110. doi:10.1016/j.jpain.2015.10.002.
    """

    kind: Literal["group_health"] = "group_health"
    supply_days: Annotated[Whole, Field(ge=1, description="days' supply dispensed in the quarter")] = 70

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.supply_days} days' supply of {self.codes.label} dispensed in one calendar quarter"

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        daily = self.supplied(tables).group_by("person_id", "date").agg(pl.col("days_supply").cast(pl.Int64).sum())
        quarter = ["person_id", pl.col("date").dt.truncate("1q")]
        sofar = pl.col("days_supply").cum_sum().over(quarter, order_by="date")
        return daily.filter(sofar >= self.supply_days).select("person_id", "date")


class LongPrescription(SupplyEvent):
    """One opioid prescription for ``supply_days`` days or more.

    The proxy for chronic pain of the decision support for the CDC guideline, dated at the dispensing. One packaging
    habit of pharmacies moves it.

    References
    ----------
    Clinical Quality Framework. Opioid prescribing support implementation guide (opioid-cds-r4): proxies for subacute
    and chronic pain. github.com/cqframework/opioid-cds-r4.
    """

    kind: Literal["opioid_cds"] = "opioid_cds"
    supply_days: Annotated[Whole, Field(ge=1, description="least days' supply of one dispensing")] = 28

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"one dispensing of {self.codes.label} for {self.supply_days} days or more"

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        return self.supplied(tables).filter(pl.col("days_supply") >= self.supply_days).select("person_id", "date")


class SupplyAfterDiagnosis(Event):
    """At least ``supply_days`` days' supply of opioids dispensed by ``within_days`` days after the index diagnosis.

    Dated at the dispensing that reaches it. The original study asks for 12 months enrolled before and 12 months
    after; the second would select on the future, so follow-up is censored when enrolment ends instead.

    References
    ----------
    Landsman-Blumberg PB et al. Health care resource use and cost differences by opioid therapy type among chronic
    noncancer pain patients. J Pain Res 2017;10:1713-1722. doi:10.2147/JPR.S130913.
    """

    kind: Literal["landsman_blumberg"] = "landsman_blumberg"
    codes: Opioids
    supply_days: Annotated[Whole, Field(ge=1, description="days' supply dispensed since index")] = 90
    within_days: Annotated[Whole, Field(ge=1, description="latest day that counts")] = 365

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.supply_days} days' supply of {self.codes.label} dispensed by day {self.within_days} after index"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day``, the index day included, on which the definition is met, of any entry."""
        rows = self.records[0].rows(tables).filter(pl.col("days_supply") > 0)
        since = relative_days(rows, entries).filter(pl.col("day").is_between(0, self.within_days))
        daily = since.group_by(*KEY, "day").agg(pl.col("days_supply").cast(pl.Int64).sum())
        sofar = pl.col("days_supply").cum_sum().over(KEY, order_by="day")
        return daily.filter(sofar >= self.supply_days).select(*KEY, "day")


class NewPersistentUse(Event):
    """An opioid dispensing ``after_days`` to ``within_days`` days after surgery, in persons who had none before it.

    Dated at the dispensing. The index date is the operation; that nobody had opioids from 12 months to 1 month before
    it is for the cohort to require (an exclusion with the window -365 to -31). Nobody can have the event before day
    ``after_days``, so risk starts there.

    References
    ----------
    Brummett CM et al. New persistent opioid use after minor and major surgical procedures in US adults. JAMA Surg
    2017;152:e170504. doi:10.1001/jamasurg.2017.0504.
    """

    kind: Literal["brummett"] = "brummett"
    codes: Opioids
    after_days: Annotated[Whole, Field(ge=1, description="earliest day of the dispensing")] = 90
    within_days: Annotated[Whole, Field(ge=1, description="latest day of the dispensing")] = 180

    @model_validator(mode="after")
    def _in_order(self) -> NewPersistentUse:
        if self.within_days < self.after_days:
            raise ValueError("within_days is before after_days, so no dispensing can count")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"dispensing of {self.codes.label} {self.after_days} to {self.within_days} days after index"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return self.after_days - 1

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which the definition is met, of any entry."""
        filled = relative_days(self.records[0].days(tables), entries)
        window = Window(self.after_days, self.within_days)
        return filled.filter(window.contains(pl.col("day"))).select(*KEY, "day")
