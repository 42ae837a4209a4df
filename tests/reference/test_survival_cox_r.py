"""Cox models against R survival 3.5-3, record by record.

R stops when the log-likelihood changes by less than 1e-9 relative, which leaves its coefficients up to 1e-6 standard
errors short of the maximum. So each record is compared twice: where R stopped (the same Newton steps, cut off by R's
rule) to 1e-9 relative, and at our maximum to 1e-6 standard errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cohort.survival.cox import fit_cox, model_rows
from cohort.survival.cox_newton import PartialLikelihood, Ridge, newton_step
from cohort.survival.cox_sums import Rows, RowSums, workers

Floats = NDArray[np.float64]
LUNG = {"event": pl.col("status") == 2}
NO_RIDGE = Ridge(np.zeros(1))


@dataclass(frozen=True)
class Case:
    """One R call: the file, columns to derive, the model, and the order in which R lists our columns."""

    record: str
    file: str
    terms: str
    time: str = "time"
    event: str = "event"
    entry: str | None = None
    derive: dict[str, pl.Expr] | None = None
    keep: pl.Expr | None = None
    order: tuple[int, ...] | None = None


RX = {"lev": pl.col("rx") == "Lev", "lev5fu": pl.col("rx") == "Lev+5FU"}
CELLTYPE = {name: pl.col("celltype") == name for name in ("smallcell", "adeno", "large")}
AML = {"nonmaintained": pl.col("x") == "Nonmaintained"}
TRANSPLANT = "age + surgery + transplant + age:transplant + surgery:transplant"
LOGS = {f"l{name}": pl.col(name).log() for name in ("bili", "protime", "albumin")}
DEATH = {"event": pl.col("status") == 2, **LOGS}
VETERAN = "trt + smallcell + adeno + large + karno + diagtime + age + prior"
CASES = [
    Case("lung_cox_efron", "lung", "age + sex + ph_ecog", derive=LUNG),
    Case("lung_cox_breslow", "lung", "age + sex + ph_ecog", derive=LUNG),
    Case(
        "lung_cox_factor_ecog", "lung", "age * sex + ecog", order=(0, 1, 5, 2, 3, 4),
        derive={**LUNG, "ecog": pl.col("ph_ecog").cast(pl.String)},
    ),
    Case("veteran_cox", "veteran", VETERAN, event="status", derive=CELLTYPE),
    Case("aml_cox_efron", "leukemia", "nonmaintained", event="status", derive=AML),
    Case("aml_cox_breslow", "leukemia", "nonmaintained", event="status", derive=AML),
    Case("ovarian_cox", "ovarian", "age + ecog_ps + rx", time="futime", event="fustat"),
    Case("heart_cox_td", "heart", TRANSPLANT, time="stop", entry="start"),
    Case("jasa_tmerge_cox", "jasa_tmerge", "age48 + surgery + trt", time="tstop", event="death", entry="tstart"),
    Case("stanford2_cox", "stanford2", "age + age2", event="status", derive={"age2": pl.col("age") ** 2}),
    Case("pbc_causespecific_death", "pbc", "age + lbili + albumin", derive=DEATH),
    Case("pbc_cox_mayo", "pbc", "age + edema + lbili + lprotime + lalbumin", derive=DEATH),
    Case(
        "colon_death_cox", "colon", "lev + lev5fu + sex + age + obstruct + perfor + adhere + nodes", event="status",
        derive=RX, keep=pl.col("etype") == 2,
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, Any]:
    path = shared / "reference/survival/survival_reference.json"
    return {name: record["result"] for name, record in json.loads(path.read_text())["records"].items()}


def read(shared: Path, case: Case) -> pl.DataFrame:
    frame = pl.read_csv(shared / f"reference/survival/data/{case.file}.csv", null_values="", infer_schema_length=None)
    frame = frame.rename({name: name.replace(".", "_") for name in frame.columns}).with_columns(**(case.derive or {}))
    return frame if case.keep is None else frame.filter(case.keep)


def where_r_stops(rows: Rows, ties: str) -> Floats:
    """Take the Newton steps of R's coxph: from 0, halved where the likelihood falls, until it stands."""
    with workers() as pool:
        sums = RowSums(rows, pool)
        likelihood = PartialLikelihood(sums, rows.cells, ties, sums.events())  # type: ignore[arg-type]  # from the record
        best = likelihood.at(np.zeros(rows.shape[1]))
        assert best is not None
        theta, halved = best.theta + newton_step(best, Ridge(np.zeros(rows.shape[1]))), 0
        for _ in range(20):
            point = likelihood.at(theta)
            assert point is not None
            if abs(1 - best.log_likelihood / point.log_likelihood) <= 1e-9 and not halved:
                break
            if point.log_likelihood < best.log_likelihood:
                halved += 1
                theta = (theta + halved * best.theta) / (halved + 1)
            else:
                best, halved = point, 0
                theta = best.theta + newton_step(best, Ridge(np.zeros(rows.shape[1])))
    return point.theta / rows.scale


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.record)
def test_cox_model_equals_r(case: Case, shared: Path, records: dict[str, Any]) -> None:
    expected = records[case.record]
    frame = read(shared, case)
    ties = expected["ties"]
    fit = fit_cox(frame, case.time, case.event, case.entry, terms=case.terms, ties=ties, missing="leave_out")
    order = list(case.order or range(len(fit.terms)))
    coef, std_error = np.atleast_1d(expected["coef"])[order], np.atleast_1d(expected["se"])[order]

    assert (fit.n, fit.n_events) == (expected["n"], expected["nevent"])
    np.testing.assert_allclose((fit.coef - coef) / std_error, 0, atol=1e-6)
    np.testing.assert_allclose(fit.std_error, std_error, rtol=1e-8)
    loglik = [fit.log_likelihood_null, fit.log_likelihood]
    np.testing.assert_allclose(loglik, expected["loglik"], rtol=1e-9)
    np.testing.assert_allclose(fit.score_test, expected["score"]["test"], rtol=1e-9)
    np.testing.assert_allclose(fit.likelihood_ratio_test[0], expected["lrt"]["test"], rtol=1e-9)

    rows, _ = model_rows(frame, case.time, case.event, case.entry, terms=case.terms, missing="leave_out")
    np.testing.assert_allclose(where_r_stops(rows, ties), coef, rtol=1e-9)
