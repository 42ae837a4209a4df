"""Pointwise confidence limits on R's five scales, for probabilities and for cumulative hazards."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.special import expit, logit, ndtri

from cohort.errors import StudyError
from cohort.survival.types import Floats

ConfType = Literal["plain", "log", "log-log", "logit", "arcsin"]


def normal_quantile(level: float) -> float:
    """Return the two-sided normal quantile of a confidence level such as 0.95."""
    if not 0 < level < 1:
        raise StudyError(f"level = {level}; a confidence level lies between 0 and 1, such as 0.95")
    return float(ndtri((1 + level) / 2))


def probability_limits(estimate: Floats, std_error: Floats, conf_type: str, level: float) -> tuple[Floats, Floats]:
    """Return lower and upper limits, (T,) each, of probabilities; NaN where the scale has no value (0, or 1).

    Parameters
    ----------
    estimate, std_error
        Probabilities and their standard errors, float64 (T,).
    conf_type
        ``plain, log, log-log, logit`` or ``arcsin``: the scale on which the limits are symmetric.

    References
    ----------
    Borgan Ø, Liestøl K (1990), Scand J Stat 17:35–41. Therneau TM, Grambsch PM (2000), Modeling Survival Data,
    doi:10.1007/978-1-4757-3294-8 (``survfit``).
    """
    if conf_type not in get_args(ConfType):
        raise StudyError(f"conf_type = {conf_type!r}; one of {', '.join(get_args(ConfType))}")
    z = normal_quantile(level)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(estimate == 0, np.nan, estimate)
        if conf_type == "plain":
            lower, upper = estimate - z * std_error, estimate + z * std_error
        elif conf_type == "log":
            lower, upper = p * np.exp(-z * std_error / p), p * np.exp(z * std_error / p)
        elif conf_type == "log-log":
            lower, upper = _log_log(p, z * std_error)
        elif conf_type == "logit":
            half = z * std_error / (p * (1 - p))
            lower, upper = expit(logit(p) - half), expit(logit(p) + half)
        else:
            half = z * std_error / (2 * np.sqrt(p * (1 - p)))
            angle = np.arcsin(np.sqrt(p))
            lower = np.sin(np.maximum(angle - half, 0)) ** 2
            upper = np.sin(np.minimum(angle + half, np.pi / 2)) ** 2
    return np.maximum(lower, 0), np.minimum(upper, 1)


def _log_log(p: Floats, half: Floats) -> tuple[Floats, Floats]:
    inner, half = np.log(-np.log(p)), half / (p * np.log(p))  # half is negative: log p is
    return np.exp(-np.exp(inner - half)), np.exp(-np.exp(inner + half))


def hazard_limits(estimate: Floats, std_error: Floats, conf_type: str, level: float) -> tuple[Floats, Floats]:
    """Return the limits of cumulative hazards or expected counts, (T,) each, on the ``plain`` or ``log`` scale.

    References
    ----------
    Bie O, Borgan Ø, Liestøl K (1987), Scand J Stat 14:221–233.
    """
    z = normal_quantile(level)
    if conf_type == "plain":
        return np.maximum(estimate - z * std_error, 0), estimate + z * std_error
    if conf_type != "log":
        raise StudyError(f"conf_type = {conf_type!r}; a cumulative hazard has plain or log")
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.exp(z * std_error / np.where(estimate == 0, np.nan, estimate))
    return estimate / factor, estimate * factor
