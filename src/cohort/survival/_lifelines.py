"""lifelines' Cox fitters with our numbers: the only module that imports pandas and lifelines.

Both classes are subclasses of lifelines' own, so predictions, plots, summaries and `check_assumptions` are lifelines'
code reading the attributes that are filled here. What differs, each with a reason:

- tied events after Efron or Breslow (``ties=``), and the sandwich variance with ties as in R;
- delayed entry is in the baseline hazard and in the concordance;
- formulas are our grammar (names, ``+``, ``:``, ``*``) and are never evaluated;
- what cannot be estimated raises :class:`~cohort.errors.NotEstimableError` instead of a warning beside a number;
- lasso coefficients are exact (0 is 0); lifelines smooths the corner;
- whatever is costly and seldom read (baseline curves, concordance, central values) is computed when it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import lifelines
import numpy as np
import pandas as pd
import polars as pl
from lifelines.fitters.coxph_fitter import SemiParametricPHFitter
from numpy.typing import NDArray

from cohort.errors import StudyError
from cohort.survival import cox_residuals as residuals
from cohort.survival.cox_concordance import concordance
from cohort.survival.cox_frames import Regressors, Roles, Training, codes, eager, lifelines_penalty
from cohort.survival.cox_model import CoxEstimate, estimate, evaluate
from cohort.survival.cox_newton import Penalty, Ties
from cohort.survival.cox_risk import check_intervals
from cohort.survival.cox_zph import ProportionalHazardsTest, Transform, proportional_hazards_test

if TYPE_CHECKING:
    from cohort.survival.fine_gray import FineGrayFit

Floats = NDArray[np.float64]


class LifelinesRegressors(Regressors):
    """Regressors as lifelines' predictions ask for them."""

    @property
    def mappings(self) -> dict[str, list[str]]:
        """Return lifelines' description: one parameter, and the frame's columns it reads."""
        return {"beta_": list(self.columns)}

    def transform_df(self, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return what lifelines multiplies by the coefficients."""
        matrix, names = self.matrix(frame)
        return {"beta_": pd.DataFrame(matrix[:], index=frame.index, columns=list(names))}


class SemiParametricModel(SemiParametricPHFitter):  # type: ignore[misc]  # lifelines ships no types
    """lifelines' semi-parametric result object, filled from our kernel."""

    _class_name = "CoxPHFitter"

    def __init__(self, ties: Ties, **options: Any) -> None:
        super().__init__(**options)
        self.ties = ties

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
            data.x, data.follow, data.names, self.ties, penalty, robust=robust, cluster=data.cluster
        )
        self._fill(data, penalty)

    def _fill(self, data: Training, penalty: Penalty | None) -> None:
        fit = self.estimate_
        index = pd.Index(data.names, name="covariate")
        self._index, self._clusters, self._strata_labels = _labels(self._frame, fit.used), data.cluster, data.strata
        self._n_examples = int(fit.used.sum())
        mean = fit.rows.centre if fit.follow.weight is None else fit.rows.x.each(np.mean)
        self._norm_mean = pd.Series(mean, index=index)
        self._ll_null_ = fit.optimum.null.log_likelihood
        self.log_likelihood_ = fit.point.log_likelihood - (penalty.of(fit.coef) if penalty else 0.0)
        self.params_ = pd.Series(fit.coef, index=index, name="coef")
        self.variance_matrix_ = pd.DataFrame(fit.covariance, index=index, columns=index)
        self.standard_errors_ = pd.Series(fit.std_error, index=index, name="se")
        self.confidence_intervals_ = self._compute_confidence_intervals()

    @cached_property
    def durations(self) -> pd.Series[Any]:
        """Return the exit times, sorted as lifelines does: by stratum, time and event."""
        return _in_order(self.estimate_, self.estimate_.follow.time.astype(float), self._index, self.duration_col)

    @cached_property
    def event_observed(self) -> pd.Series[Any]:
        """Return the events in the order of ``durations``."""
        event = self.estimate_.follow.event.astype(bool)
        return _in_order(self.estimate_, event, self._index, self.event_col or "E")

    @cached_property
    def weights(self) -> pd.Series[Any]:
        """Return the weights in the order of ``durations``."""
        weight = self.estimate_.follow.weight
        ones = np.ones(self._n_examples) if weight is None else weight
        return _in_order(self.estimate_, ones, self._index, self.weights_col or "weights")

    @cached_property
    def entries(self) -> pd.Series[Any] | None:
        """Return the entries in the order of ``durations``, or None."""
        entry = self.estimate_.follow.entry
        return None if entry is None else _in_order(self.estimate_, entry, self._index, self.entry_col)

    @cached_property
    def timeline(self) -> pd.Index[Any]:
        """Return the distinct exit times, at which the baseline curves are given."""
        return pd.Index(np.unique(self.estimate_.follow.time.astype(float)))

    @cached_property
    def baseline_cumulative_hazard_(self) -> pd.DataFrame:
        """Return Breslow's cumulative hazard at the covariate means, one column per stratum."""
        return _baseline(
            self.estimate_, self.timeline, self._norm_mean, self._strata_labels, "baseline cumulative hazard"
        )

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
        frame = _to_pandas(self._frame)
        return cast("pd.DataFrame", self._compute_central_values_of_raw_training_data(frame, self.strata))

    @cached_property
    def _norm_std(self) -> pd.Series[Any]:
        return pd.Series(self.estimate_.rows.x.each(lambda column: column.std(ddof=1)), index=self.params_.index)

    @cached_property
    def _predicted_partial_hazards_(self) -> pd.DataFrame:
        values = np.exp(residuals.linear_predictor(self.estimate_))
        risk = _in_order(self.estimate_, values, self._index, "P")
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
        index, order = _labels(frame, fit.used), _order(fit)
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
        return cast("pd.Series[Any]", super().predict_log_partial_hazard(_for_lifelines(X)))

    def predict_cumulative_hazard(self, X: Any, *args: Any, **options: Any) -> pd.DataFrame:  # noqa: N803 -- as above
        """Return the cumulative hazard of each row; polars or pandas."""
        return cast("pd.DataFrame", super().predict_cumulative_hazard(_for_lifelines(X), *args, **options))

    def predict_percentile(self, X: Any, *args: Any, **options: Any) -> pd.Series[Any]:  # noqa: N803 -- as above
        """Return the time at which survival of each row falls to ``p``; polars or pandas."""
        return cast("pd.Series[Any]", super().predict_percentile(_for_lifelines(X), *args, **options))

    def predict_expectation(self, X: Any, *args: Any, **options: Any) -> pd.Series[Any]:  # noqa: N803 -- as above
        """Return the area under the survival curve of each row; polars or pandas."""
        return cast("pd.Series[Any]", super().predict_expectation(_for_lifelines(X), *args, **options))


