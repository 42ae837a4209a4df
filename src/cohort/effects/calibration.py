"""Empirical calibration: what negative controls, whose true effect is none, say about the error left in an estimate.

References
----------
Schuemie MJ et al. (2014), Stat Med 33:209–218, doi:10.1002/sim.5925 (p-values); Schuemie MJ et al. (2018), PNAS
115:2571–2577, doi:10.1073/pnas.1708282114 (intervals); Lipsitch M et al. (2010), Epidemiology 21:383–388,
doi:10.1097/EDE.0b013e3181d61eeb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize
from scipy.special import ndtr

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.intervals import normal_quantile
from cohort.survival.types import Floats

FEWEST = 5
"""With fewer negative controls the spread of their errors is not known."""
_LARGEST, _SMALLEST = 709.0, 1e-150
"""Logarithms of ratios beyond which there is no ratio, and standard errors whose square is nothing."""


@dataclass(frozen=True, slots=True)
class SystematicError:
    """The error of log ratios that no confidence interval holds: normal, from ``n`` negative controls.

    ``spread`` is its standard deviation.
    """

    mean: float
    spread: float
    n: int

    def p_value(self, log_ratio: float, std_error: float) -> float:
        """Return the two-sided p-value of no effect, given random and systematic error."""
        _require_estimate(log_ratio, std_error)
        below = float(ndtr((log_ratio - self.mean) / np.hypot(self.spread, std_error)))
        return 2 * min(below, 1 - below)

    def interval(self, log_ratio: float, std_error: float, level: float = 0.95) -> tuple[float, float, float]:
        """Return the calibrated log ratio and its limits: the mean error taken away, the spread added.

        The systematic error is taken to be the same whatever the true effect is; without positive controls that cannot
        be checked.
        """
        _require_estimate(log_ratio, std_error)
        centre = log_ratio - self.mean
        half = normal_quantile(level) * float(np.hypot(self.spread, std_error))
        return centre, centre - half, centre + half


def _require_estimate(log_ratio: float, std_error: float) -> None:
    if not (np.isfinite(log_ratio) and _SMALLEST < std_error < np.inf):
        raise StudyError("an estimate to calibrate needs a finite log ratio and a positive standard error")


def systematic_error(log_ratio: Any, std_error: Any) -> SystematicError:
    """Fit the systematic error to the estimates of negative controls by maximum likelihood.

    Parameters
    ----------
    log_ratio, std_error
        Estimates of exposures or outcomes that the treatment cannot affect, float64, shape (n,); those that could not
        be estimated are left out beforehand.

    Raises
    ------
    NotEstimableError
        ``too_few_negative_controls`` below five.
    """
    try:
        y, s = (np.atleast_1d(np.asarray(numbers, dtype=np.float64)) for numbers in (log_ratio, std_error))
    except (TypeError, ValueError):
        raise InputRefusedError("log ratios and standard errors of negative controls must be numbers") from None
    if y.shape != s.shape or not ((np.abs(y) < _LARGEST) & (s > _SMALLEST) & (s < 1 / _SMALLEST)).all():
        raise InputRefusedError("negative controls need a finite log ratio and a positive standard error each")
    if len(y) < FEWEST:
        raise NotEstimableError(f"too_few_negative_controls: {len(y)} of at least {FEWEST}")

    def mean(spread: float) -> float:
        precision = 1 / (spread**2 + s**2)
        return float((precision * y).sum() / precision.sum())

    def deviance(spread: float) -> float:
        variance: Floats = spread**2 + s**2
        return float((np.log(variance) + (y - mean(spread)) ** 2 / variance).sum())

    widest = float(np.ptp(y)) + 1e-12
    inner = optimize.minimize_scalar(deviance, bounds=(0.0, widest), method="bounded", options={"xatol": 1e-12})
    spread = float(inner.x) if inner.fun < deviance(0.0) else 0.0
    return SystematicError(mean(spread), spread, len(y))
