"""The variance of an estimate under weights that were estimated themselves.

What one person changes in an estimate is his own part at the weights as they stand, and what he changes in everybody's
weights by having been in the propensity model. Leaving the second part out is conservative for the average effect, and
wrong in either direction for the others.

References
----------
Lunceford JK, Davidian M (2004), Stat Med 23:2937–2960, doi:10.1002/sim.1903. Stefanski LA, Boos DD (2002), Am Stat
56:29–38, doi:10.1198/000313002753631330. Shu D et al. (2021), Stat Med 40:2101–2112, doi:10.1002/sim.8889 (Cox).
"""

from __future__ import annotations

import numpy as np
from scipy import linalg

from cohort.effects.logistic import information
from cohort.effects.weights import BalancingWeights
from cohort.errors import NotEstimableError
from cohort.survival.cox_sums import workers
from cohort.survival.types import Floats


def influence_under(weights: BalancingWeights, gradient: Floats) -> Floats:
    """Return what each person changes in some estimates, shape (n, q).

    Parameters
    ----------
    gradient
        Derivative of each estimate with respect to each person's weight, float64, shape (n, q).

    Returns
    -------
    The stacked influence where the scores are those of one unpenalised logistic model; else the influence that takes
    the scores as known. The sum of its squares over persons is the variance.
    """
    weight = weights.weight[:, None]
    influence: Floats = weight * gradient
    centred = gradient
    if weights.stabilised:
        for arm in (weights.propensity.treated, ~weights.propensity.treated):
            pull = influence[arm].sum(axis=0)  # what scaling the arm's weights would change; 0 for its own curve
            total = weights.weight[arm].sum()
            centred = np.where(arm[:, None], centred - pull / total, centred)
            influence[arm] += pull * (1 / arm.sum() - weight[arm] / total)
    return influence + _through_the_scores(weights, centred)


def _through_the_scores(weights: BalancingWeights, gradient: Floats) -> Floats:
    """Return what each person changes in the estimates by having been in the propensity model, (n, q)."""
    scores = weights.propensity
    if scores.design is None:
        return np.zeros_like(gradient)
    z, order = scores.design.z, scores.design.order
    spread = scores.score * (1 - scores.score)
    through = np.empty_like(gradient)
    with workers() as pool:  # products outside its threads, too, then sum on one
        known = information(z, spread[order], pool)
        pulled = (gradient * (weights.slope * spread)[:, None])[order]
        moved = np.vstack([pulled.sum(axis=0), z.T @ pulled])
        try:
            direction = linalg.solve(known, moved, assume_a="pos")
        except linalg.LinAlgError:
            raise NotEstimableError("collinear", scores.columns) from None
        through[order] = (scores.treated - scores.score)[order, None] * (direction[0] + z @ direction[1:])
    return through
