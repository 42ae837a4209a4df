"""Our fitters behind lifelines' interface: the same attributes and methods, and the same numbers where it is right.

lifelines stops its optimiser early (1e-7), so coefficients agree to about 1e-6 of themselves. Residuals and sandwich
variances are compared on data without ties, which lifelines' formulas assume.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import lifelines
import matplotlib as mpl
import numpy as np
import pandas as pd
import polars as pl
import pytest
from lifelines.statistics import proportional_hazard_test
from lifelines.utils import k_fold_cross_validation

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.cox import CoxPHFitter, CoxTimeVaryingFitter

mpl.use("Agg")
LOOSE = {"rtol": 1e-5, "atol": 1e-6}  # lifelines' own precision


def people(n: int = 300, seed: int = 1, *, ties: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(50, 10, n), rng.integers(0, 2, n)
    event, censoring = rng.exponential(60 / np.exp(0.03 * (age - 50) + 0.5 * sex)), rng.uniform(5, 90, n)
    time = np.minimum(event, censoring)
    return pd.DataFrame(
        {
            "time": np.ceil(time) if ties else time,
            "event": (event <= censoring).astype(int),
            "age": age,
            "sex": sex,
            "dose": rng.gamma(2, 1, n),
            "site": rng.integers(0, 3, n),
            "weight": rng.integers(1, 4, n),
            "entry": np.floor(np.ceil(time) * rng.uniform(0, 0.8, n)),
            "clinic": rng.integers(0, 40, n),
        },
        index=pd.Index(rng.permutation(n) + 1000),
    )


BASE = ["time", "event", "age", "sex", "dose"]


def pair(columns: list[str], *, ties: bool = True, **options: Any) -> tuple[Any, Any, pd.DataFrame]:
    frame = people(ties=ties)[columns]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lifelines.CoxPHFitter().fit(frame, "time", "event", **options)
    return CoxPHFitter().fit(frame, "time", "event", **options), theirs, frame


PLAIN = {
    "plain": (BASE, {}),
    "strata": ([*BASE, "site"], {"strata": ["site"]}),
    "two strata": ([*BASE[:4], "site", "dose"], {"strata": ["site", "sex"]}),
    "weights": ([*BASE, "weight"], {"weights_col": "weight"}),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_fit_and_everything_that_follows_from_it(kind: str) -> None:
    columns, options = PLAIN[kind]
    ours, theirs, frame = pair(columns, **options)
    for name in ("params_", "hazard_ratios_", "standard_errors_", "durations", "event_observed", "weights", "timeline"):
        np.testing.assert_allclose(
            np.asarray(getattr(ours, name), dtype=float), np.asarray(getattr(theirs, name), dtype=float), **LOOSE
        )
    for name in ("variance_matrix_", "confidence_intervals_", "summary"):
        pd.testing.assert_frame_equal(getattr(ours, name), getattr(theirs, name), rtol=1e-4, atol=1e-5)
    for name in ("baseline_hazard_", "baseline_cumulative_hazard_", "baseline_survival_"):
        pd.testing.assert_frame_equal(getattr(ours, name), getattr(theirs, name), rtol=1e-5, check_names=False)
    pd.testing.assert_series_equal(ours.durations, theirs.durations)
    np.testing.assert_allclose(ours.log_likelihood_, theirs.log_likelihood_, rtol=1e-9)
    np.testing.assert_allclose(ours.AIC_partial_, theirs.AIC_partial_, rtol=1e-9)
    ours_test, theirs_test = ours.log_likelihood_ratio_test(), theirs.log_likelihood_ratio_test()
    np.testing.assert_allclose(ours_test.test_statistic, theirs_test.test_statistic, rtol=1e-8)
    np.testing.assert_allclose(ours.score(frame), theirs.score(frame), rtol=1e-6)
    if kind != "weights":  # lifelines' concordance forgets the weights
        np.testing.assert_allclose(ours.concordance_index_, theirs.concordance_index_, rtol=1e-12)


@pytest.mark.parametrize("kind", ["plain", "strata", "weights"])
@pytest.mark.parametrize(
    "method",
    ["predict_partial_hazard", "predict_log_partial_hazard", "predict_survival_function", "predict_cumulative_hazard",
     "predict_median", "predict_percentile", "predict_expectation"],
)  # fmt: skip
def test_predictions_from_pandas_and_polars(kind: str, method: str) -> None:
    columns, options = PLAIN[kind]
    ours, theirs, frame = pair(columns, **options)
    new = frame.iloc[:7].drop(columns=["time", "event"]).reset_index(drop=True)
    from_pandas = getattr(ours, method)(new)
    pd_testing = pd.testing.assert_frame_equal if from_pandas.ndim == 2 else pd.testing.assert_series_equal
    pd_testing(from_pandas, getattr(theirs, method)(new), rtol=1e-4, check_dtype=False, check_names=False)
    from_polars = getattr(ours, method)(pl.from_pandas(new))
    np.testing.assert_array_equal(from_polars.to_numpy(), from_pandas.to_numpy())


# not "score" and "delta_beta": lifelines multiplies raw covariates by standardised coefficients there; ours equal R's
@pytest.mark.parametrize("kind", ["martingale", "deviance", "schoenfeld", "scaled_schoenfeld"])
@pytest.mark.parametrize("options", [{}, {"strata": ["site"]}], ids=["plain", "strata"])
def test_residuals_without_ties(kind: str, options: dict[str, Any]) -> None:
    ours, theirs, frame = pair([*BASE, *options.get("strata", [])], ties=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.compute_residuals(frame, kind)
    found = ours.compute_residuals(frame, kind)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-5, check_dtype=False)


def test_delta_beta_is_close_to_leaving_a_row_out() -> None:
    frame = people()[BASE].reset_index(drop=True)
    fit = CoxPHFitter().fit(frame, "time", "event")
    change = fit.compute_residuals(frame, "delta_beta")
    for row in (0, 7, 50):
        without = CoxPHFitter().fit(frame.drop(index=row), "time", "event")
        np.testing.assert_allclose(
            change.loc[row], fit.params_ - without.params_, atol=0.05 * fit.standard_errors_.max()
        )
        assert (
            np.corrcoef(change.loc[row] / fit.standard_errors_, (fit.params_ - without.params_) / fit.standard_errors_)[
                0, 1
            ]
            > 0.9
        )


def test_robust_and_clustered_errors_without_ties() -> None:
    for options in ({"robust": True}, {"cluster_col": "clinic"}):
        ours, theirs, _ = pair([*BASE, *([] if "robust" in options else ["clinic"])], ties=False, **options)
        np.testing.assert_allclose(ours.standard_errors_, theirs.standard_errors_, rtol=1e-5)
        np.testing.assert_allclose(np.sqrt(np.diag(ours.variance_matrix_)), ours.standard_errors_, rtol=1e-12)
        assert ours.robust is True


def test_cluster_column_with_robust_false_is_a_contradiction() -> None:
    # lifelines turns robust on without a word (#1598)
    with pytest.raises(StudyError, match="robust=False contradicts cluster_col"):
        CoxPHFitter().fit(people(), "time", "event", cluster_col="clinic", robust=False)


def test_a_single_cluster_has_no_sandwich_variance() -> None:
    with pytest.raises(NotEstimableError, match="sandwich_of_one_cluster"):
        CoxPHFitter().fit(people()[BASE].assign(clinic=1), "time", "event", cluster_col="clinic")


def test_delayed_entry_is_in_the_baseline() -> None:
    # Breslow: deaths over the risk of those entered before the day and not yet gone
    frame = people()[[*BASE, "entry"]]
    fit = CoxPHFitter(ties="breslow").fit(frame, "time", "event", entry_col="entry")
    risk = fit.predict_partial_hazard(frame)
    for time in (10.0, 30.0, 50.0):
        at_risk = (frame["entry"] < time) & (frame["time"] >= time)
        deaths = ((frame["time"] == time) & (frame["event"] == 1)).sum()
        np.testing.assert_allclose(fit.baseline_hazard_.loc[time, "baseline hazard"], deaths / risk[at_risk].sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lifelines.CoxPHFitter().fit(frame, "time", "event", entry_col="entry")
    ours = CoxPHFitter().fit(frame, "time", "event", entry_col="entry")
    np.testing.assert_allclose(ours.params_, theirs.params_, **LOOSE)  # its coefficients are right, its baseline is not
    assert abs(ours.baseline_survival_.iloc[-1, 0] - theirs.baseline_survival_.iloc[-1, 0]) > 0.01


def test_splitting_rows_leaves_the_baseline_alone() -> None:
    frame = people()[[*BASE, "entry"]].reset_index(drop=True)
    middle = np.floor((frame["entry"] + frame["time"]) / 2)
    split = pd.concat([frame.assign(time=middle, event=0), frame.assign(entry=middle)]).query("time > entry")
    whole, parts = (CoxPHFitter().fit(f, "time", "event", entry_col="entry") for f in (frame, split))
    last = whole.baseline_survival_.iloc[-1, 0] * np.exp(0)
    moved = (parts._norm_mean - whole._norm_mean) @ whole.params_  # the means of covariates count rows
    np.testing.assert_allclose(np.log(parts.baseline_survival_.iloc[-1, 0]) / np.exp(moved), np.log(last), rtol=1e-9)


@pytest.mark.parametrize(("penalizer", "l1_ratio"), [(0.1, 0.0), (0.02, 0.5), (0.05, 1.0)])
def test_penalties(penalizer: float, l1_ratio: float) -> None:
    frame = people()[BASE]
    theirs = lifelines.CoxPHFitter(penalizer=penalizer, l1_ratio=l1_ratio).fit(frame, "time", "event")
    ours = CoxPHFitter(penalizer=penalizer, l1_ratio=l1_ratio).fit(frame, "time", "event")
    np.testing.assert_allclose(ours.params_, theirs.params_, atol=1e-4)  # lifelines smooths |b|
    np.testing.assert_allclose(ours.log_likelihood_, theirs.log_likelihood_, rtol=1e-7)
    zero = ours.params_ == 0
    assert (ours.standard_errors_.isna() == zero).all()
    np.testing.assert_allclose(ours.standard_errors_[~zero], theirs.standard_errors_[~zero], rtol=1e-2)


def test_a_lasso_maximum_satisfies_its_conditions() -> None:
    # at the maximum |score| = lambda where b != 0 and |score| <= lambda where b = 0 (standardised covariates)
    frame = people()[BASE]
    fit = CoxPHFitter(penalizer=0.05, l1_ratio=1.0).fit(frame, "time", "event")
    score = fit.compute_residuals(frame, "score").sum().to_numpy() / (1 / frame[BASE[2:]].std().to_numpy()) ** -1
    bound = len(frame) * 0.05
    robust = CoxPHFitter(penalizer=0.05, l1_ratio=1.0).fit(frame, "time", "event", robust=True).standard_errors_
    assert (robust.isna() == (fit.params_ == 0)).all()
    nonzero = fit.params_.to_numpy() != 0
    assert nonzero.any()
    assert not nonzero.all()
    np.testing.assert_allclose(np.abs(score[nonzero]), bound, rtol=1e-8)
    assert (np.abs(score[~nonzero]) <= bound).all()


def test_formula_is_our_grammar_and_is_never_evaluated(tmp_path: Any) -> None:
    frame = people()[BASE].assign(sex=lambda f: np.where(f["sex"] == 1, "male", "female"))
    ours = CoxPHFitter().fit(frame, "time", "event", formula="age*sex + dose")
    assert list(ours.params_.index) == ["age", "sex[male]", "dose", "age:sex[male]"]  # products last, as in R
    male = (frame["sex"] == "male").astype(float)
    explicit = frame.assign(sex=male, both=male * frame["age"])
    theirs = lifelines.CoxPHFitter().fit(explicit, "time", "event")
    np.testing.assert_allclose(ours.params_, theirs.params_, **LOOSE)
    # the levels are those of the training frame, also where a new frame shows one of them only
    only_men = ours.predict_partial_hazard(frame[frame["sex"] == "male"])
    np.testing.assert_allclose(only_men, ours.predict_partial_hazard(frame)[frame["sex"] == "male"], rtol=1e-12)
    flag = tmp_path / "ran"
    for method in ("breslow", "spline"):
        fitter = CoxPHFitter(baseline_estimation_method=method, n_baseline_knots=2)
        with pytest.raises(StudyError):
            fitter.fit(frame, "time", "event", formula=f"age + {{open({str(flag)!r}, 'w')}}")
    assert not flag.exists()


def test_offset_shifts_the_linear_predictor() -> None:
    # a known coefficient given as offset leaves the others where they were
    frame = people()[BASE]
    whole = CoxPHFitter().fit(frame, "time", "event")
    frame = frame.assign(known=frame["age"] * whole.params_["age"]).drop(columns="age")
    rest = CoxPHFitter().fit(frame, "time", "event", offset_col="known")
    np.testing.assert_allclose(rest.params_, whole.params_[["sex", "dose"]], rtol=1e-9)
    # its level cancels in the coefficients, and is taken out of the baseline, even where exp sums overflow
    far = CoxPHFitter().fit(frame.assign(known=frame["known"] + 700), "time", "event", offset_col="known")
    np.testing.assert_allclose(far.params_, rest.params_, rtol=1e-9)
    at_zero = rest.baseline_cumulative_hazard_.iloc[-1, 0]
    np.testing.assert_allclose(np.log(far.baseline_cumulative_hazard_.iloc[-1, 0]), np.log(at_zero) - 700, rtol=1e-9)
    mean = whole._norm_mean["age"] * whole.params_["age"]
    np.testing.assert_allclose(at_zero * np.exp(mean), whole.baseline_cumulative_hazard_.iloc[-1, 0], rtol=1e-9)


def test_polars_in_is_pandas_in() -> None:
    frame = people()[[*BASE, "site", "clinic"]].reset_index(drop=True)
    a = CoxPHFitter().fit(frame, "time", "event", strata="site", cluster_col="clinic")
    for polars in (pl.from_pandas(frame), pl.from_pandas(frame).lazy()):
        b = CoxPHFitter().fit(polars, "time", "event", strata="site", cluster_col="clinic")
        pd.testing.assert_frame_equal(a.summary, b.summary)
        pd.testing.assert_frame_equal(a.baseline_survival_, b.baseline_survival_)
        pd.testing.assert_frame_equal(
            a.compute_residuals(frame, "schoenfeld"), b.compute_residuals(polars, "schoenfeld"), check_index_type=False
        )


def test_summary_plots_and_advice_are_lifelines_own(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs, frame = pair(BASE)
    ours.print_summary()
    assert "Concordance" in capsys.readouterr().out
    ours.plot()
    ours.plot(hazard_ratios=True)
    ours.plot_partial_effects_on_outcome("age", [40, 60])
    mpl.pyplot.close("all")
    ours.check_assumptions(frame, p_value_threshold=0.05)
    for transform in ("rank", "km", "identity", "log"):
        a, b = (proportional_hazard_test(fit, frame, transform).test_statistic for fit in (ours, theirs))
        np.testing.assert_allclose(a, b, rtol=1e-4)
    exact = ours.proportional_hazards_test("km").to_polars()
    assert exact["term"].to_list() == ["age", "sex", "dose", "GLOBAL"]


def test_follow_up_hazard_ratios_keep_the_handling_of_ties() -> None:
    frame = people()[BASE]
    fit = CoxPHFitter(ties="breslow").fit(frame, "time", "event")
    ratios = fit.compute_followup_hazard_ratios(frame, [20, 40])
    early = frame.assign(event=frame["event"].where(frame["time"] <= 20, 0), time=frame["time"].clip(upper=20))
    expected = CoxPHFitter(ties="breslow").fit(early, "time", "event").hazard_ratios_
    np.testing.assert_allclose(ratios.loc[20], expected, rtol=1e-9)


def test_copies_pickles_cross_validation_and_numbered_columns() -> None:
    frame = people()[BASE].reset_index(drop=True)
    fit = CoxPHFitter(ties="breslow").fit(frame, "time", "event")
    for other in (copy.deepcopy(fit), pickle.loads(pickle.dumps(fit))):  # noqa: S301 -- our own
        pd.testing.assert_frame_equal(other.summary, fit.summary)
    scores = k_fold_cross_validation(CoxPHFitter(), frame, "time", "event", k=3, seed=1)
    expected = k_fold_cross_validation(lifelines.CoxPHFitter(), frame, "time", "event", k=3, seed=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    numbered = frame.set_axis(range(5), axis=1)
    np.testing.assert_array_equal(CoxPHFitter(ties="breslow").fit(numbered, 0, 1).params_, fit.params_)
    with pytest.raises(NotEstimableError, match=r"constant\(2\)"):
        numbered[2] = 1.0
        CoxPHFitter().fit(numbered, 0, 1)


def test_other_baselines_are_still_lifelines(capsys: pytest.CaptureFixture[str]) -> None:
    fit = CoxPHFitter(baseline_estimation_method="piecewise", breakpoints=[20, 40]).fit(people()[BASE], "time", "event")
    assert isinstance(fit, lifelines.CoxPHFitter)
    assert np.isfinite(fit.log_likelihood_)


def test_no_finite_number_where_there_is_no_maximum() -> None:
    frame = people()[BASE].assign(exposed=lambda f: f["event"])
    with pytest.raises(NotEstimableError, match=r"monotone_likelihood\(exposed\)"):
        CoxPHFitter().fit(frame, "time", "event")
    with pytest.raises(InputRefusedError, match="column sex is String"):
        CoxPHFitter().fit(people()[BASE].assign(sex="x"), "time", "event")
    with pytest.raises(InputRefusedError, match="column age is missing or infinite in 2 rows"):
        CoxPHFitter().fit(people()[BASE].assign(age=lambda f: f["age"].where(f["age"].rank() > 2)), "time", "event")
    with pytest.raises(InputRefusedError, match="the weight is negative or not a finite number in 1 rows"):
        weight = np.r_[-1.0, np.ones(299)]
        CoxPHFitter().fit(people()[BASE].assign(weight=weight), "time", "event", weights_col="weight")


def test_rows_of_weight_zero_are_as_good_as_absent() -> None:
    frame = people()[BASE].assign(weight=np.r_[np.zeros(50), np.ones(250)])
    with_them = CoxPHFitter().fit(frame, "time", "event", weights_col="weight", robust=True)
    without = CoxPHFitter().fit(frame.iloc[50:].drop(columns="weight"), "time", "event", robust=True)
    np.testing.assert_allclose(with_them.params_, without.params_, rtol=1e-12)
    np.testing.assert_allclose(with_them.standard_errors_, without.standard_errors_, rtol=1e-12)


def test_weights_are_replication_under_breslow() -> None:
    frame = people()[[*BASE, "weight"]].reset_index(drop=True)
    weighted = CoxPHFitter(ties="breslow").fit(frame, "time", "event", weights_col="weight")
    repeated = frame.loc[frame.index.repeat(frame["weight"])].drop(columns="weight").reset_index(drop=True)
    counted = CoxPHFitter(ties="breslow").fit(repeated, "time", "event")
    np.testing.assert_allclose(weighted.params_, counted.params_, rtol=1e-9)
    np.testing.assert_allclose(weighted.standard_errors_, counted.standard_errors_, rtol=1e-9)
    np.testing.assert_allclose(weighted.concordance_index_, counted.concordance_index_, rtol=1e-12)
    pd.testing.assert_frame_equal(weighted.baseline_survival_.mul(1), counted.baseline_survival_.mul(1), rtol=1)


def test_very_many_tiny_strata_are_a_conditional_logistic_regression() -> None:
    # 2,000 pairs, one event each at its own time: the partial likelihood is that of 1:1 matched logistic regression,
    # i.e. logistic regression on differences without intercept
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2000, 2, 2))
    case = (rng.random(2000) < 1 / (1 + np.exp(-(x[:, 0] - x[:, 1]) @ [0.7, -0.4]))).astype(int)
    frame = pd.DataFrame(x.reshape(-1, 2), columns=["a", "b"]).assign(
        pair=np.repeat(np.arange(2000), 2), event=np.stack([case, 1 - case], axis=1).ravel(), time=1
    )
    fit = CoxPHFitter().fit(frame, "time", "event", strata="pair")
    difference, beta = x[:, 0] - x[:, 1], np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-difference @ beta))
        beta += np.linalg.solve(difference.T * (p * (1 - p)) @ difference, difference.T @ (case - p))
    np.testing.assert_allclose(fit.params_, beta, rtol=1e-10)


# ------------------------------------------------------------------ time-varying covariates


def episodes(seed: int = 4) -> pd.DataFrame:
    frame = people(seed=seed)[["time", "event", "age", "sex", "site", "weight"]].reset_index(names="person")
    change = np.floor(frame["time"] / 2)
    early = frame.assign(start=0.0, stop=change, event=0, treated=0).query("stop > start")
    late = frame.assign(start=change, stop=frame["time"], treated=frame["person"] % 2)
    return pd.concat([early, late]).drop(columns="time").reset_index(drop=True)


@pytest.mark.parametrize("options", [{}, {"weights_col": "weight"}, {"strata": ["site"]}], ids=str)
def test_time_varying_fitter(options: dict[str, Any]) -> None:
    columns = ["person", "start", "stop", "event", "age", "sex", "treated"]
    frame = episodes()[[*columns, *options.get("strata", []), *filter(None, [options.get("weights_col")])]]
    theirs = lifelines.CoxTimeVaryingFitter().fit(frame, "event", id_col="person", **options)
    ours = CoxTimeVaryingFitter().fit(frame, "event", id_col="person", **options)
    np.testing.assert_allclose(ours.params_, theirs.params_, **LOOSE)
    np.testing.assert_allclose(ours.standard_errors_, theirs.standard_errors_, **LOOSE)
    np.testing.assert_allclose(ours.log_likelihood_, theirs.log_likelihood_, rtol=1e-9)
    pd.testing.assert_frame_equal(ours.summary, theirs.summary, rtol=1e-4, atol=1e-5)
    if not options:  # lifelines' baseline forgets weights and pools strata
        pd.testing.assert_frame_equal(
            ours.baseline_survival_, theirs.baseline_survival_, rtol=1e-6, check_index_type=False
        )
        np.testing.assert_allclose(
            ours.log_likelihood_ratio_test().test_statistic,
            theirs.log_likelihood_ratio_test().test_statistic,
            rtol=1e-8,
        )
    new = frame.head(5)
    np.testing.assert_allclose(ours.predict_partial_hazard(new), theirs.predict_partial_hazard(new), rtol=1e-4)
    ours.print_summary()
    ours.plot()
    mpl.pyplot.close("all")
    assert "fitted with" in repr(ours)


def test_robust_time_varying_errors_do_not_see_how_a_person_is_split() -> None:
    # one row per person with robust=True is CoxPHFitter's sandwich; splitting rows must not change it
    frame = people()[BASE].reset_index(names="person").assign(start=0.0).rename(columns={"time": "stop"})
    middle = np.floor(frame["stop"] / 3)
    split = pd.concat([frame.assign(stop=middle, event=0), frame.assign(start=middle)]).query("stop > start")
    expected = CoxPHFitter().fit(people()[BASE], "time", "event", robust=True).standard_errors_
    for rows in (frame, split):
        fit = CoxTimeVaryingFitter().fit(rows, "event", id_col="person", robust=True)
        np.testing.assert_allclose(fit.standard_errors_, expected, rtol=1e-9)


def test_overlapping_intervals_of_a_person_are_refused_by_count() -> None:
    frame = episodes().drop(columns=["site", "weight"])
    frame.loc[frame["person"] == frame["person"].iloc[-1], "start"] = 0.0
    for rows in (frame, frame.sort_values(["person", "start"]), frame.assign(person=frame["person"].astype(str))):
        with pytest.raises(InputRefusedError, match="overlap for 1 persons"):
            CoxTimeVaryingFitter().fit(rows, "event", id_col="person")
