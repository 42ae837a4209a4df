"""Counting transitions between states, and carrying a distribution over the states forward in time.

A transition is an exit: the state it leaves is the group, the state it enters is the cause. So the counts of a
multistate model are day counts like all others, additive over buckets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, like, require_columns
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.influence import ratio
from cohort.survival.observations import By
from cohort.survival.risk import merge_near_ties, occupancy
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints, Numbers

_TO = "code of the state entered"


@dataclass(frozen=True, slots=True)
class Transitions:
    """One group on its T exit times, S states: ``n_risk`` (S, T) in each state, ``moves`` (S, S, T) from row to column.

    ``entry, exit, state, n`` (M,) are the cells behind it: how many were in which state in (entry, exit].
    """

    group: str
    time: Numbers
    n_risk: Ints
    moves: Ints
    entry: Numbers
    exit: Numbers
    state: Ints
    n: Ints

    def persons_in(self, day: float) -> Ints:
        """Return how many are in each state just after ``day``, (S,)."""
        here = (self.entry <= day) & (self.exit > day)
        return np.bincount(self.state[here], self.n[here], len(self.n_risk)).astype(np.int64)

    def at_risk(self, days: Numbers) -> Ints:
        """Return how many are under observation in each state just before each of ``days``, (S, D)."""
        found = np.zeros((len(self.n_risk), len(days)), dtype=np.int64)
        for state in range(len(self.n_risk)):
            own = self.state == state
            for clock, sign in ((self.entry[own], 1), (self.exit[own], -1)):
                order = np.argsort(clock, kind="stable")
                total = np.concatenate([[0], np.cumsum(self.n[own][order])])
                found[state] += sign * total[np.searchsorted(clock[order], days, side="left")]
        return found


@dataclass(frozen=True, slots=True)
class Path:
    """A distribution over S states, carried from a start over T times.

    Row 0 of ``probability`` and ``variance`` (T + 1, S) is the start, row i is after ``time[i - 1]``; ``stay`` and
    ``stay_variance`` (S,) are of the time spent in each state up to the horizon.
    """

    time: Numbers
    probability: Floats
    variance: Floats
    stay: Floats
    stay_variance: Floats


def count_transitions(
    frame: Any,
    id: str,
    start: str,
    stop: str,
    from_state: str,
    to_state: str,
    by: By = None,
    states: Sequence[str] | None = None,
) -> tuple[DayCounts, tuple[str, ...]]:
    """Count a (bucket's) spells in states, and return the states with their counts.

    Parameters
    ----------
    id
        Column of persons; their spells must neither overlap nor jump.
    start, stop
        Columns of spells ``(start, stop]`` in days.
    from_state, to_state
        Columns of the state during the spell and the state entered at its end: missing, or the same, where
        observation ends without a transition.
    states
        All states in their order; those found, sorted, when not given. Buckets must be given the same.

    Raises
    ------
    InputRefusedError
        On impossible spells or undeclared states.
    """
    lazy = as_lazy(frame)
    check_spells(lazy, id, start, stop, from_state, to_state)
    lazy = lazy.with_columns(pl.col(from_state, to_state).cast(pl.String))
    if states is None:
        found = lazy.select(pl.col(from_state).append(pl.col(to_state)).unique().drop_nulls().sort()).collect()
        states = found.to_series().to_list()
    unknown = lazy.select((~pl.col(from_state).is_in(list(states))).sum()).collect().item()
    if unknown:
        raise InputRefusedError(f"{unknown} spells are in a state other than {', '.join(states)}")
    code = pl.col(to_state).replace_strict(list(states), list(range(1, len(states) + 1)), default=-1)
    entered = pl.when(pl.col(to_state).is_null() | (pl.col(to_state) == pl.col(from_state))).then(0).otherwise(code)
    causes = range(1, len(states) + 1)
    coded = lazy.with_columns(entered.alias(_TO))
    return count_days(coded, stop, _TO, from_state, entry=start, causes=causes, strata=by), tuple(states)


def transition_rows(
    frame: Any,
    origin: str,
    target: str,
    from_state: str = "from_state",
    to_state: str = "to_state",
    event: str = "event",
) -> Any:
    """Return the spells at risk of one transition with its 0/1 ``event``, for a Cox model of that transition.

    Other transitions out of ``origin`` censor it (their hazards are modelled by their own calls); the frame stays lazy.

    References
    ----------
    Putter H, Fiocco M, Geskus RB (2007), Stat Med 26:2389–2430, doi:10.1002/sim.2712.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, {"from_state": from_state, "to_state": to_state})
    moved = (pl.col(to_state) == target).fill_null(False).cast(pl.Int64).alias(event)
    return like(frame, lazy.filter(pl.col(from_state) == origin).with_columns(moved))


