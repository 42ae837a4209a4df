"""Clone–censor–weight: "start within a grace period" against "do not", without immortal time.

Everybody begins time 0 as a clone in both arms. A clone leaves its arm on the day the person departs from that arm's
strategy; those who stay are weighted up to stand for those who left and were like them. An event before the end of the
grace period that finds the person untreated counts in both arms: no strategy had been departed from.

Clones are never written out: what a curve or a hazard ratio needs are sums by day.

References
----------
Hernán MA (2018), BMJ 360:k182, doi:10.1136/bmj.k182; Maringe C et al. (2020), Int J Epidemiol 49:1719–1729,
doi:10.1093/ije/dyaa057; Cain LE et al. (2010), Int J Biostat 6:18, doi:10.2202/1557-4679.1212.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohort.effects.covariates import require_varied
from cohort.errors import NotEstimableError
from cohort.survival.cox_model import CoxEstimate, Follow, estimate
from cohort.survival.cox_residuals import baseline_hazard
from cohort.survival.types import Floats, Numbers

STRATEGIES = ("start within the grace period", "do not start within the grace period")


class Persons(NamedTuple):
    """Follow-up of n persons from time 0; arrays (n,), covariates ``x`` (n, p).

    ``cause`` 0 is censored, ``started`` the day treatment started (inf: never), ``times`` how often a person counts.
    """

    time: Numbers
    cause: Numbers
    started: Floats
    x: Floats
    times: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """The clones of one strategy: ``time`` and ``cause`` (n,) with ``departed`` (n,) where the clone was censored."""

    time: Numbers
    cause: Numbers
    departed: NDArray[np.bool_]

    @property
    def n_departed(self) -> int:
        """Return the number of clones censored for departing from the strategy."""
        return int(self.departed.sum())

    @property
    def n_events(self) -> int:
        """Return the number of clones with an event of any cause."""
        return int((self.cause > 0).sum())


def clone(persons: Persons, grace: float) -> tuple[Arm, Arm]:
    """Return the clones of "start within ``grace`` days of time 0" and of "do not start within them".

    Whoever starts on the day of exit has started: the exit is what happened to a treated person.
    """
    within = (persons.started <= grace) & (persons.started <= persons.time)
    late = ~within & (persons.time > grace)
    start = Arm(np.where(late, grace, persons.time), np.where(late, 0, persons.cause), late)
    abstain = Arm(np.where(within, persons.started, persons.time), np.where(within, 0, persons.cause), within)
    return start, abstain


def require_followers(persons: Persons, grace: float) -> None:
    """Refuse a strategy that nobody is seen to follow: an event before the end of grace follows both.

    Raises
    ------
    NotEstimableError
        ``nobody_follows``, naming the strategy.
    """
    started = (persons.started <= grace) & (persons.started <= persons.time)
    abstained = ~started & (persons.time > grace)
    for name, followed in zip(STRATEGIES, (started, abstained), strict=True):
        if not followed.any():
            raise NotEstimableError(f"nobody_follows: nobody who was to {name} did so")


@dataclass(frozen=True, slots=True, eq=False)
class Staying:
    """The chance of not having departed from a strategy.

    ``hazard`` (K,) of departing, cumulative up to and including ``day`` (K,), is that of a person at the mean of the
    covariates, ``ratio`` (n,) each person's to it. ``fit`` is the model they come from, None where nobody departs.
    """

    day: Floats
    hazard: Floats
    ratio: Floats
    fit: CoxEstimate | None = None

    @property
    def reached(self) -> Floats:
        """Return the cumulative hazard before each phase: before the first departure, after it, … (K + 1,)."""
        return np.concatenate([[0.0], self.hazard])

    def weight(self, phase: int) -> Floats:
        """Return the inverse chance of having stayed until after the first ``phase`` days of departure, (n,)."""
        weight: Floats = np.exp(self.reached[phase] * self.ratio)
        return weight


def model_staying(arm: Arm, persons: Persons, columns: tuple[str, ...]) -> Staying:
    """Fit a Cox model (Efron ties) of departing from a strategy; without departures everybody stays.

    Raises
    ------
    NotEstimableError
        What the Cox model raises; ``nobody_follows`` if every clone departs.
    """
    if arm.departed.all():
        raise NotEstimableError("nobody_follows: every person departs from one of the strategies")
    if not arm.departed.any():
        return Staying(np.empty(0), np.empty(0), np.ones(len(arm.time)))
    if not columns:
        raise NotEstimableError("no_covariates: weights need a model of departing")
    require_varied(persons.x, columns)
    fit = estimate(persons.x, Follow(arm.time, arm.departed, weight=persons.times), columns)
    ratio = np.exp((persons.x - fit.rows.centre) @ fit.coef)
    jumps = baseline_hazard(fit, "efron")
    return Staying(fit.rows.cells.time[jumps > 0], np.cumsum(jumps[jumps > 0]), ratio, fit)


def started_by(grace: float, starting: Staying) -> Staying:
    """Return the chance of having started by the end of the grace period, from a model of starting.

    It is 1 - exp(-H r): the days of starting say more of it than who is left on the last one, and covariates that act
    on the hazard of starting do not act in proportion on that of being late.
    """
    reached = float(starting.reached[-1])
    return Staying(np.array([grace]), np.ones(1), -np.log(-np.expm1(-reached * starting.ratio)))


def model_strategies(
    arms: tuple[Arm, Arm], persons: Persons, columns: tuple[str, ...], grace: float, *, by_starting: bool
) -> tuple[Staying, Staying]:
    """Return the chances of staying in either arm: each with a model, or both from one of starting."""
    abstaining = model_staying(arms[1], persons, columns)
    if not by_starting or not arms[0].departed.any() or abstaining.fit is None:
        return model_staying(arms[0], persons, columns), abstaining
    return started_by(grace, abstaining), abstaining


@dataclass(frozen=True, slots=True, eq=False)
class DaySums:
    """Weighted clones by exit day, arrays (T,) and (K, T): at risk just before, and with an event of each cause.

    ``n_events`` (K, T) are unweighted; ``last`` (n,) is the weight of each clone when it left.
    """

    day: Numbers
    at_risk: Floats
    events: Floats
    n_events: Floats
    last: Floats


def sum_by_day(
    arm: Arm, persons: Persons, staying: Staying, day: Numbers, causes: tuple[int, ...], cap: float = np.inf
) -> DaySums:
    """Sum the weighted clones over days.

    A weight is that of just before the day: who departs on a day is still there for the events of that day. Weights
    above ``cap`` are set to it.
    """
    exits = place_exits(arm, staying.day, day, causes)
    total, last = np.zeros(len(staying.day) + 1), np.zeros(len(arm.time))
    table, count = np.zeros((2, len(day), len(causes) + 1))
    loops().clone_sums(
        staying.ratio,
        staying.reached,
        exits.phase,
        exits.place,
        exits.kind,
        persons.times,
        cap,
        total,
        table,
        count,
        last,
    )
    return day_sums(day, staying.day, total, table, count, last)


class Exits(NamedTuple):
    """When and how clones leave, arrays (n,): last ``phase``, ``place`` of the day, ``kind`` 0 or 1 + its cause's."""

    phase: Numbers
    place: Numbers
    kind: Numbers


