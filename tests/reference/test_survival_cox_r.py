"""Cox models, residuals, concordance and tests of proportional hazards against R survival 3.5-3, record by record.

R stops when the log-likelihood changes by less than 1e-9 of itself, which leaves its coefficients up to 1e-6 standard
errors short of the maximum. So each record is compared twice: where R stopped (the same Newton steps, cut off by R's
rule) to 1e-9 relative, and at our maximum to 1e-6 standard errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from cohort.survival import cox_residuals as residuals
from cohort.survival.cox import fit_cox
from cohort.survival.cox_concordance import concordance
from cohort.survival.cox_exact import fit_cox_exact
from cohort.survival.cox_model import CoxEstimate, Follow, estimate
from cohort.survival.cox_newton import PartialLikelihood, Penalty, Point, newton_step
from cohort.survival.cox_sums import Rows, RowSums, workers
from cohort.survival.cox_zph import proportional_hazards_test
from cohort.survival.design import design_matrix

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One R call: the file, columns to derive, the model, and where R lists our columns."""

    record: str
    file: str
    terms: str
    time: str = "time"
    event: str = "event"
    entry: str | None = None
    strata: str | None = None
    weights: str | None = None
    cluster: str | None = None
    robust: bool = False
    derive: dict[str, pl.Expr] = field(default_factory=dict)
    keep: pl.Expr | None = None
    order: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Arrays:
    """What a case is on arrays."""

    x: Floats
    follow: Follow
    names: tuple[str, ...]
    cluster: NDArray[np.int64] | None


