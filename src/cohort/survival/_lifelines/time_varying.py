"""lifelines' ``CoxTimeVaryingFitter`` with our numbers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

import lifelines
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cohort.errors import StudyError
from cohort.survival._lifelines.frames import LifelinesRegressors, baseline, row_labels
from cohort.survival.cox_frames import Roles, Training, codes, eager, lifelines_penalty
from cohort.survival.cox_model import estimate
from cohort.survival.cox_newton import Penalty, Ties
from cohort.survival.cox_order import distinct
from cohort.survival.cox_risk import check_intervals
from cohort.survival.cox_zph import ProportionalHazardsTest, Transform, proportional_hazards_test


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
        rows = self._rows(fit.used)
        self._n_examples = rows.size
        self._n_unique = rows.size if person is None else distinct(person[fit.used])[1]
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
        self.baseline_cumulative_hazard_ = baseline(fit, times, self._norm_mean, data.strata, "baseline hazard")
        survival = cast("pd.DataFrame", np.exp(-self.baseline_cumulative_hazard_))
        self.baseline_survival_ = survival if self.strata else survival.set_axis(["baseline survival"], axis=1)

    def _rows(self, used: NDArray[np.bool_]) -> pd.Index[Any]:
        """Return the labels of the rows used: the persons, as in lifelines, or without them the frame's index."""
        if self.id_col is None:
            return row_labels(self._frame, used)
        persons: pd.Index[Any] = pd.Index(np.asarray(self._frame[self.id_col].to_numpy())[used], name=self.id_col)
        return persons

    def proportional_hazards_test(self, transform: Transform = "km") -> ProportionalHazardsTest:
        """Return R's cox.zph of each term and of all together."""
        return proportional_hazards_test(self.estimate_, transform, self.regressors.term_of(self._frame))
