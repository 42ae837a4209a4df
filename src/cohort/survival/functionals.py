"""Numbers read off a cumulative incidence, and what each person's weight changes in them.

A risk at a horizon, and the time lost to a cause before it, are sums over exit times of (event-free just before) ×
(hazard of the cause) × (how much an event then counts). Such a sum moves with every person's weight by a drift while
at risk and a jump at the event: its gradient. Variances, pseudo-observations, and corrections for weights that were
estimated all come from the gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cohort.survival.influence import ratio
from cohort.survival.product_limit import product_limit
from cohort.survival.risk import RiskTable
from cohort.survival.types import Floats, Numbers


class Functional(NamedTuple):
    """A number of one group, and its derivative with respect to a person's weight in parts, (T,) each.

    A person adds ``drift`` at every exit time at which he is at risk, takes away ``any_event`` when he has an event,
    and adds ``own_event`` when it is of the cause.
    """

    value: float
    drift: Floats
    any_event: Floats
    own_event: Floats

    def gradient(self, risk: RiskTable, time: Numbers, cause: Numbers, entry: Numbers | None, code: int) -> Floats:
        """Return the derivative for rows of the group, (n,): ``cause`` 0 is censored, ``code`` the cause of interest.

        Weights times gradient add up to 0: a number that is a mean does not change when all weights are doubled.
        """
        exit_ = np.searchsorted(risk.time, time, side="right") - 1
        total = np.concatenate([[0.0], np.cumsum(self.drift)])
        started = 0.0 if entry is None else total[np.searchsorted(risk.time, entry, side="right")]
        jump = np.where(cause == code, self.own_event[exit_], 0.0) - np.where(cause != 0, self.any_event[exit_], 0.0)
        gradient: Floats = total[exit_ + 1] - started + jump
        return gradient


def incidence_functional(risk: RiskTable, position: int, counts_for: Floats) -> Functional:
    """Return the sum over exit times of S(t-) × hazard × ``counts_for`` (T,).

    Parameters
    ----------
    position
        Position of the cause in ``risk.n_event``.
    counts_for
        What an event at each time counts: 1 up to a horizon gives the risk there, the time that is left until the
        horizon gives the time lost.

    References
    ----------
    Therneau TM, Crowson CS, Atkinson EJ (2024), Multi-state models and competing risks, R survival vignette;
    Andersen PK (2013), Stat Med 32:5278–5285, doi:10.1002/sim.5903.
    """
    before = np.concatenate([[1.0], product_limit(risk)])[:-1]
    lost = before * ratio(risk.n_event[position], risk.n_risk) * counts_for
    later = np.concatenate([np.cumsum(lost[::-1])[::-1][1:], [0.0]])  # what increments after each time will add
    drift = ratio(ratio(risk.n_any, risk.n_risk) * later, risk.n_survivors) - ratio(lost, risk.n_risk)
    return Functional(float(lost.sum()), drift, ratio(later, risk.n_survivors), ratio(before * counts_for, risk.n_risk))


def up_to(risk: RiskTable, horizon: float) -> Floats:
    """Return 1 at every exit time up to a horizon and 0 after it, (T,): the risk by then."""
    return (risk.time <= horizon).astype(np.float64)


def until(risk: RiskTable, horizon: float) -> Floats:
    """Return the time from every exit time to a horizon, 0 after it, (T,): the time lost by then."""
    left: Floats = np.maximum(horizon - risk.time, 0.0).astype(np.float64)
    return left
