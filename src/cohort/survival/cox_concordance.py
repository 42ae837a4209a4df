"""Harrell's and Uno's concordance in O(n log n), with its infinitesimal-jackknife variance, as R's ``concordance``.

A pair counts if one row has an event at t and the other is still at risk after it: its exit is later, or at t
without an event, and its entry before t. It is concordant if the row with the event has the higher score.

References
----------
Harrell FE et al. (1982), doi:10.1001/jama.1982.03320430047030; Uno H et al. (2011), doi:10.1002/sim.4154;
Therneau TM, Watson DA (2017), The concordance statistic and the Cox model, Mayo Clinic technical report 85.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.cox_model import Follow
from cohort.survival.cox_risk import clock
from cohort.survival.cox_sums import kernels

Floats = NDArray[np.float64]
TimeWeight = Literal["n", "S", "S/G", "n/G2", "I"]


@dataclass(frozen=True, slots=True)
class Concordance:
    """Probability that of two comparable rows the one with the higher score has its event first.

    ``concordant``, ``discordant``, ``tied_score`` are weighted numbers of pairs; ``influence`` is each row's part of
    the estimate, shape (n,); ``std_error`` is None if the influence was not asked for.
    """

    estimate: float
    std_error: float | None
    concordant: float
    discordant: float
    tied_score: float
    influence: Floats | None


def concordance(
    score: Floats,
    follow: Follow,
    timewt: TimeWeight = "n",
    *,
    until: float | None = None,
    cluster: NDArray[np.int64] | None = None,
    variance: bool = True,
) -> Concordance:
    """Compare a score (higher = earlier event, shape (n,)), such as the linear predictor, with the order of events.

    ``timewt`` weights event times as in R: ``"n"`` (Harrell), ``"S"``, ``"S/G"``, ``"n/G2"`` (Uno) or ``"I"``, with S
    and G the Kaplan–Meier curves of event and censoring just before. ``until`` drops later events; the influence of
    rows of one ``cluster`` (codes, shape (n,)) is summed before it is squared.

    Raises
    ------
    NotEstimableError
        ``no_comparable_pairs``.
    """
    if timewt not in _WEIGHTS:
        raise StudyError(f"timewt must be one of {', '.join(_WEIGHTS)}")
    values, exits, entries = clock(follow.time, follow.entry)
    event = follow.event.astype(bool)
    counted = event if until is None else event & (follow.time <= until)  # type: ignore[operator]  # numeric
    weight = np.ones(event.size) if follow.weight is None else follow.weight
    stratum = np.zeros(event.size, dtype=np.int64) if follow.stratum is None else follow.stratum
    place = _Places(exits, entries, stratum, values.size)
    share = _time_weight(place, event, weight, timewt)
    rank = np.unique(score, return_inverse=True)[1].astype(np.int64)
    as_event = kernels().pair_counts(*_from_the_end(place, event, counted), rank, weight)
    as_event *= share[:, None]
    concordant, discordant, tied = weight @ as_event
    total = concordant + discordant + tied
    if not total > 0:
        raise NotEstimableError("no_comparable_pairs")
    value = (concordant + tied / 2) / total
    if not variance:
        return Concordance(value, None, concordant, discordant, tied, None)
    later = kernels().pair_counts(*_from_the_start(place, event, counted), rank, weight * share)
    lower, upper, same = (as_event + later[:, [1, 0, 2]]).T
    influence = weight * (lower + same / 2 - value * (lower + upper + same)) / total
    summed = influence if cluster is None else np.bincount(np.unique(cluster, return_inverse=True)[1], influence)
    return Concordance(value, float(np.sqrt(summed @ summed)), concordant, discordant, tied, influence)


@dataclass(frozen=True, slots=True)
class _Places:
    """Exit and entry of each row on the clock, its stratum, and the length of the clock."""

    exit: NDArray[np.int64]
    entry: NDArray[np.int64] | None
    stratum: NDArray[np.int64]
    length: int

    def in_order(self, moments: list[_Moment], *, backwards: bool) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return rows and what is done to them, by stratum, time (or from the end) and order of the list."""
        rows = np.concatenate([moment.row for moment in moments])
        change = np.concatenate([np.full(moment.row.size, moment.change, dtype=np.int8) for moment in moments])
        time = np.concatenate([moment.time for moment in moments])
        phase = np.concatenate([np.full(moment.row.size, k) for k, moment in enumerate(moments)])
        time = self.length - time if backwards else time + 1
        key = (self.stratum[rows] * (self.length + 2) + time) * len(moments) + phase
        if int(key.max()) < 1 << 16:
            key = key.astype(np.uint16)  # numpy sorts 16-bit keys by radix
        order = np.argsort(key, kind="stable")
        return rows[order], change[order]


