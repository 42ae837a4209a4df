"""Long-term opioid use by episodes: what a person's supply amounts to since it began, day by day.

Early refills are carried over (`cohort.features.medication.carry_over`); dispensings without a positive days' supply
say when and not how long, and count for nothing here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import Tables
from cohort.features.intervals import PERSON, number_runs
from cohort.features.medication import carry_over
from cohort.outcomes.opioid_use import SupplyEvent
from cohort.spec import Whole

Gap = Annotated[Whole, Field(ge=0, description="most days without supply inside one episode")]


class LongTermEpisode(SupplyEvent):
    """An opioid episode longer than ``longer_than_days`` days: ``supply_days`` days' supply or ``fills`` dispensings.

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
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"an episode of {self.codes.label} longer than {self.longer_than_days} days with {self.supply_days} days' "
            f"supply or {self.fills} dispensings, up to {self.gap_days} days without supply bridged"
        )

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: an episode that starts at index lasts that long a day later."""
        return self.longer_than_days - 1

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        enough = (pl.col("supplied") >= self.supply_days) | (pl.col("fills") >= self.fills)
        met = pl.max_horizontal("date", pl.col("first") + pl.duration(days=self.longer_than_days))
        return (
            opioid_episodes(self.supplied(tables), self.gap_days)
            .filter(enough & (met <= pl.col("end_date")))
            .select("person_id", date=met)
        )


class IntenseEpisode(SupplyEvent):
    """An opioid episode of ``episode_days`` days, ``supply_days`` days' supply and ``covered_percent`` % days covered.

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
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"an episode of {self.codes.label} of {self.episode_days} days with {self.supply_days} days' supply that "
            f"covers {self.covered_percent} % of it, up to {self.gap_days} days without supply bridged"
        )

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: an episode that starts at index lasts that long on the next."""
        return self.episode_days - 2 if self.episode_days > 1 else 0

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        rows = opioid_episodes(self.supplied(tables), self.gap_days)
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
