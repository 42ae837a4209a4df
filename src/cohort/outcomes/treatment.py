"""What becomes of a treatment: stopped, switched, added to. Read from dispensings; reasons are not in them.

A stop may mean cure, harm or cost: none of these outcomes is non-response by itself. Early refills are carried over,
and a treatment goes on over up to ``gap_days`` days without supply (`cohort.features.medication.treatment_eras`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.match import label
from cohort.codes.records import KEY, Record, Tables, dispensing, relative_days
from cohort.codes.reference import Codes
from cohort.features.medication import add_ons, switches, treatment_eras
from cohort.outcomes.base import Event, in_follow_up
from cohort.spec import Whole

Gap = Annotated[Whole, Field(ge=0, description="most days without supply before a refill that continues")]


class Discontinuation(Event):
    """No supply for more than ``gap_days`` days; dated at the end of supply, the last day of treatment.

    Whether treatment ended is known only when the gap has passed without a refill. Whoever is censored sooner, after
    the end of supply, is censored at the end of supply: staying at risk longer would let only those stay who cannot
    have the event. Whoever dies within the gap has not discontinued, and death stands. All codes are one treatment.

    References
    ----------
    Hepp Z et al. Persistence and switching patterns of oral migraine prophylactic medications among patients with
    chronic migraine. Cephalalgia 2017;37:470-485. doi:10.1177/0333102416678382.
    """

    kind: Literal["discontinuation"] = "discontinuation"
    codes: Annotated[Codes, Field(description="drugs that are the treatment")]
    gap_days: Gap = 60

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"no supply of {self.codes.label} for more than {self.gap_days} days, dated at the end of supply"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    @property
    def judged_later(self) -> bool:
        """Return whether an entry can be lost because follow-up ends before the rule can be judged."""
        return True

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, every ``day`` from index on that ends a treatment, and the ``known_day``, of any entry."""
        filled = in_follow_up(self.records[0].rows(tables), entries)
        eras = treatment_eras(filled, by=KEY, gap_days=self.gap_days)
        last = (pl.col("end_date") - pl.col("index_date")).dt.total_days().cast(pl.Int64)
        ended = eras.select(*KEY, day=last, known_day=last + self.gap_days + 1)
        return ended.filter(pl.col("day") >= 0)


class ReInitiation(Event):
    """Supply again after more than ``gap_days`` days without, at most ``within_days`` days after the end of supply.

    Dated at the dispensing that begins the new treatment. The end before it may lie before the index date: the event
    is a return to treatment, whenever it was left. All codes are one treatment.

    References
    ----------
    Hepp Z et al. Persistence and switching patterns of oral migraine prophylactic medications among patients with
    chronic migraine. Cephalalgia 2017;37:470-485. doi:10.1177/0333102416678382.
    """

    kind: Literal["re_initiation"] = "re_initiation"
    codes: Annotated[Codes, Field(description="drugs that are the treatment")]
    gap_days: Gap = 60
    within_days: Annotated[Whole, Field(ge=1, description="latest day after the end of supply")] = 365

    @model_validator(mode="after")
    def _after_the_gap(self) -> ReInitiation:
        if self.within_days <= self.gap_days:
            raise ValueError("within_days is not above gap_days, so no dispensing can begin a new treatment")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"supply of {self.codes.label} again after more than {self.gap_days} days without, at most "
            f"{self.within_days} days after the end of supply"
        )

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index on which treatment begins again, of any entry."""
        eras = treatment_eras(self.records[0].rows(tables), by=["person_id"], gap_days=self.gap_days)
        since = (pl.col("start_date") - pl.col("end_date").shift().over("person_id")).dt.total_days()
        again = eras.filter(since <= self.within_days).select("person_id", date="start_date")
        return relative_days(again, entries).filter(pl.col("day") > 0).select(*KEY, "day")


class _AgentChange(Event):
    """What switch and add-on share: the agents are the labels of the codelist."""

    codes: Annotated[Codes, Field(description="drugs; each label is an agent")]
    gap_days: Gap = 60

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (dispensing(self.codes.codelist),)

    def _agents(self, tables: Tables) -> pl.LazyFrame:
        """Return the dispensings with their agent, in memory: what is asked of them is a large plan as it is."""
        rows = label(tables["dispensing"], self.codes.codelist, into="agent")
        return rows.select("person_id", "agent", "date", "days_supply").collect().lazy()


def _after_index(changes: pl.LazyFrame, entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return the key and the ``day`` on which a change is met, of those whose new agent starts after index."""
    after = relative_days(changes, entries).filter(pl.col("day") > 0)
    return after.select(*KEY, day=(pl.col("met_on") - pl.col("index_date")).dt.total_days().cast(pl.Int64))


class Switch(_AgentChange):
    """Another agent starts after the last dispensing of the old one, within ``within_days`` days of its end.

    The old one is not refilled within ``gap_days`` days. That can be told only when the gap has passed, so the event
    is dated there and not at the new agent's first dispensing: until then it may yet turn out an add-on.

    References
    ----------
    Hepp Z et al. Persistence and switching patterns of oral migraine prophylactic medications among patients with
    chronic migraine. Cephalalgia 2017;37:470-485. doi:10.1177/0333102416678382.
    """

    kind: Literal["switch"] = "switch"
    within_days: Annotated[Whole, Field(ge=0, description="latest day after the old supply's end")] = 60

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return (
            f"another agent of {self.codes.label} within {self.within_days} days of the end of supply, the old one not "
            f"refilled within {self.gap_days} days"
        )

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index on which a switch can be told, of any entry."""
        changes = switches(self._agents(tables), gap_days=self.gap_days, within_days=self.within_days)
        return _after_index(changes, entries)


class AddOn(_AgentChange):
    """Another agent starts during the old one's supply, the old one is refilled, both last ``overlap_days`` days.

    Dated on the day by which all three have happened, not at the new agent's first dispensing: a person must stay on
    both to be counted, and those days would be immortal.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    """

    kind: Literal["add_on"] = "add_on"
    overlap_days: Annotated[Whole, Field(ge=1, description="days on which both agents last together")] = 30

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"another agent of {self.codes.label} beside the old one, refilled, for {self.overlap_days} days"

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index on which an add-on is complete, of any entry."""
        changes = add_ons(self._agents(tables), gap_days=self.gap_days, overlap_days=self.overlap_days)
        return _after_index(changes, entries)