LUNG = {"event": pl.col("status") == 2}
AML = {"nonmaintained": pl.col("x") == "Nonmaintained"}
RX = {"lev": pl.col("rx") == "Lev", "lev5fu": pl.col("rx") == "Lev+5FU"}
CELLTYPE = {name: pl.col("celltype") == name for name in ("smallcell", "adeno", "large")}
LOGS = {f"l{name}": pl.col(name).log() for name in ("bili", "protime", "albumin")}
DEATH = {"event": pl.col("status") == 2, **LOGS}
VETERAN = "trt + smallcell + adeno + large + karno + diagtime + age + prior"
TRANSPLANT = "age + surgery + transplant + age:transplant + surgery:transplant"
BY_EPISODE = {f"sex{k}": pl.col("sex") * (pl.col("ep") == k) for k in (1, 2, 3, 4)}
BY_GROUP = {f"karno{k}": pl.col("karno") * (pl.col("tgroup") == k) for k in (1, 2, 3)}
DISEASE = {name.lower(): pl.col("disease") == name for name in ("GN", "AN", "PKD")}
BLADDER = "rx + size + number"
CASES = [
    Case("lung_cox_efron", "lung", "age + sex + ph_ecog", derive=LUNG),
    Case("lung_cox_breslow", "lung", "age + sex + ph_ecog", derive=LUNG),
    Case("lung_cox_strata_sex", "lung", "age + ph_ecog", strata="sex", derive=LUNG),
    Case("lung_cox_cluster_inst", "lung", "age + sex + ph_ecog", cluster="inst", derive=LUNG),
    Case("lung_cox_robust", "lung", "age + sex + ph_ecog", robust=True, derive=LUNG),
    Case("lung_cox_weighted_robust", "lung_weighted", "age + sex", weights="w", robust=True, derive=LUNG),
    # R turns to the sandwich by itself when weights are not whole numbers
    Case("lung_cox_weighted_model", "lung_weighted", "age + sex", weights="w", robust=True, derive=LUNG),
    Case("lung_cox_weighted_breslow_robust", "lung_weighted", "age + sex", weights="w", robust=True, derive=LUNG),
    Case(
        "lung_cox_factor_ecog", "lung", "age * sex + ecog", order=(0, 1, 5, 2, 3, 4),
        derive={**LUNG, "ecog": pl.col("ph_ecog").cast(pl.String)},
    ),
    Case("lung_survsplit_cox", "lung_survsplit", "age + sex1 + sex2 + sex3 + sex4", entry="tstart", derive=BY_EPISODE),
    Case("veteran_cox", "veteran", VETERAN, event="status", derive=CELLTYPE),
    Case("veteran_cox_tt", "veteran", "trt + prior + karno + karno_t", event="status", entry="entry"),
    Case(
        "veteran_cox_stepfun", "veteran_split", "trt + prior + karno1 + karno2 + karno3", event="status",
        entry="tstart", derive=BY_GROUP,
    ),
    Case("aml_cox_efron", "leukemia", "nonmaintained", event="status", derive=AML),
    Case("aml_cox_breslow", "leukemia", "nonmaintained", event="status", derive=AML),
    Case("ovarian_cox", "ovarian", "age + ecog_ps + rx", time="futime", event="fustat"),
    Case("heart_cox_td", "heart", TRANSPLANT, time="stop", entry="start"),
    Case("heart_cox_td_cluster", "heart", "age + surgery + transplant", time="stop", entry="start", cluster="id"),
    Case("jasa_tmerge_cox", "jasa_tmerge", "age48 + surgery + trt", time="tstop", event="death", entry="tstart"),
    Case("stanford2_cox", "stanford2", "age + age2", event="status", derive={"age2": pl.col("age") ** 2}),
    Case("pbc_causespecific_death", "pbc", "age + lbili + albumin", derive=DEATH),
    Case("pbc_cox_mayo", "pbc", "age + edema + lbili + lprotime + lalbumin", derive=DEATH),
    Case(
        "colon_wlw", "colon", "lev + lev5fu + sex + age + obstruct + nodes", event="status", strata="etype",
        cluster="id", derive=RX,
    ),
    Case(
        "colon_death_cox", "colon", "lev + lev5fu + sex + age + obstruct + perfor + adhere + nodes", event="status",
        derive=RX, keep=pl.col("etype") == 2,
    ),
    Case("bladder_ag", "bladder2", BLADDER, time="stop", entry="start", cluster="id"),
    Case("bladder_pwp_total", "bladder2", BLADDER, time="stop", entry="start", strata="enum", cluster="id"),
    Case(
        "bladder_pwp_gap", "bladder2", BLADDER, time="gap", strata="enum", cluster="id",
        derive={"gap": pl.col("stop") - pl.col("start")},
    ),
    Case("bladder_wlw", "bladder", BLADDER, time="stop", strata="enum", cluster="id"),
    Case("kidney_cox_cluster", "kidney", "age + sex + gn + an + pkd", event="status", cluster="id", derive=DISEASE),
]  # fmt: skip
BY_RECORD = {case.record: case for case in CASES}


@pytest.fixture(scope="module")
def records(shared: Path) -> dict[str, Any]:
    path = shared / "reference/survival/survival_reference.json"
    return {name: record["result"] for name, record in json.loads(path.read_text())["records"].items()}


def read(shared: Path, case: Case) -> pl.DataFrame:
    """Read a case's file; rows with a missing cluster leave too, as in R."""
    frame = pl.read_csv(shared / f"reference/survival/data/{case.file}.csv", null_values="", infer_schema_length=None)
    frame = frame.rename({name: name.replace(".", "_") for name in frame.columns}).with_columns(**case.derive)
    if case.record == "veteran_cox_tt":
        frame = at_every_death(frame)
    if case.cluster:
        frame = frame.drop_nulls(case.cluster)
    return frame if case.keep is None else frame.filter(case.keep)


def at_every_death(frame: pl.DataFrame) -> pl.DataFrame:
    """Split follow-up at each day of death and add karno * log(t + 20), as R's tt() does."""
    deaths = frame.filter(pl.col("status") == 1)["time"].unique().sort()
    days = pl.DataFrame({"day": deaths, "entry": deaths.shift(1, fill_value=0)})
    return (
        frame.join(days, how="cross")
        .filter(pl.col("day") <= pl.col("time"))
        .with_columns(
            status=(pl.col("status") == 1) & (pl.col("day") == pl.col("time")),
            time="day",
            karno_t=pl.col("karno") * (pl.col("day") + 20).log(),
        )
    )


