"""lifelines' ``CoxPHFitter`` with our numbers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import lifelines
import numpy as np
import pandas as pd

from cohort.errors import StudyError
from cohort.survival._lifelines.frames import to_pandas
from cohort.survival._lifelines.semi_parametric import SemiParametricModel
from cohort.survival.cox_frames import Roles, eager
from cohort.survival.cox_newton import Ties


class CoxPHFitter(lifelines.CoxPHFitter):  # type: ignore[misc]  # lifelines ships no types
    """lifelines' ``CoxPHFitter`` with exact ties, delayed entry, linear-time sandwich variance; polars or pandas in.

    Parameters
    ----------
    ties
        ``"efron"`` or ``"breslow"``.
    penalizer, l1_ratio
        As in lifelines: ``n * penalizer * ((1 - l1_ratio) / 2 b² + l1_ratio |b|)`` on standardised coefficients.
    firth
        Firth's correction: finite under a monotone likelihood, with profile limits and tests; not beside a penalizer.

    References
    ----------
    Heinze G, Schemper M (2001), doi:10.1111/j.0006-341X.2001.00114.x;
    Davidson-Pilon C (2019), lifelines: survival analysis in Python, doi:10.21105/joss.01317.
    """

    _class_name = "CoxPHFitter"

    def __init__(self, *args: Any, ties: Ties = "efron", firth: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        if ties not in ("efron", "breslow"):
            raise StudyError("ties must be 'efron' or 'breslow'")
        if firth and self.baseline_estimation_method != "breslow":
            raise StudyError("firth=True needs baseline_estimation_method='breslow'")
        self.ties, self.firth = ties, firth

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
            eager(df) if breslow else to_pandas(df), duration_col, event_col, show_progress, initial_point, strata,
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
            self.ties, firth=self.firth, penalizer=self.penalizer, l1_ratio=self.l1_ratio, strata=self.strata,
            alpha=self.alpha, label=self._label,
        )  # fmt: skip
        model.train(df, roles, options["formula"], options["robust"])
        if options["timeline"] is not None:
            model.timeline = pd.Index(np.asarray(list(options["timeline"]), dtype=float))
        return model

    def compute_residuals(self, training_dataframe: Any, kind: str) -> pd.DataFrame:
        """Return residuals of a frame under this model, ordered as ``durations``; see :class:`SemiParametricModel`."""
        if isinstance(self._model, SemiParametricModel):
            return self._model.compute_residuals(training_dataframe, kind)
        return cast("pd.DataFrame", super().compute_residuals(to_pandas(training_dataframe), kind))

    def check_assumptions(self, training_df: Any, *args: Any, **options: Any) -> Any:
        """Print lifelines' advice on proportional hazards; ``proportional_hazards_test`` gives R's exact test."""
        return super().check_assumptions(to_pandas(training_df), *args, **options)

    def compute_followup_hazard_ratios(self, training_df: Any, followup_times: Iterable[float]) -> pd.DataFrame:
        """Return the hazard ratios had follow-up ended at each of the times given, one row per time."""
        frame = to_pandas(training_df)
        if not isinstance(self._model, SemiParametricModel):
            raise StudyError("hazard ratios by follow-up need baseline_estimation_method='breslow'")
        ratios: dict[float, pd.Series[Any]] = {}
        for time in sorted(followup_times):
            cut, event = frame.copy(), frame[self.event_col].astype(bool) if self.event_col else True
            cut[self.event_col or "E"] = event & (frame[self.duration_col] <= time)
            cut[self.duration_col] = np.minimum(frame[self.duration_col], time)
            model = type(self)(
                ties=self.ties, firth=self.firth, penalizer=self.penalizer, l1_ratio=self.l1_ratio, strata=self.strata
            )  # fmt: skip
            model.fit(
                cut, self.duration_col, self.event_col or "E", weights_col=self.weights_col,
                cluster_col=self.cluster_col, entry_col=self.entry_col, formula=self.formula,
                offset_col=self._offset_col,
            )  # fmt: skip
            ratios[time] = model.hazard_ratios_
        return pd.DataFrame(ratios).T