class CoxPHFitter(lifelines.CoxPHFitter):  # type: ignore[misc]  # lifelines ships no types
    """lifelines' ``CoxPHFitter`` with exact ties, delayed entry, linear-time sandwich variance; polars or pandas in.

    Parameters
    ----------
    ties
        ``"efron"`` or ``"breslow"``.
    penalizer, l1_ratio
        As in lifelines: ``n * penalizer * ((1 - l1_ratio) / 2 b² + l1_ratio |b|)`` on standardised coefficients.

    References
    ----------
    Davidson-Pilon C (2019), lifelines: survival analysis in Python, doi:10.21105/joss.01317.
    """

    _class_name = "CoxPHFitter"

    def __init__(self, *args: Any, ties: Ties = "efron", **options: Any) -> None:
        super().__init__(*args, **options)
        if ties not in ("efron", "breslow"):
            raise StudyError("ties must be 'efron' or 'breslow'")
        self.ties = ties

    def fit(
        self,
        df: Any,
        duration_col: str | None = None,
        event_col: str | None = None,
        show_progress: bool = False,
        initial_point: Any = None,
        strata: str | list[str] | None = None,
        weights_col: str | None = None,
        cluster_col: str | None = None,
        robust: bool | None = None,
        batch_mode: bool | None = None,
        timeline: Iterable[float] | None = None,
        formula: str | None = None,
        entry_col: str | None = None,
        fit_options: dict[str, Any] | None = None,
        offset_col: str | None = None,
    ) -> CoxPHFitter:
        """Fit; parameters as in lifelines, and ``offset_col``, added to the linear predictor.

        ``robust`` follows ``cluster_col`` unless given; False beside a cluster column is refused. Weights are case
        weights: ask for ``robust=True`` where they are probability weights. ``initial_point``, ``batch_mode`` and
        ``fit_options`` steer lifelines' optimiser and change nothing here.
        """
        if cluster_col is not None and robust is False:
            raise StudyError("robust=False contradicts cluster_col: leave one of them out")
        self._offset_col = offset_col
        breslow = self.baseline_estimation_method == "breslow"
        if not breslow and (formula is not None or offset_col is not None):
            raise StudyError("formula and offset_col need baseline_estimation_method='breslow'; pass columns instead")
        super().fit(
            eager(df) if breslow else _to_pandas(df), duration_col, event_col, show_progress, initial_point, strata,
            weights_col, cluster_col, bool(robust or cluster_col), batch_mode, timeline, formula, entry_col,
            fit_options,
        )  # fmt: skip
        return self

    def _fit_model(self, *args: Any, **options: Any) -> Any:
        if options.get("formula") is not None and self.baseline_estimation_method != "breslow":
            raise StudyError("lifelines would evaluate this formula as Python: pass columns instead")
        return super()._fit_model(*args, **options)

    def _fit_model_breslow(self, df: Any, duration_col: str, **options: Any) -> SemiParametricModel:
        if not lifelines.utils.CensoringType.is_right_censoring(self):
            raise StudyError("interval or left censoring needs baseline_estimation_method='spline' or 'piecewise'")
        roles = Roles(
            duration=duration_col,
            event=options["event_col"],
            entry=options["entry_col"],
            weights=options["weights_col"],
            cluster=options["cluster_col"],
            offset=self._offset_col,
            strata=tuple(lifelines.utils._to_list(self.strata)) if self.strata else (),
        )
        model = SemiParametricModel(
            self.ties, penalizer=self.penalizer, l1_ratio=self.l1_ratio, strata=self.strata, alpha=self.alpha,
            label=self._label,
        )  # fmt: skip
        model.train(df, roles, options["formula"], options["robust"])
        if options["timeline"] is not None:
            model.timeline = pd.Index(np.asarray(list(options["timeline"]), dtype=float))
        return model

    def compute_residuals(self, training_dataframe: Any, kind: str) -> pd.DataFrame:
        """Return residuals of a frame under this model, ordered as ``durations``; see :class:`SemiParametricModel`."""
        if isinstance(self._model, SemiParametricModel):
            return self._model.compute_residuals(training_dataframe, kind)
        return cast("pd.DataFrame", super().compute_residuals(_to_pandas(training_dataframe), kind))

    def check_assumptions(self, training_df: Any, *args: Any, **options: Any) -> Any:
        """Print lifelines' advice on proportional hazards; ``proportional_hazards_test`` gives R's exact test."""
        return super().check_assumptions(_to_pandas(training_df), *args, **options)

    def compute_followup_hazard_ratios(self, training_df: Any, followup_times: Iterable[float]) -> pd.DataFrame:
        """Return the hazard ratios had follow-up ended at each of the times given, one row per time."""
        frame = _to_pandas(training_df)
        ratios: dict[float, pd.Series[Any]] = {}
        for time in sorted(followup_times):
            cut, event = frame.copy(), frame[self.event_col].astype(bool) if self.event_col else True
            cut[self.event_col or "E"] = event & (frame[self.duration_col] <= time)
            cut[self.duration_col] = np.minimum(frame[self.duration_col], time)
            model = type(self)(ties=self.ties, penalizer=self.penalizer, l1_ratio=self.l1_ratio, strata=self.strata)
            model.fit(
                cut, self.duration_col, self.event_col or "E", weights_col=self.weights_col,
                cluster_col=self.cluster_col, entry_col=self.entry_col, formula=self.formula,
                offset_col=self._offset_col,
            )  # fmt: skip
            ratios[time] = model.hazard_ratios_
        return pd.DataFrame(ratios).T