def arrays(frame: pl.DataFrame, case: Case) -> Arrays:
    design = design_matrix(frame, case.terms, missing="leave_out")
    kept = frame.filter(pl.Series(design.kept))
    column = {
        role: None if name is None else kept[name].to_numpy()
        for role, name in (("entry", case.entry), ("strata", case.strata), ("cluster", case.cluster))
    }
    strata = None if column["strata"] is None else np.unique(column["strata"], return_inverse=True)[1]
    weight = None if case.weights is None else kept[case.weights].to_numpy().astype(float)
    follow = Follow(kept[case.time].to_numpy(), kept[case.event].to_numpy(), column["entry"], strata, weight)
    return Arrays(design.matrix, follow, design.names, column["cluster"])


def fitted(shared: Path, record: str, ties: Any = "efron") -> CoxEstimate:
    case = BY_RECORD[record]
    data = arrays(read(shared, case), case)
    return estimate(data.x, data.follow, data.names, ties, robust=case.robust, cluster=data.cluster)


def where_r_stops(rows: Rows, ties: Any) -> Point:
    """Take the Newton steps of R's coxph: from 0, halved where the likelihood falls, until it stands."""
    nothing = Penalty.none(rows.shape[1])
    with workers() as pool:
        sums = RowSums(rows, pool)
        likelihood = PartialLikelihood(sums, rows.cells, ties, sums.events())
        best = likelihood.at(np.zeros(rows.shape[1]))
        assert best is not None
        theta, halved = best.theta + newton_step(best, nothing), 0
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
                theta = best.theta + newton_step(best, nothing)
    return point


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.record)
def test_cox_model_equals_r(case: Case, shared: Path, records: dict[str, Any]) -> None:
    expected = records[case.record]
    fit = fitted(shared, case.record, expected["ties"])
    order = list(case.order or range(len(fit.names)))
    coef, std_error = np.atleast_1d(expected["coef"])[order], np.atleast_1d(expected["se"])[order]
    variance = np.reshape(expected["var"], (len(order),) * 2)[np.ix_(order, order)]

    if case.record != "veteran_cox_tt":  # R counts persons there, we rows
        assert (len(fit.used), int(fit.rows.cells.deaths.sum())) == (expected["n"], expected["nevent"])
    np.testing.assert_allclose((fit.coef - coef) / std_error, 0, atol=1e-6)
    np.testing.assert_allclose(where_r_stops(fit.rows, fit.ties).theta / fit.rows.scale, coef, rtol=1e-9)
    np.testing.assert_allclose(fit.std_error, std_error, rtol=1e-8)
    np.testing.assert_allclose(
        fit.covariance / np.outer(std_error, std_error), variance / np.outer(std_error, std_error), atol=1e-8
    )
    if "naive_var" in expected:
        naive = np.sqrt(np.diag(np.reshape(expected["naive_var"], variance.shape)))
        np.testing.assert_allclose(np.sqrt(np.diag(fit.model_covariance)), naive, rtol=1e-8)
    loglik = [fit.optimum.null.log_likelihood, fit.point.log_likelihood]
    np.testing.assert_allclose(loglik, expected["loglik"], rtol=1e-9)
    np.testing.assert_allclose(fit.score_test, expected["score"]["test"], rtol=1e-9)
    np.testing.assert_allclose(fit.wald_test, expected["wald"]["test"], atol=5.1e-3)  # R rounds it to 2 decimals


PLAIN = [case for case in CASES if not (case.strata or case.weights or case.cluster or case.robust)]


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: case.record)
def test_fit_cox_is_the_same_model(case: Case, shared: Path, records: dict[str, Any]) -> None:
    ties = records[case.record]["ties"]
    frame = read(shared, case)
    options = {"terms": case.terms, "ties": ties, "missing": "leave_out", "with_concordance": True}
    by_name = fit_cox(frame, case.time, case.event, case.entry, **options)
    fit = fitted(shared, case.record, ties)
    assert by_name.terms == fit.names
    assert by_name.n_missing == frame.height - by_name.n
    np.testing.assert_allclose(by_name.coef, fit.coef, rtol=1e-9)
    if case.record != "veteran_cox_tt":  # R has none there
        np.testing.assert_allclose(by_name.concordance, records[case.record]["concordance"]["C"], rtol=1e-6)
    np.testing.assert_allclose(by_name.likelihood_ratio_test[0], records[case.record]["lrt"]["test"], rtol=1e-9)


