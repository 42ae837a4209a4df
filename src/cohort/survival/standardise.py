"""Rates made comparable: direct and indirect standardisation, and ratios of two rates.

Input is a table of counts with one row per group and stratum (age band, sex, …), as ``incidence_rate`` gives them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import gammaincinv, ndtr
from scipy.stats import binomtest

from cohort.errors import InputRefusedError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.counts import EVERYBODY
from cohort.survival.intervals import normal_quantile
from cohort.survival.proportions import proportion_limits
from cohort.survival.rates import rate_limits
from cohort.survival.types import Floats


def direct_rate(
    table: Any,
    events: str = "n_event",
    person_time: str = "person_time",
    standard: str = "standard",
    by: str | None = None,
    per: float = 1000.0,
    level: float = 0.95,
) -> pl.DataFrame:
    """Estimate directly standardised rates: each group's stratum rates, weighted as in the standard population.

    Parameters
    ----------
    events, person_time, standard
        Columns of counts, time at risk and standard population (any scale) of each stratum.
    by
        Column of groups.

    Returns
    -------
    Columns ``group, n_event, person_time, crude, estimate, std_error, lower, upper``; limits from the gamma
    distribution, which hold for few events and unequal weights.

    References
    ----------
    Fay MP, Feuer EJ (1997), Stat Med 16:791–801, doi:10.1002/(SICI)1097-0258(19970415)16:7<791::AID-SIM500>3.0.CO;2-#.
    """
    rows = []
    for group, (count, time, weight) in _strata(table, [events, person_time, standard], by).items():
        share = weight / weight.sum()
        rate, squared, largest = _weighted_rate(count, time, share)
        lower, upper = _fay_feuer(rate, squared, largest, level)
        summary = {"estimate": rate, "std_error": np.sqrt(squared), "lower": lower, "upper": upper}
        counted = {"group": group, "n_event": count.sum(), "person_time": time.sum()}
        crude = {"crude": _quotient(count.sum() * per, time.sum())}
        rows.append(counted | crude | {name: value * per for name, value in summary.items()})
    return pl.DataFrame(rows).fill_nan(None)


def direct_proportion(
    table: Any,
    events: str = "n_event",
    persons: str = "n",
    standard: str = "standard",
    by: str | None = None,
    level: float = 0.95,
) -> pl.DataFrame:
    """Estimate directly standardised proportions, such as a prevalence: stratum shares, weighted as in the standard.

    Parameters are those of ``direct_rate``, with persons for person-time.

    Returns
    -------
    Columns ``group, n_event, n, crude, estimate, std_error, lower, upper``; limits are Wilson's for the number of
    persons whose plain share would have the same variance, which keeps them between 0 and 1.

    References
    ----------
    Dean N, Pagano M (2015), J Surv Stat Methodol 3:484–503, doi:10.1093/jssam/smv024.
    """
    rows = []
    for group, (count, total, weight) in _strata(table, [events, persons, standard], by).items():
        share = weight / weight.sum()
        value, variance = _weighted_share(count, total, share)
        size = value * (1 - value) / variance if variance > 0 else total.sum()
        limits = proportion_limits(np.array([value * size]), np.array([size]), level)
        counted = {"group": group, "n_event": count.sum(), "n": total.sum()}
        summary = {"crude": _quotient(count.sum(), total.sum()), "estimate": value, "std_error": np.sqrt(variance)}
        rows.append(counted | summary | {end: float(limits[end][0]) for end in ("lower", "upper")})
    return pl.DataFrame(rows).fill_nan(None)


def indirect_rate(
    table: Any,
    events: str = "n_event",
    person_time: str = "person_time",
    standard_events: str = "standard_events",
    standard_time: str = "standard_time",
    by: str | None = None,
    per: float = 1000.0,
    level: float = 0.95,
    *,
    method: str = "exact",
) -> pl.DataFrame:
    """Estimate standardised morbidity (mortality) ratios and indirectly standardised rates.

    Parameters
    ----------
    standard_events, standard_time
        Counts and time at risk of each stratum in the standard population; their rates give the expected events.
    method
        Limits of the observed count: ``exact`` (Garwood), ``byar``, or ``log`` (normal on the log scale).

    Returns
    -------
    Columns ``group, n_event, expected, smr, smr_lower, smr_upper, estimate, lower, upper``: the ratio, and the
    standard's crude rate times the ratio.

    References
    ----------
    Breslow NE, Day NE (1987), Statistical Methods in Cancer Research II, IARC, chapter 2.
    """
    rows = []
    columns = [events, person_time, standard_events, standard_time]
    for group, (count, time, known, known_time) in _strata(table, columns, by).items():
        observed, expected = count.sum(), float((time * known / known_time).sum())
        ratio = _observed_limits(observed, expected, level, method)
        crude = known.sum() / known_time.sum() * per
        names = ["smr", "smr_lower", "smr_upper"], ["estimate", "lower", "upper"]
        rows.append(
            {"group": group, "n_event": observed, "expected": expected}
            | dict(zip(names[0], ratio, strict=True))
            | dict(zip(names[1], (value * crude for value in ratio), strict=True))
        )
    return pl.DataFrame(rows).fill_nan(None)


@dataclass(frozen=True, slots=True)
class RateRatio:
    """Ratio of two rates with limits and a two-sided test that it is 1; None where a count of 0 leaves it open."""

    estimate: float | None
    lower: float | None
    upper: float | None
    p_value: float


def rate_ratio(
    events: int,
    person_time: float,
    reference_events: int,
    reference_time: float,
    level: float = 0.95,
    *,
    method: str = "exact",
) -> RateRatio:
    """Compare two rates given the number of their events together.

    Parameters
    ----------
    method
        ``exact`` (conditional binomial limits and test) or ``wald`` (normal limits of the log ratio, score test).

    Raises
    ------
    InputRefusedError
        Without person-time in either group.

    References
    ----------
    Przyborowski J, Wilenski H (1940), Biometrika 31:313–323, doi:10.1093/biomet/31.3-4.313.
    """
    if not (person_time > 0 and reference_time > 0):
        raise InputRefusedError("a rate ratio needs person-time above 0 in both groups")
    if method not in ("exact", "wald"):
        raise StudyError(f"method = {method!r}; exact or wald")
    total, odds = events + reference_events, reference_time / person_time
    if total == 0:
        return RateRatio(None, None, None, 1.0)
    share = person_time / (person_time + reference_time)
    estimate = _quotient(events * odds, reference_events)
    if method == "exact":
        limits = proportion_limits(np.array([events]), np.array([total]), level, "exact")
        lower, upper = (_quotient(float(limits[end][0]) * odds, 1 - limits[end][0]) for end in ("lower", "upper"))
        return RateRatio(estimate, lower, upper, float(binomtest(events, total, share).pvalue))
    score = (events - total * share) / np.sqrt(total * share * (1 - share))
    p_value = float(2 * ndtr(-abs(score)))
    if not estimate:
        return RateRatio(estimate, None, None, p_value)
    factor = float(np.exp(normal_quantile(level) * np.sqrt(1 / events + 1 / reference_events)))
    return RateRatio(estimate, estimate / factor, estimate * factor, p_value)


def _strata(table: Any, columns: list[str], by: str | None) -> dict[str, list[Floats]]:
    """Return the columns of each group as arrays, groups sorted as text; refuses what is missing or negative."""
    lazy = as_lazy(table)
    require_columns(lazy, dict(zip(columns, columns, strict=True)) | ({"by": by} if by else {}))
    group = pl.col(by).cast(pl.String) if by else pl.lit(EVERYBODY)
    rows = lazy.select(group.alias("group"), *(pl.col(name).cast(pl.Float64) for name in columns)).collect()
    wrong = rows.select(
        pl.any_horizontal(pl.col("group").is_null(), *(~(pl.col(name) >= 0).fill_null(False) for name in columns)).sum()
    ).item()
    if wrong:
        raise InputRefusedError(f"{wrong} strata have a missing or negative count, time or standard")
    parts = rows.sort("group", *columns).partition_by("group", as_dict=True, maintain_order=True)
    return {str(name): [part[column].to_numpy() for column in columns] for (name,), part in parts.items()}


def _quotient(numerator: float, denominator: float) -> float | None:
    return float(numerator / denominator) if denominator > 0 else None


def _weighted_rate(count: Floats, time: Floats, share: Floats) -> tuple[float, float, float]:
    """Return the weighted rate, its variance, and the largest weight of one event; NaN where a stratum has no time."""
    if (time[share > 0] == 0).any():
        return float("nan"), float("nan"), float("nan")
    weight = np.divide(share, time, out=np.zeros_like(share), where=time > 0)
    return float((weight * count).sum()), float((weight**2 * count).sum()), float(weight.max(initial=0.0))


def _weighted_share(count: Floats, total: Floats, weight: Floats) -> tuple[float, float]:
    """Return the weighted share and its variance; NaN where a stratum that counts has nobody."""
    if (total[weight > 0] == 0).any():
        return float("nan"), float("nan")
    shares = np.divide(count, total, out=np.zeros_like(count), where=total > 0)
    variances = np.divide(shares * (1 - shares), total, out=np.zeros_like(count), where=total > 0)
    return float((weight * shares).sum()), float((weight**2 * variances).sum())


def _fay_feuer(rate: float, squared: float, largest: float, level: float) -> tuple[float, float]:
    normal_quantile(level)  # refuses a level outside (0, 1)
    if np.isnan(rate):
        return rate, rate
    tail = (1 - level) / 2
    lower = gammaincinv(rate**2 / squared, tail) * squared / rate if rate > 0 else 0.0
    more, spread = rate + largest, squared + largest**2
    return float(lower), float(gammaincinv(more**2 / spread, 1 - tail) * spread / more)


def _observed_limits(observed: float, expected: float, level: float, method: str) -> tuple[float, float, float]:
    if not expected > 0:
        return float("nan"), float("nan"), float("nan")
    if method == "log":
        factor = float(np.exp(normal_quantile(level) / np.sqrt(observed))) if observed else float("nan")
        return observed / expected, observed / expected / factor, observed / expected * factor
    if method not in ("exact", "byar"):
        raise StudyError(f"method = {method!r}; exact, byar or log")
    limits = rate_limits(np.array([observed]), np.array([expected]), level, method)
    return float(limits["estimate"][0]), float(limits["lower"][0]), float(limits["upper"][0])
