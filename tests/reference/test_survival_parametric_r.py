"""Parametric models against R's survreg and a Poisson glm (survival 3.5-3): every record of those is accounted for.

survreg stops when the log-likelihood changes by less than 1e-9 of itself, which fixes coefficients to about 1e-6 of a
standard error; ours meet the zero of the score to rounding.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, dict]:
    return json.loads((shared / "reference" / "survival" / "survival_reference.json").read_text())["records"]


def data(shared: Path, name: str) -> pl.DataFrame:
    path = shared / "reference" / "survival" / "data" / f"{name}.csv"
    return pl.read_csv(path, null_values=["", "NA"], infer_schema_length=None)


def agree(fit: sv.ParametricFit, result: dict, order: list[int] | None = None, *, unit: float = 1.0) -> None:
    """Compare coefficients, log scale and covariance; ``unit`` is what one of our units of time is in R's."""
    theirs = np.array(result["coef"]) / unit
    covariance = np.array(result["var"]["values"])
    scale = result["scale"] / unit
    if len(covariance) > len(theirs):
        theirs = np.append(theirs, np.log(scale))
        units = np.append(np.full(len(theirs) - 1, unit), 1.0)
        covariance = covariance / np.outer(units, units)
    order = list(range(len(theirs))) if order is None else order
    theirs, covariance = theirs[order], covariance[np.ix_(order, order)]
    np.testing.assert_allclose(fit.coef, theirs, atol=3e-6 * fit.std_error.min(), rtol=1e-6)
    np.testing.assert_allclose(
        fit.covariance, covariance, rtol=1e-6, atol=1e-6 * np.sqrt(np.abs(np.outer(*[covariance.diagonal()] * 2))).min()
    )


FAMILIES = {
    "weibull": "weibull",
    "exponential": "exponential",
    "lognormal": "log_normal",
    "loglogistic": "log_logistic",
}


@pytest.mark.parametrize("name", FAMILIES)
def test_lung(shared: Path, records, name: str) -> None:
    result = records[f"lung_survreg_{name}"]["result"]
    frame = data(shared, "lung").with_columns(died=pl.col("status") == 2)
    fit = sv.fit_parametric(frame, "time", "died", terms="age + sex", model=FAMILIES[name])
    agree(fit, result)
    np.testing.assert_allclose(fit.log_likelihood, result["loglik"][1], rtol=1e-12)
    assert fit.n == result["n"]


@pytest.mark.parametrize("name", ["weibull", "lognormal", "loglogistic"])
def test_veteran(shared: Path, records, name: str) -> None:
    result = records[f"veteran_survreg_{name}"]["result"]
    # the reference level of the record is squamous; ours is the first in sorted order, so that one is named first
    frame = data(shared, "veteran").with_columns(
        pl.col("celltype").cast(pl.Enum(["squamous", "smallcell", "adeno", "large"])).to_physical().alias("cell")
    )
    dummies = frame.with_columns(
        **{f"cell{k}": pl.col("cell") == k for k in (1, 2, 3)},
    )
    fit = sv.fit_parametric(
        dummies, "time", "status", terms="trt + karno + cell1 + cell2 + cell3", model=FAMILIES[name]
    )
    agree(fit, result)
    np.testing.assert_allclose(fit.log_likelihood, result["loglik"][1], rtol=1e-12)


def test_a_normal_model_is_a_log_normal_one_of_exp_time(shared: Path, records) -> None:
    # survreg(dist = "gaussian"): exp(time / 100) has the log time / 100, so coefficients and scale are 1/100 as large
    frame = data(shared, "lung").with_columns(died=pl.col("status") == 2, grown=(pl.col("time") / 100).exp())
    fit = sv.fit_parametric(frame, "grown", "died", terms="age + sex", model="log_normal")
    agree(fit, records["lung_survreg_gaussian"]["result"], unit=100.0)


def test_tobin_is_left_censored(shared: Path, records) -> None:
    # durable = 0 is "at most 0": on the exponential scale an event in (0, 1]
    frame = data(shared, "tobin").with_columns(
        lower=pl.when(pl.col("durable") > 0).then(pl.col("durable").exp()).otherwise(0.0),
        upper=pl.col("durable").exp(),
    )
    fit = sv.fit_interval_censored(frame, terms="age + quant", model="log_normal")
    agree(fit, records["tobin_survreg"]["result"])


def test_pieces_of_constant_hazard(shared: Path, records) -> None:
    # R's parametrisation: the first piece as intercept, differences from it for the others
    result = records["lung_poisson_piecewise"]["result"]
    frame = data(shared, "lung").with_columns(died=pl.col("status") == 2)
    fit = sv.fit_piecewise_exponential(frame, "time", "died", cuts=[90, 180, 365], terms="age + sex")
    move = np.eye(6)
    move[1:4, 0] = -1
    np.testing.assert_allclose(move @ fit.coef, result["coef"], rtol=1e-9)
    # glm's covariance is that of the last weights but one: 3e-5 off its own at epsilon = 1e-15
    np.testing.assert_allclose(move @ fit.covariance @ move.T, result["var"], rtol=1e-4, atol=1e-10)
    # the glm's likelihood is that of Poisson counts 0 and 1: it adds log(time in the piece) of each event
    late = frame.filter("died")["time"].to_numpy().astype(float)
    starts = np.array([0, 90, 180, 365])
    in_piece = late - starts[np.searchsorted(starts, late, side="left") - 1]
    np.testing.assert_allclose(fit.log_likelihood + np.log(in_piece).sum(), result["loglik"], rtol=1e-12)


def test_every_record_is_covered(records) -> None:
    covered = {
        *(f"lung_survreg_{name}" for name in (*FAMILIES, "gaussian")),
        *(f"veteran_survreg_{name}" for name in ("weibull", "lognormal", "loglogistic")),
        "tobin_survreg",
    }
    of_survreg = {name for name in records if "survreg" in name}
    # a scale for each stratum is not offered: fit the strata apart
    assert of_survreg - covered == {"lung_survreg_weibull_strata"}
