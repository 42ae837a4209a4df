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
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cohort.errors import NotEstimableError
from cohort.survival.cox_model import Follow, estimate
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


@dataclass(frozen=True, slots=True, eq=False)
class Staying:
    """The chance of not having departed from a strategy.

    ``hazard`` (K,) of departing, cumulative up to and including ``day`` (K,), is that of a person at the mean of the
    covariates, ``ratio`` (n,) each person's to it.
    """

    day: Floats
    hazard: Floats
    ratio: Floats

    def weight(self, phase: int) -> Floats:
        """Return the inverse chance of having stayed until after the first ``phase`` days of departure, (n,)."""
        reached = 0.0 if phase == 0 else float(self.hazard[phase - 1])
        weight: Floats = np.exp(reached * self.ratio)
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
    fit = estimate(persons.x, Follow(arm.time, arm.departed, weight=persons.times), columns)
    ratio = np.exp((persons.x - fit.rows.centre) @ fit.coef)
    jumps = baseline_hazard(fit, "efron")
    return Staying(fit.rows.cells.time[jumps > 0], np.cumsum(jumps[jumps > 0]), ratio)


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
    """Sum the weighted clones over days, one phase between two days of departure after another.

    A weight is that of just before the day: who departs on a day is still there for the events of that day. Weights
    above ``cap`` are set to it.
    """
    exit_ = np.searchsorted(day, arm.time)
    at_risk, events = np.zeros(len(day)), np.zeros((len(causes), len(day)))
    n_events, last = np.zeros_like(events), np.zeros(len(arm.time))
    edges = np.concatenate([[-np.inf], staying.day, [np.inf]])
    for phase, (low, high) in enumerate(pairwise(edges)):
        present = arm.time > low
        weight = np.minimum(staying.weight(phase)[present], cap) * persons.times[present]
        place, ends = exit_[present], arm.time[present] <= high
        first, stop = np.searchsorted(day, low, side="right"), np.searchsorted(day, high, side="right")
        leaving = np.bincount(place[ends], weight[ends], len(day))[first:stop]
        at_risk[first:stop] = weight.sum() - (np.cumsum(leaving) - leaving)
        for position, code in enumerate(causes):
            mine = ends & (arm.cause[present] == code)
            events[position] += np.bincount(place[mine], weight[mine], len(day))
            n_events[position] += np.bincount(place[mine], persons.times[present][mine], len(day))
        last[np.flatnonzero(present)[ends]] = weight[ends]
    return DaySums(day, at_risk, events, n_events, last)
