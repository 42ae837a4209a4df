"""Curves of any kind as one tidy table, in the form of R's ``survfit``.

One row per distinct exit time of the group, events before censorings, limits missing where the scale has none. Each
estimator comes twice: ``kaplan_meier(frame, …)`` on a frame, ``kaplan_meier_from(counts, …)`` on the sum of the counts
of many buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from cohort.errors import StudyError
from cohort.survival.contrasts import against_reference
from cohort.survival.counts import DayCounts
from cohort.survival.reading import curve_quantiles, read_off
from cohort.survival.risk import RiskTable, risk_tables
from cohort.survival.types import Floats, Numbers


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

        Columns ``group, (cause,) time, n_risk, estimate, std_error, lower, upper``. After a group's last exit its curve
        stays level with nobody at risk.
        """
        return read_off(self.table, self.counts, 1.0 if self.estimand == "survival" else 0.0, times)

    def quantiles(self, probabilities: Sequence[float] = (0.25, 0.5, 0.75)) -> pl.DataFrame:
        """Return the times by which the given shares have had the event, with limits; the median is 0.5.

        Columns ``group, (cause,) probability, estimate, lower, upper``; missing where a curve does not get so far.
        """
        if self.estimand not in ("survival", "cumulative_incidence"):
            raise StudyError("only probabilities have quantiles; take them from the Kaplan–Meier curve")
        return curve_quantiles(self.table, probabilities, self.start, falling=self.estimand == "survival")

    def contrasts(self, times: Sequence[float], reference: str | None = None) -> pl.DataFrame:
        """Return differences and ratios of the groups' curves at ``times`` against ``reference``.

        Columns ``group, reference, (cause,) time, contrast, estimate, std_error, lower, upper, p_value``; missing where
        one of the two groups has nobody left under observation.
        """
        read = self.at(times).with_columns(pl.when(pl.col("n_risk") > 0).then("estimate").alias("estimate"))
        return against_reference(read, self.level, reference)


class Estimate(NamedTuple):
    """One curve of one group: ``cause``, and (T,) each its events, values and standard errors."""

    cause: int
    n_event: Numbers
    value: Floats
    std_error: Floats


class Layout(NamedTuple):
    """What a table of curves shows: the estimand, its limits, and the landmark day it starts from."""

    estimand: str
    limits: Callable[[Floats, Floats, str, float], tuple[Floats, Floats]]
    conf_type: str
    level: float
    start: float | None


def is_robust(counts: DayCounts, variance: str | None, plain: str) -> bool:
    """Return whether the variance is the robust one: asked for, or the default of weights."""
    if variance not in (None, plain, "robust"):
        raise StudyError(f"variance = {variance!r}; {plain} or robust")
    return counts.weighted if variance is None else variance == "robust"


def lay_out(counts: DayCounts, estimate: Callable[[RiskTable], list[Estimate]], layout: Layout) -> Curves:
    """Estimate every group and lay the results out as one table."""
    counts = counts if layout.start is None else counts.landmark(layout.start)
    with_cause = layout.estimand == "cumulative_incidence"
    rows = [
        _rows(
            risk,
            result,
            layout.limits(result.value, result.std_error, layout.conf_type, layout.level),
            with_cause=with_cause,
        )
        for risk in risk_tables(counts)
        for result in estimate(risk)
    ]
    table = pl.concat(rows) if rows else _EMPTY if with_cause else _EMPTY.drop("cause")
    return Curves(table, counts, layout.estimand, layout.start or 0.0, layout.conf_type, layout.level)


def _rows(risk: RiskTable, result: Estimate, limits: tuple[Floats, Floats], *, with_cause: bool) -> pl.DataFrame:
    keys = {"group": risk.group} | ({"cause": result.cause} if with_cause else {})
    known = {name: pl.Series([value]).new_from_index(0, len(risk.time)) for name, value in keys.items()}
    counted = {"time": risk.time, "n_risk": risk.n_risk, "n_event": result.n_event, "n_censored": risk.n_censored}
    numbers = {"estimate": result.value, "std_error": result.std_error, "lower": limits[0], "upper": limits[1]}
    missing = {name: pl.Series(values, nan_to_null=True) for name, values in numbers.items()}
    return pl.DataFrame(known | counted | missing)


_EMPTY = pl.DataFrame(
    schema={"group": pl.String, "cause": pl.Int64, "time": pl.Int64}
    | dict.fromkeys(["n_risk", "n_event", "n_censored"], pl.Int64)
    | dict.fromkeys(["estimate", "std_error", "lower", "upper"], pl.Float64)
)
