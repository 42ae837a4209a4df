"""Curves that may leave: few points, each standing for enough events and enough censorings.

Between two released points every count (events of each cause, censorings, late entries) is 0 or at least the
minimum, and so is what remains after the last one. Curves that can be subtracted from each other share their points.
The commonest outcome of the first analysis may have points in between, where only its own events and all who left
otherwise are told apart; there its censorings go unprinted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.results.history import Curve, compatible

_DAYS = {"time": pl.Int64, "n": pl.Int64, "events": pl.Int64, "censored": pl.Int64}
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
    for family in _families(rows):
        changes = _changes(family, before)
        joint = _thinned(released_points(*_steps(family, apart=True), minimum, days), [], changes, minimum)
        leading = _leading(family)
        for part in family.partition_by("outcome", maintain_order=True):
            finer = joint
            if part["outcome"][0] == leading:
                points = released_points(*_steps(part, apart=False), minimum, days, joint)
                finer = _thinned(points, joint, changes, minimum)
            curves = part.partition_by(CURVE_KEY, maintain_order=True)
            kept += [_at_points(curve, finer, censored=finer == joint) for curve in curves]
    return pl.concat(kept)


def _leading(family: pl.DataFrame) -> str:
    """Return the outcome that may have finer points: the commonest of the first analysis, which is what is asked.

    A composite is commoner than its parts, but two outcomes with fine points would give away a rare third.
    """
    first = family.filter(pl.col("analysis") == pl.col("analysis").min())
    commonest: str = first.group_by("outcome").agg(pl.col("events").sum()).sort("events", "outcome")["outcome"][-1]
    return commonest


def curve_name(curve: pl.DataFrame) -> str:
    """Return what a curve is called in every release of a study."""
    return "|".join("" if part is None else str(part) for part in curve.select(CURVE_KEY).row(0))


def exact_days(curve: pl.DataFrame) -> Curve:
    """Return day, persons at risk, events and censorings of one curve, for the history."""
    return tuple(curve.select("time", "n", "events", "censored").sort("time").iter_rows())


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
    for start, end in pairwise([-1, *(joint or []), len(happened) - 1]):
        grid = range((start // days + 1) * days, end + 1, days)
        news = {day for before, day in pairwise([start, *grid]) if (so_far[day + 1] != so_far[before + 1]).any()}
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


def _families(rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Return the curves in sets that share their points.

    Groups of one partition cannot be subtracted from each other; a curve of all persons, or a second partition, can
    be subtracted from their sum.
    """
    partitions = rows.group_by("analysis").agg(pl.col("group").unique().sort()).select("group").unique()
    if partitions.height == 1 and "all" not in partitions["group"][0].to_list():
        return rows.partition_by("group", maintain_order=True)
    return [rows] if rows.height else []


def _steps(family: pl.DataFrame, *, apart: bool) -> tuple[Counts, Counts]:
    """Return, day by count, what happened on each day and who is at risk at its end.

    ``apart`` tells censorings from other causes; otherwise both are persons who left without the event.
    """
    last = int(family.select(pl.col("time").max()).item())
    columns = ("events", "censored", "other") if apart else ("events", "left")
    counted = family.with_columns(
        after=pl.col("n").shift(-1, fill_value=0).over(CURVE_KEY, order_by="time")
    ).with_columns(left=pl.col("n") - pl.col("events") - pl.col("after"))
    whole = counted.with_columns(other=pl.col("left") - pl.col("censored"), whole=pl.col("group") == "all")
    curves = whole.partition_by(CURVE_KEY, maintain_order=True)
    counts = {column: [_by_day(curve, column, last) for curve in curves] for column in columns}
    happened = [counts[column][number] for number in range(len(curves)) for column in columns]
    keys = [curve.select(*CURVE_KEY, "whole").row(0, named=True) for curve in curves]
    happened += _differences(keys, *(counts[column] for column in columns[:2]))
    return np.column_stack(happened), np.column_stack([_fewest_at_risk(curve, last) for curve in curves])


def _by_day(curve: pl.DataFrame, column: str, last: int) -> Counts:
    counts = np.zeros(last + 1, np.int64)
    np.add.at(
        counts, np.minimum(curve["time"].to_numpy(), last), curve[column].to_numpy()
    )  # an older one may be longer
    return counts


