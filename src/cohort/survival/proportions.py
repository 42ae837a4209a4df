"""Proportions and prevalence with intervals that hold for few events."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from scipy.special import betaincinv

from cohort.errors import StudyError
from cohort.frames import as_lazy
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.intervals import normal_quantile
from cohort.survival.observations import By
from cohort.survival.types import Floats, Numbers

ProportionMethod = Literal["wilson", "wilson_corrected", "exact"]
_NO_TIME = "day of a proportion"
"""Name of the constant clock that turns a frame without times into counts."""


def proportion(
    frame: Any, event: str = "e", by: By = None, level: float = 0.95, *, method: str = "wilson"
) -> pl.DataFrame:
    """Estimate the share of rows with the event in each group; parameters of ``count_days`` and ``proportion_from``.

    ``event`` is 0/1 or boolean: the person has the condition on the day, or at any time in the period.
    """
    dated = as_lazy(frame).with_columns(pl.lit(0).alias(_NO_TIME))
    return proportion_from(count_days(dated, _NO_TIME, event, by, causes=[1]), level, method=method)


def proportion_from(counts: DayCounts, level: float = 0.95, *, method: str = "wilson") -> pl.DataFrame:
    """Estimate the share of rows with an event in each group of counts, such as a point or period prevalence.

    Parameters
    ----------
    method
        Limits, as for ``proportion_limits``.

    Returns
    -------
    Columns ``group, n, n_event, estimate, lower, upper``, sorted by group.
    """
    events = pl.col("n").filter(pl.col("cause") != 0).sum()
    table = counts.cells.group_by("group").agg(n=pl.col("n").sum(), n_event=events).sort("group")
    limits = proportion_limits(table["n_event"].to_numpy(), table["n"].to_numpy(), level, method)
    return table.with_columns(pl.Series(name, values) for name, values in limits.items()).fill_nan(None)


def proportion_limits(
    events: Numbers, persons: Numbers, level: float = 0.95, method: str = "wilson"
) -> dict[str, Floats]:
    """Return ``estimate, lower, upper`` of proportions, float64 (G,); NaN without persons.

    Parameters
    ----------
    events, persons
        Counts, (G,).
    method
        ``wilson`` (score interval), ``wilson_corrected`` (with R's continuity correction) or ``exact``
        (Clopper–Pearson).

    References
    ----------
    Wilson EB (1927), JASA 22:209–212, doi:10.1080/01621459.1927.10502953. Clopper CJ, Pearson ES (1934), Biometrika
    26:404–413, doi:10.1093/biomet/26.4.404. Newcombe RG (1998), Stat Med 17:857–872.
    """
    if method not in get_args(ProportionMethod):
        raise StudyError(f"method = {method!r}; one of {', '.join(get_args(ProportionMethod))}")
    count = np.asarray(events, dtype=np.float64)
    total = np.where(np.asarray(persons) > 0, persons, np.nan).astype(np.float64)
    if method == "exact":
        lower, upper = _clopper_pearson(count, total, level)
    else:
        # the correction R's prop.test makes for its default hypothesis, a share of 1/2
        correction = (
            np.minimum(0.5, np.abs(count - total / 2)) if method == "wilson_corrected" else np.zeros_like(count)
        )
        lower, upper = _wilson(count, total, correction, normal_quantile(level))
    return {"estimate": count / total, "lower": lower, "upper": upper}


def _clopper_pearson(count: Floats, total: Floats, level: float) -> tuple[Floats, Floats]:
    normal_quantile(level)  # refuses a level outside (0, 1)
    tail, missing = (1 - level) / 2, total - count
    lower = np.where(count > 0, betaincinv(np.maximum(count, 1), missing + 1, tail), 0.0)
    upper = np.where(missing > 0, betaincinv(count + 1, np.maximum(missing, 1), 1 - tail), 1.0)
    return np.where(np.isnan(total), np.nan, lower), np.where(np.isnan(total), np.nan, upper)


def _wilson(count: Floats, total: Floats, correction: Floats, z: float) -> tuple[Floats, Floats]:
    limits = []
    for sign in (-1, 1):
        share = np.clip((count + sign * correction) / total, 0, 1)
        half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
        limit = (share + z**2 / (2 * total) + sign * half) / (1 + z**2 / total)
        limits.append(np.where(share == (sign + 1) / 2, share, limit))  # at 0 and 1 the limit is the share itself
    return limits[0], limits[1]
