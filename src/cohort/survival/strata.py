"""Risk sets of every group on the exit times of every stratum, for tests that compare groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.errors import NotEstimableError
from cohort.survival.counts import DayCounts
from cohort.survival.risk import merge_near_ties, occupancy, squared_weights
from cohort.survival.types import Floats, Ints, Numbers


@dataclass(frozen=True, slots=True)
class GroupedRisk:
    """R rows, the distinct exit times of each stratum in order; G groups; M cells behind them.

    ``stratum`` (R,) numbers the strata; ``n_risk`` (G, R) is who is at risk just before; ``n_event`` (G, K, R) who has
    which event; ``size`` (G,) everybody counted. For influence: ``exit`` and ``entry`` (M,) are rows (entry: the first
    at which the cell is at risk), ``group`` and ``cause`` (M,) positions (cause 0 = censored), ``squares`` (M,).
    """

    groups: list[str]
    stratum: Ints
    n_risk: Numbers
    n_event: Numbers
    size: Ints
    exit: Ints
    entry: Ints
    group: Ints
    cause: Ints
    squares: Floats


def grouped_risk(counts: DayCounts) -> GroupedRisk:
    """Lay counts out by stratum, time and group; any number of strata costs no more than their rows.

    Raises
    ------
    NotEstimableError
        If there are fewer than two groups to compare.
    """
    groups = counts.groups
    if len(groups) < 2:
        raise NotEstimableError("fewer_than_two_groups")
    cells = merge_near_ties(counts.cells)
    time = cells["time"].unique().sort().to_numpy()
    stratum = cells["stratum"].rank("dense").cast(int).to_numpy() - 1
    # places in (stratum, time) order; the running sum of entries and exits is 0 again after each stratum
    place = stratum * (len(time) + 1) + np.searchsorted(time, cells["time"].to_numpy())
    since = stratum * (len(time) + 1) + np.searchsorted(time, cells["entry"].to_numpy(), side="right")
    rows, exit_ = np.unique(place, return_inverse=True)
    entry = np.searchsorted(rows, since)
    group = np.searchsorted(np.array(groups), cells["group"].to_numpy().astype(str))
    codes = np.array([0, *counts.causes])
    cause = np.searchsorted(codes, cells["cause"].to_numpy())
    parts = [
        occupancy(
            cells.filter(group == g), exit_[group == g], entry[group == g], cause[group == g], (len(codes), len(rows)),
            weighted=counts.weighted,
        )
        for g in range(len(groups))
    ]  # fmt: skip
    return GroupedRisk(
        groups,
        rows // (len(time) + 1),
        np.stack([part.at_risk for part in parts]),
        np.stack([part.leaving[1:] for part in parts]),
        np.bincount(group, cells["n"].to_numpy(), len(groups)).astype(np.int64),
        exit_,
        entry,
        group,
        cause,
        squared_weights(cells, weighted=counts.weighted),
    )


def running_within(stratum: Ints, values: Numbers) -> Numbers:
    """Return the running sum of ``values`` (…, R) that starts anew in each stratum."""
    total = np.cumsum(values, axis=-1)
    first = np.searchsorted(stratum, stratum, side="left")
    before = np.concatenate([np.zeros((*total.shape[:-1], 1), total.dtype), total], axis=-1)[..., first]
    within: Numbers = total - before
    return within


def quadratic_form(score: Floats, variance: Floats) -> tuple[float, int]:
    """Return ``score' V⁻ score`` and the rank of V, (G, G), whose rows add to 0.

    V is scaled to a unit diagonal first, so that a group of five beside a group of a million is not taken for noise.

    Raises
    ------
    NotEstimableError
        If nothing varies: no event at a time when two groups were at risk.
    """
    scale = np.sqrt(np.maximum(np.diag(variance), 0.0))
    used = scale > 0
    if not used.any():
        raise NotEstimableError("no_events_to_compare")
    unit = variance[np.ix_(used, used)] / np.outer(scale[used], scale[used])
    values, vectors = np.linalg.eigh(unit)
    kept = values > 1e-9 * values[-1]  # one direction is exactly 0; its rounding is some 1e-15
    part = vectors[:, kept].T @ (score[used] / scale[used])
    return float((part**2 / values[kept]).sum()), int(kept.sum())
