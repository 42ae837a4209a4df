"""The cohort as data: who enters, what is required, when follow-up stops. Verbs return a new cohort."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from cohort.population.criteria import (
    AgeBetween,
    Enrolled,
    Exclude,
    IndexBetween,
    IndexIn,
    Present,
    RegionIn,
    Rule,
    SexIs,
)
from cohort.population.entry import Entry
from cohort.population.follow_up import FollowUp, RiskStart
from cohort.population.matching import MatchedArms, Matching, On, RiskSets
from cohort.population.occurrence import Occurrence
from cohort.spec import Spec
from cohort.time import Window


class Cohort(Spec):
    """Who is in, from when, until when.

    Built by verbs, each of which returns a new cohort: ``enter_at_…`` sets the entry, every ``require…`` and
    ``exclude`` appends a rule (rules apply in the order written, and attrition is reported in that order),
    ``at_risk_from`` sets the start of risk and ``follow_up`` the end. Each takes a record, measurements, an episode or
    dates of the calendar (`Occurrence`). `cohort.population.entry.Entry` says what "first" means with a washout.
    """

    name: Annotated[str, Field(min_length=1, description="what the cohort is called in the report")]
    entry: Annotated[Entry | None, Field(description="how a person joins")] = None
    rules: Annotated[tuple[Rule, ...], Field(description="requirements and exclusions, in order")] = ()
    start: Annotated[RiskStart, Field(description="when risk starts")] = RiskStart()
    end: Annotated[FollowUp, Field(description="when follow-up stops")] = FollowUp()

    matching: Annotated[Matching | None, Field(description="matched sets; absent = none")] = None

    def __init__(self, name: str | None = None, /, **values: Any) -> None:
        """Take the name by position."""
        super().__init__(**({"name": name} if name is not None else {}), **values)

    @property
    def parts(self) -> tuple[Any, ...]:
        """Return all that reads records: entry, rules, start and end."""
        return (*(() if self.entry is None else (self.entry,)), *self.rules, self.start, self.end)

    def enter_at_first(
        self, record: Occurrence | Mapping[str, Occurrence | tuple[Occurrence, int]], washout_days: int | None = None
    ) -> Cohort:
        """Enter at the first record with a clean washout that passes every requirement.

        A mapping of names to records makes arms: a person enters by whichever comes first. A pair of a record and
        days is an arm with a washout of its own.
        """
        return self._with(entry=Entry.by(record, washout_days=washout_days))

    def enter_at_each(
        self,
        record: Occurrence | Mapping[str, Occurrence | tuple[Occurrence, int]],
        washout_days: int | None = None,
        overlap: Literal["skip", "allow"] = "skip",
    ) -> Cohort:
        """Enter at every record with a clean washout that passes every requirement, by arms if a mapping is given.

        An entry inside the follow-up of an earlier one is skipped unless overlap is allowed.
        """
        return self._with(entry=Entry.by(record, at="each", washout_days=washout_days, overlap=overlap))

    def enter_at_nth(self, record: Occurrence, n: int) -> Cohort:
        """Enter at the n-th day with a qualifying record, if it passes every requirement."""
        return self._with(entry=Entry.by(record, at="nth", n=n))

    def require_index_between(self, start: dt.date, end: dt.date) -> Cohort:
        """Require the index date in a calendar period, both ends included."""
        return self._require(IndexBetween.of(start=start, end=end))

    def require_index_in(self, *periods: tuple[dt.date, dt.date]) -> Cohort:
        """Require the index date in one of several calendar periods, both ends of each included."""
        return self._require(IndexIn.of(periods=periods))

    def require_age(self, minimum: int = 0, maximum: int = 150) -> Cohort:
        """Require an age in completed years at index, both ends included."""
        return self._require(AgeBetween.of(minimum=minimum, maximum=maximum))

    def require_sex(self, sex: str) -> Cohort:
        """Require an administrative sex."""
        return self._require(SexIs.of(sex=sex))

    def require_region(self, *regions: str) -> Cohort:
        """Require one of some regions of residence."""
        return self._require(RegionIn.of(regions=regions))

    def require_enrolled(self, window: Window, bridge_days: int = 31) -> Cohort:
        """Require observation on every day of a window, gaps of up to ``bridge_days`` bridged."""
        return self._require(Enrolled.of(window=window, bridge_days=bridge_days))

    def require(
        self, record: Occurrence, window: Window, reason: str, at_least: int = 1, at_most: int | None = None
    ) -> Cohort:
        """Require a record on at least, and at most, so many distinct days of a window; of episodes, so many."""
        rule = Present.of(record=record, window=window, because=reason, at_least=at_least, at_most=at_most)
        return self._require(rule)

    def exclude(self, record: Occurrence, window: Window, reason: str) -> Cohort:
        """Exclude entries with a record in a window, or with an episode that covers a day of it."""
        return self._require(Exclude.of(record=record, window=window, because=reason))

    def at_risk_from(self, start: Literal["index", "enrolment"] | Occurrence) -> Cohort:
        """Start risk later than the index date: with enrolment, or after the first such record (delayed entry)."""
        if isinstance(start, str):
            return self._with(start=RiskStart.of(at=start))
        return self._with(start=RiskStart.of(at="record", record=start))

    def follow_up(
        self,
        until: dt.date | None = None,
        max_days: int | None = None,
        censor_at: Iterable[Literal["disenrolment", "other_arm"] | Occurrence] = ("disenrolment",),
        bridge_days: int = 31,
    ) -> Cohort:
        """Follow from index to the earliest of the ends given, the end of the data, and death.

        A record in ``censor_at`` ends follow-up on its first day after index; so does one of another arm
        (``"other_arm"``).
        """
        ends = tuple(censor_at)
        events = tuple(end for end in ends if isinstance(end, str))
        records = tuple(end for end in ends if not isinstance(end, str))
        end = FollowUp.of(
            until=until, max_days=max_days, censor_at=events, censor_records=records, bridge_days=bridge_days
        )
        return self._with(end=end)

    def match_arms(
        self, *on: On, ratio: int = 1, birth_years_apart: int = 0, replace: bool = False, seed: int = 1
    ) -> Cohort:
        """Give each entry of the first arm up to ``ratio`` of the second that are alike; see `MatchedArms`."""
        return self._with(
            matching=MatchedArms.of(on=on, ratio=ratio, birth_years_apart=birth_years_apart, replace=replace, seed=seed)
        )

    def sample_risk_sets(self, *on: On, ratio: int = 1, birth_years_apart: int = 0, seed: int = 1) -> Cohort:
        """Give each case up to ``ratio`` controls that were at risk on the day of its event; see `RiskSets`."""
        return self._with(matching=RiskSets.of(on=on, ratio=ratio, birth_years_apart=birth_years_apart, seed=seed))

    def _require(self, rule: Rule) -> Cohort:
        return self._with(rules=(*self.rules, rule))

    def _with(self, **changes: Any) -> Cohort:
        return self.model_copy(update=changes)