def test_pbc_multistate_cox_is_one_model_per_cause(shared: Path, records: dict[str, Any]) -> None:
    # R gives the sandwich by person; between the causes the scores of a person multiply
    expected = records["pbc_multistate_cox"]
    case = Case("", "pbc", "age + lbili + albumin", event="status", derive=LOGS)
    data = arrays(read(shared, case), case)
    fits = [
        estimate(data.x, replace(data.follow, event=data.follow.event == k), data.names, robust=True) for k in (1, 2)
    ]
    variance = np.array(expected["var"])
    std_error = np.sqrt(np.diag(variance))
    np.testing.assert_allclose((np.concatenate([f.coef for f in fits]) - expected["coef"]) / std_error, 0, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([f.std_error for f in fits]), std_error, rtol=1e-8)
    change = np.hstack([residuals.delta_beta(f) for f in fits])
    np.testing.assert_allclose(
        change.T @ change / np.outer(std_error, std_error), variance / np.outer(std_error, std_error), atol=1e-7
    )
    loglik = np.sum([(f.optimum.null.log_likelihood, f.point.log_likelihood) for f in fits], axis=0)
    np.testing.assert_allclose(loglik, expected["loglik"], rtol=1e-9)


def test_lung_cox_ridge(shared: Path, records: dict[str, Any]) -> None:
    expected = records["lung_cox_ridge"]
    data = arrays(read(shared, BY_RECORD["lung_cox_efron"]), BY_RECORD["lung_cox_efron"])
    fit = estimate(data.x, data.follow, data.names, penalty=Penalty(np.full(3, 10.0), np.zeros(3)))
    std_error = np.sqrt(np.diag(expected["var"]))
    np.testing.assert_allclose((fit.coef - expected["coef"]) / std_error, 0, atol=1e-6)
    np.testing.assert_allclose(fit.std_error, std_error, rtol=1e-8)


# ------------------------------------------------------------------ residuals, baseline, prediction

RESIDUALS = ["martingale", "deviance", "score", "dfbeta", "dfbetas", "schoenfeld", "scaledsch"]


@pytest.mark.parametrize("kind", RESIDUALS)
@pytest.mark.parametrize("record", ["lung_cox_efron", "lung_cox_breslow", "veteran_cox", "ovarian_cox", "heart_cox_td"])
def test_residuals(record: str, kind: str, shared: Path, records: dict[str, Any]) -> None:
    expected = records[record]["residuals"][kind]
    fit = fitted(shared, record, records[record]["ties"])
    change = residuals.delta_beta(fit)
    ours = {
        "martingale": lambda: residuals.martingale(fit)[:, None],
        "deviance": lambda: residuals.deviance(fit)[:, None],
        "score": lambda: residuals.score_residuals(fit),
        "dfbeta": lambda: change,
        "dfbetas": lambda: change / fit.std_error,
        "schoenfeld": lambda: residuals.schoenfeld(fit)[0],
        "scaledsch": lambda: residuals.scaled_schoenfeld(fit)[0] + fit.coef,
    }[kind]()
    head = np.array(expected["head"], dtype=float)
    size = np.abs(ours).max(axis=0)  # R stops up to 1e-6 standard errors short, and residuals move with it
    np.testing.assert_allclose(ours[: len(head)] / size, head / size, atol=1e-6)
    np.testing.assert_allclose((ours**2).sum(axis=0), np.atleast_1d(expected["col_sumsq"]), rtol=1e-6)


