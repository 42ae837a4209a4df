"""Sequential nested trials: a trial begins in every period in which a person is eligible, and all are analysed as one.

The per-protocol analysis ends a person's part in a trial where the exposure departs from that of its first period, and
weights those who remain; with one eligible period per person it is the per-protocol analysis of a single trial.

References
----------
Hernán MA et al. (2008), Epidemiology 19:766–779, doi:10.1097/EDE.0b013e3181875e61. Gran JM et al. (2010), Stat Med
29:2757–2768, doi:10.1002/sim.4048. Danaei G et al. (2013), Stat Methods Med Res 22:70–96,
doi:10.1177/0962280211403603.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
import polars as pl

from cohort.effects.clone_bootstrap import refit
from cohort.effects.clones import DaySums
from cohort.effects.day_estimates import (
    Ties,
    closed_ties,
    curves_table,
    estimates_table,
    log_hazard_ratio,
    risk_and_time_lost,
    summed_ties,
)
from cohort.effects.marginal import ARMS
from cohort.effects.person_time import (
    Chances,
    Flags,
    PersonTime,
    chance_of_exposure,
    cumulated,
    model_chances,
    model_exposure,
)
from cohort.effects.weights import SMALLEST_SHARE, kish
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.types import Floats, Ints

Protocol = Literal["intention_to_treat", "per_protocol"]


@dataclass(frozen=True, slots=True, eq=False)
class NestedTrials:
    """The pooled result of nested trials.

    ``table`` as in `Emulation`, groups ``treated`` and ``untreated``. ``arms`` has one row per arm: ``group, trials,
    departed, events, mean_weight, largest_weight, effective`` (person-trials); ``curves`` as in `Emulation`.
    """

    table: pl.DataFrame
    arms: pl.DataFrame
    curves: pl.DataFrame
    horizon: int
    level: float
    method: str


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What is asked of person-time: its eligible rows, models of exposure at and after time zero, and of leaving."""

    time: PersonTime
    kind: Ints
    causes: tuple[int, ...]
    position: int
    eligible: Flags
    assigned: Chances
    exposure: tuple[Chances, Chances] | None
    leaving: Chances | None
    horizon: int
    cap: float = np.inf