def transitions(counts: DayCounts, states: Sequence[str]) -> list[Transitions]:
    """Lay counts of transitions out by group (the counts' strata), sorted as text."""
    cells = merge_near_ties(counts.cells).with_columns(
        state=pl.col("group").replace_strict(list(states), list(range(len(states))), return_dtype=pl.Int64)
    )
    parts = cells.partition_by("stratum", as_dict=True, maintain_order=True)
    return [_group(str(name), parts[name,], len(states)) for (name,) in sorted(parts)]


def _group(group: str, cells: pl.DataFrame, states: int) -> Transitions:
    entry, exit_, state = (cells[name].to_numpy() for name in ("entry", "time", "state"))
    time, place = np.unique(exit_, return_inverse=True)
    joined, entered = np.searchsorted(time, entry, side="right"), cells["cause"].to_numpy()
    parts = []
    for k in range(states):
        own = state == k
        shape = (states + 1, len(time))
        parts.append(occupancy(cells.filter(own), place[own], joined[own], entered[own], shape, weighted=False))
    moves = np.stack([part.leaving[1:] for part in parts])
    return Transitions(
        group, time, np.stack([part.at_risk for part in parts]), moves, entry, exit_, state, cells["n"].to_numpy()
    )  # fmt: skip


def propagate(group: Transitions, initial: Floats, start: float, tau: float | None = None) -> Path:
    """Carry ``initial`` (S,) forward from ``start`` through every transition time (up to ``tau``).

    The covariance of the probabilities and of the time spent is carried with them (Greenwood's: transitions out of a
    state are multinomial given its risk set), so one pass gives both.

    References
    ----------
    Andersen PK, Borgan Ø, Gill RD, Keiding N (1993), Statistical Models Based on Counting Processes, section IV.4,
    doi:10.1007/978-1-4612-4348-9.
    """
    used = (group.time > start) & (group.moves.sum(axis=(0, 1)) > 0) & (group.time <= (np.inf if tau is None else tau))
    time, risk, moves = group.time[used], group.n_risk[:, used], group.moves[:, :, used]
    size = len(initial)
    hazard = ratio(moves, risk[:, None, :])
    probability, covariance = initial.astype(np.float64), np.zeros((size, size))
    stay, stay_covariance, joint = np.zeros(size), np.zeros((size, size)), np.zeros((size, size))
    values, variances, clock = [probability], [np.zeros(size)], float(start)
    for i, now in enumerate(time):
        width = float(now) - clock
        stay_covariance, joint, stay = _pass_time(width, covariance, joint, stay_covariance, stay + width * probability)
        step = np.eye(size) + hazard[:, :, i] - np.diag(hazard[:, :, i].sum(axis=1))
        covariance = step.T @ covariance @ step + _drawn(probability, hazard[:, :, i], risk[:, i])
        joint, probability, clock = joint @ step, probability @ step, float(now)
        values.append(probability)
        variances.append(np.diag(covariance))
    if tau is not None:
        width = tau - clock
        stay_covariance, joint, stay = _pass_time(width, covariance, joint, stay_covariance, stay + width * probability)
    return Path(time, np.array(values), np.array(variances), stay, np.diag(stay_covariance))


def _pass_time(
    width: float, covariance: Floats, joint: Floats, stay_covariance: Floats, stay: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the covariance of the time spent, its covariance with the probabilities, and the time, ``width`` later."""
    grown = stay_covariance + width * (joint + joint.T) + width**2 * covariance
    return grown, joint + width * covariance, stay


def _drawn(probability: Floats, hazard: Floats, at_risk: Ints) -> Floats:
    """Return the covariance, (S, S), that the draw of this moment's transitions adds: multinomial in each state."""
    total: Floats = np.zeros_like(hazard)
    for state in np.flatnonzero(hazard.sum(axis=1) > 0):
        share = hazard[state].copy()
        share[state] = 1 - share.sum()
        total += probability[state] ** 2 / at_risk[state] * (np.diag(share) - np.outer(share, share))
    return total
