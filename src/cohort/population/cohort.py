"""The cohort as data: who enters, what is required, when follow-up stops. Verbs return a new cohort."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field

from cohort.codes.records import Record
from cohort.population.criteria import AgeBetween, Enrolled, Exclude, IndexBetween, Present, RegionIn, Rule, SexIs
from cohort.population.entry import Entry
from cohort.population.follow_up import FollowUp
from cohort.spec import Spec
from cohort.time import Window


class Cohort(Spec):
    """Who is in, from when, until when.

    Built by verbs, each of which returns a new cohort: ``enter_at_first`` sets the entry, every ``require_…`` and
    ``exclude`` appends a rule (rules apply in the order written, and attrition is reported in that order), and
    ``follow_up`` sets the end. `cohort.population.entry.Entry` says what "first" means with a washout.
    """

    name: Annotated[str, Field(min_length=1, description="what the cohort is called in the report")]
    entry: Annotated[Entry | None, Field(description="how a person joins")] = None
    rules: Annotated[tuple[Rule, ...], Field(description="requirements and exclusions, in order")] = ()
    end: Annotated[FollowUp, Field(description="when follow-up stops")] = FollowUp()

    def __init__(self, name: str | None = None, /, **values: Any) -> None:
        """Take the name by position."""
        super().__init__(**({"name": name} if name is not None else {}), **values)

    def enter_at_first(self, record: Record, washout_days: int | None = None) -> Cohort:
        """Enter at the first record with a clean washout that passes every requirement."""
        return self._with(entry=Entry.of(record=record, washout_days=washout_days))

    def enter_at_nth(self, record: Record, n: int) -> Cohort:
        """Enter at the n-th day with a qualifying record, if it passes every requirement."""
        return self._with(entry=Entry.of(at="nth", record=record, n=n))

    def require_index_between(self, start: dt.date, end: dt.date) -> Cohort:
        """Require the index date in a calendar period, both ends included."""
        return self._require(IndexBetween.of(start=start, end=end))

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

    def require(self, record: Record, window: Window, reason: str, at_least: int = 1) -> Cohort:
        """Require qualifying records on at least so many distinct days of a window."""
        return self._require(Present.of(record=record, window=window, because=reason, at_least=at_least))

    def exclude(self, record: Record, window: Window, reason: str) -> Cohort:
        """Exclude entries with a qualifying record in a window."""
        return self._require(Exclude.of(record=record, window=window, because=reason))

    def follow_up(
        self,
        until: dt.date | None = None,
        max_days: int | None = None,
        censor_at: Iterable[Literal["disenrolment"] | Record] = ("disenrolment",),
        bridge_days: int = 31,
    ) -> Cohort:
        """Follow from index to the earliest of the ends given, the end of the data, and death.

        A record in ``censor_at`` ends follow-up on its first day after index.
        """
        events = tuple(end for end in censor_at if not isinstance(end, Record))
        records = tuple(end for end in censor_at if isinstance(end, Record))
        end = FollowUp.of(
            until=until, max_days=max_days, censor_at=events, censor_records=records, bridge_days=bridge_days
        )
        return self._with(end=end)

    def _require(self, rule: Rule) -> Cohort:
        return self._with(rules=(*self.rules, rule))

    def _with(self, **changes: Any) -> Cohort:
        return self.model_copy(update=changes)
