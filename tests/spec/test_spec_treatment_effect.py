"""The effect of a treatment in a study: what is shown, what is sealed and why, and what cannot be asked."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

import cohort as co
from cohort.errors import StudyError
from cohort.results.analysis_table import AnalysisTable

HORIZON = 100


def table(n: int = 400, confounding: float = 0.8, effect: float = -0.3, seed: int = 0, parts: int = 1) -> AnalysisTable:
    """Return persons whose age decides about treatment and pain."""
    rng = np.random.default_rng(seed)
    age, woman = rng.integers(20, 80, n), rng.random(n) < 0.5
    z = (age - 50) / 17
    treated = rng.random(n) < 1 / (1 + np.exp(-confounding * z))
    pain = rng.exponential(150 * np.exp(-0.5 * z - effect * treated))
    death, end = rng.exponential(2000, n), np.full(n, 120.0)
    time = np.minimum.reduce([pain, death, end])
    frame = pl.DataFrame(
        {
            "person_id": np.arange(n),
            "index_date": [dt.date(2020, 1, 1)] * n,
            "entry": np.zeros(n, dtype=np.int64),
            "time": np.ceil(time).astype(np.int64),
            "cause": np.select([time == pain, time == death], [1, 2], 0).astype(np.int8),
            "age": age,
            "sex": np.where(woman, "female", "male"),
            "treated": treated,
        }
    )
    pieces = tuple(frame.filter(pl.col("person_id") % parts == part) for part in range(parts))
    variables = {"age": "integer", "sex": "categorical", "treated": "boolean"}
    return AnalysisTable(pieces, ("pain", "death"), 0, variables)


def effect(**options: object) -> co.results.treatment.TreatmentEffect:
    return co.treatment_effect("treated", "age + sex", HORIZON, **options)


def shown(estimates: co.Estimates, estimand: str, group: str = "true") -> dict[str, object]:
    found = estimates.to_polars().filter(pl.col("estimand") == estimand, pl.col("group") == group)
    return found.row(0, named=True)


def test_estimates_are_those_of_the_room_of_effects_with_persons_and_events_beside_them() -> None:
    persons = table()
    found = effect().estimate(2, persons)
    frame = persons.lazy().with_columns(pl.col("cause").cast(pl.Int64)).collect()
    weights = co.effects.balancing_weights(co.effects.propensity_scores(frame, "treated", "age + sex"))
    expected = co.effects.weighted_effects(frame, weights, horizon=HORIZON).table
    row = shown(found, "risk_difference")
    assert row["status"] == "ok"
    assert row["value"] == pytest.approx(expected.filter(pl.col("measure") == "risk_difference")["estimate"].item())
    treated = frame.filter("treated")
    assert (row["n"], row["events"]) == (treated.height, treated.filter(pl.col("cause") == 1).height)
    assert row["time"] == HORIZON


def test_balance_of_every_column_is_told_before_and_after() -> None:
    found = effect().estimate(1, table()).to_polars().filter(pl.col("estimand") == "standardised_difference")
    before, after = (
        found.filter(pl.col("category") == f"{when} weighting").select("term", "value") for when in ("before", "after")
    )
    assert before["term"].to_list() == ["age", "sex[male]"]
    assert abs(before["value"][0]) > 0.5
    assert after["value"].abs().max() < 0.1


@pytest.mark.parametrize(
    ("gates", "closed"),
    [
        ({"balance": 0.0001}, "largest difference after weighting"),
        ({"equipoise": 0.99}, "share in equipoise"),
        ({"effective": 0.999}, "effective share"),
        ({"per_parameter": 1000}, "persons of the smaller arm per parameter"),
    ],
)
def test_a_closed_gate_seals_every_estimate_and_says_which(gates: dict[str, float], closed: str) -> None:
    found = effect(gates=gates).estimate(1, table())
    for estimand in ("risk", "risk_difference", "risk_ratio", "time_lost", "marginal_hazard_ratio"):
        row = shown(found, estimand)
        assert row["status"].startswith("sealed: ")
        assert closed in row["status"]
        assert [row[name] for name in ("value", "std_error", "lower", "upper")] == [None] * 4
    assert shown(found, "standardised_difference")["value"] is not None  # why it is sealed can be seen


def test_hazards_that_are_not_proportional_seal_the_hazard_ratio_alone() -> None:
    found = effect(gates={"proportional_hazards": 1.0}).estimate(1, table())
    assert shown(found, "marginal_hazard_ratio")["status"].startswith("sealed: p-value of a hazard ratio")
    assert shown(found, "risk_difference")["status"] == "ok"


def test_unsealing_is_a_line_with_a_reason_in_study_and_protocol() -> None:
    reason = "shown to the data owner only, to decide about further covariates"
    opened = effect(gates={"balance": 0.0001}, unsealed=reason)
    assert shown(opened.estimate(1, table()), "risk_difference")["status"] == "ok"
    assert reason in opened.text
    with pytest.raises(StudyError, match="unsealed"):
        effect(unsealed="because")


@pytest.mark.parametrize("parts", [1, 7])
def test_digits_do_not_depend_on_buckets(parts: int) -> None:
    whole, cut = (effect(folds=2).estimate(1, table(parts=number)).to_polars() for number in (1, parts))
    assert whole.equals(cut)


@pytest.mark.parametrize(
    ("treated", "reason"),
    [(pl.lit(True), "single_arm"), (pl.lit(False), "single_arm"), (pl.col("age") > 50, r"separation(age)")],
)
def test_what_cannot_be_estimated_says_why(treated: pl.Expr, reason: str) -> None:
    persons = table()
    part = persons.parts[0].with_columns(treated=treated)
    found = effect().estimate(1, AnalysisTable((part,), persons.causes, 0, persons.variables))
    assert found.to_polars()["status"].to_list() == [f"not_estimable: {shown(found, 'risk_difference')['status'][15:]}"]
    assert reason in found.to_polars()["status"][0]


@pytest.mark.parametrize(
    ("options", "treated", "reason"),
    [
        ({"folds": 3}, pl.col("person_id") < 2, "too_few_for_folds: the smaller arm has fewer than the 3 persons"),
        (
            {"model": "lasso"},
            pl.col("person_id") < 1,
            "too_few_for_folds: the smaller arm has fewer than the 2 persons",
        ),
        ({"model": "lasso", "folds": 2}, pl.col("person_id") < 3, "fewer than the 4 persons"),
    ],
)
def test_an_arm_too_small_for_its_model_is_a_typed_outcome(options: dict[str, object], treated, reason: str) -> None:
    persons = table()
    part = persons.parts[0].with_columns(treated=treated)
    found = effect(**options).estimate(1, AnalysisTable((part,), persons.causes, 0, persons.variables))
    assert reason in found.to_polars()["status"].item()


def test_nobody_with_all_covariates_is_a_typed_outcome() -> None:
    persons = table()
    part = persons.parts[0].with_columns(age=pl.lit(None, pl.Int64))
    found = effect().estimate(1, AnalysisTable((part,), persons.causes, 0, persons.variables))
    assert found.to_polars()["status"].item().startswith("not_estimable: nobody_at_risk")


def test_a_study_file_says_it_all(tmp_path, root) -> None:
    text = (root / "examples" / "low_back_pain.toml").read_text()
    lines = """