@pytest.mark.parametrize("record", ["lung_cox_efron", "lung_cox_breslow", "lung_cox_strata_sex", "ovarian_cox"])
def test_baseline_hazard(record: str, shared: Path, records: dict[str, Any]) -> None:
    # R lists every exit time, we the event times: R's curve is flat in between
    expected = records[record]["basehaz_centered"]
    ties = records[record]["ties"]
    fit = fitted(shared, record, ties)
    hazard, cells = residuals.baseline_hazard(fit, ties), fit.rows.cells
    labels = np.array(expected.get("strata", ["0"] * len(expected["time"])))
    for code, label in enumerate(dict.fromkeys(labels.tolist())):
        mine, theirs = cells.stratum == code, labels == label
        curve = np.concatenate([[0.0], np.cumsum(hazard[mine])])
        at = np.searchsorted(cells.time[mine], np.array(expected["time"])[theirs], side="right")
        np.testing.assert_allclose(curve[at], np.array(expected["hazard"])[theirs], rtol=1e-6)


@pytest.mark.parametrize("record", ["lung_cox_efron", "lung_cox_breslow"])
def test_predicted_survival(record: str, shared: Path, records: dict[str, Any]) -> None:
    expected = records[record]
    fit = fitted(shared, record, expected["ties"])
    new = np.array([expected["newdata"][name] for name in ("age", "sex", "ph.ecog")], dtype=float).T
    curve = np.concatenate([[0.0], np.cumsum(residuals.baseline_hazard(fit, expected["ties"]))])
    at = np.searchsorted(fit.rows.cells.time, expected["survfit"]["time"], side="right")
    survival = np.exp(-np.outer(curve[at], np.exp((new - fit.rows.centre) @ fit.coef)))
    np.testing.assert_allclose(survival, np.reshape(expected["survfit"]["surv"], survival.shape), rtol=1e-6)


# ------------------------------------------------------------------ concordance


@pytest.mark.parametrize("timewt", ["n", "S", "S/G", "n/G2", "I"])
def test_lung_concordance(timewt: Any, shared: Path, records: dict[str, Any]) -> None:
    expected = records[f"lung_concordance_{timewt}"]
    fit = fitted(shared, "lung_cox_efron")
    ours = concordance(residuals.linear_predictor(fit), fit.follow, timewt)
    counts = [expected["count"][name] for name in ("concordant", "discordant", "tied.x")]
    np.testing.assert_allclose([ours.concordant, ours.discordant, ours.tied_score], counts, rtol=1e-12)
    np.testing.assert_allclose(ours.estimate, expected["concordance"], rtol=1e-12)
    np.testing.assert_allclose(ours.std_error, expected["se"], rtol=1e-12)


def test_lung_concordance_ymax365(shared: Path, records: dict[str, Any]) -> None:
    expected = records["lung_concordance_ymax365"]
    fit = fitted(shared, "lung_cox_efron")
    ours = concordance(residuals.linear_predictor(fit), fit.follow, until=365)
    np.testing.assert_allclose([ours.estimate, ours.std_error], [expected["concordance"], expected["se"]], rtol=1e-12)


def test_lung_concordance_age(shared: Path, records: dict[str, Any]) -> None:
    # R's concordance(…, reverse = TRUE) of age itself, 228 persons
    expected = records["lung_concordance_age"]
    data = arrays(read(shared, BY_RECORD["lung_cox_efron"]), Case("", "lung", "age", derive=LUNG))
    ours = concordance(data.x[:, 0], data.follow)
    np.testing.assert_allclose([ours.estimate, ours.std_error], [expected["concordance"], expected["se"]], rtol=1e-12)


def test_colon_uno_concordance(shared: Path, records: dict[str, Any]) -> None:
    expected = records["colon_death_cox"]["concordance_uno"]
    fit = fitted(shared, "colon_death_cox")
    ours = concordance(residuals.linear_predictor(fit), fit.follow, "n/G2")
    np.testing.assert_allclose([ours.estimate, ours.std_error], [expected["concordance"], expected["se"]], rtol=1e-12)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.record != "veteran_cox_tt"], ids=lambda case: case.record
)
def test_concordance_of_every_model(case: Case, shared: Path, records: dict[str, Any]) -> None:
    expected = records[case.record]
    fit = fitted(shared, case.record, expected["ties"])
    cluster = arrays(read(shared, case), case).cluster
    ours = concordance(residuals.linear_predictor(fit), fit.follow, cluster=cluster)
    found = [expected["concordance"][name] for name in ("C", "se(C)")]
    # scores that tie for us may differ in R's last bit, which moves a pair from tied to won or lost
    np.testing.assert_allclose([ours.estimate, ours.std_error], found, rtol=1e-6)


