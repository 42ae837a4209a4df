"""Bootstrap samples of persons, each with both clones, from what the first estimate has sorted and counted.

A sample is how often each person is drawn; nothing is copied or sorted again. The models of departing start from those
of all persons and take two or three steps with their information; a step needs the risk by day of departure, and the
weighted curves need the clones by day of exit: sums over persons in groups, read straight through.

References
----------
Efron B, Tibshirani R (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593. Hanley JA, MacGibbon B
(2006), Comput Methods Programs Biomed 83:57–62, doi:10.1016/j.cmpb.2006.04.006 (Poisson counts).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import lgamma, log
from typing import Any

import numpy as np
from scipy.stats import poisson

from cohort.effects.clones import Arm, DaySums, Exits, Persons, Staying, day_sums, loops, place_exits
from cohort.effects.day_estimates import closed_ties
from cohort.errors import NotEstimableError
from cohort.survival.cox_sums import workers
from cohort.survival.types import Floats, Ints, Numbers

_BELOW = poisson.cdf(np.arange(16), 1.0)
"""Cumulative chances of 0, 1, … 15 draws of a person; nobody is drawn more often than 16 times."""
_CLOSE = 1e-4
"""Steps of this share of a standard error end the search for a sample's coefficients."""
_STEPS = 40
_USUAL, _BEYOND = 0.999, 1.2
"""Ratios of hazards above 1.2 times this quantile of all persons' are added up singly: one of them would ask for a
series of more terms for everybody."""
_LARGEST = 30.0
"""Logarithm of the weights above which a series would lose its digits; those clones are added up singly."""
_PRECISION = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class SortedArm:
    """The n clones of a strategy in groups (G,), in the order of their exit.

    ``x`` (p, n) are centred covariates, ``index`` (n,) which person a clone is; groups, between ``bounds`` (G + 1,),
    are by last phase and within it: left before the day of departure that ends it, stayed to it, departed on it.
    ``departed`` (p, d) and ``left`` (d,) repeat the departed ones, between ``days`` (K + 1,). Hazard ratios up to
    ``usual`` enter a series; weights are cut at ``cap``.
    """

    x: Floats
    index: Ints
    bounds: Ints
    phase: Ints
    exits: Exits
    departed: Floats
    left: Ints
    days: Ints
    staying: Staying
    usual: float
    causes: int
    cap: float

    @classmethod
    def of(
        cls, arm: Arm, persons: Persons, staying: Staying, day: Numbers, causes: tuple[int, ...], cap: float
    ) -> SortedArm:
        """Sort the clones of a strategy."""
        exits, last = place_exits(arm, staying.day, day, causes), len(staying.day)
        on_day = np.append(staying.day, np.inf)[exits.phase] == arm.time
        group = 3 * exits.phase.astype(np.int64) + on_day + arm.departed
        order = np.argsort(group, kind="stable")
        centre = 0.0 if staying.fit is None else staying.fit.rows.centre
        x = np.ascontiguousarray((persons.x[order] - centre).T)
        bounds = np.searchsorted(group[order], np.arange(3 * last + 4))
        gone = np.flatnonzero(arm.departed[order])
        days = np.searchsorted(group[order][gone] // 3, np.arange(last + 1))
        placed = Exits(*(column[order] for column in exits))
        phase = np.repeat(np.arange(last + 1), 3)
        departed = np.ascontiguousarray(x[:, gone])
        usual = _BEYOND * float(np.quantile(staying.ratio, _USUAL))
        return cls(x, order, bounds, phase, placed, departed, order[gone], days, staying, usual, len(causes), cap)


def bootstrap(
    arms: tuple[SortedArm, SortedArm],
    day: Numbers,
    numbers: Callable[[DaySums, DaySums], Floats],
    replicates: int,
    seed: int,
) -> Floats:
    """Return the numbers of samples of persons in which they can be estimated, (samples, q).

    Raises
    ------
    NotEstimableError
        ``bootstrap_not_estimable`` where that is fewer than nine in ten.
    """

    def one(draw: int) -> Floats | None:
        key = np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)[0]
        try:
            return numbers(*(_sample(arm, day, key) for arm in arms))
        except NotEstimableError:
            return None

    with workers() as pool:
        return _enough(pool.map(one, range(replicates)), replicates)


def refit(numbers: Callable[[Floats], Floats], persons: int, replicates: int, seed: int) -> Floats:
    """Return the numbers of samples of persons, (samples, q), each estimated anew from how often they are drawn, (n,).

    Raises
    ------
    NotEstimableError
        ``bootstrap_not_estimable`` where fewer than nine in ten samples have an answer.
    """

    def one(draw: int) -> Floats | None:
        times = np.random.default_rng([seed, draw]).poisson(1.0, persons).astype(np.float64)
        try:
            return numbers(times)
        except NotEstimableError:
            return None

    return _enough(map(one, range(replicates)), replicates)


