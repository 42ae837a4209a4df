"""Target trials by clone–censor–weight: from one row per person to risks, lost time and a hazard ratio per strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import polars as pl

from cohort.effects.clone_bootstrap import SortedArm, bootstrap, refit
from cohort.effects.clones import (
    STRATEGIES,
    Arm,
    DaySums,
    Persons,
    Staying,
    clone,
    model_strategies,
    require_followers,
    sum_by_day,
)
from cohort.effects.day_estimates import (
    Ties,
    closed_ties,
    curves_table,
    estimates_table,
    log_hazard_ratio,
    risk_and_time_lost,
    summed_ties,
)
from cohort.effects.varying import Histories, Leaving, Rows, read_rows, require_terms, sum_varying
from cohort.effects.weights import SMALLEST_SHARE, kish
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox_order import canonical_order
from cohort.survival.design import design_matrix
from cohort.survival.observations import observe
from cohort.survival.types import Floats, Ints, Numbers

Departing = Literal["each", "starting"]


@dataclass(frozen=True, slots=True, eq=False)
class Emulation:
    """An emulated trial of two strategies.

    ``table`` has one row per estimate: ``measure, group, estimate, std_error, lower, upper, p_value``; ratios have the
    ``std_error`` of their logarithm; the last four are null without a bootstrap. ``arms`` has one row per strategy:
    ``group, clones, departed, events, mean_weight, largest_weight, effective``. ``curves`` has ``group, cause, time,
    n_risk, n_event, estimate`` with weighted numbers.
    """

    table: pl.DataFrame
    arms: pl.DataFrame
    curves: pl.DataFrame
    horizon: float
    level: float
    method: str


class _Trial(NamedTuple):
    """What is estimated from some persons: numbers in the order of ``_names``, and what they came from."""

    values: Floats
    sums: tuple[DaySums, DaySums]
    arms: tuple[Arm, Arm]
    staying: tuple[Staying, Staying] | None
    caps: tuple[float, float]


class _Question(NamedTuple):
    grace: float
    horizon: float
    code: int
    causes: tuple[int, ...]
    columns: tuple[str, ...]
    truncate: float | None
    departing: Departing = "each"


def clone_censor_weight(
    frame: Any,
    *,
    time: str = "time",
    cause: str = "cause",
    treatment_time: str,
    grace_days: float,
    terms: str,
    horizon: float,
    cause_of_interest: int = 1,
    truncate: float | None = None,
    departing: Departing = "each",
    histories: Histories | None = None,
    leaving: Leaving | None = None,
    replicates: int = 0,
    seed: int = 0,
    level: float = 0.95,
) -> Emulation:
    """Compare "start within ``grace_days``" with "do not start within them" by clones.

    Parameters
    ----------
    frame
        One row per person, eligible at day 0.
    treatment_time
        Day on which treatment started, null for never.
    terms
        Covariates at day 0 of the Cox models of departing from either strategy.
    truncate
        Set weights above this quantile of an arm's weights at exit, such as 0.99, to it.
    departing
        ``each`` strategy has its model, or one of ``starting`` serves both.
    histories, leaving
        Covariates that change, further terms of the models of departing; and a model of natural censoring.
    replicates
        Bootstrap samples of persons (with both of their clones) behind limits: normal, on the log scale for ratios.

    Raises
    ------
    InputRefusedError, NotEstimableError
        ``nobody_follows`` a strategy, ``weights_explode``, ``horizon_after_follow_up``, ``monotone_likelihood``.

    References
    ----------
    Maringe C et al. (2020), Int J Epidemiol 49:1719–1729, doi:10.1093/ije/dyaa057.
    """
    _check(grace_days, horizon, truncate)
    _require_models(departing, terms, histories, leaving)
    frame = as_lazy(frame) if histories is None else as_lazy(frame).sort(histories.person)
    persons, columns, order = _read(frame, time, cause, treatment_time, terms)
    require_followers(persons, grace_days)
    causes = _causes(persons, cause_of_interest)
    question = _Question(grace_days, horizon, cause_of_interest, causes, columns, truncate, departing)
    persons, rows = _with_rows(frame, persons, order, terms, histories, leaving)
    trial = _emulate(persons, question, rows)
    _require_answer(trial, horizon)
    samples = _bootstrap(trial, persons, question, rows, replicates, seed)
    method = _method(question, terms + _further(histories, leaving), len(samples) if replicates else None)
    table = estimates_table(trial.values, samples, level, STRATEGIES)
    return Emulation(table, _arms(trial), curves_table(trial.sums, causes, STRATEGIES), horizon, level, method)


def _causes(persons: Persons, of_interest: int) -> tuple[int, ...]:
    return tuple(sorted({of_interest, *np.unique(persons.cause[persons.cause > 0]).tolist()}))


def _method(question: _Question, models: str, samples: int | None) -> str:
    cut = "" if question.truncate is None else f", truncated at the {question.truncate:.1%} quantile"
    what = "departing" if question.departing == "each" else "starting"
    limits = "no limits: no bootstrap" if samples is None else f"{samples} bootstrap samples of persons"
    return f"clone–censor–weight, grace {question.grace:g} days, Cox models of {what} on {models}{cut}; {limits}"


def _check(grace: float, horizon: float, truncate: float | None) -> None:
    if not 0 <= grace < horizon or not np.isfinite(horizon):
        raise StudyError(f"grace_days = {grace}, horizon = {horizon}; a grace period that ends before the horizon")
    if truncate is not None and not 0.5 < truncate < 1:
        raise StudyError(f"truncate = {truncate}; a quantile between 0.5 and 1, such as 0.99")


def _require_models(departing: Departing, terms: str, histories: Histories | None, leaving: Leaving | None) -> None:
    require_terms(terms, histories, leaving)
    if departing not in get_args(Departing):
        raise StudyError(f"departing = {departing!r}; each or starting")
    if departing == "starting" and not (histories is None and leaving is None):
        raise StudyError("departing = 'starting' goes with covariates at day 0 alone; leave out histories and leaving")


def _further(histories: Histories | None, leaving: Leaving | None) -> str:
    changing = "" if histories is None or not histories.terms else f", {histories.terms} as they change"
    return changing + ("" if leaving is None else f", and of natural censoring on {leaving.terms}")


def _with_rows(
    frame: Any, persons: Persons, order: Ints, terms: str, histories: Histories | None, leaving: Leaving | None
) -> tuple[Persons, Rows | None]:
    """Return the persons with what was known of them in the frame's order; as they are where only day 0 counts."""
    if histories is None and leaving is None:
        return persons, None
    back = np.argsort(order)
    persons = Persons(*(part[back] for part in persons))
    return persons, read_rows(frame, persons, terms, histories, leaving)