class CoxTimeVaryingFitter(lifelines.CoxTimeVaryingFitter):  # type: ignore[misc]  # lifelines ships no types
    """lifelines' ``CoxTimeVaryingFitter`` on (start, stop] rows, in linear time, with robust variance by person."""

    _class_name = "CoxTimeVaryingFitter"
    strata: str | list[str] | None

    def __init__(self, *args: Any, ties: Ties = "efron", **options: Any) -> None:
        super().__init__(*args, **options)
        if ties not in ("efron", "breslow"):
            raise StudyError("ties must be 'efron' or 'breslow'")
        self.ties = ties

    def fit(
        self,
        df: Any,
        event_col: str,
        start_col: str = "start",
        stop_col: str = "stop",
        weights_col: str | None = None,
        id_col: str | None = None,
        show_progress: bool = False,
        robust: bool = False,
        strata: str | list[str] | None = None,
        initial_point: Any = None,
        formula: str | None = None,
        fit_options: dict[str, Any] | None = None,
        offset_col: str | None = None,
    ) -> CoxTimeVaryingFitter:
        """Fit; parameters as in lifelines. ``robust=True`` sums the scores of each ``id_col`` before squaring.

        Overlapping intervals of one person within a stratum are refused when ``id_col`` is given.
        """
        del show_progress, initial_point, fit_options  # they steer lifelines' optimiser
        self.strata = lifelines.utils._to_list_or_singleton(self.strata if strata is None else strata)
        self.event_col, self.start_col, self.stop_col = event_col, start_col, stop_col
        self.weights_col, self.id_col, self.formula, self.robust = weights_col, id_col, formula, robust
        self._time_fit_was_called = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S") + " UTC"
        roles = Roles(
            duration=stop_col,
            event=event_col,
            entry=start_col,
            weights=weights_col,
            offset=offset_col,
            identity=id_col,
            strata=tuple(lifelines.utils._to_list(self.strata)) if self.strata else (),
        )
        self._frame = eager(df)
        self.regressors = LifelinesRegressors.of(self._frame, roles, formula)
        data = Training.of(self._frame, roles, self.regressors)
        person = None if id_col is None else codes(self._frame, id_col)
        if person is not None and data.follow.entry is not None:
            check_intervals(person, data.follow.entry, data.follow.time, data.follow.stratum)
        penalty = lifelines_penalty(data.x, self.penalizer, self.l1_ratio)
        self.estimate_ = estimate(
            data.x, data.follow, data.names, self.ties, penalty, robust=robust, cluster=person if robust else None
        )
        self._fill(data, penalty, person)
        return self

    def _fill(self, data: Training, penalty: Penalty | None, person: NDArray[np.int64] | None) -> None:
        fit, follow = self.estimate_, self.estimate_.follow
        index = pd.Index(data.names, name="covariate")
        rows = _labels(self._frame, fit.used)
        self._n_examples = rows.size
        self._n_unique = rows.size if person is None else np.unique(person[fit.used]).size
        mean = fit.rows.centre if follow.weight is None else fit.rows.x.each(np.mean)
        self._norm_mean = pd.Series(mean, index=index)
        self._log_likelihood_null = fit.optimum.null.log_likelihood
        self.log_likelihood_ = fit.point.log_likelihood - (penalty.of(fit.coef) if penalty else 0.0)
        self.params_ = pd.Series(fit.coef, index=index, name="coef")
        self.variance_matrix_ = pd.DataFrame(fit.covariance, index=index, columns=index)
        self.standard_errors_ = pd.Series(fit.std_error, index=index, name="se")
        self.confidence_intervals_ = self._compute_confidence_intervals()
        self.event_observed = pd.Series(follow.event.astype(bool), index=rows, name="event")
        columns = {"event": follow.event.astype(bool), "start": follow.entry, "stop": follow.time}
        self.start_stop_and_events = pd.DataFrame(columns, index=rows)
        ones = np.ones(rows.size) if follow.weight is None else follow.weight
        self.weights = pd.Series(ones, index=rows, name="__weights")
        times = pd.Index(np.unique(fit.rows.cells.time))
        self.baseline_cumulative_hazard_ = _baseline(fit, times, self._norm_mean, data.strata, "baseline hazard")
        survival = cast("pd.DataFrame", np.exp(-self.baseline_cumulative_hazard_))
        self.baseline_survival_ = survival if self.strata else survival.set_axis(["baseline survival"], axis=1)

    def proportional_hazards_test(self, transform: Transform = "km") -> ProportionalHazardsTest:
        """Return R's cox.zph of each term and of all together."""
        return proportional_hazards_test(self.estimate_, transform, self.regressors.term_of(self._frame))


