"""Weights that make the treated and the untreated alike, and which persons the answer is then about.

All estimands are one formula: a tilting function h(e) of the propensity score e says whom the answer is about, and the
weight is h(e)/e for the treated and h(e)/(1 - e) for the untreated.

References
----------
Li F, Morgan KL, Zaslavsky AM (2018), JASA 113:390–400, doi:10.1080/01621459.2016.1260466. Li L, Greene T (2013), Int J
Biostat 9:215–234, doi:10.1515/ijb-2012-0030 (matching weights).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from cohort.effects.propensity import Propensity, restrict
from cohort.errors import NotEstimableError, StudyError
from cohort.survival.types import Floats

Estimand = Literal["ate", "att", "atu", "overlap", "matching"]
SMALLEST_SHARE = 0.1
"""Below this share of effective persons in an arm, a handful of persons carry the answer."""


class _Tilt(NamedTuple):
    """h(e), its derivative, and whom it makes the answer about."""

    height: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]
    text: str


_TILTS: dict[str, _Tilt] = {
    "ate": _Tilt(np.ones_like, np.zeros_like, "all persons (ATE)"),
    "att": _Tilt(lambda e: e, np.ones_like, "persons like the treated (ATT)"),
    "atu": _Tilt(lambda e: 1 - e, lambda e: -np.ones_like(e), "persons like the untreated (ATU)"),
    "overlap": _Tilt(lambda e: e * (1 - e), lambda e: 1 - 2 * e, "persons who might have had either (overlap weights)"),
    "matching": _Tilt(
        lambda e: np.minimum(e, 1 - e),
        lambda e: np.where(e < 0.5, 1.0, -1.0),
        "persons whom pair matching would keep (matching weights)",
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class BalancingWeights:
    """Weights of n persons, (n,), with the scores they came from.

    ``slope`` (n,) is the derivative of each weight with respect to its person's propensity score, 0 where the weight
    was truncated: the variance of an estimate needs it, because the weights are estimated too.
    """

    weight: Floats
    slope: Floats
    propensity: Propensity
    estimand: Estimand
    text: str
    stabilised: bool = False

    @property
    def effective_size(self) -> dict[str, float]:
        """Return by arm how many unweighted persons would tell as much: (sum of w)² / sum of w².

        References
        ----------
        Kish L (1965), Survey Sampling.
        """
        treated = self.propensity.treated
        return {arm: kish(self.weight[rows]) for arm, rows in (("treated", treated), ("untreated", ~treated))}

    def require_effective(self, share: float = SMALLEST_SHARE) -> None:
        """Refuse weights that leave less than a share of the persons who carry an arm effective.

        Persons of weight 0, such as those without a match, carry nothing.

        Raises
        ------
        NotEstimableError
            ``weights_explode``, naming the arm; ``nobody_left`` where nobody of an arm has a weight.
        """
        for arm, rows in (("treated", self.propensity.treated), ("untreated", ~self.propensity.treated)):
            carrying = self.weight[rows & (self.weight > 0)]
            if not carrying.size:
                raise NotEstimableError(f"nobody_left: every weight of the {arm} is 0")
            if kish(carrying) < share * carrying.size:
                raise NotEstimableError(f"weights_explode: the {arm} are worth less than {share:.0%} of their number")


def kish(weight: Floats) -> float:
    """Return the effective number of persons of some weights."""
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def balancing_weights(
    propensity: Propensity,
    estimand: Estimand = "ate",
    *,
    stabilised: bool = True,
    trim: tuple[float, float] | None = None,
    truncate: float | None = None,
) -> BalancingWeights:
    """Return the weights of an estimand.

    Parameters
    ----------
    stabilised
        Divide by each arm's mean weight, so that each arm counts as many persons as it has: curves of an arm do not
        change, a Cox model and the sizes shown do. The mean is that of the formula, not an estimate of its own.
    trim
        Leave out persons with a propensity score outside these two bounds (Crump 2009 proposes 0.1 and 0.9); the answer
        is then about those inside.
    truncate
        Set weights above this quantile of their arm, such as 0.99, to it.

    Raises
    ------
    StudyError
        If an option is out of range.
    NotEstimableError
        ``nobody_left`` if trimming empties an arm; ``weights_explode`` if somebody's treatment had no chance.

    References
    ----------
    Robins JM, Hernán MA, Brumback B (2000), Epidemiology 11:550–560, doi:10.1097/00001648-200009000-00011. Crump RK et
    al. (2009), Biometrika 96:187–199, doi:10.1093/biomet/asn055. Cole SR, Hernán MA (2008), Am J Epidemiol
    168:656–664, doi:10.1093/aje/kwn164.
    """
    if estimand not in get_args(Estimand):
        raise StudyError(f"estimand = {estimand!r}; one of {', '.join(get_args(Estimand))}")
    notes = [_TILTS[estimand].text]
    if trim is not None:
        propensity = _trimmed(propensity, trim)
        notes.append(f"propensity {trim[0]:g} to {trim[1]:g} only")
    weights = _of(propensity, estimand)
    if truncate is not None:
        weights = _truncated(weights, truncate)
        notes.append(f"weights truncated at the {truncate:.1%} quantile")
    if stabilised:
        weights = _stabilised(weights)
    return replace(weights, text=", ".join(notes))


def _of(propensity: Propensity, estimand: Estimand) -> BalancingWeights:
    tilt, score, treated = _TILTS[estimand], propensity.score, propensity.treated
    own = np.where(treated, score, 1 - score)
    if not own.all():
        raise NotEstimableError("weights_explode: somebody had the treatment that he had no chance of")
    sign = np.where(treated, 1.0, -1.0)
    height, slope = tilt.height(score), tilt.slope(score)
    return BalancingWeights(height / own, slope / own - sign * height / own**2, propensity, estimand, "")


def _trimmed(propensity: Propensity, bounds: tuple[float, float]) -> Propensity:
    low, high = bounds
    if not 0 <= low < high <= 1:
        raise StudyError(f"trim = {bounds}; two bounds between 0 and 1, the lower first")
    kept = (propensity.score >= low) & (propensity.score <= high)
    if len({*propensity.treated[kept]}) < 2:
        raise NotEstimableError("nobody_left: trimming by propensity score empties an arm")
    return restrict(propensity, kept)


def _truncated(weights: BalancingWeights, quantile: float) -> BalancingWeights:
    if not 0.5 < quantile < 1:
        raise StudyError(f"truncate = {quantile}; a quantile between 0.5 and 1, such as 0.99")
    weight, slope = weights.weight.copy(), weights.slope.copy()
    for arm in _arms(weights):
        high = np.quantile(weight[arm], quantile)
        above = arm & (weight > high)
        weight[above], slope[above] = high, 0.0
    return replace(weights, weight=weight, slope=slope)


def _stabilised(weights: BalancingWeights) -> BalancingWeights:
    scale = np.ones_like(weights.weight)
    for arm in _arms(weights):
        scale[arm] = 1 / weights.weight[arm].mean()
    return replace(weights, weight=weights.weight * scale, slope=weights.slope * scale, stabilised=True)


def _arms(weights: BalancingWeights) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return weights.propensity.treated, ~weights.propensity.treated