def nested_trials(
    frame: Any,
    *,
    person: str = "person_id",
    start: str = "start",
    stop: str = "stop",
    cause: str = "cause",
    exposure: str,
    eligible: str,
    terms: str,
    horizon: int,
    protocol: Protocol = "intention_to_treat",
    censored: str | None = None,
    leaving: str | None = None,
    cause_of_interest: int = 1,
    truncate: float | None = None,
    replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> NestedTrials:
    """Emulate a trial of "exposed" against "not exposed" from the start of every eligible row, and pool them.

    Parameters
    ----------
    frame
        Person-time in whole days; ``exposure`` and ``eligible`` are Boolean or 0/1 and, like ``terms``, known at the
        start of a row. ``cause`` is the event at its end, 0 for none.
    protocol
        ``per_protocol`` censors where the exposure departs from that of a trial's first row.
    censored
        Boolean column: the row ends with a censoring that covariates may foretell; those who stay are weighted.
    leaving
        Terms of the model of that censoring, if not ``terms``.
    truncate
        Set weights above this quantile of a trial's last weights to it.
    replicates
        Bootstrap samples of persons, not person-trials; every model is refitted.

    Raises
    ------
    InputRefusedError, NotEstimableError
        ``single_arm``, ``separation``, ``nobody_follows``, ``weights_explode``, ``horizon_after_follow_up``.
    """
    if protocol not in get_args(Protocol) or horizon < 1 or (truncate is not None and not 0.5 < truncate < 1):
        raise StudyError(f"protocol = {protocol!r}, horizon = {horizon}, truncate = {truncate}; see nested_trials")
    time = PersonTime.read(frame, person, start, stop, cause, exposure)
    question = _ask(time, eligible, terms, int(horizon), protocol, (censored, leaving), cause_of_interest)
    method = f"nested trials, {protocol.replace('_', ' ')}, pooled logistic models of {terms}"
    return _answer(question, truncate, (replicates, seed), level, method)


def _answer(
    question: _Question, truncate: float | None, draws: tuple[int, int], level: float, method: str
) -> NestedTrials:
    sums, last = _sums(question)
    if truncate is not None:
        question = replace(question, cap=float(np.quantile(last[question.eligible & (last > 0)], truncate)))
        sums, last = _sums(question)
    arms = _arms(question, last)
    _require(arms, sums)
    values = _numbers(question, sums)
    samples = refit(
        lambda times: _numbers(question, _sums(question, times)[0], closed_ties), len(question.time.first) - 1, *draws
    )
    limits = f"{len(samples)} bootstrap samples of persons" if draws[0] else "no limits: no bootstrap"
    table, curves = estimates_table(values, samples, level, ARMS), curves_table(sums, question.causes, ARMS)
    return NestedTrials(table, arms, curves, question.horizon, level, f"{method}; {limits}")


def _ask(
    time: PersonTime,
    eligible: str,
    terms: str,
    horizon: int,
    protocol: str,
    censoring: tuple[str | None, str | None],
    code: int,
) -> _Question:
    flags = time.flags(eligible)
    if not flags.any():
        raise NotEstimableError("nobody_eligible: no row begins a trial")
    arm = time.exposed[flags]
    if arm.all() or not arm.any():
        raise NotEstimableError("single_arm: every trial begins exposed, or none does")
    causes = tuple(sorted({code, *np.unique(time.cause[time.cause > 0]).tolist()}))
    kind = np.searchsorted(causes, time.cause) + 1
    kind[time.cause == 0] = 0
    matrix, names = time.columns(terms)
    # where trials begin with a person's first row alone, that row's exposure is assignment: no going on or starting
    first = time.first[:-1]
    later = ~flags if flags[first].sum() == flags.sum() else None
    exposure = model_exposure(time, terms, later) if protocol == "per_protocol" else None
    return _Question(
        time, kind, causes, causes.index(code), flags, model_chances(matrix, names, time.exposed, flags), exposure,
        _leaving(time, censoring[1] or terms, censoring[0]), horizon,
    )  # fmt: skip


def _leaving(time: PersonTime, terms: str, censored: str | None) -> Chances | None:
    if censored is None:
        return None
    matrix, names = time.columns(terms)
    left = time.flags(censored)
    if wrong := int((left & (time.cause > 0)).sum()):
        raise InputRefusedError(f"column {censored!r} is true in {wrong} rows that end with an event")
    with_exposure = np.column_stack([matrix, time.exposed])
    return model_chances(with_exposure, (*names, "exposed"), left, time.cause == 0)


def _sums(question: _Question, times: Floats | None = None) -> tuple[tuple[DaySums, DaySums], Floats]:
    """Return the sums by day of the exposed and the unexposed, and the weight with which each row's trial ended."""
    time, days = question.time, question.horizon
    n, rows = len(time.start), None if times is None else times[time.person]
    counted = np.ones(len(time.first) - 1) if times is None else times
    chance = question.assigned.observed(n, rows)
    share = np.average(time.exposed[question.eligible], weights=None if rows is None else rows[question.eligible])
    weight = np.where(time.exposed, share, 1 - share) / chance
    staying = np.zeros(n)
    if question.exposure is not None:
        staying += cumulated(time, chance_of_exposure(question.exposure, n, rows), at_start=True)
    if question.leaving is not None:
        staying += cumulated(time, question.leaving.observed(n, rows), at_start=False)
    change, last = np.zeros((2, days + 2)), np.zeros(n)
    events, count = np.zeros((2, 2, len(question.causes), days + 1))
    import_module("cohort.effects.trial_kernels").trial_sums(
        time.first, (time.start, time.stop), question.kind, time.exposed, question.eligible, weight, staying, counted,
        question.exposure is not None, question.cap, change, events, count, last,
    )  # fmt: skip
    at_risk, day = np.maximum(np.cumsum(change, axis=1), 0.0), np.arange(1, days + 1)
    one, zero = (DaySums(day, at_risk[arm, 1:-1], events[arm, :, 1:], count[arm, :, 1:], np.empty(0)) for arm in (1, 0))
    return (one, zero), last


def _numbers(question: _Question, sums: tuple[DaySums, DaySums], ties: Ties = summed_ties) -> Floats:
    curves = [risk_and_time_lost(arm, question.position, question.horizon) for arm in sums]
    return np.concatenate([*curves, [log_hazard_ratio(sums[1], sums[0], question.position, ties)]])


def _arms(question: _Question, last: Floats) -> pl.DataFrame:
    time = question.time
    ends_with = question.kind[(time.first[1:] - 1)[time.person]]
    rows = []
    for name, exposed in zip(ARMS, (True, False), strict=True):
        mine = question.eligible & (time.exposed == exposed)
        stayed = last[mine & (last > 0)]
        rows.append(
            {
                "group": name,
                "trials": int(mine.sum()),
                "departed": int((mine & (last == 0)).sum()),
                "events": int((mine & (last > 0) & (ends_with > 0)).sum()),
                "mean_weight": float(stayed.mean()) if stayed.size else 0.0,
                "largest_weight": float(stayed.max(initial=0.0)),
                "effective": kish(stayed),
            }
        )
    return pl.DataFrame(rows)


def _require(arms: pl.DataFrame, sums: tuple[DaySums, DaySums]) -> None:
    """Refuse arms that nobody keeps to, that a handful carry, or that nobody is observed in at the horizon."""
    for row, arm in zip(arms.iter_rows(named=True), sums, strict=True):
        stayed = row["trials"] - row["departed"]
        if not stayed:
            raise NotEstimableError(f"nobody_follows: every {row['group']} trial departs from its protocol")
        if row["effective"] < SMALLEST_SHARE * stayed:
            raise NotEstimableError(
                f"weights_explode: the {row['group']} are worth less than {SMALLEST_SHARE:.0%} of their number"
            )
        if arm.at_risk[-1] <= 1e-9 * arm.at_risk[0] and not _all_had_events(arm):
            raise NotEstimableError(f"horizon_after_follow_up: nobody of the {row['group']} is observed at the horizon")


def _all_had_events(arm: DaySums) -> bool:
    """Return whether the last who left had an event."""
    present = np.flatnonzero(arm.at_risk > 1e-9 * arm.at_risk[0])
    return bool(present.size) and bool(
        np.isclose(arm.events[:, present[-1]].sum(), arm.at_risk[present[-1]], rtol=1e-9)
    )
