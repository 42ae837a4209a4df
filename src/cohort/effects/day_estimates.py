"""What weighted sums by day say of two strategies: risk, time lost and the ratio of hazards.

References
----------
Aalen OO, Johansen S (1978), Scand J Stat 5:141–150. Efron B (1977), doi:10.1080/01621459.1977.10480613 (ties).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
from scipy.special import digamma, ndtr, polygamma

from cohort.effects.clones import DaySums
from cohort.errors import NotEstimableError
from cohort.survival.cox_sums import kernels
from cohort.survival.influence import ratio
from cohort.survival.intervals import normal_quantile
from cohort.survival.types import Floats

MEASURES = ("risk", "time_lost")
RATIOS = ("risk_ratio", "hazard_ratio")
Ties = Callable[[Floats, Floats, Floats, Floats], Floats]
"""From weight at risk, weight with an event, number and weight of events (T,) to a, b, a2, b2, c2 of Efron, (5, T)."""


def incidence_steps(sums: DaySums, position: int) -> Floats:
    """Return the increments of the Aalen–Johansen incidence of a cause, (T,)."""
    survival = np.cumprod(1 - ratio(sums.events.sum(axis=0), sums.at_risk))
    before = np.concatenate([[1.0], survival])[:-1]
    return before * ratio(sums.events[position], sums.at_risk)


def risk_and_time_lost(sums: DaySums, position: int, horizon: float) -> Floats:
    """Return the risk at, and the time lost by, the horizon; a curve stays level after its last exit."""
    steps = incidence_steps(sums, position)
    left = np.maximum(horizon - sums.day, 0)
    return np.array([steps[sums.day <= horizon].sum(), (steps * left).sum()])


def summed_ties(at_risk: Floats, dying: Floats, deaths: Floats, weight: Floats) -> Floats:
    """Add up Efron's terms one event after another."""
    terms = np.zeros((5, at_risk.size))
    kernels().tie_terms(at_risk, dying, deaths.round().astype(np.int64), weight, True, terms)
    return terms


def closed_ties(at_risk: Floats, dying: Floats, deaths: Floats, weight: Floats) -> Floats:
    """Return Efron's terms from polygamma functions, to about nine digits, however many events are tied.

    The sum over l = 0 … d - 1 of 1 / (S - l D / d) is d / D times a difference of digamma functions, of its squares one
    of trigamma functions; the terms with l / d follow from S.
    """
    step = np.divide(deaths, dying, out=np.ones_like(dying), where=dying > 0)
    top = step * at_risk + 1
    a = step * (digamma(top) - digamma(top - deaths))
    a2 = step**2 * (polygamma(1, top - deaths) - polygamma(1, top))
    known = np.where(dying > 0, dying, 1.0)
    b, b2 = (at_risk * a - deaths) / known, (at_risk * a2 - a) / known
    c2 = (at_risk * b2 - b) / known
    share = ratio(weight, deaths)
    terms: Floats = np.where(dying > 0, share * np.stack([a, b, a2, b2, c2]), 0.0)
    return terms


def log_hazard_ratio(zero: DaySums, one: DaySums, position: int, ties: Ties = summed_ties, start: float = 0.0) -> float:
    """Return the coefficient of a weighted Cox model of the strategy alone (Efron ties), from sums by day.

    One covariate of 0 and 1 leaves one number per day and arm of everything that a Newton step needs.
    """
    both = zero.events[position] + one.events[position] > 0
    risk, dying, deaths = (
        np.stack([getattr(arm, name)[..., both] for arm in (zero, one)]) for name in ("at_risk", "events", "n_events")
    )
    dying, tied = dying[:, position], deaths[:, position].sum(axis=0)
    if not tied.size:
        raise NotEstimableError("no_events")
    if not dying.sum(axis=1).all():
        raise NotEstimableError("monotone_likelihood", ("strategy",))
    slope = start
    for _ in range(50):
        r = np.exp(slope)
        a, b, a2, b2, c2 = ties(risk[0] + r * risk[1], dying[0] + r * dying[1], tied, dying.sum(axis=0))
        at, out = r * risk[1], r * dying[1]
        expected = a * at - b * out
        information = (expected - (a2 * at**2 - 2 * b2 * at * out + c2 * out**2)).sum()
        step = float((dying[1] - expected).sum() / information)
        slope += step
        # the score in closed form has nine digits
        if abs(step) < (1e-12 if ties is summed_ties else 1e-7):
            return slope
    raise NotEstimableError("not_converged", ("strategy",))


def estimates_table(values: Floats, samples: Floats, level: float, groups: tuple[str, str]) -> pl.DataFrame:
    """Return one row per estimate with the limits that bootstrap samples give: normal, of ratios on the log scale.

    ``values`` (5,) are risk and time lost of either group and the logarithm of the hazard ratio, ``samples``
    (samples, 5) the same; without two of them there are no limits, nor for a ratio to a risk that is 0 in some sample.
    """
    points = _named(values, groups)
    spread = _named(samples.T, groups) if len(samples) > 1 else {}
    rows = []
    for (measure, group), point in points.items():
        shown = np.exp if measure in RATIOS else float
        error = _deviation(spread[measure, group]) if spread else np.nan
        half = normal_quantile(level) * error
        contrast = measure in RATIOS or measure.endswith("difference")
        p = float(2 * ndtr(-abs(point) / error)) if contrast and error > 0 else np.nan
        rows.append((measure, group, *map(float, (shown(point), error, shown(point - half), shown(point + half), p))))
    names = ["measure", "group", "estimate", "std_error", "lower", "upper", "p_value"]
    finite = pl.when(pl.selectors.float().is_finite()).then(pl.selectors.float())
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(finite)


def _deviation(samples: Floats) -> float:
    """Return the standard deviation; NaN where a sample has no finite number."""
    return float(np.std(samples, ddof=1)) if np.isfinite(samples).all() else np.nan


def _named(values: Floats, groups: tuple[str, str]) -> dict[tuple[str, str], Floats]:
    """Return estimates by measure and group, ratios as logarithms; ``values`` are (5,) or (5, samples)."""
    one, zero = dict(zip(MEASURES, values[:2], strict=True)), dict(zip(MEASURES, values[2:4], strict=True))
    found: dict[tuple[str, str], Floats] = {}
    for measure in MEASURES:
        found |= {(measure, groups[0]): one[measure], (measure, groups[1]): zero[measure]}
        found[f"{measure}_difference", groups[0]] = one[measure] - zero[measure]
    with np.errstate(divide="ignore", invalid="ignore"):
        found["risk_ratio", groups[0]] = np.log(one["risk"] / zero["risk"])
    found["hazard_ratio", groups[0]] = values[4]
    return found


def curves_table(sums: tuple[DaySums, DaySums], causes: tuple[int, ...], groups: tuple[str, str]) -> pl.DataFrame:
    """Return the incidence of each cause in either group: ``group, cause, time, n_risk, n_event, estimate``."""
    parts = [
        pl.DataFrame(
            {
                "group": name,
                "cause": code,
                "time": arm.day,
                "n_risk": arm.at_risk,
                "n_event": arm.events[position],
                "estimate": np.cumsum(incidence_steps(arm, position)),
            }
        )
        for name, arm in zip(groups, sums, strict=True)
        for position, code in enumerate(causes)
    ]
    return pl.concat(parts)
