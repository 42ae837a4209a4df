"""Curves, tests, rates and tables against R (survival 3.5-3, cmprsk 2.2-11, epitools): every record is accounted for.

Tolerances: 1e-12 for curves, standard errors and limits, because the records carry 15 significant digits and both
sides sum a few hundred terms; 1e-9 for tests, whose statistic is a quotient of differences of such sums.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.survival.proportions import proportion_limits
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


# ---- quantiles and restricted means ---------------------------------------------------------------------------------


@pytest.mark.parametrize("conf_type", ["plain", "log", "log-log", "logit", "arcsin"])
def test_quantiles_on_each_scale(reference, records, conf_type) -> None:
    theirs = records[f"lung_km_all_{conf_type}"]["result"]["quantiles"]
    ours = sv.kaplan_meier(lung(reference), **LUNG, conf_type=conf_type).quantiles(theirs["p"])
    for mine, name in {"estimate": "quantile", "lower": "lower", "upper": "upper"}.items():
        assert ours[mine].to_list() == theirs[name]


@pytest.mark.parametrize(
    ("record", "name", "event", "by"),
    [
        ("lung_km_sex", "lung", "died", "sex"),
        ("veteran_km_celltype", "veteran", "status", "celltype"),
        ("aml_km", "leukemia", "status", "x"),
    ],
)
def test_quantiles_by_group(reference, records, record, name, event, by) -> None:
    frame = lung(reference) if name == "lung" else data(reference, name)
    theirs = records[record]["result"]["quantiles"]
    ours = sv.kaplan_meier(frame, "time", event, by).quantiles(theirs["p"])
    for mine, band in {"estimate": "quantile", "lower": "lower", "upper": "upper"}.items():
        for row, group in enumerate(theirs[band]["rows"]):
            rows = ours.filter(pl.col("group") == group.split("=")[-1])
            assert rows[mine].to_list() == theirs[band]["values"][row]


RESTRICTED = {
    "lung_rmst_sex_365": ("lung", "died", "sex", None),
    "lung_rmst_sex_730.5": ("lung", "died", "sex", None),
    "aml_km": ("leukemia", "status", "x", "rmst48"),
    "colon_death_km_rx": ("colon", "status", "rx", "rmst5y"),
}


@pytest.mark.parametrize("record", RESTRICTED)
def test_restricted_means(reference, records, record) -> None:
    name, event, by, key = RESTRICTED[record]
    frame = lung(reference) if name == "lung" else data(reference, name)
    frame = frame.filter(pl.col("etype") == 2) if name == "colon" else frame
    theirs = records[record]["result"][key] if key else records[record]["result"]
    ours = sv.rmst(frame, "time", event, by, tau=theirs["tau"]).to_polars()
    medians = sv.kaplan_meier(frame, "time", event, by).quantiles([0.5])
    table = theirs["table"]
    for group, values in zip(table["rows"], table["values"], strict=True):
        row = dict(zip(table["cols"], values, strict=True))
        mine = ours.row(by_predicate=pl.col("group") == group.split("=")[-1], named=True)
        close([mine["estimate"], mine["std_error"]], [row["rmean"], row["se(rmean)"]])
        median = medians.row(by_predicate=pl.col("group") == group.split("=")[-1], named=True)
        assert (median["estimate"], median["lower"], median["upper"]) == (row["median"], row["0.95LCL"], row["0.95UCL"])


@pytest.mark.parametrize(("record", "by"), [("pbc_aj", None), ("pbc_aj_edema", "edema")])
def test_restricted_time_lost(reference, records, record, by) -> None:
    theirs = records[record]["result"]["rmean"]
    frame = data(reference, "pbc_etype")
    lost = sv.restricted_time_lost(frame, "time", "status", by, tau=theirs["tau"]).to_polars()
    for name, values in zip(theirs["table"]["rows"], theirs["table"]["values"], strict=True):
        *group, state = name.replace("edema=", "").split(", ")
        group = {"0": "0.0", "1": "1.0", "": "all"}.get("".join(group), "".join(group))
        if state == "(s0)":  # the event-free state: its mean is the restricted mean
            mine = sv.rmst(frame.with_columns(any=pl.col("status") > 0), "time", "any", by, theirs["tau"]).to_polars()
        else:
            mine = lost.filter(pl.col("cause") == {"transplant": 1, "death": 2}[state])
        row = mine.row(by_predicate=pl.col("group") == group, named=True)
        if row["estimate"] is None:  # R extends a curve beyond the group's last exit; we call that not known
            assert frame.filter(pl.col("edema").cast(pl.String) == group)["time"].max() < theirs["tau"]
        else:
            close(row["estimate"], values[2], 1e-12)


# ---- states and recurrent events ------------------------------------------------------------------------------------


def test_multistate_equals_the_competing_risks_curves(reference, records) -> None:
    names = ["(s0)", "transplant", "death"]
    rows = data(reference, "pbc_etype").select(
        "id", "time", start=0, now=pl.lit("(s0)"), to=pl.col("etype").replace({"censor": None})
    )
    model = sv.multistate(rows, "id", "start", "time", "now", "to", states=names)
    columns = records["pbc_aj_full"]["result"]["strata"]["all"]
    table = model.occupation(columns["time"])
    for state, name in enumerate(names):
        mine = table.filter(pl.col("state") == name)
        close(mine["estimate"], np.array(columns["pstate"])[:, state])
        close(mine["std_error"], np.array(columns["std_err"])[:, state])
        assert mine["n_risk"].to_list() == np.array(columns["n_risk"])[:, state].tolist()
    rmean = records["pbc_aj"]["result"]["rmean"]
    close(model.length_of_stay(rmean["tau"])["estimate"], [values[2] for values in rmean["table"]["values"]])


def test_kaplan_meier_with_several_rows_of_a_person(reference, records) -> None:
    curves = sv.kaplan_meier(data(reference, "bladder2"), "stop", "event", "rx", entry="start", id="id").to_polars()
    for group, columns in strata(records["bladder_mcf"]):
        rows = curves.filter(pl.col("group") == group)
        ours = {"estimate": "surv", "std_error": "std_err_surv", "lower": "lower", "upper": "upper"}
        for mine, theirs in ours.items():
            close(rows[mine].to_numpy(), np.array(columns[theirs], dtype=float))


def test_mean_cumulative_function(reference, records) -> None:
    frame = data(reference, "bladder2")
    curves = sv.mean_cumulative_function(frame, "id", "start", "stop", "event", "rx")
    for group, columns in strata(records["bladder_mcf"]):
        rows = curves.to_polars().filter(pl.col("group") == group)
        ours = {"time": "time", "n_risk": "n_risk", "n_event": "n_event", "estimate": "cumhaz", "std_error": "std_chaz"}
        for mine, theirs in ours.items():
            close(rows[mine], columns[theirs])
        if group == "1":
            assert rows["n_censored"].to_list() == columns["n_censor"]
        else:  # R 3.5-3 misses most censorings of the second curve (person 52 leaves on day 10, it counts 0)
            last = frame.filter(pl.col("rx") == 2).sort("stop").group_by("id").last().filter(pl.col("event") == 0)
            assert rows["n_censored"].sum() == last.height


# ---- tests ----------------------------------------------------------------------------------------------------------

RANK_TESTS = {
    "lung_logrank_sex": ("lung", "died", "sex", {}),
    "lung_petopeto_sex": ("lung", "died", "sex", {"rho": 1}),
    "lung_logrank_sex_strat_ecog": ("lung", "died", "sex", {"strata": "ph.ecog"}),
    "lung_logrank_ecog": ("lung", "died", "ph.ecog", {}),
    "veteran_logrank_celltype": ("veteran", "status", "celltype", {}),
    "colon_death_logrank": ("colon", "status", "rx", {}),
}


@pytest.mark.parametrize("record", RANK_TESTS)
def test_rank_tests(reference, records, record) -> None:
    name, event, by, options = RANK_TESTS[record]
    frame = lung(reference) if name == "lung" else data(reference, name)
    frame = frame.filter(pl.col("etype") == 2) if name == "colon" else frame
    frame = frame.drop_nulls([by, *options.get("strata", "").split()])  # R leaves rows without a group out; we refuse
    ours, theirs = sv.logrank(frame, "time", event, by, **options), records[record]["result"]
    close([ours.statistic, ours.p_value], [theirs["chisq"], theirs["p"]], TEST)
    assert ours.df == theirs["df"]
    groups = ours.to_polars()
    observed, expected = (
        np.asarray(theirs[name]["values"]).reshape(len(groups), -1).sum(axis=1)
        if isinstance(theirs[name], dict)
        else theirs[name]
        for name in ("obs", "exp")
    )
    order = {"veteran": ["squamous", "smallcell", "adeno", "large"], "colon": ["Obs", "Lev", "Lev+5FU"]}
    place = [groups["group"].to_list().index(group) for group in order.get(name, sorted(groups["group"]))]
    close(groups["n"].to_numpy()[place], theirs["n"])
    close(groups["observed"].to_numpy()[place], observed, TEST)
    close(groups["expected"].to_numpy()[place], expected, TEST)
    close(ours.variance[np.ix_(place, place)], theirs["var"], TEST)


def test_gray(reference, records) -> None:
    theirs = records["pbc_cuminc"]["result"]["gray_tests"]
    frame = data(reference, "pbc_etype")
    ours = sv.gray(frame, "time", "status", "edema")
    for name, values in zip(theirs["rows"], theirs["values"], strict=True):
        row = ours.to_polars().row(by_predicate=pl.col("cause") == int(name), named=True)
        close([row["statistic"], row["df"]], [values[0], values[2]], TEST)
        close(row["p_value"], values[1], 1e-14)  # R prints 1 - pchisq: the small one has no more digits than that
    death = sv.gray(frame, "time", "status", "edema", cause_of_interest=2)
    assert (death.statistic, death.df, death.p_value) == ours.to_polars().row(1)[1:]


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


def test_person_years_and_events_by_age_and_sex(reference, records) -> None:
    theirs = records["lung_pyears"]["result"]
    bands = theirs["pyears"]["rows"]
    frame = lung(reference)
    frame = frame.with_columns(band=np.array(bands)[np.searchsorted([50, 60, 70], frame["age"].to_numpy())])
    ours = sv.incidence_rate(frame, **LUNG, by=["band", "sex"])
    for i, band in enumerate(bands):
        for j, sex in enumerate(theirs["pyears"]["cols"]):
            row = ours.row(by_predicate=pl.col("group") == f"{band}, {sex}", named=True)
            close(row["person_time"] / 365.25, theirs["pyears"]["values"][i][j])
            assert (row["n"], row["n_event"]) == (theirs["n"]["values"][i][j], theirs["event"]["values"][i][j])


PROPORTIONS = [(0, 100), (1, 10), (5, 5), (10, 10), (7, 250), (123, 4567), (0, 3), (3000, 1_000_000)]


@pytest.mark.parametrize(
    ("method", "name"), [("exact", "prop_exact"), ("wilson", "prop_wilson"), ("wilson_corrected", "prop_wilson_cc")]
)
@pytest.mark.parametrize(("events", "persons"), PROPORTIONS)
def test_proportion_limits(records, events, persons, method, name) -> None:
    theirs = records[f"{name}_{events}_of_{persons}"]["result"]
    ours = proportion_limits(np.array([events]), np.array([persons]), method=method)
    close(ours["estimate"], list(theirs["estimate"].values()))
    close([ours["lower"][0], ours["upper"][0]], theirs["conf_int"])


def test_rate_ratios(records) -> None:
    theirs = records["irr_exact"]["result"]
    ours = sv.rate_ratio(11, 800, 6 + 8 + 7, 1083 + 1050 + 878)
    close([ours.estimate, ours.lower, ours.upper], [theirs["estimate"]["rate ratio"], *theirs["conf_int"]])
    close(ours.p_value, theirs["p_value"], TEST)
    theirs = records["irr_epitools"]["result"]  # its mid-p test is not offered
    ours = sv.rate_ratio(15, 19017, 41, 28010, method="wald")
    close([ours.estimate, ours.lower, ours.upper], theirs["measure"]["values"][1])
    close(ours.p_value, theirs["p"]["values"][1][1], TEST)


@pytest.mark.parametrize("record", ["ageadjust_direct_downs", "ageadjust_direct_small"])
def test_direct_standardisation(records, record) -> None:
    given, theirs = records[record]["data"], records[record]["result"]
    table = pl.DataFrame(
        {"n_event": given["count"], "person_time": given["pop"], "standard": given["stdpop"]}, strict=False
    )
    ours = sv.direct_rate(table, per=1).row(0, named=True)
    for mine, name in {"crude": "crude.rate", "estimate": "adj.rate", "lower": "lci", "upper": "uci"}.items():
        close(ours[mine], theirs[name])


def test_indirect_standardisation(records) -> None:
    given, theirs = records["ageadjust_indirect"]["data"], records["ageadjust_indirect"]["result"]
    table = pl.DataFrame({"x": given["count"], "t": given["pop"], "sx": given["stdcount"], "st": given["stdpop"]})
    ours = sv.indirect_rate(table, "x", "t", "sx", "st", per=1, method="log").row(0, named=True)
    close([ours["n_event"], ours["expected"]], [theirs["sir"]["observed"], theirs["sir"]["exp"]])
    close([ours["smr"], ours["smr_lower"], ours["smr_upper"]], [theirs["sir"][name] for name in ("sir", "lci", "uci")])
    close(
        [ours["estimate"], ours["lower"], ours["upper"]], [theirs["rate"][name] for name in ("adj.rate", "lci", "uci")]
    )


# ---- every record is accounted for ----------------------------------------------------------------------------------

COVERED = {
    *(f"lung_km_all_{conf_type}" for conf_type in ("plain", "log", "log-log", "logit", "arcsin", "log_90")),
    *("lung_km_sex", "veteran_km_celltype", "aml_km", "colon_death_km_rx", "heart_km_transplant"),
    *("lung_km_sex_na", "lung_km_sex_fh2", "lung_km_landmark180", "lung_km_weighted_sex"),
    *("lung_km_weighted_sex_robust", "bladder_mcf", "lung_pyears", *RESTRICTED, *RANK_TESTS),
    *("pbc_aj", "pbc_aj_full", "pbc_aj_edema", "pbc_aj_ci_plain", "pbc_aj_ci_log-log", "pbc_aj_ci_logit", "pbc_cuminc"),
    *(
        f"{kind}_{events}_of_{n}"
        for kind in ("prop_exact", "prop_wilson", "prop_wilson_cc")
        for events, n in PROPORTIONS
    ),
    *(f"{kind}_{events}_pt_{t}" for kind in ("rate_exact", "rate_byar", "rate_approx") for events, t in RATES),
    *("irr_exact", "irr_epitools", "ageadjust_direct_downs", "ageadjust_direct_small", "ageadjust_indirect"),
}
ELSEWHERE = {
    r".*_(cox|zph|concordance)(_.*)?": "Cox models and their checks: the tests of survival/cox",
    r".*_(crr|finegray_data|causespecific_death)": "subdistribution and cause-specific models: survival/fine_gray",
    r"colon_wlw|bladder_(ag|pwp_total|pwp_gap|wlw)": "Cox models of recurrent events: the tests of survival/cox",
    r".*_survreg(_.*)?|lung_poisson_piecewise": "parametric models: test_survival_parametric_r",
    r"lung_aareg": "additive hazards are not offered",
    r"migraine_.*|BtheB_.*|backpain_polr": "repeated measures and ordinal models, not survival",
    r"mantelhaen": "odds ratio of stratified 2 × 2 tables, not a rate",
}


def test_every_record_is_covered_or_belongs_elsewhere(records) -> None:
    elsewhere = {name for name in records if any(re.fullmatch(pattern, name) for pattern in ELSEWHERE)}
    assert sorted(set(records) - COVERED - elsewhere) == []
    assert sorted(COVERED - set(records)) == []
    assert sorted(COVERED & elsewhere) == []
