"""Nested target trials from the study file: periods, who is in which trial, the answer, its seal, and no answers."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import polars as pl
import pytest
from test_spec_emulated_trial import COHORT, OPIOID, PAIN, table
from worlds import people, world

import cohort as co
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.protocol import protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.periods import NEW, periods, until_departure
from cohort.results.trial_designs import EVER

DRUG, LASTING = co.exposure("physio", OPIOID), co.exposure("physio", OPIOID, lasts_days=30)
SIGN = co.time_varying("sign", PAIN, 20)


def persons(*rows: tuple[object, ...]) -> pl.DataFrame:
    """Return persons from (time, cause, start, days of the drug, days of the sign)."""
    names = ("time", "cause", "physio", "physio.days", "sign")
    schema = dict.fromkeys(names[:3], pl.Int64) | dict.fromkeys(names[3:], pl.List(pl.Int64))
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("person_id").with_columns(age=pl.lit(50))


def test_a_period_has_the_exposure_of_its_start_and_covariates_as_they_were_when_the_one_before_began() -> None:
    rows = periods(persons((75, 1, 40, [40], [25, 70])), 30, DRUG, (SIGN,))
    columns = ("start", "stop", "cause", "physio", NEW, "sign", "sign__now")
    assert rows.select(columns).rows() == [
        (0, 30, 0, False, True, False, False),
        (30, 60, 0, False, True, False, True),  # the sign of day 25 lasts to day 45: known on day 30, not on day 0
        (60, 75, 1, True, True, True, False),  # started on day 40, after the sign that was known on day 30
    ]


@pytest.mark.parametrize(
    ("start", "days", "drug", "exposed", "new"),
    [
        (None, None, DRUG, [False] * 4, [True] * 4),
        (0, [0], DRUG, [True] * 4, [True, True, False, False]),  # the second period decides on all days from index on
        (30, [30], DRUG, [False, True, True, True], [True, True, False, False]),  # by the day on which a period begins
        (31, [31], DRUG, [False, False, True, True], [True, True, True, False]),
        (0, [0], LASTING, [True, False, False, False], [True, True, False, False]),  # 30 days: days 0 to 29
        (10, [10, 35], LASTING, [False, True, True, False], [True, True, False, False]),
    ],
)
def test_an_exposure_goes_on_for_good_or_as_long_as_its_records_last(start, days, drug, exposed, new) -> None:
    rows = periods(persons((120, 0, start, days, None)), 30, drug, ())
    assert rows["physio"].to_list() == exposed
    assert rows[NEW].to_list() == new


def test_periods_end_with_the_first_departure_and_nobody_without_follow_up_has_one() -> None:
    rows = periods(persons((0, 1, None, None, None), (120, 0, 10, [10, 35], None)), 30, LASTING, ())
    assert rows["person_id"].unique().to_list() == [1]
    kept = until_departure(rows.filter(pl.col("start") > 0), "physio")
    assert kept["start"].to_list() == [30, 60, 90]  # exposed on day 30 and 60, not on day 90: there it departs
    assert kept["physio"].to_list() == [True, True, False]


def test_the_days_of_an_exposure_that_ends_are_in_the_row_of_its_person() -> None:
    tables = world(
        **people(1, 2),
        diagnosis="person_id date code\n1 d0 M545\n2 d0 M545",
        dispensing="person_id date system code\n1 d20 atc N02AA01\n1 d9 atc N02AA01\n1 d-9 atc N02AA01",
    )
    plan = study(exposures=[co.exposure("opioid", OPIOID, lasts_days=30)])
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    part = run_bucket(tables, plan.cohort, plan.outcome, plan.measured, codes, dt.date(2022, 12, 31))
    assert part.rows.select("opioid", "opioid.days").rows() == [(9, [9, 20]), (None, None)]


def study(**options: object) -> co.Study:
    parts = {
        "outcome": co.first_record(PAIN),
        "covariates": [co.age()],
        "exposures": [co.exposure("opioid", OPIOID), co.exposure("other", co.dispensing("gabapentinoid"))],
        "analyses": [co.nested_trials("opioid", "age", 365)],
    }
    return co.Study(COHORT, **parts | options)


def with_drug(rows: AnalysisTable, drug: co.features.exposure.Exposure = DRUG) -> AnalysisTable:
    return dataclasses.replace(rows, exposures=(drug,))


def trials(**options: object) -> co.results.nested.NestedTrials:
    return co.nested_trials("physio", "age", 100, **{"replicates": 20, "period_days": 10} | options)


@pytest.fixture(scope="module")
def estimates() -> pl.DataFrame:
    return trials().estimate(1, with_drug(table(1500))).to_polars()


def row(estimates: pl.DataFrame, estimand: str, group: str = "start", category: str | None = None) -> dict[str, object]:
    rows = estimates.filter(pl.col("estimand") == estimand, pl.col("group") == group)
    return rows.filter(pl.col("category").eq_missing(category)).row(0, named=True)


@pytest.mark.parametrize("protocol_", ["intention_to_treat", "per_protocol"])
def test_a_useless_treatment_has_no_effect_and_ever_treated_finds_one(estimates, protocol_) -> None:
    found = estimates
    if protocol_ == "per_protocol":
        found = trials(protocol=protocol_).estimate(1, with_drug(table(1500))).to_polars()
    group = found.filter(pl.col("estimand") == "risk_ratio")["group"].item()
    answer = row(found, "marginal_hazard_ratio", group)
    assert answer["status"] == "ok"
    assert answer["lower"] < 1 < answer["upper"]
    assert abs(row(found, "risk_difference", group)["value"]) < 3 * row(found, "risk_difference", group)["std_error"]
    assert row(found, "marginal_hazard_ratio", group, EVER)["upper"] < 0.5


def test_persons_are_counted_once_those_who_start_in_a_trial_as_starting(estimates) -> None:
    rows = table(1500).parts[0].filter(pl.col("time") > 10)  # at risk when the first trial begins
    # a start counts from the next beginning of a period on, if the person is at risk then
    begins = (pl.col("physio") / 10).ceil() * 10
    starters = rows.drop_nulls("physio").filter(pl.max_horizontal(begins, pl.lit(10)) < pl.col("time"))
    assert row(estimates, "risk")["n"] == starters.height
    assert row(estimates, "risk")["events"] == starters.filter(cause=1).height
    assert row(estimates, "risk", "do not start")["n"] == rows.height - starters.height


def test_curves_end_at_the_risks_and_weights_balance_time_zero(estimates) -> None:
    for group in ("start", "do not start"):
        curve = estimates.filter(
            pl.col("estimand") == "cumulative_incidence", pl.col("outcome") == "pain", pl.col("group") == group
        )
        assert curve.filter(pl.col("time") <= 100)["value"][-1] == pytest.approx(
            row(estimates, "risk", group)["value"], abs=0.01
        )  # the last day with an exit
    differences = estimates.filter(pl.col("estimand") == "standardised_difference", pl.col("term") == "age")
    before, after = (differences.filter(category=f"{when} weighting")["value"].item() for when in ("before", "after"))
    assert before > 0.3
    assert abs(after) < 0.05


def test_digits_do_not_depend_on_buckets(estimates) -> None:
    assert trials().estimate(1, with_drug(table(1500, parts=7))).to_polars().equals(estimates)


def test_a_closed_gate_seals_answer_curves_and_what_stands_beside() -> None:
    found = trials(gates={"events": 100_000}).estimate(1, with_drug(table())).to_polars()
    told = found.filter(~pl.col("estimand").is_in(["gate", "standardised_difference", "effective_size"]))
    assert told["status"].str.starts_with("sealed: outcome events of the arm with fewer").all()
    assert told.select("value", "std_error", "lower", "upper").null_count().sum_horizontal().item() == 4 * told.height
    opened = trials(gates={"events": 100_000}, unsealed="shown to the data holder alone")
    assert row(opened.estimate(1, with_drug(table())).to_polars(), "risk_difference")["status"] == "ok"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"physio": pl.lit(None, pl.Int64)}, "single_arm"),  # nobody starts
        ({"physio": pl.lit(0, pl.Int64)}, "single_arm"),  # everybody has started when the first trial begins
        ({"time": pl.lit(5, pl.Int64)}, "nobody_at_risk"),  # nobody is at risk when it does
        ({"time": pl.lit(0, pl.Int64)}, "nobody_at_risk"),
        ({"age": pl.lit(None, pl.Int64)}, "nobody_at_risk"),
        ({"cause": pl.lit(0, pl.Int8)}, "no_events"),
        ({"physio": pl.when(pl.col("age") > 50).then(pl.lit(0, pl.Int64))}, "separation"),
    ],
)
def test_what_has_no_answer_ends_in_a_typed_outcome(change: dict[str, pl.Expr], reason: str) -> None:
    rows = table(300)
    part = rows.parts[0].with_columns(**change)
    found = trials().estimate(1, with_drug(AnalysisTable((part,), rows.causes, 0, rows.variables))).to_polars()
    assert found["status"][0].startswith(f"not_estimable: {reason}")
    assert found["value"].null_count() == found.height


def two_arms(n: int = 3000, seed: int = 4) -> AnalysisTable:
    """Return persons who begin with one of two drugs and leave it as their sign says, which also brings pain.

    Neither drug does anything; the first is left between day 30 and 80 by nine in ten of those with the sign and one in
    ten of the others, the second by one in ten of all. Hazards of pain are 0.002 a day, five times that after the
    sign, which half of the persons have from day 20 on. By day 120 the risk is
    1 - (exp(-0.24) + exp(-0.04 - 1)) / 2 = 0.4300.
    """
    rng = np.random.default_rng(seed)
    sick, first = rng.random(n) < 0.5, rng.random(n) < 0.5
    early, late = rng.exponential(500, n), rng.exponential(500 / np.where(sick, 5, 1), n)
    pain = np.ceil(np.where(early < 20, early, 20 + late)).astype(np.int64)
    leaves = rng.random(n) < np.where(first & sick, 0.9, 0.1)
    lasts = [list(range(0, day, 10)) for day in np.where(leaves, rng.integers(30, 80, n), 200)]
    frame = pl.DataFrame(
        {
            "person_id": np.arange(n),
            "index_date": [dt.date(2020, 1, 1)] * n,
            "entry": np.zeros(n, dtype=np.int64),
            "time": np.minimum(pain, 150),
            "cause": (pain <= 150).astype(np.int8),
            "age": rng.integers(20, 80, n),
            "one": pl.Series([0 if flag else None for flag in first], dtype=pl.Int64),
            "one.days": pl.Series([days if flag else None for days, flag in zip(lasts, first, strict=True)]),
            "two": pl.Series([None if flag else 0 for flag in first], dtype=pl.Int64),
            "two.days": pl.Series([None if flag else days for days, flag in zip(lasts, first, strict=True)]),
            "sign": pl.Series([[20] if flag else None for flag in sick], dtype=pl.List(pl.Int64)),
        }
    )
    drugs = tuple(co.exposure(name, OPIOID, lasts_days=10) for name in ("one", "two"))
    sign = co.time_varying("sign", PAIN)
    return AnalysisTable((frame,), ("pain",), 0, {"age": "integer"}, time_varying=(sign,), exposures=drugs)


def test_two_arms_that_are_to_keep_to_what_they_began_with_are_weighted_for_departing() -> None:
    asked = {"against": "two", "begin": "index", "protocol": "per_protocol", "period_days": 10, "replicates": 20}
    rows, truth = two_arms(), 1 - (np.exp(-0.24) + np.exp(-1.04)) / 2
    weighted = co.nested_trials("one", "age + sign", 120, **asked).estimate(1, rows).to_polars()
    naive = co.nested_trials("one", "age", 120, **asked).estimate(1, rows).to_polars()
    found = row(weighted, "risk", "keep to one")
    assert abs(found["value"] - truth) < 3 * found["std_error"] < 0.15
    assert row(naive, "risk", "keep to one")["value"] < truth - 0.05  # the sick have left their drug
    assert abs(row(weighted, "risk_difference", "keep to one")["value"]) < 0.1
    assert row(naive, "risk_difference", "keep to one")["upper"] < 0


def test_a_study_file_says_it_the_protocol_names_it_and_the_auditor_asks_for_new_users(tmp_path) -> None:
    plan = study(
        analyses=[
            co.nested_trials("opioid", "age", 365, protocol="per_protocol", natural_censoring={"terms": "age"}),
            co.nested_trials("opioid", "age", 365, begin="index", against="other"),
        ]
    )
    plan.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256
    said = {(section, item): text for section, item, text in protocol(plan)}
    assert "who had never been exposed when the one before began" in said["Target trials 1", "eligibility"]
    assert said["Target trials 1", "time zero"].startswith("each day 30, 60, … after index")
    assert "starting or stopping later departs; death competes" in said["Target trials 1", "intercurrent events"]
    assert said["Target trials 2", "strategies"].startswith("start opioid or start other; Opioid starts on the day")
    assert said["Target trials 2", "estimand"].startswith("intention-to-treat effect")
    assert {finding.code for finding in plan.audit()} == {"treated_before_index"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"against": "other"}, "write begin = 'index'"),
        ({"against": "opioid", "begin": "index"}, "names the exposure 'opioid' itself"),
        ({"until_day": 20}, "the first begins after period_days"),
        ({"until_day": 60, "begin": "index"}, "until_day ends the trials of every period"),
        ({"period_days": 400}, "is beyond horizon_days"),
        ({"period_days": 0}, "period_days"),
        ({"protocol": "as_treated"}, "protocol"),
        ({"unsealed": "because"}, "unsealed"),
    ],
)
def test_what_cannot_be_asked_names_the_field(options: dict[str, object], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        co.nested_trials("opioid", "age", 365, **options)


def test_an_exposure_that_is_not_there_is_refused() -> None:
    with pytest.raises(StudyError, match=r"analyses\[1\].against: 'othr' is no exposure; did you mean 'other'"):
        study(analyses=[co.nested_trials("opioid", "age", 365, begin="index", against="othr")])
