"""Incidence rates with exact limits, from counts: events over person-time.

Persons with a follow-up of 0 days count in ``n`` and have no person-time. A group without person-time has no rate: its
estimate and limits are missing, never infinite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from scipy.special import gammaincinv

from cohort.errors import StudyError
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.intervals import normal_quantile
from cohort.survival.observations import By
from cohort.survival.types import Floats, Numbers
from cohort.time import DAYS_PER_YEAR

RateMethod = Literal["exact", "byar", "normal"]


def incidence_rate(
    frame: Any,
    time: str = "t",
    event: str = "e",
    by: By = None,
    entry: str | None = None,
    per: float = 1000.0,
    level: float = 0.95,
    *,
    unit: str = "year",
    method: str = "exact",
) -> pl.DataFrame:
    """Estimate the incidence rate of each group; parameters are those of ``count_days`` and ``incidence_rate_from``."""
    counts = count_days(frame, time, event, by, entry, causes=[1])
    return incidence_rate_from(counts, per, level, unit=unit, method=method)


def incidence_rate_from(
    counts: DayCounts, per: float = 1000.0, level: float = 0.95, *, unit: str = "year", method: str = "exact"
) -> pl.DataFrame:
    """Estimate the incidence rate of each group from counts.

    Parameters
    ----------
    per
        Person-time the rate is expressed for, such as 1000 person-years.
    unit
        ``year``: times are days, the rate is per ``per`` years of 365.25 days; ``day``: per ``per`` units as given.
    method
        Limits: ``exact`` (Garwood), ``byar`` or ``normal``.

    Returns
    -------
    Columns ``group, n, n_event, person_time`` (in the unit of the times), ``estimate, std_error, lower, upper``.
    """
    if unit not in ("year", "day"):
        raise StudyError(f"unit = {unit!r}; year or day")
    exposed = pl.col("time") - pl.max_horizontal(pl.col("entry"), 0)  # the entry of a person from the start is -1
    table = (
        counts.cells.group_by("group")
        .agg(
            n=pl.col("n").sum(),
            n_event=pl.col("n").filter(pl.col("cause") != 0).sum(),
            person_time=(pl.col("n") * exposed).sum(),
        )
        .sort("group")
    )
    events, scale = table["n_event"].to_numpy(), per * (DAYS_PER_YEAR if unit == "year" else 1)
    rates = rate_limits(events, table["person_time"].to_numpy(), level, method)
    return table.with_columns(pl.Series(name, values * scale) for name, values in rates.items()).fill_nan(None)


def robust_rate_limits(
    rates: pl.DataFrame, persons: Mapping[str, pl.DataFrame], per: float = 1000.0, level: float = 0.95
) -> pl.DataFrame:
    """Return the rates with limits on the log scale that allow for several rows of one person.

    With d events in a time T at a rate r, the variance of r is the sum over persons of (d_p - r T_p)² over T². Without
    events the rates keep their limits.

    Parameters
    ----------
    rates
        As from ``incidence_rate_from``, per ``per`` person-years.
    persons
        Rows of each group: ``id, start, stop`` in days, ``event`` (1 = the outcome).

    References
    ----------
    Royall RM (1986), Int Stat Rev 54:221–226, doi:10.2307/1403146. Stukel TA et al. (1994), Stat Med 13:1781–1791.
    doi:10.1002/sim.4780131709.
    """
    rows = [robust_rate_error(persons[group]) for group in rates["group"]]
    error = pl.Series(rows, dtype=pl.Float64) * (per * DAYS_PER_YEAR)
    reach = (normal_quantile(level) * pl.col("std_error") / pl.col("estimate")).exp()
    happened = pl.col("n_event") > 0
    return rates.with_columns(pl.when(happened).then(error).otherwise("std_error").alias("std_error")).with_columns(
        pl.when(happened).then(pl.col("estimate") / reach).otherwise("lower").alias("lower"),
        pl.when(happened).then(pl.col("estimate") * reach).otherwise("upper").alias("upper"),
    )


def robust_rate_error(rows: pl.DataFrame) -> float | None:
    """Return the standard error of the rate per day of one group; none without time at risk."""
    time = pl.col("stop") - pl.max_horizontal("start", 0)
    each = rows.group_by("id", maintain_order=True).agg(events=(pl.col("event") == 1).sum(), time=time.sum())
    events, days = each["events"].to_numpy().astype(np.float64), each["time"].to_numpy().astype(np.float64)
    if not (whole := days.sum()):
        return None
    return float(np.sqrt(((events - events.sum() / whole * days) ** 2).sum()) / whole)


def rate_limits(events: Numbers, person_time: Numbers, level: float = 0.95, method: str = "exact") -> dict[str, Floats]:
    """Return ``estimate, std_error, lower, upper`` of rates, float64 (G,); NaN without person-time.

    Parameters
    ----------
    events, person_time
        Counts and time at risk, (G,).
    method
        ``exact`` (Garwood's chi-square limits), ``byar`` (his cube-root approximation to them) or ``normal``.

    References
    ----------
    Garwood F (1936), Biometrika 28:437–442, doi:10.2307/2333958. Rothman KJ, Boice JD (1979), Epidemiologic Analysis
    with a Programmable Calculator (Byar's limits).
    """
    if method not in get_args(RateMethod):
        raise StudyError(f"method = {method!r}; one of {', '.join(get_args(RateMethod))}")
    count = np.asarray(events, dtype=np.float64)
    time = np.where(np.asarray(person_time) > 0, person_time, np.nan).astype(np.float64)
    lower, upper = _LIMITS[method](count, level)
    return {
        "estimate": count / time,
        "std_error": np.sqrt(count) / time,
        "lower": np.maximum(lower, 0) / time,
        "upper": upper / time,
    }


def _garwood(count: Floats, level: float) -> tuple[Floats, Floats]:
    normal_quantile(level)  # refuses a level outside (0, 1)
    tail = (1 - level) / 2
    lower = np.where(count > 0, gammaincinv(np.maximum(count, 1), tail), 0.0)
    return lower, gammaincinv(count + 1, 1 - tail)


def _byar(count: Floats, level: float) -> tuple[Floats, Floats]:
    middle = count + 0.5
    half = normal_quantile(level) / (3 * np.sqrt(middle))
    centre = 1 - 1 / (9 * middle)
    return middle * (centre - half) ** 3, middle * (centre + half) ** 3


def _normal(count: Floats, level: float) -> tuple[Floats, Floats]:
    half = normal_quantile(level) * np.sqrt(count)
    return count - half, count + half


_LIMITS = {"exact": _garwood, "byar": _byar, "normal": _normal}
