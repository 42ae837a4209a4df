"""Enrolment: months of observation, left with a December spike and sometimes taken up again."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from cohort.simulate.care import Visits
from cohort.simulate.course import Course
from cohort.simulate.hazards import Floats, expit, logit
from cohort.simulate.population import Bools, Ints, Persons, comorbidity_count
from cohort.simulate.scenario import Scenario
from cohort.simulate.streams import BLOCK, Block
from cohort.time import epoch_day

RECENT_DAYS = 60
"""Days for which a visit for the pain counts as recent."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who is observed in which month.

    Attributes
    ----------
    bounds
        Int64, shape (months + 1,): first epoch day of each month of the calendar, and the day after its end.
    enrolled
        bool, shape (persons, months).
    death
        Float64: epoch day of death, ``inf`` or beyond the calendar if not observed.
    """

    bounds: Ints
    enrolled: Bools
    death: Floats

    def observes(self, person: Ints, day: Ints) -> Bools:
        """Return whether a person is enrolled and alive on a day (the day of death included)."""
        inside = (day >= self.bounds[0]) & (day < self.bounds[-1]) & (day <= self.death[person])
        return np.asarray(inside & self.enrolled[person, self._month(day)])

    def _month(self, day: Ints) -> Ints:
        """Return the number of the month of each day; days outside the calendar count to its first or last month."""
        # a table of all days is faster than a search per day
        month_of = np.repeat(np.arange(len(self.bounds) - 1), np.diff(self.bounds))
        return np.asarray(month_of[np.clip(day - self.bounds[0], 0, len(month_of) - 1)])

    def days_enrolled(self, person: Ints, day: Ints) -> Ints:
        """Return the days from the start of the present spell to a day on which the person is observed."""
        starts = self.enrolled & ~np.pad(self.enrolled, ((0, 0), (1, 0)))[:, :-1]
        since = np.maximum.accumulate(np.where(starts, self.bounds[:-1], -1), axis=1)
        return day - since[person, self._month(day)]

    def last_day(self, person: Ints, day: Ints) -> Ints:
        """Return the last day of the present spell, for observed days; death is not looked at."""
        stops = self.enrolled & ~np.pad(self.enrolled, ((0, 0), (0, 1)))[:, 1:]
        ends = np.where(stops, self.bounds[1:] - 1, self.bounds[-1])
        until = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
        return until[person, self._month(day)]

    def spells(self) -> tuple[Ints, Ints, Ints]:
        """Return person, first and last day of each spell, both included, cut at death."""
        padded = np.pad(self.enrolled, ((0, 0), (1, 1))).astype(np.int8)
        change = np.diff(padded, axis=1)
        person, start = np.nonzero(change == 1)
        _, stop = np.nonzero(change == -1)
        first, last = self.bounds[start], np.minimum(self.bounds[stop] - 1, self.death[person])
        alive = first <= last
        return person[alive], first[alive], last[alive].astype(np.int64)


def draw_enrolment(
    scenario: Scenario, persons: Persons, visits: Visits, course: Course, death: Floats, block: Block
) -> Enrolment:
    """Return the enrolment of one block of persons, given the possible visits and the course under usual care."""
    random = block.stream("enrolment")
    plan = scenario.enrolment
    bounds, december = _months(scenario)
    months = len(december)
    later = random.integers(1, max(months, 2), BLOCK)
    entry = np.where(random.random(BLOCK) < plan.at_first_day, 0, later)
    returns = random.random((BLOCK, months)) < plan.return_within_year
    gaps = random.integers(1, 13, (BLOCK, months))
    seen_lately = np.zeros((BLOCK, 1)) if plan.log_odds_recent_visit == 0 else _seen_lately(visits, course, bounds)
    leaves = random.random((BLOCK, months)) < _exit_probability(scenario, persons, seen_lately, bounds, december)
    enrolled = np.zeros((BLOCK, months), dtype=np.bool_)
    waits_until = entry
    for month in range(months):
        enrolled[:, month] = month >= waits_until
        leaving = enrolled[:, month] & leaves[:, month]
        back = np.where(returns[:, month], month + 1 + gaps[:, month], months)
        waits_until = np.where(leaving, back, waits_until)
    return Enrolment(bounds, enrolled, death)


def _months(scenario: Scenario) -> tuple[Ints, Bools]:
    """Return the first day of each month of the calendar (and the day after the end), and which are Decembers."""
    first, last = scenario.calendar.first_day, scenario.calendar.last_day
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    numbers = range(first.month - 1, first.month - 1 + count)
    firsts = [dt.date(first.year + number // 12, number % 12 + 1, 1) for number in numbers]
    bounds = [epoch_day(first), *(epoch_day(day) for day in firsts[1:]), epoch_day(last) + 1]
    return np.array(bounds, dtype=np.int64), np.array([day.month == 12 for day in firsts])


def _exit_probability(
    scenario: Scenario, persons: Persons, seen_lately: Floats, bounds: Ints, december: Bools
) -> Floats:
    """Return the probability of leaving at the end of each month; year-end exits follow the plan, not health."""
    plan = scenario.enrolment
    if plan.exit_per_month in (0, 1):
        within = np.full((BLOCK, len(december)), float(plan.exit_per_month))
    else:
        count = comorbidity_count(persons, int(bounds[0]))[:, None]
        shift = plan.log_odds_comorbidity * count + plan.log_odds_recent_visit * seen_lately
        within = expit(logit(np.array(plan.exit_per_month)) + shift)
    return np.where(december, plan.exit_in_december, within)


def _seen_lately(visits: Visits, course: Course, bounds: Ints) -> Floats:
    """Return 1 for the months at whose end a person was seen for the pain in the last 60 days: (persons, months)."""
    months = len(bounds) - 1
    lately = np.zeros((BLOCK, months))
    happened = visits.take(visits.happens(course))
    day = happened.day(course)
    month = np.searchsorted(bounds, day, side="right") - 1
    for later in range(RECENT_DAYS // 28 + 1):
        end = bounds[np.clip(month + later + 1, 0, months)] - 1
        counts = (month + later >= 0) & (month + later < months) & (end >= day) & (end - day < RECENT_DAYS)
        lately[happened.person[counts], (month + later)[counts]] = 1
    return lately
