"""Matching and stratification on the propensity score, given as weights so that every estimate can use them.

A matched untreated person counts as often as he was taken; strata are reweighted to the persons the answer is about.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit

from cohort.effects.propensity import Propensity
from cohort.effects.weights import BalancingWeights, Estimand
from cohort.errors import NotEstimableError, StudyError
from cohort.survival.types import Floats, Ints

CALIPER = 0.2
"""Widest distance, in standard deviations of the logit of the score (Austin 2011)."""


@dataclass(frozen=True, slots=True, eq=False)
class Matched:
    """Matched sets of n persons: ``set_of`` (n,) is the number of a person's set, from 0, and -1 without a match."""

    set_of: Ints
    propensity: Propensity
    ratio: int
    caliper: float

    @property
    def n_matched(self) -> int:
        """Return the number of treated persons who found a match."""
        return int((self.propensity.treated & (self.set_of >= 0)).sum())

    def weights(self) -> BalancingWeights:
        """Return weights: 1 for a matched treated person, 1 / (matches of the set) for each of his matches.

        They are taken as known: the variance of a matched estimate is that of its sets.

        References
        ----------
        Stuart EA (2010), Stat Sci 25:1–21, doi:10.1214/09-STS313.
        """
        matched = self.set_of >= 0
        controls = matched & ~self.propensity.treated
        size = np.bincount(self.set_of[controls], minlength=int(self.set_of.max(initial=-1)) + 1)
        weight = np.zeros(len(matched))
        weight[matched & self.propensity.treated] = 1.0
        weight[controls] = 1 / size[self.set_of[controls]]
        text = f"1:{self.ratio} matching within {self.caliper:g} standard deviations of the logit of the score"
        known = _as_known(self.propensity)
        return BalancingWeights(weight, np.zeros(len(weight)), known, "att", f"{text} (ATT of those matched)")


def match(propensity: Propensity, *, ratio: int = 1, caliper: float = CALIPER, seed: int = 0) -> Matched:
    """Match each treated person to the nearest untreated ones, without replacement.

    Treated persons choose in a random order, one match each per round, so that a second match is nobody's before all
    had their first.

    Parameters
    ----------
    ratio
        Most matches of one treated person.
    caliper
        Widest distance in standard deviations of the logit of the score.

    Raises
    ------
    NotEstimableError
        ``no_match`` if nobody finds one.

    References
    ----------
    Austin PC (2011), Pharm Stat 10:150–161, doi:10.1002/pst.433 (caliper); Austin PC (2014), Stat Med 33:1057–1069,
    doi:10.1002/sim.6004 (algorithms).
    """
    if ratio < 1 or caliper <= 0:
        raise StudyError(f"ratio = {ratio}, caliper = {caliper}; a ratio from 1 on and a positive caliper")
    place: Floats = logit(np.clip(propensity.score, 1e-12, 1 - 1e-12))
    reach = caliper * float(place.std(ddof=1))
    controls = np.flatnonzero(~propensity.treated)
    pool = _Pool(controls[np.lexsort([controls, place[controls]])], place)
    treated = np.random.default_rng(seed).permutation(np.flatnonzero(propensity.treated))
    set_of = np.full(len(place), -1)
    for _ in range(ratio):
        for person in treated:
            if (found := pool.take_nearest(place[person], reach)) is not None:
                set_of[found] = person
                set_of[person] = person
    if (set_of < 0).all():
        raise NotEstimableError("no_match: no untreated person within the caliper of a treated one")
    chosen = set_of >= 0
    set_of[chosen] = np.unique(set_of[chosen], return_inverse=True)[1]
    return Matched(set_of, propensity, ratio, caliper)


class _Pool:
    """Untreated persons sorted by score; whoever is taken is skipped from then on (union–find on either side)."""

    def __init__(self, persons: Ints, place: Floats) -> None:
        self._persons, self._place = persons, place[persons]
        self._right = list(range(len(persons) + 1))  # nearest free position at or after
        self._left = list(range(len(persons) + 1))  # nearest free position before, counted from 1; 0 is none

    def take_nearest(self, wanted: float, reach: float) -> int | None:
        """Return the free person nearest to ``wanted`` within ``reach``, and take him; the lower one of a tie."""
        here = int(np.searchsorted(self._place, wanted))
        above, below = _root(self._right, here), _root(self._left, here) - 1
        up = self._place[above] - wanted if above < len(self._persons) else np.inf
        down = wanted - self._place[below] if below >= 0 else np.inf
        if min(up, down) > reach:
            return None
        chosen = below if down <= up else above
        self._right[chosen] = chosen + 1
        self._left[chosen + 1] = chosen
        return int(self._persons[chosen])


def _root(parent: list[int], node: int) -> int:
    """Return the end of a chain, and let everyone on it point there."""
    end = node
    while parent[end] != end:
        end = parent[end]
    while parent[node] != end:
        parent[node], node = end, parent[node]
    return end


def stratify(propensity: Propensity, strata: int = 10, estimand: Estimand = "ate") -> BalancingWeights:
    """Return weights from strata of the score: each arm of a stratum counts as the stratum does in the target.

    Parameters
    ----------
    strata
        Number of strata, cut at quantiles of the score.
    estimand
        ``ate, att`` or ``atu``: in proportion to all, the treated, or the untreated persons of a stratum.

    Raises
    ------
    NotEstimableError
        ``stratum_empty``, if a stratum that counts lacks an arm.

    References
    ----------
    Rosenbaum PR, Rubin DB (1984), JASA 79:516–524, doi:10.1080/01621459.1984.10478078; Hong G (2012), Psychol Methods
    17:44–60, doi:10.1037/a0024918 (as weights).
    """
    if estimand not in ("ate", "att", "atu") or strata < 2:
        raise StudyError(f"strata = {strata}, estimand = {estimand!r}; from 2 strata on; ate, att or atu")
    cuts = np.quantile(propensity.score, np.arange(1, strata) / strata)
    stratum, treated = np.searchsorted(cuts, propensity.score, side="left"), propensity.treated
    arms = np.stack([np.bincount(stratum[arm], minlength=strata) for arm in (~treated, treated)])
    target = {"ate": arms.sum(axis=0), "att": arms[1], "atu": arms[0]}[estimand]
    if lacking := int(((arms == 0).any(axis=0) & (target > 0)).sum()):
        raise NotEstimableError(f"stratum_empty: {lacking} of {strata} strata lack one of the arms; use fewer")
    weight = target[stratum] / arms[treated.astype(np.int64), stratum]
    text = f"{strata} strata of the score ({estimand.upper()})"
    return BalancingWeights(weight, np.zeros(len(weight)), _as_known(propensity), estimand, text)


def _as_known(propensity: Propensity) -> Propensity:
    """Return the scores without their model: how matches move with it has no derivative."""
    return replace(propensity, design=None)
