"""How uncertain a predicted cumulative incidence of a Fine–Gray model is: sums of squared influences, in linear time.

Person i moves the baseline hazard up to t by ``a_i(t)`` and the coefficients by ``V U_i``. Until its own time T_i,
``a_i = -r_i Q(t) - C(t)``, with Q the sum of hazard over risk and C what everybody at risk adds to the estimated
censoring curve; afterwards ``a_i = alpha_i + beta_i R(t)``, with R as Q but of those who stay at risk after a competing
event. So every sum over persons of products of ``a_i(t)`` is a handful of running sums over event times.

References
----------
Fine JP, Gray RJ (1999), doi:10.1080/01621459.1999.10474144, section 4; Ozenne B et al. (2017),
doi:10.32614/RJ-2017-062 (influence functions of predicted risks).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.survival.cox_newton import Point
from cohort.survival.cox_sums import never_at_risk
from cohort.survival.types import Floats, Ints


@dataclass(frozen=True, slots=True)
class Influences:
    """Sums over persons by event time: ``a²`` (K,), ``U a`` (p, K) and, at the end, the covariance of theta (p, p).

    ``drift`` (p, K) is the slope of the baseline hazard up to each time by theta, negated; all in scaled units.
    """

    squares: Floats
    cross: Floats
    drift: Floats
    bread: Floats
    covariance: Floats

    def variance(self, z: Floats, hazard: Floats, at: Ints) -> Floats:
        """Return the variance of the cumulative hazard over ``exp(z theta)``, shape (times, rows).

        ``z`` (rows, p) in scaled units; ``hazard`` (K,) the baseline's cumulative hazard; ``at`` the number of event
        times up to each of the times asked for.
        """
        none = np.zeros((self.drift.shape[0], 1))
        drift, cross = (np.hstack([none, table])[:, at] for table in (self.drift, self.cross))
        squares, total = (np.append(0.0, table)[at] for table in (self.squares, hazard))
        slope = total[:, None, None] * z - drift.T[:, None, :]  # (times, rows, p)
        with_theta = np.einsum("mrp,pq,qm->mr", slope, self.bread, cross)
        own = np.einsum("mrp,pq,mrq->mr", slope, self.covariance, slope)
        variance: Floats = np.maximum(squares[:, None] + 2 * with_theta + own, 0.0)
        return variance


@dataclass(frozen=True, slots=True)
class Persons:
    """What a person brings, each of shape (n,): day and event cell on the clock, risk, and what became of it.

    ``stop`` is the last cell up to its day (K for none), ``late_risk`` the risk over G(T-) of those with a competing
    event, 0 for others; ``scores`` (p, n) are its scores.
    """

    day: Ints
    stop: Ints
    event: Floats
    censored: Floats
    risk: Floats
    late_risk: Floats
    scores: Floats


@dataclass(frozen=True, slots=True)
class Clock:
    """``day_of_cell`` and ``free`` (G before it), shape (K,); ``present`` and ``censored`` by day, shape (days,)."""

    day_of_cell: Ints
    free: Floats
    present: Floats
    censored: Floats


def influences(
    persons: Persons, clock: Clock, point: Point, events: Floats, bread: Floats, *, estimated: bool
) -> Influences:
    """Return the sums of influences; ``events`` (K,) counts events, ``estimated`` adds the censoring curve's part."""
    hazard, _, a2, b2, _ = point.ties
    q, r = np.cumsum(a2), np.cumsum(a2 * clock.free)
    q_end, r_end = never_at_risk(q)[persons.stop], never_at_risk(r)[persons.stop]
    own = never_at_risk(hazard / events)[persons.stop] + persons.risk * never_at_risk(b2)[persons.stop]
    alpha = persons.event * own - persons.risk * q_end + persons.late_risk * r_end
    beta = -persons.late_risk
    common = np.zeros_like(q)
    if estimated:
        to_alpha, to_beta, common = _censoring(persons, clock, r)
        alpha, beta = alpha + to_alpha, beta + to_beta
    place = np.searchsorted(clock.day_of_cell, persons.day, side="left")

    moving = np.flatnonzero(beta)  # few, where the censoring curve is taken as known

    def left(values: Floats, rows: Ints | slice = slice(None)) -> Floats:
        sums: Floats = np.cumsum(np.bincount(place[rows], values[rows], q.size + 1)[: q.size])
        return sums

    def stays(values: Floats) -> Floats:
        return float(values.sum()) - left(values)

    squares = left(alpha * alpha) + 2 * r * left(alpha * beta, moving) + r * r * left(beta * beta, moving)
    squares += q * q * stays(persons.risk**2)
    if estimated:
        squares += 2 * q * common * stays(persons.risk) + common * common * stays(np.ones_like(alpha))
    cross = [left(u * alpha) + r * left(u * beta, moving) - q * stays(u * persons.risk) for u in persons.scores]
    if estimated:
        cross = [part - common * stays(u) for part, u in zip(cross, persons.scores, strict=True)]
    drift = np.cumsum(a2 * point.mean_risk - b2 * point.mean_dying, axis=1)
    meat = persons.scores @ persons.scores.T
    return Influences(squares, np.array(cross).reshape(-1, q.size), drift, bread, bread @ meat @ bread)


def _censoring(persons: Persons, clock: Clock, r: Floats) -> tuple[Floats, Floats, Floats]:
    """Return what estimating G adds to alpha and beta (n,), and C at the event times (K,)."""
    days = clock.present.size
    arrived = np.bincount(persons.day, persons.late_risk, days)
    before = np.cumsum(arrived) - arrived  # strictly before the day
    r_before = np.append(0.0, r)[np.searchsorted(clock.day_of_cell, np.arange(days), side="left")]
    pace = before * clock.censored / clock.present**2
    first, second = np.cumsum(pace), np.cumsum(pace * r_before)
    jump = persons.censored * (before / clock.present)[persons.day]
    to_alpha = second[persons.day] - jump * r_before[persons.day]
    to_beta = jump - first[persons.day]
    return to_alpha, to_beta, r * first[clock.day_of_cell] - second[clock.day_of_cell]
