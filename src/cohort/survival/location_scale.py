"""The likelihood of accelerated failure times: log t = x'beta + sigma e, censored on either side or entered late.

Every row is one term in ``z = (log t - eta) / sigma``: a density, a survival, the difference of two, or minus the
survival at entry; scores and informations follow from the derivatives of those by the chain rule.

References
----------
Kalbfleisch JD, Prentice RL (2002), doi:10.1002/9781118032985, chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, log_ndtr

from cohort.survival.climbing import Slope
from cohort.survival.types import Floats


@dataclass(frozen=True, slots=True)
class Error:
    """A distribution of e: logs of density, survival and distribution function, and the log density's derivatives."""

    density: Callable[[Floats], Floats]
    survival: Callable[[Floats], Floats]
    distribution: Callable[[Floats], Floats]
    first: Callable[[Floats], Floats]
    second: Callable[[Floats], Floats]


def _log1mexp(negative: Floats) -> Floats:
    """Return log(1 - exp(-a)) for a > 0."""
    with np.errstate(divide="ignore"):
        return np.where(negative < np.log(2), np.log(-np.expm1(-negative)), np.log1p(-np.exp(-negative)))


_EXTREME = Error(
    lambda z: z - np.exp(z),
    lambda z: -np.exp(z),
    lambda z: _log1mexp(np.exp(z)),
    lambda z: 1 - np.exp(z),
    lambda z: -np.exp(z),
)
_LOGISTIC = Error(
    lambda z: log_expit(z) + log_expit(-z),
    lambda z: log_expit(-z),
    log_expit,
    lambda z: -np.tanh(z / 2),
    lambda z: -0.5 / np.cosh(z / 2) ** 2,
)
_NORMAL = Error(
    lambda z: -0.5 * z * z - 0.5 * np.log(2 * np.pi),
    lambda z: log_ndtr(-z),
    log_ndtr,
    lambda z: -z,
    lambda z: np.full_like(z, -1.0),
)
ERRORS = {"weibull": _EXTREME, "exponential": _EXTREME, "log_logistic": _LOGISTIC, "log_normal": _NORMAL}


@dataclass(frozen=True, slots=True)
class Spells:
    """Rows of one likelihood: each had its event in ``[lower, upper]`` (0 and inf where open) after ``entry``.

    Arrays of shape (n,), times positive or the ends named; ``x`` (n, p) has a column of ones first; ``weight`` counts.
    """

    lower: Floats
    upper: Floats
    entry: Floats
    x: Floats
    weight: Floats


def likelihood(rows: Spells, error: Error, *, scale_is_1: bool = False) -> Callable[[Floats], Slope | None]:
    """Return the log-likelihood as a function of (beta, log sigma); of beta alone if sigma is 1.

    The value is that of times (not of log times), as R's ``survreg`` reports it.
    """
    exact = rows.lower == rows.upper
    jacobian = -float(rows.weight[exact] @ np.log(rows.lower[exact]))

    def at(theta: Floats) -> Slope | None:
        beta, log_scale = (theta, 0.0) if scale_is_1 else (theta[:-1], float(theta[-1]))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            eta, scale = rows.x @ beta, np.exp(log_scale)
            low, high, start = ((np.log(time) - eta) / scale for time in (rows.lower, rows.upper, rows.entry))
            terms = _terms(low, high, start, error, exact)
            terms[0] = terms[0] - exact * log_scale
            value = float(rows.weight @ terms[0]) + jacobian
            score, information = _chain(rows, terms, exact, scale)
        if not (np.isfinite(value) and np.isfinite(score).all() and np.isfinite(information).all()):
            return None
        keep = slice(None, -1) if scale_is_1 else slice(None)
        return Slope(theta, value, score[keep], information[keep, keep])

    return at


def _terms(low: Floats, high: Floats, start: Floats, error: Error, exact: np.ndarray) -> list[Floats]:
    """Return by row: the term, the derivatives along a shift and a stretch of z, and their second derivatives.

    The five derivatives are sums of ``phi'``, ``z phi'``, ``phi''``, ``z phi''`` and ``z² phi''`` over the row's ends.
    """
    out = [np.zeros_like(low) for _ in range(6)]
    both = ~exact & np.isfinite(low) & np.isfinite(high)
    for rows, z, parts in (
        (exact, low, (error.density, error.first, error.second)),
        (~exact & np.isfinite(low) & ~both, low, _tail(error, upper=True)),
        (~exact & np.isfinite(high) & ~both, high, _tail(error, upper=False)),
    ):
        _add(out, rows, z[rows], *(part(z[rows]) for part in parts))
    late = np.isfinite(start)
    _add(out, late, start[late], *(-part(start[late]) for part in _tail(error, upper=True)))
    if both.any():
        _add_interval(out, both, low[both], high[both], error)
    return out


def _add(out: list[Floats], rows: np.ndarray, z: Floats, value: Floats, first: Floats, second: Floats) -> None:
    for total, part in zip(out, (value, first, z * first, second, z * second, z * z * second), strict=True):
        total[rows] += part


def _tail(error: Error, *, upper: bool) -> tuple[Callable[[Floats], Floats], ...]:
    """Return log survival (or log distribution function) and its two derivatives."""
    whole, sign = (error.survival, -1.0) if upper else (error.distribution, 1.0)

    def first(z: Floats) -> Floats:
        ratio: Floats = sign * np.exp(error.density(z) - whole(z))
        return ratio

    return whole, first, lambda z: first(z) * (error.first(z) - first(z))


def _add_interval(out: list[Floats], rows: np.ndarray, low: Floats, high: Floats, error: Error) -> None:
    """Add the terms of ``log(S(low) - S(high))``, taken from the tail in which both are small."""
    upper = low > 0
    big = np.where(upper, error.survival(low), error.distribution(high))
    small = np.where(upper, error.survival(high), error.distribution(low))
    value = big + _log1mexp(big - small)
    at_low, at_high = -np.exp(error.density(low) - value), np.exp(error.density(high) - value)
    low_2 = at_low * error.first(low) - at_low * at_low
    high_2 = at_high * error.first(high) - at_high * at_high
    cross = -at_low * at_high
    parts = (
        value,
        at_low + at_high,
        low * at_low + high * at_high,
        low_2 + 2 * cross + high_2,
        low * low_2 + (low + high) * cross + high * high_2,
        low * low * low_2 + 2 * low * high * cross + high * high * high_2,
    )
    for total, part in zip(out, parts, strict=True):
        total[rows] += part


def _chain(rows: Spells, terms: list[Floats], exact: np.ndarray, scale: float) -> tuple[Floats, Floats]:
    """Return score and information in (beta, log sigma): dz/deta = -1 / sigma, dz/dlog sigma = -z."""
    _, shift, stretch, shift_2, mixed, stretch_2 = (rows.weight * part for part in terms)
    score = np.append(-(shift / scale) @ rows.x, -stretch.sum() - rows.weight[exact].sum())
    p = rows.x.shape[1]
    information = np.empty((p + 1, p + 1))
    information[:p, :p] = -(rows.x * (shift_2 / scale**2)[:, None]).T @ rows.x
    information[:p, p] = information[p, :p] = -((mixed + shift) / scale) @ rows.x
    information[p, p] = -(stretch_2 + stretch).sum()
    return score, information
