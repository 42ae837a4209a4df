"""Who is at risk when: every row's entry and exit as positions among the event times of its stratum.

A *cell* is one event time of one stratum. A row is at risk in the cells after its entry up to its exit, ``(entry,
exit]``; only those cells enter a partial likelihood, so the rest of the computation never sees a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, NotEstimableError

Floats = NDArray[np.float64]

_TABLE = 1 << 24  # (stratum, day) pairs up to which a lookup table is cheaper than a search


@dataclass(frozen=True, slots=True)
class RiskSets:
    """Cells, sorted by stratum and time, and the rows' places in them.

    By cell, shape (K,): ``time``, ``stratum``, ``head`` (the first of its stratum), ``deaths`` (number of events) and
    ``weight`` (their total weight). By row, int32, shape (n,): ``slot``, the last cell at risk, plus K + 1 for rows
    with an event, K for never at risk; ``start``, the last cell before entry, K for none, of length 0 without entry.
    """

    time: Floats
    stratum: NDArray[np.int64]
    head: NDArray[np.bool_]
    deaths: NDArray[np.int64]
    weight: Floats
    slot: NDArray[np.int32]
    start: NDArray[np.int32]

    @property
    def event(self) -> NDArray[np.bool_]:
        """Return which rows have an event, shape (n,)."""
        return self.slot > self.time.size

    @property
    def stop(self) -> NDArray[np.int32]:
        """Return each row's last cell at risk, K for none, shape (n,)."""
        return self.slot - self.event * np.int32(self.time.size + 1)


def check_follow_up(time: NDArray[np.generic], event: NDArray[np.generic], entry: NDArray[np.generic] | None) -> None:
    """Refuse times, entries and event codes that have no meaning, by count and never by value.

    Raises
    ------
    InputRefusedError
        For a non-finite or negative exit, an event other than 0/1, an entry after the exit, or an event on the day
        of entry (risk sets are ``(entry, exit]``).
    """
    if not np.isin(event, (0, 1)).all():
        raise InputRefusedError(f"the event is neither 0 nor 1 in {int((~np.isin(event, (0, 1))).sum())} rows")
    faults = {"the time is not a finite number": ~np.isfinite(time)}
    if entry is None:
        faults["the time is negative"] = time < 0  # type: ignore[operator]  # numeric by the caller's check
    else:
        faults["the entry is not a finite number"] = ~np.isfinite(entry)
        faults["the entry is after the exit"] = entry > time  # type: ignore[operator]  # numeric, as above
        faults["an event falls on the day of entry, where its own row is not yet at risk"] = (entry == time) & (
            event == 1
        )
    for fault, where in faults.items():
        if where.any():
            raise InputRefusedError(f"{fault} in {int(where.sum())} rows")


def risk_sets(
    time: NDArray[np.generic],
    event: NDArray[np.bool_],
    entry: NDArray[np.generic] | None = None,
    stratum: NDArray[np.int64] | None = None,
    weight: Floats | None = None,
) -> RiskSets:
    """Place rows in the cells of their stratum; times are days (integers) or numbers with near ties merged.

    ``time`` and ``entry`` are integer or float, ``event`` Boolean, ``stratum`` codes 0 … S - 1, ``weight`` positive;
    all of shape (n,).

    Raises
    ------
    InputRefusedError
        If only rounding lies between the entry of a row and its event.
    NotEstimableError
        If there is no event.
    """
    if not event.any():
        raise NotEstimableError("no_events")
    values, exits, entries = clock(time, entry)
    if entries is not None and (empty := int((event & (entries >= exits)).sum())):
        raise InputRefusedError(f"only rounding lies between entry and event in {empty} rows; mend or drop them")
    code = exits if stratum is None else stratum * values.size + exits
    cells, deaths = _distinct(code[event])
    stop = _last_cell(cells, code, values.size)
    start = np.empty(0, dtype=np.int32)
    if entries is not None:
        start = _last_cell(cells, entries if stratum is None else stratum * values.size + entries, values.size)
        never = start == stop
        stop[never] = start[never] = cells.size
    mass: Floats = deaths.astype(np.float64)
    if weight is not None:
        mass = np.bincount(stop[event], weights=weight[event], minlength=cells.size).astype(np.float64)
    group = cells // values.size
    head = np.ones(cells.size, dtype=bool)
    head[1:] = group[1:] != group[:-1]
    slot = stop + event * np.int32(cells.size + 1)
    return RiskSets(values[cells % values.size], group, head, deaths, mass, slot, start)


def place_in_cells(
    cells: RiskSets,
    time: NDArray[np.generic],
    event: NDArray[np.bool_],
    entry: NDArray[np.generic] | None,
    stratum: NDArray[np.int64] | None = None,
) -> RiskSets:
    """Return cells known from all rows, in whole days, with the places of some of the rows.

    ``stratum`` is as in ``cells``, or -1 for strata without a cell.
    """
    count = cells.time.size
    day = cells.time.astype(np.int64)
    before, width = int(day.min()) - 1, int(day.max()) - int(day.min()) + 2
    codes = cells.stratum * width + day - before

    def last_cell(when: NDArray[np.generic]) -> NDArray[np.int32]:
        own = np.clip(when.astype(np.int64), before, before + width - 1) - before
        if stratum is None:
            return _last_cell(codes, own, width)
        place = _last_cell(codes, np.maximum(stratum, 0) * width + own, width)
        place[stratum < 0] = count
        return place

    stop = last_cell(time)
    start = np.empty(0, dtype=np.int32)
    if entry is not None:
        start = last_cell(entry)
        never = start == stop
        stop[never] = start[never] = count
    return replace(cells, slot=stop + event * np.int32(count + 1), start=start)


