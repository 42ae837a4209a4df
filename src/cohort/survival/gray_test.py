"""Gray's test of equal cumulative incidences of one cause in all groups, while other causes compete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import chdtrc

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.influence import ratio
from cohort.survival.observations import By
from cohort.survival.strata import grouped_risk, quadratic_form
from cohort.survival.types import Floats, Numbers


@dataclass(frozen=True, slots=True)
class GrayTest:
    """Gray's test of the cause of interest.

    ``table`` has one for every cause: ``cause, statistic, df, p_value``, null where another cause has nothing to
    compare.
    """

    statistic: float
    df: int
    p_value: float
    table: pl.DataFrame

    def to_polars(self) -> pl.DataFrame:
        """Return the test of every cause."""
        return self.table


def gray(
    frame: Any,
    time: str,
    cause: str,
    by: By,
    strata: By = None,
    rho: float = 0.0,
    *,
    cause_of_interest: int | None = None,
) -> GrayTest:
    """Compare cumulative incidences; parameters are those of ``count_days`` and ``gray_from``."""
    return gray_from(count_days(frame, time, cause, by, strata=strata), rho, cause_of_interest=cause_of_interest)


def gray_from(counts: DayCounts, rho: float = 0.0, *, cause_of_interest: int | None = None) -> GrayTest:
    """Compare the groups of counts, within strata where the counts have them.

    Parameters
    ----------
    rho
        Power of the event-free weight (1 - F(t-))^rho.
    cause_of_interest
        Code of the cause whose test the result carries; the lowest when not given.

    Raises
    ------
    NotEstimableError
        With fewer than two groups or no events.

    References
    ----------
    Gray RJ (1988), Ann Stat 16:1141–1154, doi:10.1214/aos/1176350951.
    """
    if counts.weighted or (counts.cells["entry"] >= 0).any():
        raise StudyError("Gray's test is defined here without weights and delayed entry")
    wanted = min(counts.causes, default=1) if cause_of_interest is None else cause_of_interest
    if wanted not in counts.causes:
        raise StudyError(
            f"cause_of_interest = {wanted} does not occur; causes are {', '.join(map(str, counts.causes))}"
        )
    risk = grouped_risk(counts)
    rows = []
    for position, code in enumerate(counts.causes):
        score, variance = np.zeros(len(risk.groups)), np.zeros((len(risk.groups),) * 2)
        own, every = risk.n_event[:, position], risk.n_event.sum(axis=1)
        for first, last in zip(*_bounds(risk.stratum), strict=True):
            part = slice(first, last)
            added = _score_and_variance(risk.n_risk[:, part], own[:, part], (every - own)[:, part], rho)
            score, variance = score + added[0], variance + added[1]
        rows.append((code, *_test(score, variance, needed=code == wanted)))
    names = {"cause": pl.Int64, "statistic": pl.Float64, "df": pl.Int64, "p_value": pl.Float64}
    table = pl.DataFrame(rows, schema=names, orient="row")
    row = table.row(by_predicate=pl.col("cause") == wanted, named=True)
    return GrayTest(row["statistic"], row["df"], row["p_value"], table)


def _test(score: Floats, variance: Floats, *, needed: bool) -> tuple[float | None, int, float | None]:
    """Return statistic, degrees of freedom and p-value; without any if nothing compares and it is not needed."""
    try:
        statistic, df = quadratic_form(score, variance)
    except NotEstimableError:
        if needed:
            raise
        return None, 0, None
    return statistic, df, float(chdtrc(df, statistic))


def _bounds(stratum: Numbers) -> tuple[Numbers, Numbers]:
    first = np.flatnonzero(np.diff(stratum, prepend=-1))
    return first, np.append(first[1:], len(stratum))


def _before(values: Numbers, start: float) -> Floats:
    return np.concatenate([np.full((*values.shape[:-1], 1), start), values[..., :-1]], axis=-1)


def _score_and_variance(n_risk: Numbers, own: Numbers, other: Numbers, rho: float) -> tuple[Floats, Floats]:
    """Return the scores (G,) and their variance (G, G) in one stratum.

    ``n_risk, own, other`` are (G, T): at risk, events of the cause, events of the others. The subdistribution risk set
    of a group is Y (1 - F(t-)) / S(t-). The variance is the sum over groups and times of squared influences: what an
    event adds at its time plus what it will have changed by the end.
    """
    free = np.cumprod(np.where(n_risk > 0, ratio(n_risk - own - other, n_risk), 1.0), axis=1)
    free_before = _before(free, 1.0)
    inverse = ratio(n_risk, free_before)  # Y / S(t-)
    incidence_before = _before(np.cumsum(free_before * ratio(own, n_risk), axis=1), 0.0)
    events, pooled = own.sum(axis=0), inverse.sum(axis=0)
    increment = ratio(events, pooled)
    common = np.cumsum(increment)
    common_before = _before(common, 0.0)
    weight = (1 - common_before) ** rho

    at_risk = inverse * (1 - incidence_before)
    score = (weight * (own - events * ratio(at_risk, at_risk.sum(axis=0)))).sum(axis=1)

    share = ratio(inverse, pooled)
    identity = np.eye(len(n_risk))[:, :, None]
    kernel = weight * inverse * (identity - share[:, None, :])  # (G, G, T): group scored, group of the event
    through = np.cumsum(kernel * increment / (1 - common_before), axis=2)
    to_come = through[:, :, -1:] - through

    left = ratio(1 - common, free)
    influence = kernel + np.where(free > 0, 1 - left, 1.0) * to_come
    tied = np.where(events > 1, 1 - ratio(events - 1, pooled * free_before - 1), 1.0)
    rate = tied * ratio(free_before * events, pooled * n_risk)
    variance = np.einsum("ikt,jkt,kt->ij", influence, influence, rate)

    tied = np.where(other > 1, 1 - ratio(other - 1, n_risk - 1), 1.0)
    rate = np.where(free > 0, tied * ratio(free_before**2 * other, n_risk.astype(np.float64) ** 2), 0.0)
    influence = left * to_come
    return score, variance + np.einsum("ikt,jkt,kt->ij", influence, influence, rate)
