"""``CoxPHFitter`` where lifelines would draw lines between exits, or another category would be reference."""

from __future__ import annotations

import lifelines
import numpy as np
import pandas as pd
import polars as pl
import pytest
from test_survival_lifelines import BASE, people

from cohort.errors import InputRefusedError, StudyError
from cohort.survival.cox import CoxPHFitter

# events on days 2, 5 and 9, censorings on 4 and 12
FEW = pd.DataFrame({"time": [2, 4, 5, 9, 12], "event": [1, 0, 1, 1, 0], "x": [0.0, 1.0, 2.0, 0.5, 1.0]})


def test_a_predicted_curve_is_a_step_function_from_1() -> None:
    """R's survfit gives S(t) of the last event at or before t, and 1 before the first; lifelines draws lines."""
    fit = CoxPHFitter().fit(FEW, "time", "event")
    curve = fit.predict_survival_function(FEW.iloc[[0]], times=[0, 1.9, 2, 4.9, 5, 8, 9, 99]).iloc[:, 0]
    at = dict(zip([2, 5, 9], fit.predict_survival_function(FEW.iloc[0], times=[2, 5, 9]).iloc[:, 0], strict=True))
    assert curve.tolist() == [1, 1, at[2], at[2], at[5], at[5], at[9], at[9]]
    # given survival to day 4, the remaining curve is S(4 + t) / S(4), and S(4) = S(2)
    later = fit.predict_survival_function(FEW.iloc[[0]], times=[0.5, 1], conditional_after=[4]).iloc[:, 0]
    np.testing.assert_allclose(later, [1, at[5] / at[2]], rtol=1e-14)


def test_a_timeline_says_where_to_predict_and_coarsens_nothing() -> None:
    fine, coarse = CoxPHFitter().fit(FEW, "time", "event"), CoxPHFitter().fit(FEW, "time", "event", timeline=[0, 6])
    pd.testing.assert_frame_equal(coarse.baseline_cumulative_hazard_, fine.baseline_cumulative_hazard_)
    assert coarse.predict_survival_function(FEW).index.tolist() == [0, 6]
    for asked in ({"times": [5, 9]}, {"times": [1, 3], "conditional_after": [2] * 5}):
        pd.testing.assert_frame_equal(
            coarse.predict_survival_function(FEW, **asked), fine.predict_survival_function(FEW, **asked)
        )


def test_a_stratum_of_nobody_in_the_fit_is_refused_by_count() -> None:
    frame = people()[[*BASE, "site"]]
    fit = CoxPHFitter().fit(frame, "time", "event", strata=["site"])
    with pytest.raises(InputRefusedError, match="2 rows are of a stratum") as refused:
        fit.predict_survival_function(frame.head(5).assign(site=[0, 77, 1, 77, 2]))
    assert "77" not in str(refused.value)
    with pytest.raises(StudyError, match="site"):
        fit.predict_survival_function(frame.head(5).drop(columns="site"))


@pytest.mark.parametrize("of", ["pandas", "polars"])
def test_the_reference_is_the_first_level_declared(of: str) -> None:
    """Of ``lo, mid, hi`` as declared, not ``hi`` as sorted; ``none`` is declared and does not occur."""
    levels = ["none", "lo", "mid", "hi"]
    frame = people()[BASE].assign(dose=lambda f: np.array(levels[1:])[np.arange(len(f)) % 3])
    theirs = lifelines.CoxPHFitter().fit(
        frame.assign(dose=pd.Categorical(frame["dose"], categories=levels[1:])), "time", "event", formula="age + dose"
    )
    given = frame.assign(dose=pd.Categorical(frame["dose"], categories=levels))
    if of == "polars":
        given = pl.DataFrame(frame.to_dict("list")).with_columns(pl.col("dose").cast(pl.Enum(levels)))
    ours = CoxPHFitter().fit(given, "time", "event", formula="age + dose")
    assert list(ours.params_.index) == ["age", "dose[mid]", "dose[hi]"]
    np.testing.assert_allclose(ours.params_, theirs.params_, rtol=1e-4)
    np.testing.assert_allclose(ours.predict_partial_hazard(given), ours.predict_partial_hazard(frame), rtol=1e-12)


def test_hazard_ratios_by_follow_up_need_the_semi_parametric_model() -> None:
    frame = people()[BASE]
    spline = CoxPHFitter(baseline_estimation_method="spline", n_baseline_knots=2).fit(frame, "time", "event")
    with pytest.raises(StudyError, match="breslow"):
        spline.compute_followup_hazard_ratios(frame, [20])
