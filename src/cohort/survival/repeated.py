"""Robust variances where a person's rows overlap: each of several entries counts its time from its own start.

A person's influence is the sum over his or her rows, all of which may be at risk on one day since entry. It is written
out for every row and exit time, some persons at a time, so the work grows with rows times exit times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats, Ints

_AT_A_TIME = 1 << 22
"""Cells of rows and exit times that are written out at once: 32 MB a copy."""


def place(risk: RiskTable, time: Any) -> Ints:
    """Return the positions of the last exit times at or before ``time``, near ties being one time."""
    found: Ints = np.searchsorted(risk.time, time, side="right") - 1
    return found


@dataclass(frozen=True, slots=True)
class PlacedRows:
    """Spells as positions in ``size`` exit times: (N,) each, sorted by person and start."""

    person: Ints
    entry: Ints
    exit: Ints
    weight: Floats
    any_event: Floats
    event: Floats
    size: int

    @classmethod
    def of(cls, risk: RiskTable, spells: pl.DataFrame, code: int = 1) -> PlacedRows:
        """Place spells among the exit times of their group; ``code`` is the event of interest."""
        exit_, entry = place(risk, spells["stop"].to_numpy()), place(risk, spells["start"].to_numpy()) + 1
        code_of = spells["event"].to_numpy()
        any_event, event = (code_of != 0).astype(np.float64), (code_of == code).astype(np.float64)
        persons, weight = spells["id"].rle_id().to_numpy(), spells["weight"].to_numpy()
        return cls(persons, entry, exit_, weight, any_event, event, len(risk.time))

    def leaving(self, values: Floats) -> Floats:
        """Return the sums of ``values`` (N,) over the spells that end at each time, (T,)."""
        return np.bincount(self.exit, values, self.size).astype(np.float64)

    def at_risk(self, values: Floats) -> Floats:
        """Return the sums of ``values`` (N,) over the spells at risk at each time, (T,)."""
        out = self.leaving(values)
        entered = np.bincount(self.entry, values, self.size + 1)[: self.size]
        return np.cumsum(entered) - np.cumsum(out) + out

    def pieces(self) -> Iterator[tuple[PlacedRows, Ints]]:
        """Yield whole persons, some at a time, and the first row of each."""
        first = np.flatnonzero(np.diff(self.person, prepend=-1))
        most = max(_AT_A_TIME // max(self.size, 1), 1)
        while first.size:
            last = max(int(np.searchsorted(first, first[0] + most)), 1)
            stop = first[last] if last < first.size else self.person.size
            cut = slice(int(first[0]), int(stop))
            piece = replace(
                self,
                person=self.person[cut],
                entry=self.entry[cut],
                exit=self.exit[cut],
                weight=self.weight[cut],
                any_event=self.any_event[cut],
                event=self.event[cut],
            )
            yield piece, first[:last] - first[0]
            first = first[last:]

    def on_hazard(self, drift: Floats, jump: Floats) -> Floats:
        """Return each row's influence on a sum over time of hazard increments, (N, T)."""
        total = np.concatenate([[0.0], np.cumsum(drift)])
        day = np.arange(self.size)
        reached = np.clip(day[None, :] + 1, self.entry[:, None], np.maximum(self.exit + 1, self.entry)[:, None])
        gone = (day[None, :] >= self.exit[:, None]) * (self.any_event * jump[self.exit])[:, None]
        influence: Floats = self.weight[:, None] * (gone - total[reached] + total[self.entry][:, None])
        return influence


def repeated_influence(rows: PlacedRows, drift: Floats, jump: Floats) -> Floats:
    """Return the sum over persons of squared influences, (T,), as `clusters.clustered_influence` does for spells.

    References
    ----------
    Lin DY, Wei LJ (1989), JASA 84:1074–1078, doi:10.1080/01621459.1989.10478874.
    """
    squared = np.zeros(rows.size)
    for piece, first in rows.pieces():
        squared += (np.add.reduceat(piece.on_hazard(drift, jump), first) ** 2).sum(axis=0)
    return squared


def repeated_incidence(
    rows: PlacedRows, on_log: tuple[Floats, Floats], on_own: tuple[Floats, Floats, Floats]
) -> Floats:
    """Return the sum over persons of squared influences on a cumulative incidence, (T,).

    Parameters
    ----------
    on_log
        Drift and jump, (T,) each, of the influence on the log of the event-free probability.
    on_own
        Step of the incidence, and what being at risk takes from it and an event adds to it, (T,) each.
    """
    (drift, jump), (step, dilution, gain) = on_log, on_own
    squared, day = np.zeros(rows.size), np.arange(rows.size)
    for piece, first in rows.pieces():
        before = np.roll(-piece.on_hazard(drift, jump), 1, axis=1)  # on log S just before each time
        before[:, 0] = 0.0
        at_risk = (day[None, :] >= piece.entry[:, None]) & (day[None, :] <= piece.exit[:, None])
        happens = (day[None, :] == piece.exit[:, None]) * piece.event[:, None]
        own = piece.weight[:, None] * (gain * happens - dilution * at_risk)
        influence = np.cumsum(np.add.reduceat(before * step + own, first), axis=1)
        squared += (influence**2).sum(axis=0)
    return squared
