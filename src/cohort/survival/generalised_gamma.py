"""The generalised gamma family of errors, which holds the Weibull (q = 1) and the log-normal (q = 0).

With k = q⁻², ``k exp(q e)`` has a gamma distribution of shape k. For a known q it is one more location–scale family;
its own derivatives by q have no closed form, so those of the log-likelihood are taken as central differences.

References
----------
Prentice RL (1974), doi:10.1093/biomet/61.3.539; Cox C et al. (2007), doi:10.1002/sim.2836.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammainc, gammaincc, gammaln

from cohort.survival.climbing import Slope
from cohort.survival.location_scale import ERRORS, Error, Spells, likelihood
from cohort.survival.types import Floats

_NORMAL_BELOW = 1e-4  # |q| at which the family is its limit to 1e-5 of a log-likelihood, and k has lost digits
_STEP = 2e-3  # of q: the error of the differences is its fourth power


def error_of(q: float) -> Error:
    """Return the distribution of errors for a known shape."""
    if abs(q) < _NORMAL_BELOW:
        return ERRORS["log_normal"]
    k = q**-2
    constant = float(np.log(abs(q)) + k * np.log(k) - gammaln(k) - k)

    def density(z: Floats) -> Floats:
        value: Floats = constant - k * (np.expm1(q * z) - q * z)
        return value

    def upper(z: Floats) -> Floats:  # of the gamma variate: above z if q > 0, else below it
        with np.errstate(divide="ignore"):
            value: Floats = np.log(gammaincc(k, k * np.exp(q * z)))
        return value

    def lower(z: Floats) -> Floats:
        with np.errstate(divide="ignore"):
            value: Floats = np.log(gammainc(k, k * np.exp(q * z)))
        return value

    return Error(
        density,
        upper if q > 0 else lower,
        lower if q > 0 else upper,
        lambda z: -np.expm1(q * z) / q,
        lambda z: -np.exp(q * z),
    )


def gamma_likelihood(rows: Spells) -> Callable[[Floats], Slope | None]:
    """Return the log-likelihood as a function of (beta, log sigma, q)."""

    def at(theta: Floats) -> Slope | None:
        around = [likelihood(rows, error_of(float(theta[-1]) + step * _STEP))(theta[:-1]) for step in (-2, -1, 0, 1, 2)]
        found = [part for part in around if part is not None]
        if len(found) < len(around):
            return None
        low2, low, here, high, high2 = found
        value_slope = (low2.value - 8 * low.value + 8 * high.value - high2.value) / (12 * _STEP)
        bend = (-low2.value + 16 * low.value - 30 * here.value + 16 * high.value - high2.value) / (12 * _STEP**2)
        mixed = (low2.score - 8 * low.score + 8 * high.score - high2.score) / (12 * _STEP)
        information = np.block([[here.information, -mixed[:, None]], [-mixed[None, :], np.array([[-bend]])]])
        return Slope(theta, here.value, np.append(here.score, value_slope), information)

    return at