def _read(frame: Any, time: str, cause: str, started: str, terms: str) -> tuple[Persons, tuple[str, ...], Ints]:
    """Return the persons in an order that their values decide, the names of covariates, and that order."""
    lazy = as_lazy(frame)
    require_columns(lazy, {"treatment_time": started})
    rows, design = observe(lazy, time, cause).rows, design_matrix(lazy, terms or ())
    column = lazy.select(pl.col(started).cast(pl.Float64)).collect().to_series()
    if wrong := int((column.is_nan() | (column < 0)).sum()):
        raise InputRefusedError(f"column {started!r} is negative or not a number in {wrong} rows; null means never")
    start = column.fill_null(np.inf).to_numpy()
    exit_, code = rows["time"].to_numpy(), rows["cause"].cast(pl.Int64).to_numpy()
    never = np.where(np.isfinite(start), start, -1.0)
    order = canonical_order([exit_, code, never, *design.matrix.T])
    x = np.asfortranarray(design.matrix[order])
    return Persons(exit_[order], code[order], start[order], x, np.ones(len(order))), design.names, order


def _emulate(persons: Persons, question: _Question, rows: Rows | None = None) -> _Trial:
    arms = clone(persons, question.grace)
    day = np.unique(np.concatenate([arm.time for arm in arms]))
    if rows is not None:
        start, abstain = (sum_varying(arm, persons, rows, day, question.causes, question.truncate) for arm in arms)
        return _Trial(_numbers(start, abstain, question), (start, abstain), arms, None, (np.inf, np.inf))
    by_starting = question.departing == "starting"
    staying = model_strategies(arms, persons, question.columns, question.grace, by_starting=by_starting)
    weighted = [_weighted(arm, persons, model, day, question) for arm, model in zip(arms, staying, strict=True)]
    (start, cap_start), (abstain, cap_abstain) = weighted
    values = _numbers(start, abstain, question)
    known = staying if question.departing == "each" else None
    return _Trial(values, (start, abstain), arms, known, (cap_start, cap_abstain))