def fine_gray_attribute(fit: FineGrayFit, name: str) -> Any:
    """Return an attribute of a Fine–Gray fit under lifelines' name, as a pandas object."""
    index = pd.Index(fit.terms, name="covariate")
    percent = f"{100 * fit.level:g}%"
    lower, upper = fit.limits()
    table = fit.to_polars()
    named: dict[str, Callable[[], Any]] = {
        "params_": lambda: pd.Series(fit.coef, index=index, name="coef"),
        "hazard_ratios_": lambda: pd.Series(np.exp(fit.coef), index=index, name="exp(coef)"),
        "standard_errors_": lambda: pd.Series(fit.std_error, index=index, name="se"),
        "variance_matrix_": lambda: pd.DataFrame(fit.covariance, index=index, columns=index),
        "confidence_intervals_": lambda: pd.DataFrame(
            {f"{percent} lower-bound": lower, f"{percent} upper-bound": upper}, index=index
        ),
        "log_likelihood_": lambda: fit.log_likelihood,
        "baseline_cumulative_hazard_": lambda: pd.DataFrame(
            {"baseline cumulative hazard": np.cumsum(fit.hazard)}, index=fit.time
        ),
        "summary": lambda: pd.DataFrame(
            {
                "coef": fit.coef,
                "exp(coef)": np.exp(fit.coef),
                "se(coef)": fit.std_error,
                f"coef lower {percent}": lower,
                f"coef upper {percent}": upper,
                f"exp(coef) lower {percent}": np.exp(lower),
                f"exp(coef) upper {percent}": np.exp(upper),
                "z": table["z"].to_numpy(),
                "p": fit.p_value,
                "-log2(p)": -np.log2(fit.p_value),
            },
            index=index,
        ),
    }
    if name not in named:
        raise AttributeError(f"FineGrayFitter has no attribute {name!r}")
    return named[name]()


