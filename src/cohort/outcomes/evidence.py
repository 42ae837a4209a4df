"""Chronic pain as registers of conditions define it: by the setting rule, and by cohort eras of fixed length."""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, diagnosis, relative_days
from cohort.codes.reference import Codes
from cohort.outcomes.base import Event, PersonEvent
from cohort.spec import Whole


class _Confirmed(PersonEvent):
    """What definitions by the setting rule share."""

    codes: Annotated[Codes, Field(description="codes of the condition")]
    within_days: Annotated[Whole, Field(ge=1, description="most days between two records outside hospital")]

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"one inpatient diagnosis of {self.codes.label}, or two others at most {self.within_days} days apart"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        codes, within = self.codes.codelist, self.within_days
        return (diagnosis(codes, evidence="confirmed", apart_days=1, within_days=within),)

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        return self.records[0].days(tables)


class ConfirmedCondition(_Confirmed):
    """One inpatient diagnosis, or two others on different days at most ``within_days`` days apart.

    The rule of the CMS Chronic Conditions Warehouse for fibromyalgia, chronic pain and fatigue, dated at the record
    that completes it. The Warehouse counts whoever has the condition (prevalence); here whoever meets the rule on or
    before the index date is a prevalent case, and the event is the first day after it.

    References
    ----------
    Centers for Medicare & Medicaid Services. Chronic Conditions Warehouse: other chronic health, mental health and
    potentially disabling conditions algorithms (fibromyalgia, chronic pain and fatigue).
    """

    kind: Literal["ccw"] = "ccw"
    within_days: Annotated[Whole, Field(ge=1, description="most days between two records outside hospital")] = 730


class VeteransCohort(_Confirmed):
    """One inpatient diagnosis, or two outpatient visits at most ``within_days`` days (18 months) apart.

    The rule of the Veterans' musculoskeletal diagnosis cohort, dated at the visit that completes it. The original
    takes the first diagnosis as the index date and so knows at index what happens up to 18 months later; here only
    the completing visit is the event.

    References
    ----------
    Goulet JL et al. The musculoskeletal diagnosis cohort: examining pain and pain care among veterans. Pain
    2016;157:1696-1703. doi:10.1097/j.pain.0000000000000567.
    """

    kind: Literal["va_musculoskeletal"] = "va_musculoskeletal"
    within_days: Annotated[Whole, Field(ge=1, description="most days between two outpatient visits")] = 548


class NewCohortEra(Event):
    """A diagnosis that starts a new cohort era: the last one lies more than ``persistence_days`` days back.

    In the OHDSI phenotype library a diagnosis of back pain puts a person in the cohort for 180 days (chronic pain:
    365), and eras that meet are one. A new era is pain seen *again* after that long without a code: recurrence, not
    persistence, which sets it apart from the other definitions here. Risk starts when the era of the index diagnosis
    is over; it is meant for cohorts that enter at such a diagnosis.

    References
    ----------
    Rao GA et al. PhenotypeLibrary: the OHDSI phenotype library (cohorts 279, 393: low back pain; 332: chronic pain).
    github.com/OHDSI/PhenotypeLibrary.
    """

    kind: Literal["ohdsi_era"] = "ohdsi_era"
    codes: Annotated[Codes, Field(description="codes of the condition")]
    persistence_days: Annotated[Whole, Field(ge=1, description="days that one diagnosis keeps a person in")] = 180

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"a diagnosis of {self.codes.label} after {self.persistence_days} days without one"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.codes.codelist),)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: the last of the index diagnosis's era."""
        return self.persistence_days

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` on which an era starts after index, of any entry."""
        days = relative_days(self.records[0].days(tables), entries)
        since = pl.col("day") - pl.col("day").shift().over(KEY, order_by="day")
        starts = since.is_null() | (since > self.persistence_days)
        return days.filter(starts & (pl.col("day") > 0)).select(*KEY, "day")
