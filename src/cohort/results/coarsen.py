"""Curves that may leave: few points, each standing for enough events and enough censorings.

Between two released points every count (events of each cause, censorings, late entries) is 0 or at least the
minimum, and so is what remains after the last one. Curves that can be subtracted from each other share their points.
The commonest outcome of the first analysis may have points in between, where only its own events and all who left
otherwise are told apart; there its censorings go unprinted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.results.estimates import ALL
from cohort.results.history import Curve, compatible

CURVE_KEY = ("analysis", "estimand", "outcome", "group")
Counts = npt.NDArray[np.int64]


def coarsen(
    rows: pl.DataFrame, minimum: int, days: int, before: Mapping[str, Sequence[Curve]] = MappingProxyType({})
) -> pl.DataFrame:
    """Return the curves at the points that may be shown.

    Parameters
    ----------
    rows
        Curve rows of `Estimates` with numbers, of all curves that may be released.
    minimum
        Smallest count of persons that may be shown.
    days
        Points fall on multiples of so many days, so that no point is the date of an event.
    before
        What earlier releases showed of a curve, by `curve_name`.
    """
    kept = [rows.clear()]
    for family in _families([_Drawn.of(part) for part in rows.partition_by(CURVE_KEY, maintain_order=True)]):
        changes = _changes(family, before)
        joint = _thinned(released_points(*_steps(family, apart=True), minimum, days), [], changes, minimum)
        outcomes = _alike(family, ("outcome",))
        leading = _leading(outcomes)
        for curves in outcomes:
            finer = joint
            if curves is leading:
                points = released_points(*_steps(curves, apart=False), minimum, days, joint)
                finer = _thinned(points, joint, changes, minimum)
            kept += [_at_points(curve, finer, censored=finer == joint) for curve in curves]
    return pl.concat(kept)


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One curve: its rows in the order of time, and of each day who is at risk, has the event, is censored, leaves.

    ``left`` leave without the event, ``other`` are those of them who are not censored.
    """

    rows: pl.DataFrame
    analysis: int
    estimand: str
    outcome: str
    group: str
    time: Counts
    at_risk: Counts
    events: Counts
    censored: Counts

    @classmethod
    def of(cls, rows: pl.DataFrame) -> _Drawn:
        """Return the curve of some rows that belong together."""
        numbers = (rows[name].to_numpy() for name in ("time", "n", "events", "censored"))
        return cls(rows, *(rows[name][0] for name in CURVE_KEY), *numbers)

    @property
    def whole(self) -> bool:
        """Whether it is of all persons together."""
        return self.group == ALL

    @property
    def left(self) -> Counts:
        """Return who leaves without the event."""
        after: Counts = np.append(self.at_risk[1:], 0)
        return self.at_risk - self.events - after

    @property
    def other(self) -> Counts:
        """Return who leaves by another cause."""
        return self.left - self.censored


def _leading(outcomes: Sequence[list[_Drawn]]) -> list[_Drawn]:
    """Return the curves that may have finer points: the commonest outcome of what is asked first.

    A composite is commoner than its parts, but two outcomes with fine points would give away a rare third.
    """
    first = min(curve.analysis for curves in outcomes for curve in curves)

    def asked(curves: list[_Drawn]) -> tuple[int, str]:
        return sum(int(curve.events.sum()) for curve in curves if curve.analysis == first), curves[0].outcome

    return max((curves for curves in outcomes if any(curve.analysis == first for curve in curves)), key=asked)


def curve_name(curve: pl.DataFrame) -> str:
    """Return what a curve is called in every release of a study."""
    return "|".join("" if part is None else str(part) for part in (curve[name][0] for name in CURVE_KEY))


def exact_days(curve: pl.DataFrame) -> Curve:
    """Return day, persons at risk, events and censorings of one curve, for the history."""
    return tuple(sorted(zip(*(curve[name] for name in ("time", "n", "events", "censored")), strict=True)))


