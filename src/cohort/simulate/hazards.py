"""Times from hazards: inverse cumulative hazards of the Weibull and Gompertz laws, with a change of hazard on the way.

Each function turns unit-exponential draws into times; the same draw under two treatments gives the two potential
outcomes of one person.

References
----------
Bender R, Augustin T, Blettner M. Generating survival times to simulate Cox proportional hazards models. Stat Med 24
(2005) 1713–1723. doi:10.1002/sim.2059
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cohort.time import DAYS_PER_YEAR

Floats = npt.NDArray[np.float64]


def weibull_time(
    exponential: Floats, hazard_ratio: Floats, *, scale: float, shape: float, change: Floats, factor: Floats
) -> Floats:
    """Return times with cumulative hazard ``hazard_ratio · (t / scale) ** shape``, whose hazard changes once.

    Parameters
    ----------
    exponential, hazard_ratio, change, factor
        Float64, one shape: unit-exponential draws, hazard ratios, days at which the hazard changes (``inf`` = never)
        and the ratio by which it changes.
    scale, shape
        Days, and 1 for a constant hazard; below 1 the hazard falls with time.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        target = exponential / hazard_ratio
        at_change = (change / scale) ** shape
        later = at_change + (target - at_change) / factor
        return scale * np.where(target <= at_change, target, later) ** (1 / shape)


def gompertz_time(
    exponential: Floats,
    age: Floats,
    hazard_ratio: Floats,
    *,
    at_60: float,
    per_year: float,
    change: Floats,
    factor: float,
) -> Floats:
    """Return days until death from a given age, with the hazard multiplied by ``factor`` from day ``change`` on.

    Parameters
    ----------
    exponential, age, hazard_ratio, change
        Float64, one shape: unit-exponential draws, ages in years at day 0, hazard ratios, and days (``inf`` = never).
    at_60, per_year
        Yearly hazard at age 60 and its log slope per year of age; ``at_60 = 0`` means nobody dies.
    factor
        Hazard ratio from ``change`` on.
    """
    if at_60 == 0:
        return np.full_like(exponential, np.inf)
    level = at_60 / per_year * np.exp(per_year * (age - 60)) * hazard_ratio
    with np.errstate(over="ignore", invalid="ignore"):
        at_change = level * np.expm1(per_year * np.maximum(change, 0) / DAYS_PER_YEAR)
        later = at_change + (exponential - at_change) / factor
        cumulative = np.where(exponential <= at_change, exponential, later)
        return np.log1p(cumulative / level) / per_year * DAYS_PER_YEAR


def expit(logit: Floats) -> Floats:
    """Return the probability of a log odds."""
    return 1 / (1 + np.exp(-logit))


def logit(probability: Floats) -> Floats:
    """Return log odds; the probabilities lie strictly between 0 and 1."""
    return np.log(probability) - np.log1p(-probability)
