"""The mean of what persons accumulate by a day, when some are censored before it and some die.

What is seen on a day stands for all who are still not censored then, so it is weighted by the inverse probability of
not being censored before that day. With events as amounts this is the mean of recurrent events in the presence of
death (without death the mean cumulative function); with one amount at the end, the mean of the complete cases.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from cohort.errors import NotEstimableError
from cohort.survival.types import Floats, Ints


@dataclass(frozen=True, slots=True)
class CensoredMean:
    """A mean with its standard error and limits."""

    value: float
    std_error: float
    lower: float
    upper: float


def censored_mean(
    until: Ints,
    dead: npt.NDArray[np.bool_],
    owner: Ints,
    day: Ints,
    amount: Floats,
    horizon: int,
    level: float = 0.95,
    *,
    log: bool = False,
) -> CensoredMean:
    """Return the mean per person of the amounts up to a horizon.

    Parameters
    ----------
    until, dead
        Last day followed of each person, (n,), and whether it is that of death, which precedes a censoring.
    owner, day, amount
        Number of the person (0 to n - 1), day and size of each amount, (m,); none lies after its person's last day.
    horizon
        Last day that counts; who is followed until it or longer is not censored.
    log
        Whether limits are those of the logarithm.

    Raises
    ------
    NotEstimableError
        If everybody who has not died is censored before the horizon.

    References
    ----------
    Bang H, Tsiatis AA. Estimating medical costs with censored data. Biometrika 2000;87:329-343.
    doi:10.1093/biomet/87.2.329.
    Ghosh D, Lin DY. Nonparametric analysis of recurrent events and death. Biometrics 2000;56:554-562.
    doi:10.1111/j.0006-341X.2000.00554.x.
    """
    n, last = len(until), np.clip(until, 0, horizon)
    censored = (until < horizon) & ~dead
    leaving = np.bincount(last, minlength=horizon + 1)[: horizon + 1]
    at_risk = n - np.append(0, leaving.cumsum()[:-1])
    lost = np.bincount(last[censored], minlength=horizon + 1)[: horizon + 1]
    open_to = at_risk - np.bincount(last[dead & (until <= horizon)], minlength=horizon + 1)[: horizon + 1]
    hazard = lost / np.maximum(open_to, 1)
    kept = np.append(1.0, np.cumprod(1 - hazard)[:-1])  # of not being censored before each day
    if kept[horizon] <= 0:
        raise NotEstimableError(f"too_short: nobody is followed for {horizon} days")
    inside = day <= horizon
    seen, days, persons = amount[inside] / kept[day[inside]], day[inside], owner[inside]
    whole = np.bincount(persons, seen, minlength=n)
    value = float(whole.sum() / n)
    still = np.append(np.cumsum(np.bincount(days, seen, minlength=horizon + 1)[::-1])[::-1], 0.0)[1:]  # after each day
    pull = still / np.maximum(open_to - lost, 1)  # what a censoring on the day moves of the total
    drift = np.append(0.0, np.cumsum(pull * hazard))
    moved = np.where(censored, pull[last], 0.0) - drift[np.where(dead, last, last + 1)]
    error = float(np.sqrt(np.sum((whole - value + moved) ** 2)) / n)
    return CensoredMean(value, error, *_limits(value, error, level, log=log))


def _limits(value: float, error: float, level: float, *, log: bool) -> tuple[float, float]:
    z = float(stats.norm.ppf(0.5 + level / 2))
    if not log or value <= 0:
        return value - z * error, value + z * error
    spread = float(np.exp(z * error / value))
    return value / spread, value * spread