def place_exits(arm: Arm, departures: Floats, day: Numbers, causes: tuple[int, ...]) -> Exits:
    """Return the exits of clones in phases between the days of departure."""
    kind = np.zeros(len(arm.time), dtype=np.int8)
    for position, code in enumerate(causes):
        kind[arm.cause == code] = 1 + position
    phase = np.searchsorted(departures, arm.time, side="left").astype(np.int32)
    return Exits(phase, np.searchsorted(day, arm.time).astype(np.int32), kind)


def day_sums(day: Numbers, departures: Floats, total: Floats, table: Floats, count: Floats, last: Floats) -> DaySums:
    """Return the sums by day of clones with ``total`` weight at the start of each phase who leave as in the tables."""
    at_risk, leaving = np.zeros(len(day)), table.sum(axis=1)
    edges = np.concatenate([[0], np.searchsorted(day, departures, side="right"), [len(day)]])
    for phase, (first, stop) in enumerate(pairwise(edges)):
        gone = leaving[first:stop]
        at_risk[first:stop] = total[phase] - (np.cumsum(gone) - gone)
    return DaySums(day, at_risk, table[:, 1:].T, count[:, 1:].T, last)


def loops() -> ModuleType:
    """Return the compiled loops; importing them loads numba."""
    return import_module("cohort.effects.clone_kernels")