@dataclass(frozen=True, slots=True)
class _Moment:
    """Rows, when each is touched, and how: asked (0, or 2 to be subtracted), added (1) or taken away (-1)."""

    row: NDArray[np.int64]
    time: NDArray[np.int64]
    change: int


def _from_the_end(
    place: _Places, event: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Walk back in time: at each event, who is at risk after it."""
    every, asked = np.arange(event.size), np.flatnonzero(counted)
    censored, failed = np.flatnonzero(~event), np.flatnonzero(event)
    entry = np.full(event.size, -1) if place.entry is None else place.entry
    moments = [
        _Moment(censored, place.exit[censored], 1),
        _Moment(every, entry, -1),
        _Moment(asked, place.exit[asked], 0),
        _Moment(failed, place.exit[failed], 1),
    ]
    return place.in_order(moments, backwards=True)


def _from_the_start(
    place: _Places, event: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Walk on in time: for each row, the events that fell while it was at risk."""
    every, added = np.arange(event.size), np.flatnonzero(counted)
    censored, failed = np.flatnonzero(~event), np.flatnonzero(event)
    moments = [
        _Moment(failed, place.exit[failed], 0),
        _Moment(added, place.exit[added], 1),
        _Moment(censored, place.exit[censored], 0),
        _Moment(added, np.full(added.size, place.length), -1),
    ]
    if place.entry is not None:
        moments.insert(3, _Moment(every, place.entry, 2))
    return place.in_order(moments, backwards=False)


def _time_weight(place: _Places, event: NDArray[np.bool_], weight: Floats, timewt: TimeWeight) -> Floats:
    """Return the weight of each row's exit time, shape (n,), from the curves within its stratum just before it."""
    if timewt == "n":
        return np.ones(event.size)
    width = place.length
    cells, cell = np.unique(place.stratum * width + place.exit, return_inverse=True)
    deaths: Floats = np.bincount(cell, weights=weight * event).astype(np.float64)
    losses: Floats = np.bincount(cell, weights=weight * ~event).astype(np.float64)
    present: Floats = deaths + losses
    head = np.ones(cells.size, dtype=bool)
    head[1:] = cells[1:] // width != cells[:-1] // width
    if place.entry is not None:
        late = np.searchsorted(cells, place.stratum * width + place.entry, side="right") - 1
        inside = (late >= 0) & (cells[late] // width == place.stratum)
        present -= np.bincount(late[inside], weights=weight[inside], minlength=cells.size)
    kernels().reversed_sums(present[None, :], head)
    size = np.bincount(place.stratum, weights=weight).astype(np.float64)[cells // width]
    survival = kernels().products_before(1 - deaths / present, head)
    free = kernels().products_before(1 - losses / np.maximum(present - deaths, np.finfo(np.float64).tiny), head)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_cell: Floats = _WEIGHTS[timewt](survival, free, present, size)
    return np.where(event, by_cell[cell], 0.0)


_WEIGHTS: dict[str, Callable[[Floats, Floats, Floats, Floats], Floats]] = {
    "n": lambda survival, free, present, size: np.ones_like(present),
    "S": lambda survival, free, present, size: size * survival / present,
    "S/G": lambda survival, free, present, size: size * survival / (free * present),
    "n/G2": lambda survival, free, present, size: 1 / free**2,
    "I": lambda survival, free, present, size: 1 / present,
}
