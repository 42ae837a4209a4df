"""Kaplan–Meier, Nelson–Aalen, Fleming–Harrington and Aalen–Johansen curves from day counts.

Each estimator comes twice: ``kaplan_meier(frame, …)`` on a frame, and ``kaplan_meier_from(counts, …)`` on the sum of
counts of many buckets. Results follow R's ``survfit``: one row per distinct exit time of the group, events before
censorings, limits missing where the scale has none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from cohort.errors import StudyError
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.influence import aalen_variance, hazard_influence, incidence_influence, ratio
from cohort.survival.intervals import hazard_limits, probability_limits
from cohort.survival.observations import By
from cohort.survival.reading import curve_quantiles, read_off
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.types import Floats, Ints, Numbers


@dataclass(frozen=True, slots=True)
class Curves:
    """Estimated curves of all groups.

    ``table`` has columns ``group, time, n_risk, n_event, n_censored, estimate, std_error, lower, upper`` and, for
    cumulative incidence, ``cause`` after ``group``; sorted by group, cause and time. ``counts`` are what it was
    computed from; ``estimand`` is ``survival``, ``cumulative_hazard``, ``cumulative_incidence`` or
    ``mean_cumulative_function``; ``start`` the day from which the curve runs.
    """

    table: pl.DataFrame
    counts: DayCounts
    estimand: str
    start: float
    conf_type: str
    level: float

    def to_polars(self) -> pl.DataFrame:
        """Return the tidy table."""
        return self.table

    def at(self, times: Sequence[float]) -> pl.DataFrame:
        """Return the curves read off at ``times``; ``n_risk`` is who was under observation just before each.

        Columns ``group, (cause,) time, n_risk, estimate, std_error, lower, upper``.
        """
        return read_off(self.table, self.counts, 1.0 if self.estimand == "survival" else 0.0, times)

    def quantiles(self, probabilities: Sequence[float] = (0.25, 0.5, 0.75)) -> pl.DataFrame:
        """Return the times by which the given shares have had the event, with limits; the median is 0.5.

        Columns ``group, (cause,) probability, estimate, lower, upper``; missing where a curve does not get so far.
        """
        if self.estimand not in ("survival", "cumulative_incidence"):
            raise StudyError("only probabilities have quantiles; take them from the Kaplan–Meier curve")
        return curve_quantiles(self.table, probabilities, self.start, falling=self.estimand == "survival")


class _Estimate(NamedTuple):
    cause: int
    n_event: Numbers
    value: Floats
    std_error: Floats


class _Layout(NamedTuple):
    estimand: str
    limits: Callable[[Floats, Floats, str, float], tuple[Floats, Floats]]
    conf_type: str
    level: float
    start: float | None


def kaplan_meier(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate the probability of being event-free; ``event`` is 0/1 or boolean.

    Parameters are those of ``count_days`` and ``kaplan_meier_from``.
    """
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    return kaplan_meier_from(counts, conf_type, level, variance=variance, start=start)


def kaplan_meier_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate the probability of being event-free from counts; several causes count as one event.

    Parameters
    ----------
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``.
    variance
        ``greenwood`` (default; with weights it takes them for numbers of persons) or ``robust`` (default with weights).
    start
        Landmark day: the curve is conditional on being under observation then.

    References
    ----------
    Kaplan EL, Meier P (1958), JASA 53:457–481, doi:10.1080/01621459.1958.10501452; Greenwood M (1926).
    """
    robust = is_robust(counts, variance, "greenwood")

    def estimate(risk: RiskTable) -> list[_Estimate]:
        survival = product_limit(risk)
        log_variance = _log_survival_variance(risk, robust=robust)
        with np.errstate(invalid="ignore"):
            std_error = np.where(survival > 0, survival * np.sqrt(log_variance), np.nan)
        return [_Estimate(1, risk.n_any, survival, std_error)]

    layout = _Layout("survival", probability_limits, conf_type, level, start)
    return _curves(counts.any_cause(), estimate, layout)


def nelson_aalen(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate the cumulative hazard; parameters are those of ``count_days`` and ``nelson_aalen_from``."""
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    return nelson_aalen_from(counts, conf_type, level, variance=variance, start=start)


