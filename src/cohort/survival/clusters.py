"""Robust variances where a person has several rows: spells of one person are not independent.

The influence of a person is the sum over his or her spells. It drifts while at risk and jumps at events; the sum of its
square over persons changes at each time by twice the change times the influence so far, plus the change squared. All
of these are sums over spells, so the whole is linear in their number. Where a person's rows overlap, because each of
several entries counts its time from its own start, influences are summed row by row (`cohort.survival.repeated`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy
from cohort.survival.counts import EVERYBODY
from cohort.survival.influence import ratio
from cohort.survival.observations import By
from cohort.survival.repeated import PlacedRows, repeated_incidence, repeated_influence
from cohort.survival.risk import RiskTable
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints

Persons = Mapping[str, pl.DataFrame]
"""Spells of each group: columns ``id, start, stop, event`` (0 or a code), ``weight``, sorted by person and start."""


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


def repeated_rows(frame: Any, person: str, entry: str | None, time: str, event: str, by: By = None) -> Persons:
    """Return the rows of each group where a person's may overlap, as `spells_of` returns spells.

    Without ``entry`` everybody is at risk from the start, day 0 included, as in ``count_days``.
    """
    names = [by] if isinstance(by, str) else list(by or [])
    group = pl.concat_str(pl.col(names).cast(pl.String), separator=", ") if names else pl.lit(EVERYBODY)
    rows = as_lazy(frame).select(
        group.alias("group"),
        id=pl.col(person),
        start=pl.lit(-1, dtype=pl.Int64) if entry is None else pl.col(entry),
        stop=pl.col(time),
        event=pl.col(event).cast(pl.Float64),
        weight=pl.lit(1.0),
    )
    parts: dict[Any, pl.DataFrame] = (
        rows.collect().sort("group", "id", "start", "stop", "event").partition_by("group", as_dict=True)
    )
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
    rows, total = PlacedRows.of(risk, spells), np.concatenate([[0.0], np.cumsum(drift)])
    if _overlap(spells):
        return repeated_influence(rows, drift, jump)
    w, e, x = rows.weight, rows.entry, rows.exit
    change = w * (rows.any_event * jump[x] - (total[x + 1] - total[e]))
    before = _sum_before_within(rows.person, change)  # influence of the person's earlier spells
    square = rows.at_risk(w**2)
    so_far = rows.at_risk(w * (before + w * total[e])) - total[:-1] * square
    at_event = rows.leaving(rows.any_event * w * (before - w * (total[x] - total[e])))
    events = rows.leaving(rows.any_event * w**2)
    step = 2 * (jump * at_event - drift * so_far) + square * drift**2 + events * (jump**2 - 2 * jump * drift)
    return np.maximum(np.cumsum(step), 0.0)


def _overlap(spells: pl.DataFrame) -> bool:
    """Return whether some person (rows sorted by person and start) is in two rows at once."""
    same = pl.col("id") == pl.col("id").shift()
    return bool(spells.select((same & (pl.col("start") < pl.col("stop").shift())).any()).item())


def _sum_before_within(person: Ints, values: Floats) -> Floats:
    """Return each row's sum of the earlier values of its person; rows are sorted by person."""
    before = np.cumsum(values) - values
    first = np.searchsorted(person, person, side="left")
    return before - before[first]


def clustered_incidence(risk: RiskTable, spells: pl.DataFrame, before: Floats, incidence: Floats, code: int) -> Floats:
    """Return the sum over persons of squared influences, (T,), on the cumulative incidence of the cause ``code``.

    Parameters
    ----------
    before, incidence
        (T,) as for ``influence.incidence_influence``.

    References
    ----------
    Therneau TM, Crowson CS, Atkinson EJ (2024), Multi-state models and competing risks, R survival vignette.
    """
    step, survivors = np.diff(incidence, prepend=0.0), risk.n_survivors
    drift, jump = ratio(ratio(risk.n_any, risk.n_risk), survivors), ratio(1.0, survivors)  # on log S
    dilution, gain = ratio(step, risk.n_risk), ratio(before, risk.n_risk)  # on the incidence itself
    log_total = np.concatenate([[0.0], np.cumsum(drift)])
    total = np.concatenate([[0.0], np.cumsum(step * log_total[:-1] - dilution)])
    reached = np.concatenate([[0.0], incidence])
    rows = PlacedRows.of(risk, spells, code)
    if _overlap(spells):
        return repeated_incidence(rows, (drift, jump), (step, dilution, gain))
    e, x, w = rows.entry, rows.exit, rows.weight

    on_log = w * (log_total[x + 1] - log_total[e] - rows.any_event * jump[x])
    on_own = w * (total[x + 1] - total[e] - log_total[e] * (reached[x + 1] - reached[e]) + rows.event * gain[x])
    log_start = _sum_before_within(rows.person, on_log)
    start = _sum_before_within(rows.person, on_own) + reached[e] * log_start
    start -= _sum_before_within(rows.person, on_log * reached[x + 1])

    level = start - log_start * reached[e] - w * (total[e] - log_total[e] * reached[e])
    slope = log_start - w * log_total[e]
    square, slopes, levels = (rows.at_risk(w * values) for values in (w, slope, level))
    risk_log = slopes + log_total[:-1] * square
    risk_own = levels + reached[:-1] * slopes + total[:-1] * square
    last_log = slope + w * log_total[x]
    last_own = level + reached[x] * slope + w * total[x]
    any_square, any_log, any_own = (rows.leaving(rows.any_event * w * values) for values in (w, last_log, last_own))
    square_j, log_j, own_j = (rows.leaving(rows.event * w * values) for values in (w, last_log, last_own))

    change_log = drift * risk_log - jump * any_log
    logs = np.cumsum(2 * change_log + drift**2 * square + (jump**2 - 2 * drift * jump) * any_square)
    logs_before = np.concatenate([[0.0], logs[:-1]])
    cross = drift * risk_own - jump * any_own + step * (logs_before + change_log) - dilution * risk_log + gain * log_j
    cross += dilution * (jump * any_square - drift * square) + gain * (drift - jump) * square_j
    cross_before = np.concatenate([[0.0], np.cumsum(cross)[:-1]])
    first = step * cross_before - dilution * risk_own + gain * own_j
    second = step**2 * logs_before + dilution**2 * square + gain**2 * square_j
    mixed = step * (gain * log_j - dilution * risk_log) - dilution * gain * square_j
    squared: Floats = np.maximum(np.cumsum(2 * first + second + 2 * mixed), 0.0)
    return squared
