"""Log-rank test and its weighted relatives: k groups, strata, delayed entry, weights, trend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from scipy.special import chdtrc

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.curves import is_robust
from cohort.survival.influence import ratio
from cohort.survival.observations import By
from cohort.survival.strata import GroupedRisk, grouped_risk, quadratic_form, running_within
from cohort.survival.types import Floats, Numbers


@dataclass(frozen=True, slots=True)
class RankTest:
    """A test that the hazards of all groups are equal.

    ``table`` has one row per group: ``group, n, observed, expected`` (weighted as the test is); ``variance`` (G, G) is
    that of observed minus expected.
    """

    statistic: float
    df: int
    p_value: float
    table: pl.DataFrame
    variance: Floats

    def to_polars(self) -> pl.DataFrame:
        """Return observed and expected events of each group."""
        return self.table

    def trend(self, scores: Mapping[str, float] | None = None) -> RankTest:
        """Return the test for a trend of the hazard over ordered groups, with one degree of freedom.

        ``scores`` gives each group its place; without it the names of the groups must be numbers.

        References
        ----------
        Tarone RE (1975), Biometrika 62:679–682, doi:10.1093/biomet/62.3.679.
        """
        score = _scores(self.table["group"].to_list(), scores)
        difference = (self.table["observed"] - self.table["expected"]).to_numpy()
        variance = float(score @ self.variance @ score)
        if variance <= 0:
            raise NotEstimableError("no_events_to_compare")
        statistic = float(score @ difference) ** 2 / variance
        return RankTest(statistic, 1, float(chdtrc(1, statistic)), self.table, self.variance)


def logrank(
    frame: Any,
    time: str,
    event: str,
    by: By,
    strata: By = None,
    rho: float = 0.0,
    *,
    gamma: float = 0.0,
    entry: str | None = None,
    weights: str | None = None,
    variance: str | None = None,
) -> RankTest:
    """Compare groups; parameters are those of ``count_days`` and ``logrank_from``."""
    counts = count_days(frame, time, event, by, entry, weights, causes=[1], strata=strata)
    return logrank_from(counts, rho, gamma=gamma, variance=variance)


def logrank_from(counts: DayCounts, rho: float = 0.0, *, gamma: float = 0.0, variance: str | None = None) -> RankTest:
    """Compare the groups of counts, within strata where the counts have them.

    Parameters
    ----------
    rho, gamma
        Events are weighted by S(t-)^rho (1 - S(t-))^gamma, S the pooled curve of the stratum: (0, 0) is the log-rank,
        (1, 0) the Peto–Peto test.
    variance
        ``hypergeometric`` (default; takes weights for numbers of persons) or ``robust`` (default with weights).

    Raises
    ------
    NotEstimableError
        With fewer than two groups, or no event while two groups were at risk.

    References
    ----------
    Mantel N (1966), Cancer Chemother Rep 50:163–170. Harrington DP, Fleming TR (1982), Biometrika 69:553–566,
    doi:10.1093/biomet/69.3.553. Lin DY, Wei LJ (1989), JASA 84:1074–1078, doi:10.1080/01621459.1989.10478874.
    """
    risk = grouped_risk(counts.any_cause())
    at_risk, events = risk.n_risk.sum(axis=0), risk.n_event[:, 0].sum(axis=0)
    share = ratio(risk.n_risk, at_risk)
    weight = _weight(risk, at_risk, events, rho, gamma)
    observed, expected = risk.n_event[:, 0] @ weight, share @ (weight * events)
    if is_robust(counts, variance, "hypergeometric"):
        spread = _robust(risk, share, weight * ratio(events, at_risk), weight)
    else:
        spread = _hypergeometric(share, weight**2 * ratio(events * (at_risk - events), at_risk - 1.0))
    statistic, df = quadratic_form(observed - expected, spread)
    columns = {"group": risk.groups, "n": risk.size, "observed": observed, "expected": expected}
    return RankTest(statistic, df, float(chdtrc(df, statistic)), pl.DataFrame(columns), spread)


def _scores(groups: list[str], scores: Mapping[str, float] | None) -> Floats:
    try:
        return np.array([float(group) if scores is None else float(scores[group]) for group in groups])
    except (KeyError, ValueError):
        raise StudyError("a trend needs scores={group: number} for every group whose name is not a number") from None


def _weight(risk: GroupedRisk, at_risk: Numbers, events: Numbers, rho: float, gamma: float) -> Floats:
    """Return the weight of each row, (R,): the pooled Kaplan–Meier of its stratum just before it."""
    if rho == 0 and gamma == 0:
        return np.ones(len(at_risk))
    kept = np.where(at_risk > 0, ratio(at_risk - events, at_risk), 1.0)
    log_kept = np.log(np.where(kept > 0, kept, 1.0))
    after = np.exp(running_within(risk.stratum, log_kept)) * (running_within(risk.stratum, kept == 0) == 0)
    new = np.diff(risk.stratum, prepend=-1) > 0
    before = np.where(new, 1.0, np.concatenate([[1.0], after[:-1]]))
    weight: Floats = before**rho * (1 - before) ** gamma
    return weight


def _hypergeometric(share: Floats, tied: Floats) -> Floats:
    """Return Σ tied · (diag(share) - share shareᵀ), (G, G); the factor ``tied`` (R,) holds the tie correction."""
    matrix: Floats = np.diag(share @ tied) - (share * tied) @ share.T
    return matrix


def _robust(risk: GroupedRisk, share: Floats, hazard: Floats, weight: Floats) -> Floats:
    """Return the sum over persons of squared contributions, (G, G): event less what was expected while at risk."""
    groups = len(risk.groups)
    total = np.concatenate([np.zeros((groups, 1)), np.cumsum(share * hazard, axis=1)], axis=1)
    alone = np.concatenate([[0.0], np.cumsum(hazard)])
    drawn = total[:, risk.exit + 1] - total[:, risk.entry]
    own = np.arange(groups)[:, None] == risk.group
    drawn -= own * (alone[risk.exit + 1] - alone[risk.entry])
    drawn += np.where(risk.cause > 0, weight[risk.exit], 0.0) * (own - share[:, risk.exit])
    matrix: Floats = (drawn * risk.squares) @ drawn.T
    return matrix
