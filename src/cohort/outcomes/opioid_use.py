"""Long-term opioid use as a view of chronic pain: published definitions, each dated on the day it is first met.

All count the supply of dispensings in whole days; those without a positive days' supply say when and not how long,
and count for nothing here. Early refills are carried over (`cohort.features.medication.carry_over`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables, dispensing, relative_days
from cohort.codes.reference import Codes
from cohort.features.intervals import PERSON, number_runs
from cohort.features.medication import carry_over
from cohort.outcomes.base import Event, PersonEvent, shipped
from cohort.spec import Whole
from cohort.time import Window

Opioids = Annotated[Codes, Field(default_factory=shipped("opioid"), description="opioids, or any other drugs")]
Gap = Annotated[Whole, Field(ge=0, description="most days without supply inside one episode")]


class _SupplyEvent(PersonEvent):
    """What definitions of a person's opioid supply share."""

    codes: Opioids

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def _supplied(self, tables: Tables) -> pl.LazyFrame:
        """Return the qualifying dispensings that say a positive supply."""
        return self.records[0].rows(tables).filter(pl.col("days_supply") > 0)


class LongTermEpisode(_SupplyEvent):
    """An opioid episode longer than ``longer_than_days`` days with 120 days' supply or 10 dispensings.

    The CONSORT definition of de facto long-term opioid therapy. The event is the first day on which the episode is
    seen to have lasted that long and its dispensings up to then reach either count. An episode goes on over up to
    ``gap_days`` days without supply; the default of six months is this package's reading of theirs.

    References
    ----------
    Von Korff M et al. De facto long-term opioid therapy for noncancer pain. Clin J Pain 2008;24:521-527.
    doi:10.1097/AJP.0b013e318169d03b.
    """

    kind: Literal["consort"] = "consort"
    longer_than_days: Annotated[Whole, Field(ge=1, description="the episode lasts longer, both ends counted")] = 90
    supply_days: Annotated[Whole, Field(ge=1, description="days' supply dispensed in the episode, or …")] = 120
    fills: Annotated[Whole, Field(ge=1, description="… dispensings in the episode")] = 10
    gap_days: Gap = 180

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: an episode that starts at index lasts that long a day later."""
        return self.longer_than_days - 1

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        enough = (pl.col("supplied") >= self.supply_days) | (pl.col("fills") >= self.fills)
        met = pl.max_horizontal("date", pl.col("first") + pl.duration(days=self.longer_than_days))
        return (
            opioid_episodes(self._supplied(tables), self.gap_days)
            .filter(enough & (met <= pl.col("end_date")))
            .select("person_id", date=met)
        )


class IntenseEpisode(_SupplyEvent):
    """An opioid episode of at least 90 days with at least 90 days' supply that covers half of its days.

    The definition of chronic use of the OPERA cohort of British Columbia. The event is the first day on which all
    three hold, counted from the episode's start to that day. An episode goes on over up to ``gap_days`` days without
    supply; the default is the gap rule of this package, since a longer one dilutes the share of covered days.

    References
    ----------
    Wilton J et al. Cohort profile: development and characteristics of a retrospective cohort of individuals dispensed
    prescription opioids for non-cancer pain in British Columbia, Canada. BMJ Open 2021;11:e043586.
    doi:10.1136/bmjopen-2020-043586.
    """

    kind: Literal["opera"] = "opera"
    episode_days: Annotated[Whole, Field(ge=1, description="least days of the episode, both ends counted")] = 90
    supply_days: Annotated[Whole, Field(ge=1, description="least days' supply dispensed in the episode")] = 90
    covered_percent: Annotated[Whole, Field(ge=0, lt=100, description="least share of days covered, in percent")] = 50
    gap_days: Gap = 90

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: an episode that starts at index lasts that long on the next."""
        return self.episode_days - 2 if self.episode_days > 1 else 0

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        rows = opioid_episodes(self._supplied(tables), self.gap_days)
        long = pl.col("first") + pl.duration(days=self.episode_days - 1)
        met = pl.max_horizontal("date", long, self._covered_enough())
        return rows.filter((pl.col("supplied") >= self.supply_days) & (met <= pl.col("end_date"))).select(
            "person_id", date=met
        )

    def _covered_enough(self) -> pl.Expr:
        """Return the first day of a supply on which the share of days covered is reached.

        On day d of the supply from day a (both from the episode's start as 0), with c days covered before it, c + d −
        a + 1 of d + 1 days are covered. That is p percent or more when (100 − p) (d + 1) >= 100 (a − c).
        """
        uncovered = (pl.col("start_date") - pl.col("first")).dt.total_days() - pl.col("before")
        rest = 100 - self.covered_percent
        needed = (100 * uncovered + rest - 1) // rest
        return pl.col("first") + pl.duration(days=needed - 1)


