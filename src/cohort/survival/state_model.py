"""Multistate models: occupation and transition probabilities, expected length of stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.counts import DayCounts
from cohort.survival.intervals import normal_quantile, probability_limits
from cohort.survival.observations import By
from cohort.survival.transitions import Path, Transitions, count_transitions, propagate, transitions
from cohort.survival.types import Floats


@dataclass(frozen=True, slots=True)
class MultiState:
    """A multistate model of one or more groups; its methods give tidy tables, states in the order of ``states``."""

    states: tuple[str, ...]
    groups: tuple[Transitions, ...]
    conf_type: str
    level: float

    def to_polars(self) -> pl.DataFrame:
        """Return the occupation probabilities from day 0 at every time of a transition."""
        return self.occupation()

    def occupation(
        self, times: Sequence[float] | None = None, *, start: float = 0, initial: Mapping[str, float] | None = None
    ) -> pl.DataFrame:
        """Return the probability of being in each state over time.

        ``initial`` are the shares of the states at ``start``: by default those of the persons under observation then,
        taken as known. Columns ``group, state, time, n_risk, estimate, std_error, lower, upper``.
        """
        paths = [propagate(group, self._shares(group, initial, start), start) for group in self.groups]
        tables = [self._tidy(group, path, times) for group, path in zip(self.groups, paths, strict=True)]
        return _stack(tables)

    def transition_probabilities(self, start: float = 0, times: Sequence[float] | None = None) -> pl.DataFrame:
        """Return the probability of each state over time, given each state at ``start``.

        Columns ``group, from_state, state, time, n_risk, estimate, std_error, lower, upper``.
        """
        tables = []
        for group in self.groups:
            for origin, sure in zip(self.states, np.eye(len(self.states)), strict=True):
                tidy = self._tidy(group, propagate(group, sure, start), times)
                tables.append(tidy.select("group", pl.lit(origin).alias("from_state"), *tidy.columns[1:]))
        return _stack(tables)

    def length_of_stay(
        self, tau: float, *, start: float = 0, initial: Mapping[str, float] | None = None
    ) -> pl.DataFrame:
        """Return the expected time in each state from ``start`` to ``tau``; over the states it adds up to the whole.

        Columns ``group, state, estimate, std_error, lower, upper``; missing where a group is not followed to ``tau``.

        References
        ----------
        Beyersmann J, Allignol A, Schumacher M (2012), Competing Risks and Multistate Models with R, section 9,
        doi:10.1007/978-1-4614-2035-4.
        """
        if not tau > start:
            raise StudyError(f"tau = {tau}; the horizon lies after start = {start}")
        tables, z = [], normal_quantile(self.level)
        for group in self.groups:
            path = propagate(group, self._shares(group, initial, start), start, tau)
            error = np.sqrt(np.maximum(path.stay_variance, 0.0))
            stay = path.stay if _is_known(group, path, tau) else np.full(len(self.states), np.nan)
            values = {"estimate": stay, "std_error": error + 0 * stay}
            values |= {"lower": stay - z * error, "upper": stay + z * error}
            tables.append(pl.DataFrame({"group": group.group, "state": list(self.states)} | values).fill_nan(None))
        return _stack(tables)

    def _shares(self, group: Transitions, initial: Mapping[str, float] | None, start: float) -> Floats:
        if initial is not None:
            shares = np.array([float(initial.get(state, 0.0)) for state in self.states])
            if set(initial) - set(self.states) or not np.isclose(shares.sum(), 1) or (shares < 0).any():
                raise StudyError(f"initial gives shares that add up to 1 over the states {', '.join(self.states)}")
            return shares
        persons = group.persons_in(start)
        if not persons.sum():
            raise NotEstimableError("nobody_under_observation_at_start")
        return persons / float(persons.sum())

    def _tidy(self, group: Transitions, path: Path, times: Sequence[float] | None) -> pl.DataFrame:
        asked = path.time if times is None else np.asarray(times)
        place = np.searchsorted(path.time, asked, side="right")  # 0: no transition yet
        at_risk, tables = group.at_risk(asked), []
        for k, state in enumerate(self.states):
            value, error = path.probability[place, k], np.sqrt(np.maximum(path.variance[place, k], 0.0))
            lower, upper = probability_limits(value, error, self.conf_type, self.level)
            numbers = {"estimate": value, "std_error": error, "lower": lower, "upper": upper}
            columns = {"group": group.group, "state": state, "time": asked, "n_risk": at_risk[k]} | numbers
            tables.append(pl.DataFrame(columns).with_columns(pl.col(list(numbers)).fill_nan(None)))
        return _stack(tables)


def _is_known(group: Transitions, path: Path, tau: float) -> bool:
    """Return whether the group is followed to ``tau``, or everybody has come to a state that nobody leaves."""
    may_move = group.n_risk.any(axis=1)
    return bool(group.time[-1] >= tau or path.probability[-1][may_move].sum() == 0)


def multistate(
    frame: Any,
    id: str,
    start: str,
    stop: str,
    from_state: str,
    to_state: str,
    by: By = None,
    states: Sequence[str] | None = None,
    conf_type: str = "log",
    level: float = 0.95,
) -> MultiState:
    """Fit a multistate model to spells; parameters are those of ``count_transitions`` and ``multistate_from``."""
    counts, found = count_transitions(frame, id, start, stop, from_state, to_state, by, states)
    return multistate_from(counts, found, conf_type, level)


def multistate_from(
    counts: DayCounts, states: Sequence[str], conf_type: str = "log", level: float = 0.95
) -> MultiState:
    """Fit a multistate model to counts of transitions, without any assumption but the Markov property.

    Parameters
    ----------
    counts, states
        As ``count_transitions`` returns them, summed over buckets.
    conf_type
        Scale of the limits: ``plain, log, log-log, logit`` or ``arcsin``.

    References
    ----------
    Aalen OO, Johansen S (1978), Scand J Stat 5:141–150. Datta S, Satten GA (2001), Stat Probab Lett 55:403–411,
    doi:10.1016/S0167-7152(01)00155-9, for the occupation probabilities where the Markov property fails.
    """
    normal_quantile(level)
    return MultiState(tuple(states), tuple(transitions(counts, states)), conf_type, level)


def _stack(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(tables) if tables else pl.DataFrame()