def _order(fit: CoxEstimate) -> NDArray[np.int64]:
    """Return lifelines' order of rows: by stratum, time and event; its time transforms rely on it."""
    keys = (fit.follow.event, fit.follow.time)
    return np.lexsort(keys if fit.follow.stratum is None else (*keys, fit.follow.stratum))


def _in_order(fit: CoxEstimate, values: NDArray[Any], index: pd.Index[Any], name: str | None) -> pd.Series[Any]:
    order = _order(fit)
    return pd.Series(values[order], index=index[order], name=name)


def _baseline(
    fit: CoxEstimate, times: pd.Index[Any], mean: pd.Series[Any], strata: list[Hashable], name: str
) -> pd.DataFrame:
    """Return Breslow's cumulative hazard at the covariate means and no offset, at ``times``, a column per stratum."""
    cells = fit.rows.cells
    offset = 0.0 if fit.follow.offset is None else fit.follow.offset.mean()
    moved = float(np.exp((mean.to_numpy() - fit.rows.centre) @ fit.coef - offset))
    hazard = residuals.baseline_hazard(fit, "breslow") * moved
    labels = strata or [name]
    curves = []
    for code in range(len(labels)):
        own = slice(*np.searchsorted(cells.stratum, [code, code + 1]))
        curve = np.concatenate([[0.0], np.cumsum(hazard[own])])
        curves.append(curve[np.searchsorted(cells.time[own], times.to_numpy(), side="right")])
    # pairs of strata stay one level of pairs, as lifelines has them
    return pd.DataFrame(np.column_stack(curves), index=times, columns=pd.Index(labels, tupleize_cols=False))


def _labels(frame: Any, used: NDArray[np.bool_]) -> pd.Index[Any]:
    index = frame.index if isinstance(frame, pd.DataFrame) else pd.RangeIndex(len(frame))
    return index[used]


def _for_lifelines(frame: Any) -> Any:
    """Return polars as pandas and anything else (pandas, an array, one row) as it is."""
    return _to_pandas(frame) if isinstance(frame, pl.DataFrame | pl.LazyFrame) else frame


def _to_pandas(frame: Any) -> pd.DataFrame:
    """Return a numpy-backed pandas frame: lifelines refuses polars and Arrow-backed columns."""
    held = eager(frame)
    if isinstance(held, pl.DataFrame):
        return pd.DataFrame({name: held[name].to_numpy() for name in held.columns})
    return cast("pd.DataFrame", held)