class QuarterlySupply(_SupplyEvent):
    """At least 70 days' supply of opioids dispensed within one calendar quarter.

    The definition of chronic opioid therapy of Group Health, dated at the dispensing that reaches it. Quarters of the
    calendar cut the same use in two or not by the day on which it starts.

    References
    ----------
    Von Korff M et al. The impact of opioid risk reduction initiatives on high-dose opioid prescribing for patients on
    chronic opioid therapy. J Pain 2016;17:101-110. doi:10.1016/j.jpain.2015.10.002.
    """

    kind: Literal["group_health"] = "group_health"
    supply_days: Annotated[Whole, Field(ge=1, description="days' supply dispensed in the quarter")] = 70

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        daily = self._supplied(tables).group_by("person_id", "date").agg(pl.col("days_supply").cast(pl.Int64).sum())
        quarter = ["person_id", pl.col("date").dt.truncate("1q")]
        sofar = pl.col("days_supply").cum_sum().over(quarter, order_by="date")
        return daily.filter(sofar >= self.supply_days).select("person_id", "date")


class LongPrescription(_SupplyEvent):
    """One opioid prescription for 28 days or more.

    The proxy for chronic pain of the decision support for the CDC guideline, dated at the dispensing. One packaging
    habit of pharmacies moves it.

    References
    ----------
    Clinical Quality Framework. Opioid prescribing support implementation guide (opioid-cds-r4): proxies for subacute
    and chronic pain. github.com/cqframework/opioid-cds-r4.
    """

    kind: Literal["opioid_cds"] = "opioid_cds"
    supply_days: Annotated[Whole, Field(ge=1, description="least days' supply of one dispensing")] = 28

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        return self._supplied(tables).filter(pl.col("days_supply") >= self.supply_days).select("person_id", "date")


class SupplyAfterDiagnosis(Event):
    """At least 90 days' supply of opioids dispensed from the index diagnosis on, within ``within_days`` days.

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
    """An opioid dispensing 90 to 180 days after surgery, in persons who had none before it.

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


def opioid_episodes(dispensings: pl.LazyFrame, gap_days: int) -> pl.LazyFrame:
    """Return each supply with what its episode amounts to up to it.

    Parameters
    ----------
    dispensings
        ``person_id, date, days_supply``, the supply positive.
    gap_days
        Most days without supply inside one episode.

    Returns
    -------
    LazyFrame
        ``person_id, date, start_date, end_date`` (the supply, early refills carried over), ``first`` (the episode's
        first day), ``before`` and ``supplied`` (days' supply of the episode without and with this one; Int64) and
        ``fills`` (its dispensings so far).
    """
    supplies = carry_over(dispensings, by=PERSON)
    # gap_days days without supply lie between two starts and ends that are one more apart
    runs = number_runs(supplies, by=PERSON, start="start_date", end="end_date", gap_days=gap_days + 1)
    own = (pl.col("end_date") - pl.col("start_date")).dt.total_days().cast(pl.Int64) + 1
    return runs.with_columns(
        first=pl.col("start_date").min().over("run"),
        supplied=own.cum_sum().over("run"),
        before=own.cum_sum().over("run") - own,
        fills=pl.int_range(1, pl.len() + 1, dtype=pl.Int64).over("run"),
    )
