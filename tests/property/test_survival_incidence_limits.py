"""Standard errors of predicted incidence against leaving each person out, which knows nothing of our derivatives.

The jackknife's sum of squares exceeds the sum of squared influences by about (parameters + 1) / n of itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv

NEW = pl.DataFrame({"x": [0.5, -1.0], "y": [1, 0]})
TIMES = [0, 5, 10, 20]
N = 200


def people(seed: int = 2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x, y, entry = rng.normal(size=N).round(1), rng.integers(0, 2, N), rng.integers(0, 4, N)
    cause = rng.choice([0, 1, 2], N, p=[0.35, 0.4, 0.25])
    return pl.DataFrame({"time": entry + rng.integers(1, 22, N), "entry": entry, "cause": cause, "x": x, "y": y})


def jackknife(predict: Any, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the prediction and the root of the sum of squared changes when each row is left out in turn."""
    whole = predict(frame)
    rows = frame.with_row_index()
    changes = [whole - predict(rows.filter(pl.col("index") != i).drop("index")) for i in range(frame.height)]
    return whole, np.sqrt(np.sum(np.square(changes), axis=0))


@pytest.mark.parametrize("ties", ["breslow", "efron"])
def test_fine_gray(ties: Any) -> None:
    def predict(frame: pl.DataFrame) -> np.ndarray:
        fit = sv.fit_fine_gray(frame, terms="x + y", ties=ties)
        return fit.cumulative_incidence(NEW, TIMES).T.ravel()

    shown = sv.fit_fine_gray(people(), terms="x + y", ties=ties).predict(NEW, TIMES)
    whole, spread = jackknife(predict, people())
    np.testing.assert_allclose(shown["estimate"], whole, rtol=1e-12)
    known = spread > 0
    # estimating the censoring curve adds little; with "efron" it is taken as known, as in the coefficients' sandwich
    np.testing.assert_allclose(shown["std_error"].to_numpy()[known] / spread[known], 0.98, atol=0.02)
    assert shown.filter(time=0).select("estimate", "std_error", "lower", "upper").unique().rows() == [(0, 0, 0, 0)]


def test_estimating_the_censoring_curve_is_counted() -> None:
    # four of five have the competing event on day 1 and are then censored away by those few who are not: estimating
    # their weights makes the curve more precise. Everybody is taken 20 times, which changes nothing under Breslow's
    # ties, and one copy is left out: 20 times the change is the influence, to 1 / (20 n) of itself. (Fine and Gray's
    # formula counts a censoring as 1 / Y where the product-limit curve has 1 / (Y - 1): hence the tolerance)
    rng = np.random.default_rng(6)
    size, copies = 300, 20
    late = rng.random(size) < 0.75
    cause = np.where(late, 2, np.where(rng.random(size) < 0.35, 1, 0))
    time = np.where(late, 1, rng.integers(2, 400, size))
    frame = pl.DataFrame({"time": time, "cause": cause, "x": rng.integers(0, 2, size)})
    new, days = pl.DataFrame({"x": [0, 1]}), [100, 200, 300]
    many = pl.concat([frame] * copies).with_row_index()

    def predict(rows: pl.DataFrame) -> np.ndarray:
        return sv.fit_fine_gray(rows, terms="x", ties="breslow").cumulative_incidence(new, days).T.ravel()

    whole = predict(many)
    influence = [copies * (whole - predict(many.filter(pl.col("index") != i))) for i in range(size)]
    shown = sv.fit_fine_gray(frame, terms="x", ties="breslow").predict(new, days)
    np.testing.assert_allclose(shown["estimate"], whole, rtol=1e-10)
    np.testing.assert_allclose(shown["std_error"], np.sqrt(np.sum(np.square(influence), axis=0)), rtol=4e-3)


@pytest.mark.parametrize("ties", ["breslow", "efron"])
@pytest.mark.parametrize("entry", [None, "entry"])
def test_cause_specific(ties: Any, entry: str | None) -> None:
    def predict(frame: pl.DataFrame) -> np.ndarray:
        fit = sv.fit_cause_specific(frame, entry=entry, terms="x + y", ties=ties)
        return fit.cumulative_incidence(NEW, TIMES)[0].transpose(0, 2, 1).ravel()

    shown = sv.fit_cause_specific(people(), entry=entry, terms="x + y", ties=ties).predict(NEW, TIMES)
    whole, spread = jackknife(predict, people())
    np.testing.assert_allclose(shown["estimate"], whole, rtol=1e-12)
    known = spread > 0
    np.testing.assert_allclose(shown["std_error"].to_numpy()[known] / spread[known], 0.98, atol=0.025)
    assert shown.columns == ["cause", "row", "time", "estimate", "std_error", "lower", "upper"]


def test_without_covariates_that_matter_it_is_the_aalen_johansen_curve() -> None:
    # one 0/1 covariate with no effect by design: everybody twice, once in each group; at x = 1/2 the model is the pool
    frame = people()
    doubled = pl.concat([frame.with_columns(x=pl.lit(0.0)), frame.with_columns(x=pl.lit(1.0))])
    fit = sv.fit_cause_specific(doubled, terms="x", ties="breslow")
    shown = fit.predict(pl.DataFrame({"x": [0.5]}), [10]).filter(cause=1)
    curve = sv.cumulative_incidence(frame, "time", "cause").to_polars().filter(cause=1, time=10)
    np.testing.assert_allclose(shown["estimate"], curve["estimate"], rtol=0.02)  # exp(-hazard) against 1 - hazard
    np.testing.assert_allclose(shown["std_error"] * np.sqrt(2), curve["std_error"], rtol=0.03)


def test_limits_stay_inside_and_contain_the_estimate() -> None:
    for shown in (
        sv.fit_cause_specific(people(), terms="x + y").predict(NEW, [5, 20], level=0.99),
        sv.fit_fine_gray(people(), terms="x + y", level=0.99).predict(NEW, [5, 20]),
    ):
        inside = shown.select(
            (pl.col("lower") > 0) & (pl.col("lower") < pl.col("estimate")) & (pl.col("estimate") < pl.col("upper"))
            & (pl.col("upper") < 1)
        )  # fmt: skip
        assert inside.to_series().all()


def test_the_fitter_gives_the_limits_on_demand() -> None:
    fitter = sv.FineGrayFitter().fit(people(), "time", "cause", 1, "x + y")
    wide, long = (
        fitter.predict_cumulative_incidence(NEW, TIMES),
        fitter.predict_cumulative_incidence(NEW, TIMES, limits=True),
    )
    np.testing.assert_allclose(long.filter(row=1)["estimate"], wide["1"], rtol=1e-12)
