"""Fine–Gray regression against R's finegray() + coxph() and cmprsk::crr()."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cohort.survival.fine_gray import FineGrayFit, FineGrayFitter, fit_fine_gray

TERMS = "age + lbili + albumin"


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, Any]:
    path = shared / "reference/survival/survival_reference.json"
    return {name: record["result"] for name, record in json.loads(path.read_text())["records"].items()}


@pytest.fixture(scope="module")
def pbc(shared: Path) -> pl.DataFrame:
    frame = pl.read_csv(shared / "reference/survival/data/pbc_etype.csv", null_values="")
    return frame.with_columns(lbili=pl.col("bili").log())


def compare(fit: FineGrayFit, expected: dict[str, Any]) -> None:
    np.testing.assert_allclose(fit.coef, expected["coef"], rtol=1e-11)
    np.testing.assert_allclose(fit.std_error, expected["se"], rtol=1e-11)
    np.testing.assert_allclose(fit.covariance, expected["var"], rtol=1e-9, atol=1e-14)


def test_pbc_finegray_cox(pbc: pl.DataFrame, records: dict[str, Any]) -> None:
    expected = records["pbc_finegray_cox"]
    fit = fit_fine_gray(pbc, "time", "status", 2, terms=TERMS, ties="efron")
    compare(fit, expected)
    np.testing.assert_allclose([fit.log_likelihood_null, fit.log_likelihood], expected["loglik"], rtol=1e-13)
    assert (fit.n, fit.n_events, fit.n_competing) == (418, expected["nevent"], 25)


def test_pbc_crr(pbc: pl.DataFrame, records: dict[str, Any]) -> None:
    expected = records["pbc_crr"]
    fit = fit_fine_gray(pbc, "time", "status", 2, terms=TERMS, ties="breslow")
    compare(fit, expected)
    loglik = [expected["loglik_null"], expected["loglik"]]
    np.testing.assert_allclose([fit.log_likelihood_null, fit.log_likelihood], loglik, rtol=1e-13)


def test_pbc_finegray_data_weights(pbc: pl.DataFrame, records: dict[str, Any]) -> None:
    # R lists the weight of a person after a competing event for each stretch of days; ours is G(t-) / G(T-)
    from cohort.survival.fine_gray import _Calendar

    rows = records["pbc_finegray_data"]["first_rows"]
    time, cause = pbc["time"].to_numpy(), pbc["status"].to_numpy()
    free = _Calendar.of(time, cause).free_before("efron")
    first = int(time.min())
    for person, start, stop, weight in zip(rows["id"], rows["fgstart"], rows["fgstop"], rows["fgwt"], strict=True):
        left = int(time[pbc["id"].to_numpy() == person][0])
        events = [t for t in time[cause == 2] if start < t <= stop]
        for t in events:
            np.testing.assert_allclose(free[int(t) - first] / free[left - first], weight, rtol=1e-12)


def test_fitter_with_lifelines_names(pbc: pl.DataFrame, records: dict[str, Any]) -> None:
    expected = records["pbc_crr"]
    fitter = FineGrayFitter(ties="breslow").fit(pbc.lazy(), "time", "status", 2, ["age", "lbili", "albumin"])
    np.testing.assert_allclose(fitter.params_["age"], expected["coef"][0], rtol=1e-11)
    np.testing.assert_allclose(fitter.standard_errors_, expected["se"], rtol=1e-11)
    np.testing.assert_allclose(np.diag(fitter.variance_matrix_), np.square(expected["se"]), rtol=1e-11)
    np.testing.assert_allclose(fitter.summary["se(coef)"], expected["se"], rtol=1e-11)
    np.testing.assert_allclose(fitter.log_likelihood_, expected["loglik"], rtol=1e-13)
    assert list(fitter.summary.index) == ["age", "lbili", "albumin"]
