"""Robust (infinitesimal-jackknife) and Aalen variances of curves, in linear time.

Every person changes an estimate a little; the sum of the squares of those changes is its robust variance. On
integer days a person's influence depends only on entry, exit and cause, so the sums run over the cells of the risk
table: while at risk all persons of one entry drift together, at exit an event adds a jump, afterwards the influence on
log S is constant. For an unweighted Kaplan–Meier without delayed entry the result is Greenwood's formula exactly.
"""

from __future__ import annotations

import numpy as np

from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats, Ints, Numbers


def ratio(numerator: Numbers | float, denominator: Numbers) -> Floats:
    """Return the quotient, 0 where the denominator is 0: nobody at risk adds nothing."""
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    quotient: Floats = np.zeros(shape)
    np.divide(numerator, denominator, out=quotient, where=np.greater(denominator, 0))
    return quotient


def _after(values: Floats) -> Floats:
    """Return the running sum with a leading 0: position i holds the value after i exit times."""
    return np.concatenate([[0.0], np.cumsum(values)])


def _scatter(place: Ints, values: Floats, size: int) -> Floats:
    return np.bincount(place, values, size)[:size].astype(np.float64)  # integers when nobody is there


def _still_at_risk(risk: RiskTable, values: Floats) -> Floats:
    """Return the sums of ``values`` (M,) over those who have entered by and leave after each exit time, (T,)."""
    size = len(risk.time)
    return np.cumsum(_scatter(risk.entry, values, size + 1)[:size] - _scatter(risk.exit, values, size))


def hazard_influence(risk: RiskTable, drift: Floats, jump: Floats) -> Floats:
    """Return the robust variance, (T,), of a sum over time of hazard increments.

    Parameters
    ----------
    drift
        (T,) what one person at risk takes from the increment: h/(Y-d) for -log S, h/Y for the cumulative hazard.
    jump
        (T,) what one event adds: 1/(Y-d), or 1/Y.

    References
    ----------
    Therneau TM, Crowson CS, Atkinson EJ (2024), Multi-state models and competing risks, R survival vignette;
    Efron B (1982), The Jackknife, doi:10.1137/1.9781611970319.
    """
    total, size = _after(drift), len(risk.time)
    at_entry = total[risk.entry]
    left = total[risk.exit + 1] - at_entry - np.where(risk.cause > 0, jump[risk.exit], 0.0)
    gone = np.cumsum(_scatter(risk.exit, risk.squares * left**2, size))
    now = total[1:]
    first, second, third = (_still_at_risk(risk, risk.squares * at_entry**k) for k in range(3))
    return gone + np.maximum(first * now**2 - 2 * now * second + third, 0.0)


def total_influence(risk: RiskTable, drift: Floats, jump: Floats) -> float:
    """Return the robust variance of one number.

    Parameters
    ----------
    drift
        (T,) what a person at risk at each time adds to the number.
    jump
        (M,) what the exit of each cell takes away from it.
    """
    total = _after(drift)
    influence = total[risk.exit + 1] - total[risk.entry] - jump
    return float((risk.squares * influence**2).sum())


def incidence_influence(risk: RiskTable, before: Floats, incidence: Floats, cause: int) -> Floats:
    """Return the robust variance, (T,), of an Aalen–Johansen cumulative incidence.

    Parameters
    ----------
    before
        (T,) event-free probability just before each time.
    incidence
        (T,) cumulative incidence of the cause.
    cause
        Position of the cause, from 0.

    References
    ----------
    Therneau TM, Crowson CS, Atkinson EJ (2024), Multi-state models and competing risks, R survival vignette.
    """
    events = risk.n_any
    step = np.diff(incidence, prepend=0.0)
    survivors = risk.n_survivors
    log_total = _after(ratio(ratio(events, risk.n_risk), survivors))
    drift = step * log_total[:-1] - ratio(step, risk.n_risk)  # later increments grow, the present one is diluted
    total = _after(drift)
    reached = np.concatenate([[0.0], incidence])

    entered_log, entered_at = log_total[risk.entry], reached[risk.entry]
    own = np.where(risk.cause == cause + 1, ratio(before, risk.n_risk)[risk.exit], 0.0)
    at_exit = total[risk.exit + 1] - total[risk.entry] - entered_log * (incidence[risk.exit] - entered_at) + own
    on_log = log_total[risk.exit + 1] - entered_log - np.where(risk.cause > 0, ratio(1.0, survivors)[risk.exit], 0.0)
    gone = _drifting_squares(risk, step, at_exit, on_log)

    constant = total[risk.entry] - entered_log * entered_at
    now = total[1:]
    moment = {
        (i, j): _still_at_risk(risk, risk.squares * constant**i * entered_log**j)
        for i in range(3)
        for j in range(3 - i)
    }
    staying = moment[0, 0] * now**2 + moment[2, 0] + incidence**2 * moment[0, 2]
    staying += 2 * (incidence * moment[1, 1] - now * moment[1, 0] - now * incidence * moment[0, 1])
    return gone + staying


def _drifting_squares(risk: RiskTable, step: Floats, at_exit: Floats, on_log: Floats) -> Floats:
    """Return the squares, (T,), of ``at_exit + on_log · (incidence since exit)`` summed over those who left."""
    size = len(step)
    log_log = np.cumsum(_scatter(risk.exit, risk.squares * on_log**2, size))
    earlier = _before(log_log)
    cross = np.cumsum(_scatter(risk.exit, risk.squares * at_exit * on_log, size) + step * earlier)
    new = _scatter(risk.exit, risk.squares * at_exit**2, size)
    return np.cumsum(new + 2 * step * _before(cross) + step**2 * earlier)


def _before(values: Floats) -> Floats:
    return np.concatenate([[0.0], values[:-1]])


def aalen_variance(risk: RiskTable, before: Floats, incidence: Floats, cause: int) -> Floats:
    """Return Aalen's variance, (T,), of a cumulative incidence, as ``cmprsk::cuminc`` gives it.

    Parameters
    ----------
    before, incidence, cause
        As for ``incidence_influence``.

    References
    ----------
    Aalen O (1978), Ann Stat 6:534–545, doi:10.1214/aos/1176344198; Gray RJ (1988), Ann Stat 16:1141–1154,
    doi:10.1214/aos/1176350951.
    """
    own, every = risk.n_event[cause], risk.n_any
    after = before * ratio(risk.n_survivors, risk.n_risk)
    # tied events are drawn without replacement: the factor (Y-d)/(Y-1) of the hypergeometric variance
    spread = [d * ratio(risk.n_risk - d, risk.n_risk - 1.0) for d in (own, every - own)]
    spread = [np.where(risk.n_risk == 1, d, s) for d, s in zip((own, every - own), spread, strict=True)]
    scale = ratio(before, risk.n_risk) ** 2
    step = np.diff(incidence, prepend=0.0)
    both = ratio(scale * (spread[0] + spread[1]), after**2)
    earlier = _before(np.cumsum(both))
    reach = np.cumsum(step * earlier)
    quadratic = np.cumsum(2 * step * _before(reach) + step**2 * earlier)
    linear = np.cumsum(step * _before(np.cumsum(ratio(scale * spread[0], after))))
    return np.cumsum(scale * spread[0]) - 2 * linear + quadratic
