"""Positivity: whether everybody might have had either treatment, and how alike the arms' scores are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cohort.effects.propensity import Propensity
from cohort.survival.types import Floats

EQUIPOISE = (0.3, 0.7)
"""Preference scores between these are those of persons for whom either treatment was a real choice."""


@dataclass(frozen=True, slots=True)
class Positivity:
    """How far the arms overlap.

    ``equipoise`` is the smaller arm's share of persons with a preference score from 0.3 to 0.7; ``extreme`` the share
    of all persons whose score is within ``bound`` of 0 or 1; ``outside`` the persons whose score lies beyond all scores
    of the other arm; ``c_statistic`` how well the score tells the arms apart (0.5 is not at all).
    """

    equipoise: dict[str, float]
    extreme: float
    outside: dict[str, int]
    c_statistic: float
    bound: float

    @property
    def in_equipoise(self) -> bool:
        """Return whether at least half of either arm is in equipoise, Walker's rule for comparing treatments."""
        return min(self.equipoise.values()) >= 0.5


def positivity(propensity: Propensity, bound: float = 0.025) -> Positivity:
    """Return how far the arms overlap.

    References
    ----------
    Walker AM et al. (2013), Comparative Effectiveness Research 3:11–20, doi:10.2147/CER.S40357. Petersen ML et al.
    (2012), Stat Methods Med Res 21:31–54, doi:10.1177/0962280210386207.
    """
    score, treated = propensity.score, propensity.treated
    arms = {"treated": treated, "untreated": ~treated}
    preference = propensity.preference
    inside = (preference >= EQUIPOISE[0]) & (preference <= EQUIPOISE[1])
    equipoise = {name: float(inside[arm].mean()) for name, arm in arms.items()}
    outside = {
        name: int(((score[arm] < score[~arm].min()) | (score[arm] > score[~arm].max())).sum())
        for name, arm in arms.items()
    }
    extreme = float(((score < bound) | (score > 1 - bound)).mean())
    return Positivity(equipoise, extreme, outside, _c_statistic(score[treated], score[~treated]), bound)


def _c_statistic(treated: Floats, untreated: Floats) -> float:
    """Return the chance that a treated person's score is above an untreated one's, ties counting half."""
    order = np.sort(untreated)
    below = np.searchsorted(order, treated, side="left") + np.searchsorted(order, treated, side="right")
    return float(below.sum() / 2 / len(treated) / len(untreated))