def nelson_aalen_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate the cumulative hazard from counts, ties taken together: the sum of d/Y with variance d/Y².

    Parameters
    ----------
    conf_type
        ``plain`` or ``log``.
    variance
        ``aalen`` (default) or ``robust`` (default with weights).

    References
    ----------
    Nelson W (1972), Technometrics 14:945–966, doi:10.1080/00401706.1972.10488991; Aalen O (1978), Ann Stat
    6:701–726, doi:10.1214/aos/1176344247.
    """
    robust = is_robust(counts, variance, "aalen")

    def estimate(risk: RiskTable) -> list[_Estimate]:
        hazard = ratio(risk.n_any, risk.n_risk)
        drift = ratio(hazard, risk.n_risk)
        squared = hazard_influence(risk, drift, ratio(1.0, risk.n_risk)) if robust else np.cumsum(drift)
        return [_Estimate(1, risk.n_any, np.cumsum(hazard), np.sqrt(squared))]

    return _curves(counts.any_cause(), estimate, _Layout("cumulative_hazard", hazard_limits, conf_type, level, start))


def fleming_harrington(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    ties: str = "together",
    start: float | None = None,
) -> Curves:
    """Estimate survival as exp(-cumulative hazard); parameters of ``count_days`` and ``fleming_harrington_from``."""
    counts = count_days(frame, time, event, by, entry, weights, causes=[1])
    return fleming_harrington_from(counts, conf_type, level, ties=ties, start=start)


def fleming_harrington_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    ties: str = "together",
    start: float | None = None,
) -> Curves:
    """Estimate survival as exp(-cumulative hazard) from counts, with Aalen's variance.

    Parameters
    ----------
    ties
        ``together`` adds d/Y per time (Nelson–Aalen); ``one_by_one`` adds 1/Y + 1/(Y-1) + …, as if tied events had
        followed one another.

    References
    ----------
    Fleming TR, Harrington DP (1984), Commun Stat 13:2469–2486, doi:10.1080/03610928408828837.
    """
    if ties not in ("together", "one_by_one"):
        raise StudyError(f"ties = {ties!r}; together or one_by_one")
    if ties == "one_by_one" and counts.weighted:
        raise StudyError("ties = 'one_by_one' counts tied persons; it has no weighted form")

    def estimate(risk: RiskTable) -> list[_Estimate]:
        hazard, increment = _hazard(risk, one_by_one=ties == "one_by_one")
        survival = np.exp(-np.cumsum(hazard))
        return [_Estimate(1, risk.n_any, survival, survival * np.sqrt(np.cumsum(increment)))]

    layout = _Layout("survival", probability_limits, conf_type, level, start)
    return _curves(counts.any_cause(), estimate, layout)


def cumulative_incidence(
    frame: Any,
    time: str = "t",
    cause: str = "c",
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence; ``cause`` is 0 = censored, 1…k as coded.

    Parameters are those of ``count_days`` and ``cumulative_incidence_from``.
    """
    counts = count_days(frame, time, cause, by, entry, weights)
    return cumulative_incidence_from(counts, conf_type, level, variance=variance, start=start)


def cumulative_incidence_from(
    counts: DayCounts,
    conf_type: str = "log",
    level: float = 0.95,
    *,
    variance: str | None = None,
    start: float | None = None,
) -> Curves:
    """Estimate each cause's cumulative incidence from counts (Aalen–Johansen); ties of different causes are exact.

    Parameters
    ----------
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``.
    variance
        ``robust`` (default: the infinitesimal jackknife, as R's ``survfit``) or ``delta`` (Aalen, as
        ``cmprsk::cuminc``; without weights).

    References
    ----------
    Aalen OO, Johansen S (1978), Scand J Stat 5:141–150.
    """
    robust = is_robust(counts, variance or "robust", "delta")
    if counts.weighted and not robust:
        raise StudyError("variance = 'delta' has no weighted form; use 'robust'")
    spread = incidence_influence if robust else aalen_variance

    def estimate(risk: RiskTable) -> list[_Estimate]:
        free = product_limit(risk)
        before = np.concatenate([[1.0], free])[:-1]
        results = []
        for position, (code, events) in enumerate(zip(counts.causes, risk.n_event, strict=True)):
            value = np.cumsum(before * ratio(events, risk.n_risk))
            certain = (free == 0) & (np.cumsum(risk.n_any - events) == 0)  # 1 whatever the weights: no variance at all
            squared = np.where(certain, 0.0, np.maximum(spread(risk, before, value, position), 0.0))
            results.append(_Estimate(code, events, value, np.sqrt(squared)))
        return results

    layout = _Layout("cumulative_incidence", probability_limits, conf_type, level, start)
    return _curves(counts, estimate, layout)