def check_intervals(
    person: NDArray[np.int64],
    entry: NDArray[np.generic],
    time: NDArray[np.generic],
    stratum: NDArray[np.int64] | None = None,
) -> None:
    """Refuse rows (entry, time] of one person and stratum that overlap by more than rounding; shapes (n,).

    Raises
    ------
    InputRefusedError
        With the number of persons concerned.
    """
    if person.size < 2:
        return
    groups = (person,) if stratum is None else (person, stratum)
    later, again = person[1:] > person[:-1], person[1:] == person[:-1]
    order = np.arange(person.size)
    if stratum is not None or not (later | (again & (entry[1:] >= entry[:-1]))).all():  # type: ignore[operator]  # numeric
        order = np.lexsort((time, entry, *groups[::-1]))
    same = np.ones(order.size - 1, dtype=bool)
    for group in groups:
        same &= group[order[1:]] == group[order[:-1]]
    overlap = same & (time[order[:-1]] - entry[order[1:]] > rounding(time))  # type: ignore[operator]  # numeric, as above
    if overlap.any():
        persons = np.unique(person[order[1:]][overlap]).size
        raise InputRefusedError(f"intervals of one person overlap for {persons} persons; split or drop them")


def rounding(values: NDArray[np.generic]) -> float:
    """Return how far apart times of this size may lie and still be one: 1.5e-8, absolutely or of their mean, or 0."""
    if values.dtype.kind != "f" or not values.size:
        return 0.0
    return float(np.sqrt(np.finfo(np.float64).eps)) * max(1.0, float(np.abs(values).mean()))


def merge_near_ties(values: Floats) -> Floats:
    """Return sorted distinct times with those closer than 1.5e-8 (absolutely, or to their mean) set to the first.

    References
    ----------
    Therneau T (2024), survival package, vignette "Roundoff error and tied times" (``timefix``).
    """
    near = np.diff(values) <= rounding(values)
    if not near.any():
        return values
    first = np.concatenate([[0], np.where(near, 0, np.arange(1, values.size))]).astype(np.int64)
    fixed: Floats = values[np.maximum.accumulate(first)]
    return fixed


def clock(
    time: NDArray[np.generic], entry: NDArray[np.generic] | None
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64] | None]:
    """Return the clock's values and each row's position on it: days by subtraction, other times by rank."""
    days, since = _whole_days(time), None if entry is None else _whole_days(entry)
    if days is not None and (entry is None or since is not None):
        low, high = int(days.min()), int(days.max())
        if since is not None:
            low = min(low, int(since.min()))
        if high - low < _TABLE:
            values = np.arange(low, high + 1, dtype=np.float64)
            return values, days - low, None if since is None else since - low
    parts = [time.astype(np.float64)] + ([] if entry is None else [entry.astype(np.float64)])
    distinct, place = np.unique(np.concatenate(parts), return_inverse=True)
    values, rank = np.unique(merge_near_ties(distinct), return_inverse=True)
    place = rank[place]
    return values, place[: time.size], None if entry is None else place[time.size :]


def _whole_days(values: NDArray[np.generic]) -> NDArray[np.int64] | None:
    """Return times as int64 if all are whole numbers that int64 holds."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64, copy=False)
    if float(np.abs(values).max()) > 2.0**53 or not (np.floor(values) == values).all():
        return None
    return values.astype(np.int64)


def _distinct(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if int(codes.max()) < _TABLE:
        counts = np.bincount(codes)
        cells = np.flatnonzero(counts)
        return cells.astype(np.int64), counts[cells].astype(np.int64)
    cells, counts = np.unique(codes, return_counts=True)
    return cells, counts.astype(np.int64)


def _last_cell(cells: NDArray[np.int64], codes: NDArray[np.int64], width: int) -> NDArray[np.int32]:
    """Return for each (stratum, time) code the last cell of its stratum at or before it, or K."""
    if int(codes.max(initial=0)) < _TABLE:
        present = np.zeros(int(codes.max(initial=0)) + 1, dtype=np.int32)
        present[cells[cells < present.size]] = 1
        lookup = np.cumsum(present, dtype=np.int32) - 1
        lookup[lookup < 0] = cells.size
        inside = lookup < cells.size
        inside[inside] = cells[lookup[inside]] // width == np.flatnonzero(inside) // width
        lookup[~inside] = cells.size
        return lookup[codes].astype(np.int32)
    place = np.searchsorted(cells, codes, side="right") - 1
    outside = (place < 0) | (cells[place] // width != codes // width)
    return np.where(outside, cells.size, place).astype(np.int32)
