"""Augmented inverse-probability weighting: right when either the propensity or the outcome model is.

The outcome of a person who was censored is not known; a pseudo-observation stands for it: what the arm's curve would
lose without him. Its mean over persons is the curve, so a regression of it is a regression of risk (or time lost).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cohort.effects.marginal import ARMS, Effects, Estimated, FollowUp, contrasts, curve_number, follow_up_of, lay_out
from cohort.effects.propensity import Propensity, assign_folds, one_thread
from cohort.effects.weights import balancing_weights
from cohort.errors import StudyError
from cohort.survival.cox_order import canonical_order
from cohort.survival.design import design_matrix
from cohort.survival.types import Floats, Ints

OutcomeModel = Literal["linear", "boosting"]


def doubly_robust_effects(
    frame: Any,
    propensity: Propensity,
    terms: str,
    *,
    time: str = "time",
    cause: str = "cause",
    horizon: float,
    cause_of_interest: int = 1,
    measures: Sequence[Literal["risk", "time_lost"]] = ("risk", "time_lost"),
    outcome_model: OutcomeModel = "linear",
    folds: int = 1,
    seed: int = 0,
    level: float = 0.95,
) -> Effects:
    """Estimate the average effect from pseudo-observations, a propensity model and an outcome model.

    Parameters
    ----------
    frame
        The frame that the propensity scores came from, in the same order.
    terms
        Covariates of the outcome model, fitted in each arm on its own.
    folds
        From 2 on, each person's prediction comes from persons of other folds; with flexible models use it in the
        propensity scores too.

    Raises
    ------
    NotEstimableError
        ``weights_explode``, ``horizon_after_follow_up``.

    Notes
    -----
    Censoring must not depend on covariates within an arm. The variance is that of the efficient influence function:
    right when both models are, and with cross-fitting.

    References
    ----------
    Robins JM, Rotnitzky A, Zhao LP (1994), JASA 89:846–866, doi:10.1080/01621459.1994.10476818. Andersen PK,
    Syriopoulou E, Parner ET (2017), Lifetime Data Anal 23:1–17, doi:10.1007/s10985-016-9358-8; Parner ET, Andersen PK,
    Overgaard M (2023), Lifetime Data Anal 29:654–671, doi:10.1007/s10985-023-09597-5 (infinitesimal jackknife).
    """
    if outcome_model not in get_args(OutcomeModel):
        raise StudyError(f"outcome_model = {outcome_model!r}; linear or boosting")
    balancing_weights(propensity).require_effective()
    follow = follow_up_of(frame, propensity.kept, time, cause, None)
    outcomes = _Outcomes.of(
        frame, propensity, terms, follow, outcome_model, assign_folds(len(follow.time), folds, seed)
    )
    found: list[Estimated] = []
    for measure in measures:
        arms = [_arm(follow, propensity, name, measure, horizon, cause_of_interest, outcomes) for name in ARMS]
        found += [*arms, *contrasts(*arms)]
    crossed = f", cross-fitted in {folds} folds" if folds > 1 else ""
    method = f"augmented weighting: {propensity.text}; {outcome_model} model of pseudo-observations{crossed}"
    return lay_out(found, np.column_stack([one.gradient for one in found]), horizon, level, method)


def pseudo_observations(
    follow: FollowUp, arm: NDArray[np.bool_], measure: str, horizon: float, code: int, name: str
) -> Floats:
    """Return each person's pseudo-observation of a risk or time lost within an arm, (persons of the arm,)."""
    value, gradient = curve_number(follow, arm, None, measure, horizon, code, name)
    pseudo: Floats = value + arm.sum() * gradient
    return pseudo


def _arm(
    follow: FollowUp, propensity: Propensity, name: str, measure: str, horizon: float, code: int, outcomes: _Outcomes
) -> Estimated:
    """Return the mean outcome had everybody been in an arm; its gradient is each person's influence."""
    arm = propensity.treated if name == "treated" else ~propensity.treated
    chance = propensity.score if name == "treated" else 1 - propensity.score
    outcome = np.zeros(len(arm))
    outcome[arm] = pseudo_observations(follow, arm, measure, horizon, code, name)
    predicted = outcomes.predict(outcome, arm)
    parts = predicted.copy()
    parts[arm] += (outcome[arm] - predicted[arm]) / chance[arm]  # of the others it may be 0
    mean = float(parts.mean())
    return Estimated(measure, name, mean, (parts - mean) / len(parts), False)


@dataclass(frozen=True, slots=True, eq=False)
class _Outcomes:
    """The outcome model: covariates (n, p), the fold and the place in canonical order of each person, (n,)."""

    x: Floats
    fold: Ints
    order: Ints
    model: OutcomeModel

    @classmethod
    def of(
        cls, frame: Any, propensity: Propensity, terms: str, follow: FollowUp, model: OutcomeModel, fold: Ints
    ) -> _Outcomes:
        design = design_matrix(frame, terms, "leave_out")
        if (propensity.kept & ~design.kept).any():
            raise StudyError("the outcome model lacks covariates of persons with a score; leave them out of both")
        x = design.matrix[propensity.kept[design.kept]]
        return cls(x, fold, canonical_order([*x.T, propensity.treated, follow.time, follow.cause]), model)

    def predict(self, outcome: Floats, arm: NDArray[np.bool_]) -> Floats:
        """Return everybody's predicted outcome from the arm's persons of other folds (of all, with one fold), (n,)."""
        from sklearn.ensemble import HistGradientBoostingRegressor
        from sklearn.linear_model import LinearRegression

        predicted, folds = np.empty(len(outcome)), np.unique(self.fold)
        for held_out in folds:
            others = (self.fold != held_out) if len(folds) > 1 else np.ones(len(outcome), dtype=bool)
            train = self.order[(arm & others)[self.order]]
            learner = LinearRegression() if self.model == "linear" else HistGradientBoostingRegressor(random_state=0)
            rows = self.fold == held_out
            with one_thread():
                predicted[rows] = learner.fit(self.x[train], outcome[train]).predict(self.x[rows])
        return predicted