[[analyses]]
kind = "treatment_effect"
treatment = "early_opioid"
adjust_for = "age + sex"
horizon_days = 365
estimand = "overlap"

[analyses.gates]
balance = 0.15
"""
    (tmp_path / "study.toml").write_text(text + lines)
    study = co.Study.from_toml(tmp_path / "study.toml")
    built = co.treatment_effect("early_opioid", "age + sex", 365, estimand="overlap", gates={"balance": 0.15})
    assert study.analyses[-1] == built
    study.to_toml(tmp_path / "again.toml")
    assert co.Study.from_toml(tmp_path / "again.toml").sha256 == study.sha256


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"adjust_for": "age + treated"}, "names the treatment"),
        ({"adjust_for": "age +"}, "position"),
        ({"horizon_days": 0}, "horizon_days"),
        ({"estimand": "everybody"}, "estimand"),
        ({"gates": {"balanse": 0.1}}, "balanse"),
    ],
)
def test_what_cannot_be_asked_names_the_field(options: dict[str, object], fault: str) -> None:
    asked = {"treatment": "treated", "adjust_for": "age", "horizon_days": 100} | options
    with pytest.raises(StudyError, match=fault):
        co.treatment_effect(**asked)


def test_a_treatment_that_is_no_covariate_is_refused_by_the_study(root) -> None:
    study = co.Study.from_toml(root / "examples" / "low_back_pain.toml")
    with pytest.raises(StudyError, match="is no covariate"):
        co.Study(
            study.cohort,
            outcome=study.outcome,
            covariates=study.covariates,
            analyses=[co.treatment_effect("surgery", "age", 365)],
        )
