"""Risk sets from counts: who is under observation just before each exit time, and who leaves then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError
from cohort.survival.counts import DayCounts
from cohort.survival.exact import from_limbs
from cohort.survival.types import Floats, Ints, Numbers

TIME_TOLERANCE = float(np.sqrt(np.finfo(np.float64).eps))
"""Times closer than this, absolutely or relative to their mean, are one time (R's ``timefix``)."""


@dataclass(frozen=True, slots=True)
class RiskTable:
    """One group on its distinct exit times; events precede censorings of the same time.

    ``time`` (T,); ``n_risk`` (T,): under observation in (entry, time]; ``n_event`` (K, T) per cause; ``n_censored``
    (T,): Int64, or Float64 sums of weights. Rows of the cells behind it, for influence: ``exit`` and ``entry`` (M,)
    are positions in ``time`` (entry: the number of exit times not after it), ``cause`` (M,) is 0 or 1 + the position
    of the cause, ``squares`` (M,) the sums of squared weights.
    """

    group: str
    time: Numbers
    n_risk: Numbers
    n_event: Numbers
    n_censored: Numbers
    exit: Ints
    entry: Ints
    cause: Ints
    squares: Floats

    @property
    def n_any(self) -> Numbers:
        """Events of any cause, (T,)."""
        total: Numbers = self.n_event.sum(axis=0)
        return total


def risk_tables(counts: DayCounts) -> list[RiskTable]:
    """Return the risk table of every group, in the order of ``counts.groups``."""
    cells = merge_near_ties(counts.cells)
    groups = cells.partition_by("group", as_dict=True, maintain_order=True)
    return [_risk_table(name, groups[(name,)], counts) for name in counts.groups]


def _risk_table(group: str, cells: pl.DataFrame, counts: DayCounts) -> RiskTable:
    time, exit_ = np.unique(cells["time"].to_numpy(), return_inverse=True)
    joined = np.searchsorted(time, cells["entry"].to_numpy(), side="right")  # exit times at or before entry
    codes = np.array([0, *counts.causes])
    cause = np.searchsorted(codes, cells["cause"].to_numpy())
    at_risk, leaving = occupancy(cells, exit_, joined, cause, (len(codes), len(time)), weighted=counts.weighted)
    squares = squared_weights(cells, weighted=counts.weighted)
    return RiskTable(group, time, at_risk, leaving[1:], leaving[0], exit_, joined, cause, squares)


def occupancy(
    cells: pl.DataFrame, exit_: Ints, entry: Ints, layer: Ints, shape: tuple[int, int], *, weighted: bool
) -> tuple[Numbers, Numbers]:
    """Return who is at risk at each of T places in time, (T,), and who leaves by layer, (L, T).

    ``exit_, entry`` (M,) are the places of the cells' exits and the first places at which they are at risk, ``layer``
    (M,) is what they are counted under, ``shape`` is (L, T). Sums are of integers throughout.
    """
    layers, places = shape
    masses = _masses(cells, "w" if weighted else "n")
    leaving, at_risk = {}, {}
    for limb, mass in masses.items():
        leaving[limb] = _scatter(layer * places + exit_, mass, layers * places).reshape(shape)
        out = leaving[limb].sum(axis=0)
        at_risk[limb] = np.cumsum(_scatter(entry, mass, places + 1)[:places]) - np.cumsum(out) + out
    if weighted:
        return _number(at_risk, (places,)), _number(leaving, shape)
    return at_risk[0], leaving[0]


def squared_weights(cells: pl.DataFrame, *, weighted: bool) -> Floats:
    """Return the sum of squared weights of every cell, (M,); without weights its number of rows."""
    return from_limbs(_masses(cells, "v"), len(cells)) if weighted else cells["n"].to_numpy().astype(np.float64)


def _masses(cells: pl.DataFrame, kind: str) -> dict[int, Ints]:
    """Return the columns of a sum by limb: persons have one limb, sums of weights several."""
    if kind == "n":
        return {0: cells["n"].to_numpy()}
    return {int(name[1:]): cells[name].to_numpy() for name in cells.columns if name[0] == kind and name[1:2] in "+-"}


def _scatter(place: Ints, mass: Ints, size: int) -> Ints:
    """Return the integer sums of ``mass`` by ``place``, (size,): ``bincount`` would pass through floats."""
    total = np.zeros(size, dtype=np.int64)
    np.add.at(total, place, mass)
    return total


def _number(limbs: dict[int, Ints], shape: tuple[int, ...]) -> Floats:
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
    empty = int((merged["entry"] >= merged["time"]).sum())
    if empty:
        raise InputRefusedError(f"entry and time differ by rounding only in {empty} cells; such rows have no follow-up")
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