def _fewest_at_risk(curve: pl.DataFrame, last: int) -> Counts:
    """Return, by day, the fewest persons at risk so far or left at its end; all leaving at once is not few.

    A curve is cut where few remain: its last steps stand for single persons, even where nobody is left after them.
    """
    starts = np.append(curve["time"].to_numpy(), [last + 1])
    sizes = np.append(curve["n"].to_numpy(), [0])
    after = sizes[np.minimum(np.searchsorted(starts, np.arange(1, last + 2)), len(sizes) - 1)]
    before = np.full(last + 1, np.iinfo(np.int64).max)
    before[curve["time"].to_numpy()] = curve["n"].to_numpy()
    fewest = np.minimum.accumulate(before)
    return np.where(after == 0, fewest, np.minimum(after, fewest))


def _differences(keys: list[dict[str, Any]], events: list[Counts], leaving: list[Counts]) -> list[Counts]:
    """Return counts that a reader gets by subtracting curves, each of which has a key and its counts by day.

    The same persons counted twice (censorings that one curve takes as deaths), and one partition's sum less
    another's, which leaves the groups that are withheld.
    """
    found, everything = [], range(len(keys))
    for counts, same in ((events, ("group", "outcome")), (leaving, ("group",))):
        for alike in _alike(keys, everything, same):
            found += _against_first([counts[number] for number in alike])
    for curves in _alike(keys, everything, ("outcome",)):
        partitions = _alike(keys, curves, ("analysis", "estimand", "whole"))
        for counts in (events, leaving):
            found += _against_first([np.sum([counts[number] for number in part], axis=0) for part in partitions])
    return found


def _alike(keys: list[dict[str, Any]], numbers: Iterable[int], names: tuple[str, ...]) -> list[list[int]]:
    """Return the numbers of keys with the same values, in the order in which these come up."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for number in numbers:
        found.setdefault(tuple(keys[number][name] for name in names), []).append(number)
    return list(found.values())


def _changes(family: pl.DataFrame, before: Mapping[str, Sequence[Curve]]) -> Counts | None:
    """Return what differs between each curve and what earlier releases showed of it, summed from the start.

    Row 0 is the start, row d + 1 the end of day d; the differences may go up and down. None without earlier releases.
    """
    last = int(family.select(pl.col("time").max()).item())
    columns = []
    for curve in family.partition_by(CURVE_KEY, maintain_order=True):
        now = _with_leavers(curve)
        for days in before.get(curve_name(curve), ()):
            then = _with_leavers(pl.DataFrame(days, schema=_DAYS, orient="row"))
            columns += [_by_day(now, name, last) - _by_day(then, name, last) for name in ("events", "censored", "left")]
    if not columns:
        return None
    return np.vstack([np.zeros((1, len(columns)), np.int64), np.column_stack(columns).cumsum(axis=0)])


def _with_leavers(curve: pl.DataFrame) -> pl.DataFrame:
    """Return days of one curve with those who left at each: what is at risk before it less what is before the next."""
    after = pl.col("n").shift(-1, fill_value=0)
    return curve.sort("time").with_columns(left=pl.col("n") - after)


def _thinned(points: list[int], fixed: list[int], changes: Counts | None, minimum: int) -> list[int]:
    """Return the points between any two of which no change is small; whatever is fixed stays."""
    if changes is None:
        return points
    rows = [0, *(day + 1 for day in points), len(changes) - 1]
    held = [number for number, row in enumerate(rows) if row - 1 in {-1, *fixed} or number == len(rows) - 1]
    return [rows[number] - 1 for number in compatible(changes[rows], held, minimum)[1:-1]]


def _against_first(counts: list[Counts]) -> list[Counts]:
    return [counts[0] - other for other in counts[1:]]


def _at_points(curve: pl.DataFrame, points: list[int], *, censored: bool) -> pl.DataFrame:
    """Return one curve at the points: the estimate of the last day up to each, the counts since the point before."""
    point = pl.Series("point", np.searchsorted(points, curve["time"].to_numpy()), dtype=pl.Int64)
    kept = curve.with_columns(point).filter(pl.col("point") < len(points))
    last = pl.col("value", "std_error", "lower", "upper", "level", "unit", "method", "status").last()
    counts = (pl.col("n").first(), pl.col("events").sum(), pl.col("censored").sum(), pl.col("person_days").first())
    joined = kept.group_by("point", *CURVE_KEY, "term", "category", maintain_order=True).agg(last, *counts)
    days = pl.Series("time", points, dtype=pl.Int64).gather(joined["point"])
    shown = joined.with_columns(days, pl.col("censored") if censored else pl.lit(None, pl.Int64).alias("censored"))
    return shown.select(curve.columns)
