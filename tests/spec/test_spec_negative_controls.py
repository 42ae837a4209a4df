"""Negative controls in a study: followed on their own, analysed like the treatment, and what they close or calibrate."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from test_spec_emulated_trial import table as trial_table
from worlds import people, world

import cohort as co
from cohort.effects.calibration import SystematicError
from cohort.effects.gates import expected_absolute_error
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.results.analysis_table import AnalysisTable, control_column

BACK, PAIN = co.diagnosis("low_back_pain"), co.diagnosis("chronic_pain_explicit")
CANCER, OPIOID = co.diagnosis("active_cancer"), co.dispensing("opioid")
NAMES = tuple(f"control {n}" for n in range(1, 7))


def table(n: int = 1500, bias: float = 0.0, rate: float = 400.0, seed: int = 3) -> AnalysisTable:
    """Return persons whose treatment halves nothing; ``bias`` is what an unmeasured trait adds to every log hazard."""
    rng = np.random.default_rng(seed)
    age, trait = rng.integers(20, 80, n), rng.random(n)
    treated = trait < 0.5
    hidden = bias * treated
    pain, end = rng.exponential(200 * np.exp(-hidden)), np.full(n, 150.0)
    columns = {
        "person_id": np.arange(n),
        "index_date": [dt.date(2020, 1, 1)] * n,
        "entry": np.zeros(n, dtype=np.int64),
        "time": np.ceil(np.minimum(pain, end)).astype(np.int64),
        "cause": np.where(pain <= end, 1, 0).astype(np.int8),
        "age": age,
        "vaccinated": rng.random(n) < 0.4,
        "treated": treated,
    }
    for number, _ in enumerate(NAMES, start=1):
        event = rng.exponential(rate * np.exp(-hidden))
        columns[control_column(number, "entry")] = np.zeros(n, dtype=np.int64)
        columns[control_column(number, "time")] = np.ceil(np.minimum(event, end)).astype(np.int64)
        columns[control_column(number, "cause")] = np.where(event <= end, 1, 0).astype(np.int8)
    variables = {"age": "integer", "vaccinated": "boolean", "treated": "boolean"}
    return AnalysisTable((pl.DataFrame(columns),), ("pain",), 0, variables, controls=NAMES)


def effect(**options: object) -> co.results.treatment.TreatmentEffect:
    return co.treatment_effect("treated", "age", 100, **options)


def rows(estimates: co.Estimates, estimand: str) -> list[dict[str, object]]:
    return estimates.to_polars().filter(pl.col("estimand") == estimand).to_dicts()


@pytest.mark.parametrize(
    ("mean", "spread", "expected"),
    [
        (0.3, 0.0, 0.3),
        (-0.3, 0.0, 0.3),
        (0.0, 1.0, math.sqrt(2 / math.pi)),  # the mean of a half-normal
        (10.0, 0.1, 10.0),  # no part of it is below 0
        (1.0, 1.0, 1.16663),  # sqrt(2/pi) exp(-1/2) + 1 - 2 Phi(-1) = 0.483941 + 0.682689
    ],
)
def test_the_expected_absolute_error_is_the_mean_of_a_folded_normal(
    mean: float, spread: float, expected: float
) -> None:
    assert expected_absolute_error(SystematicError(mean, spread, 9)) == pytest.approx(expected, abs=1e-6)


def test_controls_without_bias_leave_the_gate_open_and_the_estimate_nearly_as_it_is() -> None:
    found = effect(negative_exposures=("vaccinated",)).estimate(1, table())
    controls = rows(found, "negative_control")
    assert [(row["term"], row["category"]) for row in controls] == [
        *((name, "outcome") for name in NAMES),
        ("vaccinated", "exposure"),
    ]
    assert all(0.7 < row["value"] < 1.4 for row in controls)
    (plain,), (calibrated,) = rows(found, "marginal_hazard_ratio"), rows(found, "calibrated_hazard_ratio")
    assert plain["status"] == calibrated["status"] == "ok"
    assert calibrated["value"] == pytest.approx(plain["value"], rel=0.1)
    gate = next(row for row in rows(found, "gate") if row["term"] == "negative_controls")
    assert gate["category"] == "passed"


def test_a_control_is_the_same_analysis_with_another_outcome() -> None:
    persons = table()
    found = next(row for row in rows(effect().estimate(1, persons), "negative_control") if row["term"] == "control 2")
    frame = persons.parts[0].with_columns(
        time=pl.col(control_column(2, "time")), cause=pl.col(control_column(2, "cause")).cast(pl.Int64)
    )
    weights = co.effects.balancing_weights(co.effects.propensity_scores(frame, "treated", "age"))
    expected = co.effects.weighted_effects(frame, weights, horizon=100, measures=("hazard_ratio",)).table
    assert found["value"] == pytest.approx(expected["estimate"].item())
    fewer = min(frame.filter(cause=1).group_by("treated").len()["len"])
    assert found["events"] == fewer


def test_biased_controls_seal_the_effect_and_calibration_takes_the_bias_away() -> None:
    found = effect().estimate(1, table(bias=0.6))
    (sealed,) = rows(found, "risk_difference")
    assert sealed["status"].startswith("sealed: absolute error of the log hazard ratio that 6 negative controls")
    assert rows(found, "calibrated_hazard_ratio")[0]["value"] is None
    opened = effect(unsealed="shown to the data owner alone").estimate(1, table(bias=0.6))
    (plain,), (calibrated,) = rows(opened, "marginal_hazard_ratio"), rows(opened, "calibrated_hazard_ratio")
    assert plain["lower"] > 1.4
    assert calibrated["lower"] < 1 < calibrated["upper"]
    assert rows(opened, "calibrated_p_value")[0]["value"] > 0.05


def test_controls_with_too_few_events_say_so_and_leave_the_seal_on() -> None:
    found = effect(unsealed="shown to the data owner alone").estimate(1, table(rate=200_000.0))
    assert {row["status"] for row in rows(found, "negative_control")} == {
        "not_estimable: too_few_events: below 10 in an arm"
    }
    assert rows(found, "calibrated_hazard_ratio")[0]["status"].startswith("not_estimable: too_few_negative_controls: 0")
    gate = next(row for row in rows(found, "gate") if row["term"] == "negative_controls")
    assert (gate["category"], gate["value"]) == ("closed", None)
    assert rows(effect().estimate(1, table(rate=200_000.0)), "risk_difference")[0]["status"].startswith("sealed")


def test_a_control_is_followed_past_the_studys_own_outcome_and_only_by_who_is_free_of_it() -> None:
    tables = world(
        **people(1, 2, 3, died="3:d30"),
        diagnosis="person_id date code\n1 d0 M545\n1 d40 G8929\n1 d90 C50\n2 d0 M545\n2 d10 G8929\n3 d0 M545",
    )
    control = co.first_record(CANCER, label="cancer")
    people_ = co.Cohort("c").enter_at_first(BACK).follow_up(max_days=200)
    outcome, controls = co.first_record(PAIN), (control,)
    codes = codes_needed(people_, outcome, controls)
    part = run_bucket(tables, people_, outcome, (), codes, dt.date(2022, 12, 31), controls)
    names = [control_column(1, name) for name in ("time", "cause")]
    found = {row["person_id"]: row for row in part.rows.to_dicts()}
    assert {person: (row["time"], row["cause"]) for person, row in found.items()} == {
        1: (40, 1),
        2: (10, 1),
        3: (30, 2),
    }
    assert {person: tuple(row[name] for name in names) for person, row in found.items()} == {
        1: (90, 1),
        2: (200, 0),
        3: (30, 2),
    }


def emulated(rate: float) -> co.Estimates:
    """Return a trial with negative-control outcomes that come at a rate, and a negative-control exposure."""
    rng, persons = np.random.default_rng(7), trial_table(700)
    frame = persons.parts[0].with_columns(massage=pl.Series(rng.integers(0, 60, 700)))
    for number, _ in enumerate(NAMES, start=1):
        event = np.ceil(rng.exponential(rate, 700)).astype(np.int64)
        frame = frame.with_columns(
            pl.Series(control_column(number, "entry"), np.zeros(700, dtype=np.int64)),
            pl.Series(control_column(number, "time"), np.minimum(event, 200)),
            pl.Series(control_column(number, "cause"), (event <= 200).astype(np.int8)),
        )
    asked = co.emulated_trial("physio", 30, "age", 180, replicates=20, negative_exposures=("massage",))
    return asked.estimate(1, AnalysisTable((frame,), persons.causes, 0, persons.variables, controls=NAMES))


def test_an_emulated_trial_is_calibrated_by_trials_of_its_controls() -> None:
    found = emulated(rate=200.0)
    assert {row["category"] for row in rows(found, "negative_control")} == {"outcome", "exposure"}
    assert all(0.6 < row["value"] < 1.6 for row in rows(found, "negative_control"))
    (calibrated,) = rows(found, "calibrated_hazard_ratio")
    assert calibrated["status"] == "ok"
    assert calibrated["lower"] < 1 < calibrated["upper"]
    gate = next(row for row in rows(found, "gate") if row["term"] == "negative_controls")
    assert gate["category"] == "passed"


def test_an_emulated_trial_whose_controls_hardly_happen_stays_sealed() -> None:
    found = emulated(rate=100_000.0)
    assert rows(found, "risk_difference")[0]["status"].startswith("sealed: negative controls with 10 events in either")


def study(**options: object) -> co.Study:
    parts = {
        "outcome": co.first_record(PAIN),
        "covariates": [co.age(), co.sex(), co.exposed("opioid", co.Window(-30, 0), name="opioid")],
        "negative_controls": [co.first_record(CANCER, label="cancer")],
        "analyses": [co.treatment_effect("opioid", "age", 100)],
    }
    people_ = co.Cohort("c").enter_at_first(BACK, washout_days=180).require_enrolled(co.Window(-365, 0))
    return co.Study(people_, **parts | options)


def test_a_study_file_names_them_once_and_the_auditor_counts_them(tmp_path) -> None:
    plan = study()
    plan.to_toml(tmp_path / "study.toml")
    assert "[[negative_controls]]" in (tmp_path / "study.toml").read_text()
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256
    assert [finding.code for finding in plan.audit()] == ["few_negative_controls"]
    assert study(negative_controls=[]).audit() == ()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"negative_controls": [co.first_record(PAIN)]}, "two outcomes are named chronic_pain_explicit"),
        ({"analyses": [co.treatment_effect("opioid", "age", 100, negative_exposures=("flu",))]}, "is no covariate"),
        (
            {"analyses": [co.treatment_effect("opioid", "age", 100, negative_exposures=("sex",))]},
            "is no yes/no covariate",
        ),
        (
            {
                "exposures": [co.exposure("later", OPIOID)],
                "analyses": [co.emulated_trial("later", 30, "age", 100, negative_exposures=("opioid",))],
            },
            "'opioid' is no exposure",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        study(**options)


def test_a_negative_exposure_is_neither_the_treatment_nor_adjusted_for() -> None:
    for name in ("treated", "age"):
        with pytest.raises(StudyError, match="negative_exposures names"):
            effect(negative_exposures=(name,))