def released_points(
    happened: Counts, at_risk: Counts, minimum: int, days: int, joint: list[int] | None = None
) -> list[int]:
    """Choose days such that between any two, and after the last, every count is 0 or at least ``minimum``.

    Parameters
    ----------
    happened, at_risk
        Int64 of shape (last day + 1, counts) and (last day + 1, curves): what happened on each day, and the fewest
        persons who were at risk on any day so far or are so at its end.
    minimum, days
        As in `coarsen`.
    joint
        Days that are points already, for which all this holds; the others go between them.
    """
    so_far = np.vstack([np.zeros((1, happened.shape[1]), np.int64), happened.cumsum(axis=0)])
    may_end = _allowed(at_risk, minimum)
    points: list[int] = []
    for start, end in itertools.pairwise([-1, *(joint or []), len(happened) - 1]):
        grid = range((start // days + 1) * days, end + 1, days)
        news = {
            day for before, day in itertools.pairwise([start, *grid]) if (so_far[day + 1] != so_far[before + 1]).any()
        }
        inner = [day for day in grid if day in news and may_end[day]]
        if inner:
            points += _longest_path(so_far[[day + 1 for day in (start, *inner, end)]], inner, minimum)
        points += [end] if end in (joint or []) else []
    return sorted(set(points))


def _longest_path(so_far: Counts, days: list[int], minimum: int) -> list[int]:
    """Return as many of the days as can be points, reaching as far as possible first.

    ``so_far`` holds the running counts at the start, on each of the days, and at the end, which is no point.
    """
    best, back = [0], [0]
    for number in range(1, len(days) + 1):
        change = so_far[number] - so_far[:number]
        reachable = _allowed(change, minimum) & change.any(axis=1) & (np.array(best) >= 0)
        steps = np.where(reachable, best, -1)
        back.append(int(steps.argmax()))
        best.append(int(steps.max()) + 1 if reachable.any() else -1)
    rest = _allowed(so_far[-1] - so_far[:-1], minimum) & (np.array(best) >= 0)
    at = int(np.flatnonzero(rest)[-1]) if rest.any() else 0
    path = []
    while at > 0:
        path.append(days[at - 1])
        at = back[at]
    return path[::-1]


def _allowed(counts: Counts, minimum: int) -> npt.NDArray[np.bool_]:
    """Return, row by row, whether every count is 0 or at least ``minimum`` either way."""
    sizes = np.abs(counts)
    allowed: npt.NDArray[np.bool_] = ((sizes == 0) | (sizes >= minimum)).all(axis=-1)
    return allowed


def _families(curves: list[_Drawn]) -> list[list[_Drawn]]:
    """Return the curves in sets that share their points.

    Groups of one partition cannot be subtracted from each other; a curve of all persons, or a second partition, can
    be subtracted from their sum.
    """
    partitions = {frozenset(curve.group for curve in of_one) for of_one in _alike(curves, ("analysis",))}
    if len(partitions) == 1 and not any(curve.whole for curve in curves):
        return _alike(curves, ("group",))
    return [curves] if curves else []


def _steps(family: list[_Drawn], *, apart: bool) -> tuple[Counts, Counts]:
    """Return, day by count, what happened on each day and who is at risk at its end.

    ``apart`` tells censorings from other causes; otherwise both are persons who left without the event.
    """
    last, happened = _last_day(family), {}
    for curve in family:
        others = (curve.censored, curve.other) if apart else (curve.left,)
        happened[curve] = [_by_day(curve.time, counts, last) for counts in (curve.events, *others)]
    columns = [*itertools.chain(*happened.values()), *_differences(happened)]
    return np.column_stack(columns), np.column_stack([_fewest_at_risk(curve, last) for curve in family])


def _last_day(family: list[_Drawn]) -> int:
    return max(int(curve.time.max()) for curve in family)


def _by_day(time: Counts, amounts: Counts, last: int) -> Counts:
    counts = np.zeros(last + 1, np.int64)
    np.add.at(counts, np.minimum(time, last), amounts)  # an older curve may be longer
    return counts


def _fewest_at_risk(curve: _Drawn, last: int) -> Counts:
    """Return, by day, the fewest persons at risk so far or left at its end; all leaving at once is not few.

    A curve is cut where few remain: its last steps stand for single persons, even where nobody is left after them.
    """
    starts = np.append(curve.time, [last + 1])
    sizes = np.append(curve.at_risk, [0])
    after = sizes[np.minimum(np.searchsorted(starts, np.arange(1, last + 2)), len(sizes) - 1)]
    before = np.full(last + 1, np.iinfo(np.int64).max)
    before[curve.time] = curve.at_risk
    fewest = np.minimum.accumulate(before)
    return np.where(after == 0, fewest, np.minimum(after, fewest))


def _differences(happened: Mapping[_Drawn, list[Counts]]) -> list[Counts]:
    """Return counts that a reader gets by subtracting curves, of each of which there are events and leavers by day.

    The same persons counted twice (censorings that one curve takes as deaths), and one partition's sum less
    another's, which leaves the groups that are withheld.
    """
    found = []
    for number, same in enumerate((("group", "outcome"), ("group",))):
        for alike in _alike(happened, same):
            found += _against_first([happened[curve][number] for curve in alike])
    for curves in _alike(happened, ("outcome",)):
        partitions = _alike(curves, ("analysis", "estimand", "whole"))
        for number in (0, 1):
            sums = [np.sum([happened[curve][number] for curve in part], axis=0) for part in partitions]
            found += _against_first(sums)
    return found


def _alike(curves: Iterable[_Drawn], names: tuple[str, ...]) -> list[list[_Drawn]]:
    """Return the curves with the same values in sets, in the order in which these come up."""
    found: dict[tuple[Any, ...], list[_Drawn]] = {}
    for curve in curves:
        found.setdefault(tuple(getattr(curve, name) for name in names), []).append(curve)
    return list(found.values())


def _changes(family: list[_Drawn], before: Mapping[str, Sequence[Curve]]) -> Counts | None:
    """Return what differs between each curve and what earlier releases showed of it, summed from the start.

    Row 0 is the start, row d + 1 the end of day d; the differences may go up and down. None without earlier releases.
    """
    last = _last_day(family)
    columns = []
    for curve in family if before else ():
        now = _leavers(curve.time, curve.at_risk, curve.events, curve.censored)
        for days in before.get(curve_name(curve.rows), ()):
            then = _leavers(*np.array(days, dtype=np.int64).reshape(-1, 4).T)
            columns += [_by_day(*one, last) - _by_day(*other, last) for one, other in zip(now, then, strict=True)]
    if not columns:
        return None
    return np.vstack([np.zeros((1, len(columns)), np.int64), np.column_stack(columns).cumsum(axis=0)])


def _leavers(time: Counts, at_risk: Counts, events: Counts, censored: Counts) -> list[tuple[Counts, Counts]]:
    """Return the days of one curve with its events, its censorings, and all who left, the event or not."""
    return [(time, events), (time, censored), (time, at_risk - np.append(at_risk[1:], 0))]


def _thinned(points: list[int], fixed: list[int], changes: Counts | None, minimum: int) -> list[int]:
    """Return the points between any two of which no change is small; whatever is fixed stays."""
    if changes is None:
        return points
    rows = [0, *(day + 1 for day in points), len(changes) - 1]
    held = [number for number, row in enumerate(rows) if row - 1 in {-1, *fixed} or number == len(rows) - 1]
    return [rows[number] - 1 for number in compatible(changes[rows], held, minimum)[1:-1]]


def _against_first(counts: list[Counts]) -> list[Counts]:
    return [counts[0] - other for other in counts[1:]]


def _at_points(curve: _Drawn, points: list[int], *, censored: bool) -> pl.DataFrame:
    """Return one curve at the points: the estimate of the last day up to each, the counts since the point before."""
    point = np.searchsorted(points, curve.time)
    point = point[: np.searchsorted(point, len(points))]  # nothing after the last point
    if not point.size:
        return curve.rows.clear()
    first = np.flatnonzero(np.diff(point, prepend=-1))
    days, last = np.array(points, dtype=np.int64)[point[first]], np.append(first[1:], point.size) - 1
    events, gone = (np.add.reduceat(counts[: point.size], first) for counts in (curve.events, curve.censored))
    counted = {
        "time": pl.Series("time", days),
        "n": curve.rows["n"][first],
        "events": pl.Series("events", events),
        "censored": pl.Series("censored", gone if censored else [None] * first.size, dtype=pl.Int64),
        "person_days": curve.rows["person_days"][first],
    }
    return pl.DataFrame([counted[name] if name in counted else curve.rows[name][last] for name in curve.rows.columns])
