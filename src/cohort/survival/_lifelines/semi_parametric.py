"""The object inside lifelines' ``CoxPHFitter`` that holds a fit, filled from our kernel."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd
from lifelines.fitters.coxph_fitter import SemiParametricPHFitter

from cohort.errors import StudyError
from cohort.survival import cox_residuals as residuals
from cohort.survival._lifelines.frames import (
    LifelinesRegressors,
    baseline,
    for_lifelines,
    in_order,
    row_labels,
    row_order,
    stepped,
    stratum_of_rows,
    to_pandas,
)
from cohort.survival.cox_concordance import concordance
from cohort.survival.cox_frames import Roles, Training, eager, lifelines_penalty
from cohort.survival.cox_model import estimate, evaluate
from cohort.survival.cox_newton import Penalty, Ties
from cohort.survival.cox_zph import ProportionalHazardsTest, Transform, proportional_hazards_test


class SemiParametricModel(SemiParametricPHFitter):  # type: ignore[misc]  # lifelines ships no types
    """lifelines' semi-parametric result object, filled from our kernel."""

    _class_name = "CoxPHFitter"

    def __init__(self, ties: Ties, *, firth: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.ties, self.firth = ties, firth

    def train(self, frame: Any, roles: Roles, formula: str | None, robust: bool) -> None:
        """Fit; ``robust`` asks for the sandwich variance, over clusters if there is a cluster column."""
        self._time_fit_was_called = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S") + " UTC"
        self._roles, self._frame = roles, frame
        self.duration_col, self.event_col, self.entry_col = roles.duration, roles.event, roles.entry
        self.weights_col, self.cluster_col, self.offset_col = roles.weights, roles.cluster, roles.offset
        self.formula, self.robust, self.model = formula, robust, None
        self.regressors = LifelinesRegressors.of(frame, roles, formula)
        data = Training.of(frame, roles, self.regressors)
        penalty = lifelines_penalty(data.x, self.penalizer, self.l1_ratio)
        self.estimate_ = estimate(
            data.x, data.follow, data.names, self.ties, penalty, robust=robust, cluster=data.cluster,
            firth_level=1 - self.alpha if self.firth else None,
        )  # fmt: skip
        self._fill(data, penalty)

    def _fill(self, data: Training, penalty: Penalty | None) -> None:
        fit = self.estimate_
        index = pd.Index(data.names, name="covariate")
        self._index, self._clusters, self._strata_labels = row_labels(self._frame, fit.used), data.cluster, data.strata
        self._n_examples = int(fit.used.sum())
        mean = fit.rows.centre if fit.follow.weight is None else fit.rows.x.each(np.mean)
        self._norm_mean = pd.Series(mean, index=index)
        self._ll_null_ = fit.optimum.null.log_likelihood
        self.log_likelihood_ = fit.point.log_likelihood - (penalty.of(fit.coef) if penalty else 0.0)
        if fit.firth:
            self._ll_null_, self.log_likelihood_ = fit.firth.log_likelihood_null, fit.firth.log_likelihood
        self.params_ = pd.Series(fit.coef, index=index, name="coef")
        self.variance_matrix_ = pd.DataFrame(fit.covariance, index=index, columns=index)
        self.standard_errors_ = pd.Series(fit.std_error, index=index, name="se")
        self.confidence_intervals_ = self._compute_confidence_intervals()

    def _compute_confidence_intervals(self) -> pd.DataFrame:
        limits = cast("pd.DataFrame", super()._compute_confidence_intervals())
        if profile := self.estimate_.firth:
            limits.iloc[:, 0], limits.iloc[:, 1] = profile.lower, profile.upper
        return limits

    def _compute_z_values(self) -> pd.Series[Any]:
        z = cast("pd.Series[Any]", super()._compute_z_values())
        profile = self.estimate_.firth
        return z if profile is None else pd.Series(profile.signed_root(self.estimate_.coef), index=z.index)

    @property
    def _strata_names(self) -> list[str]:
        return list(self._roles.strata)

    @property
    def summary(self) -> pd.DataFrame:
        """Return lifelines' table of coefficients; after Firth's correction limits, z and p are of the profile."""
        table = cast("pd.DataFrame", super().summary)
        if self.estimate_.firth:
            for side in ("lower", "upper"):
                limit = f"{side} {100 * (1 - self.alpha):g}%"
                table[f"exp(coef) {limit}"] = np.exp(table[f"coef {limit}"])
        return table

    @cached_property
    def durations(self) -> pd.Series[Any]:
        """Return the exit times, sorted as lifelines does: by stratum, time and event."""
        return in_order(self.estimate_, self.estimate_.follow.time.astype(float), self._index, self.duration_col)

    @cached_property
    def event_observed(self) -> pd.Series[Any]:
        """Return the events in the order of ``durations``."""
        event = self.estimate_.follow.event.astype(bool)
        return in_order(self.estimate_, event, self._index, self.event_col or "E")

    @cached_property
    def weights(self) -> pd.Series[Any]:
        """Return the weights in the order of ``durations``."""
        weight = self.estimate_.follow.weight
        ones = np.ones(self._n_examples) if weight is None else weight
        return in_order(self.estimate_, ones, self._index, self.weights_col or "weights")

    @cached_property
    def entries(self) -> pd.Series[Any] | None:
        """Return the entries in the order of ``durations``, or None."""
        entry = self.estimate_.follow.entry
        return None if entry is None else in_order(self.estimate_, entry, self._index, self.entry_col)

    @cached_property
    def timeline(self) -> pd.Index[Any]:
        """Return the times of predictions: the distinct exit times, unless others were given to ``fit``."""
        times: pd.Index[Any] = pd.Index(np.unique(self.estimate_.follow.time.astype(float)))
        return times

    @cached_property
    def baseline_cumulative_hazard_(self) -> pd.DataFrame:
        """Return Breslow's cumulative hazard at the covariate means, one column per stratum."""
        times: pd.Index[Any] = pd.Index(np.unique(self.estimate_.follow.time.astype(float)))
        return baseline(self.estimate_, times, self._norm_mean, self._strata_labels, "baseline cumulative hazard")

    @cached_property
    def baseline_hazard_(self) -> pd.DataFrame:
        """Return the increments of the cumulative baseline hazard."""
        cumulative: pd.DataFrame = self.baseline_cumulative_hazard_
        hazard: pd.DataFrame = cumulative.diff().fillna(cumulative.iloc[:1])
        return hazard if self.strata else hazard.set_axis(["baseline hazard"], axis=1)

    @cached_property
    def baseline_survival_(self) -> pd.DataFrame:
        """Return exp(-cumulative baseline hazard)."""
        return cast("pd.DataFrame", self._compute_baseline_survival())

    @cached_property
    def _central_values(self) -> pd.DataFrame:
        frame = to_pandas(self._frame)
        return cast("pd.DataFrame", self._compute_central_values_of_raw_training_data(frame, self.strata))

    @cached_property
    def _norm_std(self) -> pd.Series[Any]:
        return pd.Series(self.estimate_.rows.x.each(lambda column: column.std(ddof=1)), index=self.params_.index)

    @cached_property
    def _predicted_partial_hazards_(self) -> pd.DataFrame:
        values = np.exp(residuals.linear_predictor(self.estimate_))
        risk = in_order(self.estimate_, values, self._index, "P")
        return pd.DataFrame({"P": risk, "T": self.durations, "E": self.event_observed, "W": self.weights})

    @cached_property
    def concordance_index_(self) -> float:
        """Return Harrell's concordance of the linear predictor, within strata and risk sets."""
        fit = self.estimate_
        return concordance(residuals.linear_predictor(fit), fit.follow, variance=False).estimate

    def compute_residuals(self, training_dataframe: Any, kind: str) -> pd.DataFrame:
        """Return residuals of a frame under this model; kinds as in lifelines, ties as in the fit."""
        if kind not in self._ALLOWED_RESIDUALS:
            raise StudyError(f"kind must be one of {', '.join(sorted(self._ALLOWED_RESIDUALS))}")
        frame = eager(training_dataframe)
        data = Training.of(frame, self._roles, self.regressors)
        fit = evaluate(self.estimate_, data.x, data.follow)
        index, order = row_labels(frame, fit.used), row_order(fit)
        columns: Any = self.params_.index
        if kind in ("martingale", "deviance"):
            follow = (fit.follow.time, fit.follow.event.astype(bool), getattr(residuals, kind)(fit))
            names = (self.duration_col, self.event_col or "E", kind)
            return pd.DataFrame(dict(zip(names, follow, strict=True)), index=index).iloc[order]
        if kind in ("score", "delta_beta"):
            function = residuals.score_residuals if kind == "score" else residuals.delta_beta
            return pd.DataFrame(function(fit, weighted=True), index=index, columns=columns).iloc[order]
        values, events = getattr(residuals, kind)(fit)
        return pd.DataFrame(values, index=index[events], columns=columns)

    def score(self, df: Any, scoring_method: str = "log_likelihood") -> float:
        """Return the mean partial log-likelihood, or the concordance, of a frame under this model."""
        data = Training.of(eager(df), self._roles, self.regressors)
        fit = evaluate(self.estimate_, data.x, data.follow)
        if scoring_method == "log_likelihood":
            return fit.point.log_likelihood / fit.used.size
        if scoring_method == "concordance_index":
            return concordance(residuals.linear_predictor(fit), fit.follow, variance=False).estimate
        raise StudyError("scoring_method must be 'log_likelihood' or 'concordance_index'")

    def proportional_hazards_test(self, transform: Transform = "km") -> ProportionalHazardsTest:
        """Return R's cox.zph of each term and of all together."""
        return proportional_hazards_test(self.estimate_, transform, self.regressors.term_of(self._frame))

    def predict_log_partial_hazard(self, X: Any) -> pd.Series[Any]:  # noqa: N803 -- lifelines' name
        """Return ``(x - mean)'coef`` of each row; polars or pandas."""
        return cast("pd.Series[Any]", super().predict_log_partial_hazard(for_lifelines(X)))

    def predict_cumulative_hazard(
        self,
        X: Any,  # noqa: N803 -- lifelines' name
        times: Any = None,
        conditional_after: Any = None,
    ) -> pd.DataFrame:
        """Return the cumulative hazard of each row at ``times``, or by so much later than ``conditional_after``.

        A step function, 0 before the first event, as in R's ``survfit``; lifelines draws lines between exits. With
        strata the columns come stratum by stratum. Polars or pandas; one row may be a Series.
        """
        given = for_lifelines(X)
        frame = given.to_frame().T.infer_objects() if isinstance(given, pd.Series) else given
        risk = self.predict_partial_hazard(frame)
        column = stratum_of_rows(frame, self._strata_names, self._strata_labels)
        asked = np.asarray(self.timeline if times is None else np.atleast_1d(times), dtype=float)
        after = np.zeros(column.size) if conditional_after is None else np.ravel(conditional_after).astype(float)
        steps = stepped(self.baseline_cumulative_hazard_, asked[:, None] + after, column)
        if conditional_after is not None:
            steps = steps - stepped(self.baseline_cumulative_hazard_, after[None, :], column)
        order = np.argsort(column, kind="stable")
        return pd.DataFrame((steps * risk.to_numpy())[:, order], index=asked, columns=risk.index[order])

    def predict_percentile(self, X: Any, *args: Any, **options: Any) -> pd.Series[Any]:  # noqa: N803 -- as above
        """Return the time at which survival of each row falls to ``p``; polars or pandas."""
        return cast("pd.Series[Any]", super().predict_percentile(for_lifelines(X), *args, **options))

    def predict_expectation(self, X: Any, *args: Any, **options: Any) -> pd.Series[Any]:  # noqa: N803 -- as above
        """Return the area under the survival curve of each row; polars or pandas."""
        return cast("pd.Series[Any]", super().predict_expectation(for_lifelines(X), *args, **options))