def _enough(samples: Iterable[Floats | None], replicates: int) -> Floats:
    found = [values for values in samples if values is not None]
    if len(found) < 0.9 * replicates:
        raise NotEstimableError(f"bootstrap_not_estimable: in {replicates - len(found)} of {replicates} samples")
    return np.asarray(found)


def _sample(arm: SortedArm, day: Numbers, key: Any) -> DaySums:
    """Return the weighted sums by day of one arm in one sample."""
    times, departed = np.empty(arm.index.size, np.uint8), np.empty(arm.left.size, np.uint8)
    loops().draw_counts(arm.index, key, _BELOW, times)
    loops().draw_counts(arm.left, key, _BELOW, departed)
    slope, hazard = _staying(arm, times, departed)
    reached = np.concatenate([[0.0], np.cumsum(hazard)])
    unit, terms = _series(arm, reached[-1])
    moment, total = np.zeros((reached.size, terms)), np.zeros(reached.size)
    table, count = np.zeros((2, len(day), arm.causes + 1))
    loops().sample_sums(
        arm.x, slope, arm.bounds, arm.phase, *(arm.exits.place, arm.exits.kind), times, reached, reached[-1] / 2, unit,
        arm.cap, moment, total, table, count,
    )  # fmt: skip
    total += _of_series(moment, (reached - reached[-1] / 2) * unit)
    return day_sums(day, arm.staying.day, total, table, count, np.empty(0))


def _staying(arm: SortedArm, times: Numbers, departed: Numbers) -> tuple[Floats, Floats]:
    """Return coefficients (p,) and the hazard of departing by day (K,) of a sample."""
    if arm.staying.fit is None:
        return np.zeros(len(arm.x)), np.empty(0)
    gone = _group_sums(arm.departed, np.zeros(len(arm.x)), arm.days, departed)
    slope, spread = arm.staying.fit.coef, arm.staying.fit.model_covariance
    before = 0.0
    for _ in range(_STEPS):
        risk, dying = _at_departures(_group_sums(arm.x, slope, arm.bounds, times))
        a, b, *_ = closed_ties(risk[:, 0], dying[:, 0], gone[:, 0], gone[:, 0])
        score = gone[:, 1:].sum(axis=0) - a @ risk[:, 1:] + b @ dying[:, 1:]
        step = spread @ score
        slope, size = slope + step, float(np.sqrt(max(step @ score, 0.0)))
        # the length of the next step is foretold by how much this one is shorter than the last
        if size < _CLOSE or size**2 < _CLOSE * before:
            at_risk, leaving = (part[:, 0] + part[:, 1:] @ step for part in (risk, dying))
            return slope, closed_ties(at_risk, leaving, gone[:, 0], gone[:, 0])[0]
        before = size
    raise NotEstimableError("not_converged")


def _group_sums(x: Floats, slope: Floats, bounds: Ints, times: Numbers) -> Floats:
    out = np.zeros((bounds.size - 1, 1 + len(x)))
    loops().risk_sums(x, slope, bounds, times, out)
    return out


def _at_departures(groups: Floats) -> tuple[Floats, Floats]:
    """Return the sums over those at risk on, and those departing on, each day of departure, (K, 1 + p) each."""
    by_phase = groups.reshape(-1, 3, groups.shape[1])
    after = np.cumsum(by_phase.sum(axis=1)[::-1], axis=0)[::-1]
    return after[1:] + by_phase[:-1, 1:].sum(axis=1), by_phase[:-1, 2]


def _series(arm: SortedArm, hazard: float) -> tuple[float, int]:
    """Return the ratio up to which clones enter the series, and the terms it then needs."""
    highest = min(_LARGEST, log(arm.cap)) if arm.cap > 1 else 0.0
    unit = arm.usual
    if hazard > 0:
        unit = min(unit, highest / hazard)
    half, terms = hazard * unit / 2, 1
    while half > 0 and terms * log(half) - lgamma(terms + 1) > log(_PRECISION):
        terms += 1
    return max(unit, np.finfo(np.float64).tiny), terms


def _of_series(moment: Floats, distance: Floats) -> Floats:
    """Return the weight of all clones present in each phase, (K + 1,), from moments by last phase."""
    present = np.cumsum(moment[::-1], axis=0)[::-1]
    factor, total = np.ones(distance.size), np.zeros(distance.size)
    for term in range(moment.shape[1]):
        total += present[:, term] * factor
        factor = factor * distance / (term + 1)
    return total
