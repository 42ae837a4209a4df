"""A target trial from the study file: what starts when, which clone leaves when, what is shown, sealed and said."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import polars as pl
import pytest
from worlds import people, world

import cohort as co
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.protocol import protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.trial_designs import CLONES, EVER, LANDMARK, TIME_VARYING

BACK, PAIN, OPIOID = co.diagnosis("low_back_pain"), co.diagnosis("chronic_pain_explicit"), co.dispensing("opioid")
COHORT = co.Cohort("Back pain").enter_at_first(BACK, washout_days=180).require_enrolled(co.Window(-365, 0))
START, ABSTAIN = "start within 30 days", "do not start within 30 days"


def table(n: int = 500, seed: int = 1, started: object = None, parts: int = 1) -> AnalysisTable:
    """Return persons of whom the old start soon and get pain late; the treatment itself does nothing."""
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 80, n)
    z = (age - 50) / 17
    start = np.floor(rng.exponential(60 * np.exp(-0.4 * z)))
    pain, death = rng.exponential(150 * np.exp(0.4 * z)), rng.exponential(3000, n)
    time = np.ceil(np.minimum(np.minimum(pain, death), 200)).astype(np.int64)
    cause = np.select([np.ceil(pain) == time, np.ceil(death) == time], [1, 2], 0).astype(np.int8)
    frame = pl.DataFrame(
        {
            "person_id": np.arange(n),
            "index_date": [dt.date(2020, 1, 1)] * n,
            "entry": np.zeros(n, dtype=np.int64),
            "time": time,
            "cause": cause,
            "age": age,
            "physio": pl.Series(np.where(start <= time, start, np.nan)).fill_nan(None).cast(pl.Int64),
        }
    )
    if started is not None:
        frame = frame.with_columns(physio=started)
    pieces = tuple(frame.filter(pl.col("person_id") % parts == part) for part in range(parts))
    return AnalysisTable(pieces, ("pain", "death"), 0, {"age": "integer"})


def trial(**options: object) -> co.results.trial.EmulatedTrial:
    return co.emulated_trial("physio", 30, "age", 180, **{"replicates": 20} | options)


def study(**options: object) -> co.Study:
    parts = {
        "outcome": co.first_record(PAIN),
        "covariates": [co.age()],
        "exposures": [co.exposure("opioid", OPIOID)],
        "analyses": [co.emulated_trial("opioid", 30, "age", 365)],
    }
    return co.Study(COHORT, **parts | options)


@pytest.fixture(scope="module")
def estimates() -> pl.DataFrame:
    return trial().estimate(1, table()).to_polars()


def row(estimates: pl.DataFrame, estimand: str, group: str = START, category: str | None = None) -> dict[str, object]:
    named = pl.col("category").is_null() if category is None else pl.col("category") == category
    return estimates.filter(pl.col("estimand") == estimand, pl.col("group") == group, named).row(0, named=True)


def test_an_exposure_is_the_day_of_its_first_record_from_index_on() -> None:
    tables = world(
        **people(1, 2, 3, 4),
        diagnosis="person_id date code\n1 d0 M545\n2 d0 M545\n3 d0 M545\n4 d0 M545",
        dispensing="person_id date system code\n1 d20 atc N02AA01\n1 d9 atc N02AA01\n2 d0 atc N02AA01\n3 d-5 atc N02AA01",
    )
    plan = study()
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    part = run_bucket(tables, plan.cohort, plan.outcome, plan.measured, codes, dt.date(2022, 12, 31))
    assert dict(part.rows.select("person_id", "opioid").iter_rows()) == {1: 9, 2: 0, 3: None, 4: None}


def test_estimates_are_those_of_the_room_of_effects_with_persons_who_did_so_beside_them(estimates) -> None:
    persons = table().parts[0]
    expected = co.effects.clone_censor_weight(
        persons, treatment_time="physio", grace_days=30, terms="age", horizon=180, replicates=20
    ).table
    found = row(estimates, "risk_difference")
    assert found["value"] == pytest.approx(expected.filter(measure="risk_difference")["estimate"].item())
    assert found["lower"] < found["value"] < found["upper"]
    in_time = persons.filter(pl.col("physio") <= 30)
    assert (found["n"], found["events"]) == (in_time.height, in_time.filter(cause=1).height)
    assert row(estimates, "risk", ABSTAIN)["n"] == persons.height - in_time.height  # the others, each once
    assert (found["time"], found["outcome"], found["status"]) == (180, "pain", "ok")


def test_other_designs_stand_beside_the_answer_and_immortal_time_protects(estimates) -> None:
    ratio = {
        name: row(estimates, "marginal_hazard_ratio", category=name) for name in (EVER, CLONES, LANDMARK, TIME_VARYING)
    }
    answer = row(estimates, "marginal_hazard_ratio")
    assert answer["lower"] < 1 < answer["upper"]
    assert ratio[EVER]["upper"] < 0.5  # a treatment that does nothing
    assert ratio[LANDMARK]["lower"] < 1 < ratio[LANDMARK]["upper"]
    assert ratio[TIME_VARYING]["lower"] < 1 < ratio[TIME_VARYING]["upper"]
    # the old start soon and get pain late: without weights starting looks protective
    assert ratio[CLONES]["value"] < answer["value"]


def test_curves_end_at_the_risks(estimates) -> None:
    curves = estimates.filter(pl.col("estimand") == "cumulative_incidence", pl.col("outcome") == "pain")
    for group in (START, ABSTAIN):
        last = curves.filter(pl.col("group") == group, pl.col("time") <= 180)["value"][-1]
        assert last == pytest.approx(row(estimates, "risk", group)["value"])


def test_weighting_makes_the_followers_alike(estimates) -> None:
    before, after = (
        row(estimates, "standardised_difference", category=f"{when} weighting")["value"] for when in ("before", "after")
    )
    assert before > 0.4
    assert abs(after) < 0.1


@pytest.mark.parametrize(
    ("gates", "closed"),
    [
        ({"balance": 0.0001}, "largest difference of the strategies' followers"),
        ({"effective": 0.999}, "effective share of the strategy with fewer"),
        ({"per_parameter": 1000}, "departures from a strategy per parameter: fewer than the 1000 asked"),
        ({"events": 1000}, "outcome events of the strategy with fewer: fewer than the 1000 asked"),
    ],
)
def test_a_closed_gate_seals_answer_curves_and_what_stands_beside(gates: dict[str, float], closed: str) -> None:
    found = trial(gates=gates).estimate(1, table()).to_polars()
    told = found.filter(~pl.col("estimand").is_in(["gate", "standardised_difference", "effective_size"]))
    assert told["status"].str.starts_with("sealed: ").all()
    assert told["status"].str.contains(closed, literal=True).all()
    assert told.select(pl.col("value", "lower", "upper").is_null().all()).row(0) == (True, True, True)


def test_hazards_that_are_not_proportional_seal_the_hazard_ratio_alone() -> None:
    found = trial(gates={"proportional_hazards": 1.0}).estimate(1, table()).to_polars()
    assert row(found, "marginal_hazard_ratio")["status"].startswith("sealed: p-value")
    assert row(found, "risk_difference")["status"] == "ok"


@pytest.mark.parametrize(
    ("started", "reason"),
    [
        (pl.lit(None, pl.Int64), "not_estimable: nobody_follows"),  # nobody is treated
        (pl.lit(0, pl.Int64), "not_estimable: nobody_follows"),  # everybody is treated
    ],
)
def test_a_strategy_that_nobody_can_be_compared_on_ends_in_a_typed_outcome(started: pl.Expr, reason: str) -> None:
    found = trial().estimate(1, table(started=started)).to_polars()
    assert found.select("estimand", "value").rows() == [("risk_difference", None)]
    assert found["status"][0].startswith(reason)


def test_a_covariate_that_decides_who_starts_seals_the_answer() -> None:
    found = trial().estimate(1, table(started=pl.when(pl.col("age") > 50).then(0).cast(pl.Int64))).to_polars()
    answer = row(found, "risk_difference")
    assert answer["status"].startswith("sealed: largest difference of the strategies' followers")
    assert answer["value"] is None


def test_a_horizon_beyond_follow_up_and_absent_covariates_end_in_typed_outcomes() -> None:
    beyond = co.emulated_trial("physio", 30, "age", 400, replicates=20).estimate(1, table()).to_polars()
    assert beyond["status"][0].startswith("not_estimable: horizon_after_follow_up")
    persons = table()
    unknown = persons.parts[0].with_columns(age=pl.lit(None, pl.Int64))
    nobody = trial().estimate(1, AnalysisTable((unknown,), persons.causes, 0, persons.variables)).to_polars()
    assert nobody["status"][0].startswith("not_estimable: nobody_at_risk")


def test_digits_do_not_depend_on_buckets(estimates) -> None:
    assert trial().estimate(1, table(parts=5)).to_polars().equals(estimates)


def test_a_study_file_says_it_all(tmp_path) -> None:
    plan = study()
    plan.to_toml(tmp_path / "study.toml")
    text = (tmp_path / "study.toml").read_text()
    assert "[[exposures]]" in text
    assert 'kind = "emulated_trial"' in text
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256


def test_the_protocol_names_each_component_of_the_trial_and_how_it_is_emulated() -> None:
    said = {item: text for section, item, text in protocol(study()) if section == "Target trial 1"}
    assert list(said) == [
        "eligibility", "strategies", "assignment", "time zero", "follow-up", "outcome", "intercurrent events", "estimand",
    ]  # fmt: skip
    assert "start within 30 days of index, or do not start within 30 days of it" in said["strategies"]
    assert "first dispensing of opioid" in said["strategies"]
    assert "as if randomised given age" in said["assignment"]
    assert "death competes" in said["intercurrent events"]


def test_the_auditor_asks_for_new_users_and_has_no_error_for_the_exposure() -> None:
    assert [finding.code for finding in study().audit()] == ["treated_before_index"]
    new = COHORT.exclude(OPIOID, co.Window(-365, -1), reason="opioid before")
    sound = co.Study(
        new, **{name: getattr(study(), name) for name in ("outcome", "covariates", "exposures", "analyses")}
    )
    assert sound.audit() == ()
    late = co.Study(new, outcome=co.first_record(PAIN, from_day=91), covariates=[co.age()], exposures=study().exposures,
                    analyses=study().analyses)  # fmt: skip
    assert [finding.code for finding in late.audit()] == ["trial_after_landmark"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"exposures": []}, "'opioid' is no exposure; the study has no exposures"),
        ({"exposures": [co.exposure("opiate", OPIOID)]}, "known here: opiate"),
        ({"exposures": [co.exposure("age", OPIOID)]}, "two covariates, exposures or analyses are named age"),
        ({"analyses": [co.cox("opioid + age")]}, "'opioid', which is no covariate"),
        ({"analyses": [co.emulated_trial("opioid", 30, "sex", 365)]}, "'sex', which is no covariate"),
    ],
)
def test_what_does_not_fit_together_is_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        study(**options)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"grace_days": 365}, "does not end before horizon_days"),
        ({"adjust_for": "age +"}, "position"),
        ({"replicates": 5}, "replicates"),
        ({"gates": {"equipoise": 0.2}}, "equipoise"),
        ({"unsealed": "because"}, "unsealed"),
    ],
)
def test_what_cannot_be_asked_names_the_field(options: dict[str, object], fault: str) -> None:
    asked = {"exposure": "opioid", "grace_days": 30, "adjust_for": "age", "horizon_days": 365} | options
    with pytest.raises(StudyError, match=fault):
        co.emulated_trial(**asked)


def test_every_snippet_of_the_page_on_effects_is_a_study(root, tmp_path) -> None:
    page = (root / "docs" / "effects.md").read_text("utf-8")
    whole = (root / "examples" / "opioid_target_trial.toml").read_text("utf-8").split("# What may start after index")[0]
    known = (
        '[[covariates]]\nkind = "exposed"\nname = "{}"\nrecord = {{ table = "dispensing", codes = "opioid" }}\n'
        "window = [0, 14]\n"
    )
    head = whole + "".join(known.format(name) for name in ("early_opioid", "flu_vaccine"))
    snippets = re.findall(r"```toml\n(.*?)```", page, flags=re.S)
    assert len(snippets) == 10
    exposures, trial_, changes, leaving, nested, arms, structural, unsealed, controls, sensitivity = snippets
    every = exposures + changes + trial_ + leaving + nested + arms + structural
    for text in (exposures + trial_ + sensitivity, every, unsealed, controls + sensitivity):
        (tmp_path / "study.toml").write_text(head + text)
        study_ = co.Study.from_toml(tmp_path / "study.toml")
        assert "error" not in {finding.severity for finding in study_.audit()}
    line = re.search(r"`study\.over\((.*?)\)`", page)
    assert line is not None
    assert line[1] == "washout_days=[90, 180, 365]"