def is_robust(counts: DayCounts, variance: str | None, plain: str) -> bool:
    """Return whether the variance is the robust one: asked for, or the default of weights."""
    if variance not in (None, plain, "robust"):
        raise StudyError(f"variance = {variance!r}; {plain} or robust")
    return counts.weighted if variance is None else variance == "robust"


def product_limit(risk: RiskTable) -> Floats:
    """Return the Kaplan–Meier curve of one group, (T,)."""
    survivors: Floats = np.where(risk.n_risk > 0, ratio(risk.n_risk - risk.n_any, risk.n_risk), 1.0)
    return np.cumprod(survivors, dtype=np.float64)


def _log_survival_variance(risk: RiskTable, *, robust: bool) -> Floats:
    events, survivors = risk.n_any, risk.n_risk - risk.n_any
    hazard = ratio(events, risk.n_risk)
    if robust:
        return hazard_influence(risk, ratio(hazard, survivors), ratio(1.0, survivors))
    return np.cumsum(ratio(hazard, survivors))


def _hazard(risk: RiskTable, *, one_by_one: bool) -> tuple[Floats, Floats]:
    """Return the hazard increments and the increments of their variance, (T,) each."""
    if not one_by_one:
        hazard = ratio(risk.n_any, risk.n_risk)
        return hazard, ratio(hazard, risk.n_risk)
    events: Ints = risk.n_any
    position = np.repeat(np.arange(len(events)), events)
    rank = np.arange(len(position)) - np.repeat(np.cumsum(events) - events, events)
    share = 1.0 / (risk.n_risk[position] - rank)
    # without any event bincount gives integers
    return np.bincount(position, share, len(events)).astype(np.float64), np.bincount(
        position, share**2, len(events)
    ).astype(np.float64)


def _curves(counts: DayCounts, estimate: Callable[[RiskTable], list[_Estimate]], layout: _Layout) -> Curves:
    """Estimate every group and lay the results out as one table."""
    counts = counts if layout.start is None else counts.landmark(layout.start)
    rows = [
        _rows(risk, result, layout.limits(result.value, result.std_error, layout.conf_type, layout.level))
        for risk in risk_tables(counts)
        for result in estimate(risk)
    ]
    table = pl.concat(rows) if rows else _EMPTY
    if layout.estimand != "cumulative_incidence":
        table = table.drop("cause")
    return Curves(table, counts, layout.estimand, layout.start or 0.0, layout.conf_type, layout.level)


def _rows(risk: RiskTable, result: _Estimate, limits: tuple[Floats, Floats]) -> pl.DataFrame:
    numbers = {"estimate": result.value, "std_error": result.std_error, "lower": limits[0], "upper": limits[1]}
    counted = {"n_risk": risk.n_risk, "n_event": result.n_event, "n_censored": risk.n_censored}
    rows = pl.DataFrame({"time": risk.time} | counted | numbers).with_columns(pl.col(list(numbers)).fill_nan(None))
    return rows.select(pl.lit(risk.group).alias("group"), pl.lit(result.cause, pl.Int64).alias("cause"), *rows.columns)


_EMPTY = pl.DataFrame(
    schema={"group": pl.String, "cause": pl.Int64, "time": pl.Int64}
    | dict.fromkeys(["n_risk", "n_event", "n_censored"], pl.Int64)
    | dict.fromkeys(["estimate", "std_error", "lower", "upper"], pl.Float64)
)