# ------------------------------------------------------------------ proportional hazards


# A statistic near 0 is the square of a score that R takes where it stopped: 5e-9 absolute.
STOP = 5e-9


def table(record: dict[str, Any]) -> Floats:
    return np.array(record["table"]["values"], dtype=float)


ZPH = [
    ("lung_zph_km", "km"),
    ("lung_zph_rank", "rank"),
    ("lung_zph_identity", "identity"),
    ("lung_zph_log", "log"),
    ("lung_zph_km_noGLOBALterms", "km"),
]


@pytest.mark.parametrize(("record", "transform"), ZPH)
def test_lung_zph(record: str, transform: Any, shared: Path, records: dict[str, Any]) -> None:
    test = proportional_hazards_test(fitted(shared, "lung_cox_efron"), transform)
    ours = np.column_stack([test.statistic, test.df, test.p_value])
    np.testing.assert_allclose(ours, table(records[record]), rtol=1e-9)


def test_veteran_zph_tests_a_factor_as_one_term(shared: Path, records: dict[str, Any]) -> None:
    test = proportional_hazards_test(fitted(shared, "veteran_cox"), "km", terms=[0, 1, 1, 1, 2, 3, 4, 5])
    ours = np.column_stack([test.statistic, test.df, test.p_value])
    np.testing.assert_allclose(ours, table(records["veteran_zph"]), rtol=1e-9, atol=STOP)


def test_veteran_zph_terms(shared: Path, records: dict[str, Any]) -> None:
    test = proportional_hazards_test(fitted(shared, "veteran_cox"), "rank")
    ours = np.column_stack([test.statistic, test.df, test.p_value])
    np.testing.assert_allclose(ours, table(records["veteran_zph_terms"]), rtol=1e-9, atol=STOP)


def test_ovarian_zph(shared: Path, records: dict[str, Any]) -> None:
    test = proportional_hazards_test(fitted(shared, "ovarian_cox"))
    ours = np.column_stack([test.statistic, test.df, test.p_value])
    np.testing.assert_allclose(ours, table(records["ovarian_cox"]["zph"]), rtol=1e-9, atol=STOP)


def test_colon_zph(shared: Path, records: dict[str, Any]) -> None:
    test = proportional_hazards_test(fitted(shared, "colon_death_cox"), terms=[0, 0, 1, 2, 3, 4, 5, 6])
    ours = np.column_stack([test.statistic, test.df, test.p_value])
    np.testing.assert_allclose(ours, table(records["colon_death_cox"]["zph"]), rtol=1e-9, atol=STOP)


@pytest.mark.parametrize(
    "case",
    [
        Case("lung_cox_exact", "lung", "age + sex + ph_ecog", derive=LUNG),
        Case("aml_cox_exact", "leukemia", "nonmaintained", event="status", derive=AML),
    ],
    ids=lambda case: case.record,
)
def test_exact_ties_equal_r(case: Case, shared: Path, records: dict[str, Any]) -> None:
    expected = records[case.record]
    fit = fit_cox_exact(read(shared, case), case.time, case.event, terms=case.terms, missing="leave_out")
    assert (fit.n, fit.n_events) == (expected["n"], expected["nevent"])
    np.testing.assert_allclose((fit.coef - expected["coef"]) / fit.std_error, 0, atol=1e-6)
    np.testing.assert_allclose(fit.std_error, np.atleast_1d(expected["se"]), rtol=1e-6)  # R stops short, see above
    np.testing.assert_allclose([fit.log_likelihood_null, fit.log_likelihood], expected["loglik"], rtol=1e-11)
    np.testing.assert_allclose(fit.score_test, expected["score"]["test"], rtol=1e-10)
