"""Curves, tests, rates and tables against R (survival 3.5-3, cmprsk 2.2-11, epitools): every record is accounted for.

Tolerances: 1e-12 for curves, standard errors and limits, because the records carry 15 significant digits and both
sides sum a few hundred terms; 1e-9 for tests, whose statistic is a quotient of differences of such sums.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.survival.rates import rate_limits

CURVE, TEST = 1e-12, 1e-9


@pytest.fixture(scope="module")
def reference(shared: Path) -> Path:
    return shared / "reference" / "survival"


@pytest.fixture(scope="module")
def records(reference: Path) -> dict[str, dict]:
    found = {}
    for name in ("survival_reference.json", "rates_repeated_reference.json"):
        found |= json.loads((reference / name).read_text())["records"]
    return found


def data(reference: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(reference / "data" / f"{name}.csv", null_values=["", "NA"], infer_schema_length=None)


def close(ours, theirs, tolerance=CURVE) -> None:
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


LUNG = {"time": "time", "event": "died"}


def lung(reference: Path, name: str = "lung") -> pl.DataFrame:
    return data(reference, name).with_columns(died=pl.col("status") == 2)


# ---- curves ---------------------------------------------------------------------------------------------------------


def strata(record: dict):
    """Yield (group as we name it, R's columns) of a survfit record: "sex=1" is our group "1"."""
    for name, columns in record["result"]["strata"].items():
        yield name.split("=")[-1], columns


def check_curve(curves: sv.Curves, record: dict) -> None:
    """Every row of the curve; R lists the same times when no grid was asked for."""
    ours = {"n_risk": "n_risk", "n_event": "n_event", "n_censored": "n_censor", "estimate": "surv"}
    ours |= {"std_error": "std_err_surv", "lower": "lower", "upper": "upper"}
    for group, columns in strata(record):
        rows = curves.to_polars().filter(pl.col("group") == group)
        assert rows["time"].to_list() == columns["time"]
        for mine, theirs in ours.items():
            close(rows[mine].cast(pl.Float64).to_numpy(), np.array(columns[theirs], dtype=float))


def check_grid(curves: sv.Curves, record: dict) -> None:
    """The curve read off at R's grid of times."""
    for group, columns in strata(record):
        rows = curves.at(columns["time"]).filter(pl.col("group") == group)
        ours = {"n_risk": "n_risk", "estimate": "surv", "std_error": "std_err_surv", "lower": "lower", "upper": "upper"}
        for mine, theirs in ours.items():
            close(rows[mine].cast(pl.Float64).to_numpy(), np.array(columns[theirs], dtype=float))


def check_hazard(curves: sv.Curves, record: dict) -> None:
    for group, columns in strata(record):
        rows = curves.at(columns["time"]).filter(pl.col("group") == group)
        close(rows["estimate"], columns["cumhaz"])
        close(rows["std_error"], columns["std_chaz"])


@pytest.mark.parametrize("conf_type", ["plain", "log", "log-log", "logit", "arcsin"])
def test_kaplan_meier_on_each_scale(reference, records, conf_type) -> None:
    record = records[f"lung_km_all_{conf_type}"]
    check_curve(sv.kaplan_meier(lung(reference), **LUNG, conf_type=conf_type), record)
    check_hazard(sv.nelson_aalen(lung(reference), **LUNG), record)


def test_kaplan_meier_at_90_percent(reference, records) -> None:
    check_grid(sv.kaplan_meier(lung(reference), **LUNG, level=0.9), records["lung_km_all_log_90"])


@pytest.mark.parametrize(
    ("record", "name", "time", "event", "by"),
    [
        ("lung_km_sex", "lung", "time", "died", "sex"),
        ("veteran_km_celltype", "veteran", "time", "status", "celltype"),
        ("aml_km", "leukemia", "time", "status", "x"),
    ],
)
def test_kaplan_meier_by_group(reference, records, record, name, time, event, by) -> None:
    frame = lung(reference) if name == "lung" else data(reference, name)
    check_curve(sv.kaplan_meier(frame, time, event, by), records[record])
    check_hazard(sv.nelson_aalen(frame, time, event, by), records[record])


def test_kaplan_meier_of_colon_deaths_on_a_grid(reference, records) -> None:
    deaths = data(reference, "colon").filter(pl.col("etype") == 2)
    check_grid(sv.kaplan_meier(deaths, "time", "status", "rx"), records["colon_death_km_rx"])
    check_hazard(sv.nelson_aalen(deaths, "time", "status", "rx"), records["colon_death_km_rx"])


def test_delayed_entry(reference, records) -> None:
    frame, record = data(reference, "heart"), records["heart_km_transplant"]
    check_curve(sv.kaplan_meier(frame, "stop", "event", "transplant", entry="start"), record)
    check_hazard(sv.nelson_aalen(frame, "stop", "event", "transplant", entry="start"), record)


@pytest.mark.parametrize(("record", "ties"), [("lung_km_sex_na", "together"), ("lung_km_sex_fh2", "one_by_one")])
def test_fleming_harrington(reference, records, record, ties) -> None:
    check_grid(sv.fleming_harrington(lung(reference), **LUNG, by="sex", ties=ties), records[record])


def test_landmark(reference, records) -> None:
    frame, record = lung(reference), records["lung_km_landmark180"]
    check_grid(sv.kaplan_meier(frame, **LUNG, by="sex", start=180), record)
    check_hazard(sv.nelson_aalen(frame, **LUNG, by="sex", start=180), record)


@pytest.mark.parametrize(
    ("record", "variance"), [("lung_km_weighted_sex", "greenwood"), ("lung_km_weighted_sex_robust", "robust")]
)
def test_weighted_kaplan_meier(reference, records, record, variance) -> None:
    frame = lung(reference, "lung_weighted")
    check_grid(sv.kaplan_meier(frame, **LUNG, by="sex", weights="w", variance=variance), records[record])
    hazard = {"greenwood": "aalen", "robust": "robust"}[variance]
    check_hazard(sv.nelson_aalen(frame, **LUNG, by="sex", weights="w", variance=hazard), records[record])


def check_incidence(reference: Path, record: dict, by: str | None, conf_type: str = "log") -> None:
    """Causes 1 and 2 are R's second and third state; its first is the event-free probability."""
    frame = data(reference, "pbc_etype").with_columns(any=pl.col("status") > 0)
    curves = sv.cumulative_incidence(frame, "time", "status", by, conf_type=conf_type)
    free = sv.kaplan_meier(frame, "time", "any", by, conf_type=conf_type)
    for group, columns in strata(record):
        for state in range(3):
            read = (
                free.at(columns["time"]) if state == 0 else curves.at(columns["time"]).filter(pl.col("cause") == state)
            )
            rows = read.filter(pl.col("group") == {"0": "0.0", "1": "1.0"}.get(group, group))
            for mine, theirs in {
                "estimate": "pstate",
                "std_error": "std_err",
                "lower": "lower",
                "upper": "upper",
            }.items():
                expected = np.array(columns[theirs], dtype=float)[:, state]
                known = ~np.isnan(expected) | (mine == "estimate")
                if state == 0:  # at 0 R's multi-state curve has standard error 0, its Kaplan–Meier (and ours) none
                    known &= np.array(columns["pstate"])[:, 0] > 0
                close(rows[mine].cast(pl.Float64).to_numpy()[known], expected[known])


@pytest.mark.parametrize("record", ["pbc_aj", "pbc_aj_full"])
def test_aalen_johansen(reference, records, record) -> None:
    check_incidence(reference, records[record], None)


def test_aalen_johansen_by_group(reference, records) -> None:
    check_incidence(reference, records["pbc_aj_edema"], "edema")


@pytest.mark.parametrize("conf_type", ["plain", "log-log", "logit"])
def test_aalen_johansen_on_each_scale(reference, records, conf_type) -> None:
    check_incidence(reference, records[f"pbc_aj_ci_{conf_type}"], None, conf_type)


def test_aalen_variance_of_cuminc(reference, records) -> None:
    result = records["pbc_cuminc"]["result"]
    frame = data(reference, "pbc_etype")
    curves = sv.cumulative_incidence(frame, "time", "status", "edema", variance="delta").at(result["times"])
    for row, name in enumerate(result["est"]["rows"]):
        group, cause = name.split()
        group = {"0": "0.0", "1": "1.0"}.get(group, group)
        rows = curves.filter((pl.col("group") == group) & (pl.col("cause") == int(cause)))
        estimate = np.array(result["est"]["values"][row], dtype=float)
        known = ~np.isnan(estimate)  # cuminc is missing after a group's last time; our curve stays level
        close(rows["estimate"].to_numpy()[known], estimate[known])
        close(rows["std_error"].to_numpy()[known] ** 2, np.array(result["var"]["values"][row], dtype=float)[known])


# ---- rates ----------------------------------------------------------------------------------------------------------

RATES = [(0, 100), (1, 12.5), (11, 800), (50, 10000), (250, 123456.7)]


@pytest.mark.parametrize(("events", "time"), RATES)
def test_rate_limits(records, events, time) -> None:
    exact = records[f"rate_exact_{events}_pt_{time}"]["result"]
    ours = rate_limits(np.array([events]), np.array([time]))
    close(ours["estimate"], exact["estimate"]["event rate"])
    close([ours["lower"][0], ours["upper"][0]], exact["conf_int"])
    for method, name in {"byar": "rate_byar", "normal": "rate_approx"}.items():
        theirs = records[f"{name}_{events}_pt_{time}"]["result"]
        ours = rate_limits(np.array([events]), np.array([time]), method=method)
        # R's approximations give negative lower limits for few events; a rate has none below 0
        close([ours["lower"][0], ours["upper"][0]], [max(theirs["lower"], 0), theirs["upper"]])
