"""Risk sets from counts: who is under observation just before each exit time, and who leaves then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival.counts import DayCounts
from cohort.survival.exact import from_limbs
from cohort.survival.types import Floats, Ints, Numbers

TIME_TOLERANCE = float(np.sqrt(np.finfo(np.float64).eps))
"""Times closer than this, absolutely or relative to their mean, are one time (R's ``timefix``)."""


@dataclass(frozen=True, slots=True)
class RiskTable:
    """One group on its distinct exit times; events precede censorings of the same time.

    ``time`` (T,); ``n_risk`` (T,): under observation in (entry, time]; ``n_event`` (K, T) per cause, ``n_any`` (T,) of
    any; ``n_survivors`` (T,): at risk and without event; ``n_censored`` (T,): Int64, or Float64 sums of weights. Of
    the cells behind it, for influence: ``exit`` and ``entry`` (M,) are positions in ``time`` (entry: the number of exit
    times not after it), ``cause`` (M,) is 0 or 1 + the position of the cause, ``squares`` (M,) the sum of squared
    weights.
    """

    group: str
    time: Numbers
    n_risk: Numbers
    n_event: Numbers
    n_any: Numbers
    n_survivors: Numbers
    n_censored: Numbers
    exit: Ints
    entry: Ints
    cause: Ints
    squares: Floats


def risk_tables(counts: DayCounts) -> list[RiskTable]:
    """Return the risk table of every group, in the order of ``counts.groups``.

    Raises
    ------
    NotEstimableError
        If all weights of a group are 0.
    """
    cells = merge_near_ties(counts.cells)
    groups = cells.partition_by("group", as_dict=True, maintain_order=True)
    tables = [_risk_table(name, groups[(name,)], counts) for name in counts.groups]
    empty = sum(not table.n_risk.any() for table in tables)
    if empty:
        raise NotEstimableError(f"weights_add_up_to_0_in_{empty}_groups")
    return tables


def _risk_table(group: str, cells: pl.DataFrame, counts: DayCounts) -> RiskTable:
    time, exit_ = np.unique(cells["time"].to_numpy(), return_inverse=True)
    joined = np.searchsorted(time, cells["entry"].to_numpy(), side="right")  # exit times at or before entry
    codes = np.array([0, *counts.causes])
    cause = np.searchsorted(codes, cells["cause"].to_numpy())
    here = occupancy(cells, exit_, joined, cause, (len(codes), len(time)), weighted=counts.weighted)
    events = (here.leaving[1:], here.events, here.survivors, here.leaving[0])
    squares = squared_weights(cells, weighted=counts.weighted)
    return RiskTable(group, time, here.at_risk, *events, exit_, joined, cause, squares)


class Occupancy(NamedTuple):
    """Who is ``at_risk`` (T,), is ``leaving`` (L, T) by layer, has ``events`` (T,: layers from 1 on) or has none."""

    at_risk: Numbers
    leaving: Numbers
    events: Numbers
    survivors: Numbers


def occupancy(
    cells: pl.DataFrame, exit_: Ints, entry: Ints, layer: Ints, shape: tuple[int, int], *, weighted: bool
) -> Occupancy:
    """Sum cells over T places in time; differences are taken of integers, so that none is left of equal weights.

    ``exit_, entry`` (M,) are the places of the cells' exits and the first places at which they are at risk, ``layer``
    (M,) is what they are counted under (0 = censored), ``shape`` is (L, T).
    """
    layers, places = shape
    sums = []
    for mass in (masses := _masses(cells, "w" if weighted else "n")).values():
        leaving = _scatter(layer * places + exit_, mass, layers * places).reshape(shape)
        out, events = leaving.sum(axis=0), leaving[1:].sum(axis=0)
        at_risk = np.cumsum(_scatter(entry, mass, places + 1)[:places]) - np.cumsum(out) + out
        sums.append(Occupancy(at_risk, leaving, events, at_risk - events))
    if not weighted:
        return sums[0]
    return Occupancy(*(_number(dict(zip(masses, parts, strict=True))) for parts in zip(*sums, strict=True)))


def squared_weights(cells: pl.DataFrame, *, weighted: bool) -> Floats:
    """Return the sum of squared weights of every cell, (M,); without weights its number of rows."""
    return from_limbs(_masses(cells, "v"), len(cells)) if weighted else cells["n"].to_numpy().astype(np.float64)


def _masses(cells: pl.DataFrame, kind: str) -> dict[int, Ints]:
    """Return the columns of a sum by limb: persons have one limb, sums of weights several."""
    if kind == "n":
        return {0: cells["n"].to_numpy()}
    found = {int(name[1:]): cells[name].to_numpy() for name in cells.columns if name[0] == kind and name[1:2] in "+-"}
    return found or {0: np.zeros(len(cells), dtype=np.int64)}  # weights of 0 have no limb at all


def _scatter(place: Ints, mass: Ints, size: int) -> Ints:
    """Return the integer sums of ``mass`` by ``place``, (size,): ``bincount`` would pass through floats."""
    total = np.zeros(size, dtype=np.int64)
    np.add.at(total, place, mass)
    return total


def _number(limbs: dict[int, Ints]) -> Floats:
    shape = next(iter(limbs.values())).shape
    return from_limbs({limb: total.ravel() for limb, total in limbs.items()}, int(np.prod(shape))).reshape(shape)


def merge_near_ties(cells: pl.DataFrame) -> pl.DataFrame:
    """Return the cells with times that differ by rounding only set to the earliest of them.

    References
    ----------
    Therneau T. A package for survival analysis in R: vignette "Roundoff error and tied times" (``timefix``).
    """
    if not cells.schema["time"].is_float() or cells.is_empty():
        return cells
    delayed = cells["entry"].filter(cells["entry"] >= 0)
    distinct = np.unique(np.concatenate([cells["time"].to_numpy(), delayed.to_numpy()]))
    gaps = np.diff(distinct)
    tied = (gaps <= TIME_TOLERANCE) | (gaps / np.mean(np.abs(distinct)) <= TIME_TOLERANCE)
    if not tied.any():
        return cells
    kept = distinct[np.concatenate([[True], ~tied])]

    def snap(name: str) -> pl.Series:
        values = cells[name].to_numpy()
        snapped = kept[np.maximum(np.searchsorted(kept, values, side="right") - 1, 0)]
        return pl.Series(name, np.where(values < 0, values, snapped))

    merged = cells.with_columns(snap("time"), snap("entry"))
    at_entry = (merged["entry"] >= merged["time"]) & (merged["cause"] != 0)
    if empty := int(at_entry.sum()):
        raise InputRefusedError(f"only rounding lies between entry and event in {empty} cells; mend or drop them")
    return merged


def number_at_risk(counts: DayCounts, times: Numbers) -> dict[str, Numbers]:
    """Return per group who is under observation just before each of ``times``: entry < time ≤ exit."""
    found = {}
    for (name,), cells in merge_near_ties(counts.cells).partition_by("group", as_dict=True).items():
        masses = _masses(cells, "w" if counts.weighted else "n")
        entry, exit_ = cells["entry"].to_numpy(), cells["time"].to_numpy()
        joined = {limb: _sum_before(entry, mass, times) for limb, mass in masses.items()}
        at_risk = {limb: joined[limb] - _sum_before(exit_, mass, times) for limb, mass in masses.items()}
        found[str(name)] = from_limbs(at_risk, len(times)) if counts.weighted else at_risk[0]
    return found


def _sum_before(clock: Numbers, mass: Ints, times: Numbers) -> Ints:
    order = np.argsort(clock, kind="stable")
    total = np.concatenate([[0], np.cumsum(mass[order])])
    summed: Ints = total[np.searchsorted(clock[order], times, side="left")]
    return summed
