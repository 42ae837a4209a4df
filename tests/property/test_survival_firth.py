"""Firth's correction against its definition: log-likelihood plus half the log-determinant, in 40-digit arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from test_survival_cox_exact import derivatives, problem

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.cox import CoxPHFitter, fit_cox

mp = pytest.importorskip("mpmath", reason="needs mpmath for 40-digit arithmetic").mp
CHI2_95 = "3.841458820694124"  # the 0.95 quantile of chi-squared on one degree of freedom


def penalised(frame: pl.DataFrame, ties: str, x: Any, y: Any) -> Any:
    value, _, information = derivatives(frame, ties, mp.matrix([x, y]))
    return value + mp.log(mp.det(information)) / 2


def slopes(function: Any, x: Any, y: Any) -> tuple[Any, Any]:
    h = mp.mpf(10) ** -12
    return (function(x + h, y) - function(x - h, y)) / (2 * h), (function(x, y + h) - function(x, y - h)) / (2 * h)


def test_the_maximum_and_its_value_and_the_profile_limits() -> None:
    compared = monotone = 0
    with mp.workdps(40):
        for seed in range(1000, 1016):
            frame, ties = problem(seed).head(7), ("efron", "breslow")[seed % 2]
            try:
                fit = fit_cox(frame, entry="entry", terms="x + y", ties=ties, firth=True)  # type: ignore[arg-type]
            except NotEstimableError as error:
                assert error.reason in ("constant", "collinear", "no_events")
                continue

            def value(x: Any, y: Any, frame: pl.DataFrame = frame, ties: str = ties) -> Any:
                return penalised(frame, ties, x, y)

            root = mp.findroot(lambda x, y, f=value: slopes(f, x, y), tuple(fit.coef), tol=1e-20, verify=False)
            best = value(*root)
            np.testing.assert_allclose(fit.coef, [float(b) for b in root], atol=1e-9 * fit.std_error.max())
            np.testing.assert_allclose(fit.log_likelihood, float(best), rtol=1e-12)
            np.testing.assert_allclose(fit.log_likelihood_null, float(value(0, 0)), rtol=1e-12)
            # at a limit of x, with y at its best, twice the fall of the penalised likelihood is the quantile
            for limit in (fit.lower[0], fit.upper[0]):
                x = mp.log(mp.mpf(float(limit)))
                y = mp.findroot(lambda y, x=x, f=value: slopes(f, x, y)[1], (-15, 15), solver="anderson", verify=False)
                assert abs(2 * (best - value(x, y)) - mp.mpf(CHI2_95)) < 1e-8
            compared += 1
            try:
                fit_cox(frame, entry="entry", terms="x + y", ties=ties)  # type: ignore[arg-type]  # of Literal
            except NotEstimableError as error:
                monotone += error.reason == "monotone_likelihood"
    assert compared >= 8
    assert monotone >= 2  # the correction is for these


def separated() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "time": range(1, 9),
            "event": [1, 1, 0, 1, 0, 1, 0, 0],
            "x": [1, 1, 0, 1, 0, 1, 1, 0],
            "y": [0, 1, 0, 1, 1, 0, 1, 0],
        }
    )


def test_a_two_group_comparison_by_hand() -> None:
    # one event, of one exposed and k unexposed at risk: l* = log p + log(p (1 - p)) / 2 with p = e^b / (e^b + k),
    # so the score 3/2 (1 - p) - p / 2 vanishes at p = 3/4: e^b = 3 k, where the likelihood alone has no maximum
    for k in (1, 4, 9):
        frame = pl.DataFrame({"time": [1] + [2] * k, "event": [1] + [0] * k, "x": [1] + [0] * k})
        fit = fit_cox(frame, terms="x", firth=True)
        np.testing.assert_allclose(fit.hazard_ratio, [3 * k], rtol=1e-10)
        # the profile by hand: 3 log p + log(1 - p) = 3 log(3/4) + log(1/4) - 3.841458820694124 at both limits
        p = fit.lower / (fit.lower + k), fit.upper / (fit.upper + k)
        for share in p:
            fall = 3 * np.log(0.75 / share) + np.log(0.25 / (1 - share))
            np.testing.assert_allclose(fall, [float(CHI2_95)], rtol=1e-8)


def test_lifelines_interface_shows_the_profile() -> None:
    frame = separated()
    fit, table = CoxPHFitter(firth=True).fit(frame, "time", "event"), fit_cox(frame, terms="x + y", firth=True)
    np.testing.assert_allclose(fit.params_, table.coef, rtol=1e-13)  # rows are added in another order
    np.testing.assert_allclose(fit.summary["exp(coef) upper 95%"], table.upper, rtol=1e-12)
    np.testing.assert_allclose(fit.summary["exp(coef) lower 95%"], table.lower, rtol=1e-12)
    np.testing.assert_allclose(np.exp(fit.confidence_intervals_["95% upper-bound"]), table.upper, rtol=1e-12)
    np.testing.assert_allclose(fit.summary["p"], table.p_value, rtol=1e-12)
    statistic, df, p_value = table.likelihood_ratio_test
    test = fit.log_likelihood_ratio_test()
    np.testing.assert_allclose((test.test_statistic, test.degrees_freedom, test.p_value), (statistic, df, p_value))
    assert "Firth" in table.method
    assert fit.predict_survival_function(frame).shape == (8, 8)
    fit.print_summary()


def test_offset_strata_weights_and_the_unit_of_a_column() -> None:
    rng = np.random.default_rng(3)
    frame = separated().with_columns(z=pl.Series(rng.normal(size=8)), site=pl.Series([0, 1] * 4))
    before = fit_cox(frame, terms="x + z", firth=True)
    after = fit_cox(frame.with_columns(z=pl.col("z") * 1e6 + 1e9), terms="x + z", firth=True)
    np.testing.assert_allclose(after.coef * [1, 1e6], before.coef, rtol=1e-7)
    np.testing.assert_allclose(np.log(after.upper) * [1, 1e6], np.log(before.upper), rtol=1e-7)
    # the penalty is of the information in the units of the columns: log 1e6 for one of them
    np.testing.assert_allclose(after.log_likelihood - before.log_likelihood, np.log(1e6), rtol=1e-9)
    # two copies of everybody in strata of their own count as twice the events: so do weights of 2 under Breslow
    twice = pl.concat([frame.with_columns(copy=pl.lit(0)), frame.with_columns(copy=pl.lit(1))]).drop("site")
    stratified = CoxPHFitter(firth=True, ties="breslow").fit(twice, "time", "event", strata="copy")
    weighted = CoxPHFitter(firth=True, ties="breslow").fit(
        frame.drop("site").with_columns(w=pl.lit(2.0)), "time", "event", weights_col="w"
    )
    np.testing.assert_allclose(stratified.params_, weighted.params_, rtol=1e-9)


def test_what_the_correction_does_not_go_with() -> None:
    for options in ({"robust": True}, {"cluster_col": "y"}):
        with pytest.raises(StudyError, match="Firth"):
            CoxPHFitter(firth=True).fit(separated(), "time", "event", **options)
    with pytest.raises(StudyError, match="Firth"):
        CoxPHFitter(firth=True, penalizer=0.1).fit(separated(), "time", "event")
    with pytest.raises(StudyError, match="breslow"):
        CoxPHFitter(firth=True, baseline_estimation_method="spline", n_baseline_knots=2)
    with pytest.raises(NotEstimableError, match=r"constant\(c\)"):
        fit_cox(separated().with_columns(c=pl.lit(1)), terms="x + c", firth=True)


def test_events_in_perfect_order_end_in_an_estimate_or_say_which_column_orders_them() -> None:
    # evenly spaced, the penalised likelihood has its maximum at 4.76 per step: hazards a hundredfold apart
    evenly = pl.DataFrame({"time": range(1, 61), "event": [1] * 60, "x": range(60, 0, -1), "y": [0, 1, 1] * 20})
    fit = fit_cox(evenly, terms="x", firth=True)
    # the root to 40 digits by mpmath; the climb ends where a step no longer changes the likelihood, here at 1e-8
    np.testing.assert_allclose(fit.coef, [4.762458098621651], rtol=1e-7)
    assert 0 < fit.lower[0] < fit.hazard_ratio[0] < fit.upper[0]
    # gaps of very different widths: what separates the closest two makes exp(x b) of the farthest two incomparable
    uneven = evenly.with_columns(x=pl.col("x").cast(pl.Float64) ** 2)
    with pytest.raises(NotEstimableError, match=r"^not_estimable: beyond_precision\(x\)$"):
        fit_cox(uneven, terms="x + y", firth=True)