def _weighted(arm: Arm, persons: Persons, staying: Staying, day: Numbers, question: _Question) -> tuple[DaySums, float]:
    """Return the sums by day and where their weights are cut."""
    sums = sum_by_day(arm, persons, staying, day, question.causes)
    if question.truncate is None:
        return sums, np.inf
    drawn = persons.times > 0
    cap = float(np.quantile(sums.last[drawn] / persons.times[drawn], question.truncate))
    return sum_by_day(arm, persons, staying, day, question.causes, cap), cap


def _numbers(
    start: DaySums, abstain: DaySums, question: _Question, ties: Ties = summed_ties, guess: float = 0.0
) -> Floats:
    """Return risk and time lost of either strategy, and the logarithm of the hazard ratio, (5,)."""
    position = question.causes.index(question.code)
    curves = [risk_and_time_lost(arm, position, question.horizon) for arm in (start, abstain)]
    return np.concatenate([*curves, [log_hazard_ratio(abstain, start, position, ties, guess)]])


def _require_answer(trial: _Trial, horizon: float) -> None:
    """Refuse an arm that nobody is observed in at the horizon, or that a handful carry."""
    _require_effective(trial)
    for name, arm in zip(STRATEGIES, trial.arms, strict=True):
        if arm.time.max() < horizon and (arm.cause == 0).any():
            raise NotEstimableError(f"horizon_after_follow_up: nobody who was to {name} is observed at the horizon")


def _require_effective(trial: _Trial) -> None:
    for name, sums, arm in zip(STRATEGIES, trial.sums, trial.arms, strict=True):
        stayed = sums.last[~arm.departed]
        if kish(stayed) < SMALLEST_SHARE * len(stayed):
            raise NotEstimableError(
                f"weights_explode: those who {name} are worth less than {SMALLEST_SHARE:.0%} of their number"
            )


def _bootstrap(
    trial: _Trial, persons: Persons, question: _Question, rows: Rows | None, replicates: int, seed: int
) -> Floats:
    """Return the numbers of samples of persons, (samples, 5)."""
    if not replicates:
        return np.empty((0, len(trial.values)))

    def refitted(times: Floats) -> Floats:
        return _emulate(persons._replace(times=times), question, rows).values

    if trial.staying is None:
        return refit(refitted, len(persons.time), replicates, seed)
    day = trial.sums[0].day
    start, abstain = (
        SortedArm.of(arm, persons, staying, day, question.causes, cap)
        for arm, staying, cap in zip(trial.arms, trial.staying, trial.caps, strict=True)
    )

    def numbers(one: DaySums, zero: DaySums) -> Floats:
        return _numbers(one, zero, question, closed_ties, trial.values[-1])

    return bootstrap((start, abstain), day, numbers, replicates, seed)


def _arms(trial: _Trial) -> pl.DataFrame:
    rows = [
        {
            "group": name,
            "clones": len(arm.time),
            "departed": arm.n_departed,
            "events": arm.n_events,
            "mean_weight": float(sums.last[~arm.departed].mean()),
            "largest_weight": float(sums.last[~arm.departed].max()),
            "effective": kish(sums.last[~arm.departed]),
        }
        for name, arm, sums in zip(STRATEGIES, trial.arms, trial.sums, strict=True)
    ]
    return pl.DataFrame(rows)
