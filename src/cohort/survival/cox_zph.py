"""Does a coefficient change with time? The score test of ``beta(t) = beta + theta g(t)`` for each term and for all.

References
----------
Grambsch PM, Therneau TM (1994), doi:10.1093/biomet/81.3.515; as a score test (no approximation of the variance by
its average) in R survival 3, ``cox.zph``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from cohort.errors import StudyError
from cohort.survival.cox_model import CoxEstimate
from cohort.survival.cox_risk import clock
from cohort.survival.cox_sums import RowSums, kernels, workers

Floats = NDArray[np.float64]
Transform = Literal["km", "rank", "identity", "log"]


@dataclass(frozen=True, slots=True)
class ProportionalHazardsTest:
    """One chi-squared test per term and, last, the global one; shapes (terms + 1,)."""

    term: tuple[str, ...]
    statistic: Floats
    df: NDArray[np.int64]
    p_value: Floats
    transform: Transform

    def to_polars(self) -> pl.DataFrame:
        """Return one row per test: term, statistic, df, p_value."""
        return pl.DataFrame(
            {"term": list(self.term), "statistic": self.statistic, "df": self.df, "p_value": self.p_value}
        )


def proportional_hazards_test(
    fit: CoxEstimate, transform: Transform = "km", terms: Sequence[int] | None = None
) -> ProportionalHazardsTest:
    """Test each term of a fitted model for a trend of its coefficient with transformed time.

    Parameters
    ----------
    transform
        ``"km"`` (1 - Kaplan–Meier just before), ``"rank"`` among all exits, ``"identity"`` or ``"log"``.
    terms
        Index of the term each column belongs to, such as ``Design.term_of``; by default each column is a term.
    """
    p = len(fit.names)
    groups = np.arange(p) if terms is None else np.asarray(terms)
    g = transformed_time(fit, transform)
    g = (g - g.min()) / max(float(np.ptp(g)), np.finfo(np.float64).tiny)  # the test knows neither origin nor unit
    score, first, second = _trend(fit, g)
    variance = second - first @ np.linalg.solve(fit.point.information, first)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)] + [np.arange(p)]
    statistic = np.array([score[own] @ np.linalg.solve(variance[np.ix_(own, own)], score[own]) for own in members])
    df = np.array([own.size for own in members])
    names = (*(" + ".join(fit.names[j] for j in own) for own in members[:-1]), "GLOBAL")
    return ProportionalHazardsTest(names, statistic, df, stats.chi2.sf(statistic, df), transform)


def transformed_time(fit: CoxEstimate, transform: Transform) -> Floats:
    """Return g of each cell's time, shape (K,); Kaplan–Meier and ranks are over all strata together."""
    cells = fit.rows.cells
    if transform == "identity":
        return cells.time
    if transform == "log":
        logs: Floats = np.log(cells.time)
        return logs
    times, place = np.unique(cells.time, return_inverse=True)
    if transform == "rank":
        values, exit_, _ = clock(fit.follow.time, fit.follow.entry)
        exits = np.sort(values[exit_])  # near ties share a rank, as they share a cell
        low, high = (np.searchsorted(exits, times, side=side) for side in ("left", "right"))
        ranks: Floats = ((low + 1 + high) / 2)[place]
        return ranks
    if transform != "km":
        raise StudyError("transform must be 'km', 'rank', 'identity' or 'log'")
    deaths = np.bincount(place, weights=cells.deaths)
    leave = np.searchsorted(times, fit.follow.time, side="right")
    enter = 0 * leave if fit.follow.entry is None else np.searchsorted(times, fit.follow.entry, side="right")
    change = np.bincount(enter, minlength=times.size + 1) - np.bincount(leave, minlength=times.size + 1)
    survival = np.cumprod(1 - deaths / np.cumsum(change)[:-1])
    before: Floats = np.concatenate([[1.0], survival[:-1]])[place]
    return 1 - before


def _trend(fit: CoxEstimate, g: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the score for the trend (p,), and the sums of g I and g² I over cells (p, p), in scaled units."""
    rows, point = fit.rows, fit.point
    a, b, a2, b2, c2 = point.ties
    s1, d1 = point.mean_risk, point.mean_dying
    with workers() as pool:
        sums = RowSums(rows, pool)
        sums.risk(point.theta)
        weighted = []
        for factor in (g, g * g):
            hazard = np.append(a * factor, 0.0)
            kernels().forward_sums(hazard[None, :-1], rows.cells.head)
            _, second = sums.moments(hazard, np.append(b * factor, 0.0))
            cross = (s1 * (b2 * factor)) @ d1.T
            spread = (s1 * (a2 * factor)) @ s1.T - cross - cross.T + (d1 * (c2 * factor)) @ d1.T
            weighted.append(second - spread)
    events = np.flatnonzero(rows.cells.event)
    share = g[rows.cells.stop[events]] * (rows.weight[events] if rows.weight.size else 1.0)
    observed = ((rows.x[events] - rows.centre) / rows.scale).T @ share
    score = observed - (s1 @ (a * g) - d1 @ (b * g))
    # the score of the model itself is 0 at the maximum; what rounding left of it is taken out
    return score - weighted[0] @ np.linalg.solve(point.information, point.score), weighted[0], weighted[1]
