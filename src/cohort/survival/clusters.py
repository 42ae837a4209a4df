"""Robust variances where a person has several rows: spells of one person are not independent.

The influence of a person is the sum over his or her spells. It drifts while at risk and jumps at events; the sum of its
square over persons changes at each time by twice the change times the influence so far, plus the change squared. All
of these are sums over spells, so the whole is linear in their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy
from cohort.survival.counts import EVERYBODY
from cohort.survival.observations import By
from cohort.survival.risk import RiskTable
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints

Persons = Mapping[str, pl.DataFrame]
"""Spells of each group: columns ``id, start, stop, event, weight``, sorted by person and start."""


def person_spells(
    lazy: pl.LazyFrame, person: str, start: str, stop: str, event: str, by: By = None, weights: str | None = None
) -> Persons:
    """Return the spells of each group, ready for ``clustered_influence``; refuses those that overlap."""
    check_spells(lazy, person, start, stop)
    names = [by] if isinstance(by, str) else list(by or [])
    group = pl.concat_str(pl.col(names).cast(pl.String), separator=", ") if names else pl.lit(EVERYBODY)
    spells = lazy.select(
        group.alias("group"),
        id=pl.col(person),
        start=pl.col(start),
        stop=pl.col(stop),
        event=pl.col(event).cast(pl.Float64),
        weight=pl.col(weights).cast(pl.Float64) if weights else pl.lit(1.0),
    ).collect()
    parts: dict[Any, pl.DataFrame] = spells.sort("group", "id", "start").partition_by("group", as_dict=True)
    return {str(name): part for (name,), part in parts.items()}


def spells_of(
    frame: Any,
    person: str | None,
    entry: str | None,
    time: str,
    event: str,
    by: By = None,
    weights: str | None = None,
    landmark: float | None = None,
) -> Persons | None:
    """Return the spells by person of a frame of follow-up, or None without a column of persons.

    Raises
    ------
    StudyError
        Where the combination of options has no such variance.
    """
    if person is None:
        return None
    if entry is None or landmark is not None:
        raise StudyError("id = … needs entry = …, because a person's rows must not overlap, and has no landmark start")
    return person_spells(as_lazy(frame), person, entry, time, event, by, weights)


def clustered_influence(risk: RiskTable, spells: pl.DataFrame, drift: Floats, jump: Floats) -> Floats:
    """Return the sum over persons of squared influences, (T,), on a sum over time of hazard increments.

    Parameters
    ----------
    drift, jump
        (T,) as for ``influence.hazard_influence``: what being at risk and what an event change, per unit of weight.

    References
    ----------
    Lin DY, Wei LJ (1989), JASA 84:1074–1078, doi:10.1080/01621459.1989.10478874. Lawless JF, Nadeau C (1995),
    Technometrics 37:158–168, doi:10.1080/00401706.1995.10484300.
    """
    size, total = len(risk.time), np.concatenate([[0.0], np.cumsum(drift)])
    exit_, entry = place(risk, spells["stop"].to_numpy()), place(risk, spells["start"].to_numpy()) + 1
    event, weight = spells["event"].to_numpy(), spells["weight"].to_numpy()
    change = weight * (event * jump[exit_] - (total[exit_ + 1] - total[entry]))
    before = _sum_before_within(spells["id"].rle_id().to_numpy(), change)  # influence of the person's earlier spells

    def leaving(values: Floats) -> Floats:
        return np.bincount(exit_, values, size).astype(np.float64)

    def at_risk(values: Floats) -> Floats:
        out = leaving(values)
        entered = np.bincount(entry, values, size + 1)[:size]
        return np.cumsum(entered) - np.cumsum(out) + out

    square = at_risk(weight**2)
    so_far = at_risk(weight * (before + weight * total[entry])) - total[:-1] * square
    at_event = leaving(weight * event * (before - weight * (total[exit_] - total[entry])))
    events = leaving(weight**2 * event)
    step = 2 * (jump * at_event - drift * so_far) + square * drift**2 + events * (jump**2 - 2 * jump * drift)
    return np.maximum(np.cumsum(step), 0.0)


def place(risk: RiskTable, time: Any) -> Ints:
    """Return the positions of the last exit times at or before ``time``, near ties being one time."""
    found: Ints = np.searchsorted(risk.time, time, side="right") - 1
    return found


def _sum_before_within(person: Ints, values: Floats) -> Floats:
    """Return each row's sum of the earlier values of its person; rows are sorted by person."""
    before = np.cumsum(values) - values
    first = np.searchsorted(person, person, side="left")
    return before - before[first]
