"""Leaving that covariates foretell: what changes after index, who left why, and what the weights of leaving restore."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from test_spec_emulated_trial import BACK, COHORT, OPIOID, PAIN
from worlds import people, world

import cohort as co
from cohort.errors import StudyError
from cohort.features.time_varying import histories
from cohort.plan import codes_needed, run_bucket
from cohort.protocol import protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.natural_censoring import NaturalCensoring
from cohort.results.trial_designs import RANDOM

PHYSIO = co.procedure(co.Codelist.from_rows("physio", [{"system": "cpt", "code": "97110"}]))
START, ABSTAIN = "start within 30 days", "do not start within 30 days"
SEEN, EVER = co.time_varying("seen", BACK, 10), co.time_varying("ever", PHYSIO)
LEAVING = {"terms": "seen"}


def test_a_covariate_is_yes_for_some_days_after_each_record_and_changes_where_it_does() -> None:
    persons = pl.DataFrame(
        {"person_id": [2, 1, 3], "time": [50, 20, 0], "seen": [[-5, 3, 8, 30], None, [-1]], "ever": [[4], None, [-3]]},
        schema_overrides={"seen": pl.List(pl.Int64)},
    )
    rows = histories(persons, [SEEN, EVER])
    assert rows.select("person_id", "start", "stop", "seen", "ever").rows() == [
        (1, 0, 20, False, False),
        (2, 0, 4, True, False),  # the record of day -5 lasts to day 5, that of day 3 goes on
        (2, 4, 18, True, True),  # known from the day after its record on: (4, 18]
        (2, 18, 30, False, True),  # 10 days after day 8
        (2, 30, 40, True, True),
        (2, 40, 50, False, True),
        (3, 0, 1, True, True),  # a follow-up of 0 days has a row all the same
    ]


def test_the_days_of_a_covariate_are_those_that_last_beyond_index() -> None:
    tables = world(
        **people(1, 2, 3),
        diagnosis="person_id date code\n1 d0 M545\n1 d25 M545\n2 d0 M545\n3 d0 M545",
        procedure="person_id date system code\n2 d-200 cpt 97110\n2 d5 cpt 97110\n3 d7 cpt 97110",
    )
    plan = study()
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    part = run_bucket(tables, plan.cohort, plan.outcome, plan.measured, codes, dt.date(2022, 12, 31))
    assert dict(part.rows.select("person_id", "seen").iter_rows()) == {1: [0, 25], 2: [0], 3: [0]}
    assert dict(part.rows.select("person_id", "ever").iter_rows()) == {
        1: None,
        2: [-200],
        3: [7],
    }  # the first is enough


def study(**options: object) -> co.Study:
    parts = {
        "outcome": co.first_record(PAIN),
        "covariates": [co.age()],
        "exposures": [co.exposure("opioid", OPIOID)],
        "time_varying": [SEEN, EVER],
        "analyses": [co.emulated_trial("opioid", 30, "age + seen", 365, natural_censoring={"terms": "seen + age"})],
    }
    return co.Study(COHORT, **parts | options)


def table(n: int = 3000, seed: int = 2, parts: int = 1) -> AnalysisTable:
    """Return persons who are seen on day 60 if they get pain soon after, and leave then: pain is hidden.

    Everybody gets pain at 0.004 a day from day 0 on; of those whom day 60 finds free, who will have it by day 160 is
    seen on day 60. Of those seen, two in three leave between day 61 and 90; of the others one in twenty. By day 200
    the risk is 1 - exp(-0.8) = 0.5507, whether they start or not.
    """
    rng = np.random.default_rng(seed)
    pain, started = np.ceil(rng.exponential(250, n)), np.floor(rng.exponential(30, n))
    seen = (pain > 90) & (pain <= 160)
    leaves = np.where(rng.random(n) < np.where(seen, 2 / 3, 0.05), rng.integers(61, 91, n), 1000)
    time = np.minimum(np.minimum(pain, leaves), 300).astype(np.int64)
    started = np.where(started <= time, started, np.nan)
    frame = pl.DataFrame(
        {
            "person_id": np.arange(n),
            "index_date": [dt.date(2020, 1, 1)] * n,
            "entry": np.zeros(n, dtype=np.int64),
            "time": time,
            "cause": (pain == time).astype(np.int8),
            "exit_reason": np.select([pain == time, leaves == time], ["pain", "disenrolment"], "longest follow-up"),
            "age": rng.integers(20, 80, n),
            "physio": pl.Series(started).fill_nan(None).cast(pl.Int64),
            "seen": pl.Series([[60] if flag else None for flag in seen], dtype=pl.List(pl.Int64)),
        }
    )
    pieces = tuple(frame.filter(pl.col("person_id") % parts == part) for part in range(parts))
    lasting = co.time_varying("seen", BACK, 40)
    return AnalysisTable(pieces, ("pain",), 0, {"age": "integer"}, time_varying=(lasting,))


def trial(**options: object) -> co.results.trial.EmulatedTrial:
    return co.emulated_trial("physio", 30, "age", 200, **{"replicates": 20, "natural_censoring": LEAVING} | options)


@pytest.fixture(scope="module")
def estimates() -> pl.DataFrame:
    return trial().estimate(1, table()).to_polars()


def risk(estimates: pl.DataFrame, group: str, category: str | None = None) -> dict[str, float]:
    rows = estimates.filter(pl.col("estimand") == "risk", pl.col("group") == group)
    return rows.filter(pl.col("category").eq_missing(category)).row(0, named=True)


@pytest.mark.parametrize("group", [START, ABSTAIN])
def test_weights_of_leaving_find_the_risk_that_leaving_hides(estimates, group) -> None:
    found, naive = risk(estimates, group), risk(estimates, group, RANDOM)
    truth = 1 - np.exp(-0.8)
    assert abs(found["value"] - truth) < 3 * found["std_error"] < 0.1
    # two in three of the tenth who get pain between day 90 and 160 are lost: exp(-0.36) - exp(-0.64) = 0.17 of all
    assert naive["value"] < truth - 0.05


def test_digits_do_not_depend_on_buckets(estimates) -> None:
    assert trial().estimate(1, table(parts=5)).to_polars().equals(estimates)


def test_a_closed_gate_seals_what_is_beside_the_answer_too() -> None:
    found = trial(gates={"events": 100_000}).estimate(1, table(600)).to_polars()
    told = found.filter(~pl.col("estimand").is_in(["gate", "standardised_difference", "effective_size"]))
    assert told["status"].str.starts_with("sealed: ").all()
    assert told.select("value", "std_error", "lower", "upper").null_count().sum_horizontal().item() == 4 * told.height


@pytest.mark.parametrize(
    ("leaves", "answer"),
    [
        (pl.lit("longest follow-up"), "ok"),  # nobody leaves for such a reason: nothing to weight
        (pl.lit("disenrolment"), "ok"),  # everybody who is censored does
    ],
)
def test_nobody_leaving_and_everybody_leaving_have_an_answer(leaves: pl.Expr, answer: str) -> None:
    persons = table(600)
    part = persons.parts[0].with_columns(exit_reason=leaves)
    found = trial().estimate(
        1, AnalysisTable((part,), ("pain",), 0, {"age": "integer"}, time_varying=persons.time_varying)
    )
    assert risk(found.to_polars(), START)["status"] == answer


def test_a_covariate_that_never_changes_is_a_typed_outcome() -> None:
    persons = table(600)
    part = persons.parts[0].with_columns(seen=pl.lit(None, pl.List(pl.Int64)))
    found = trial().estimate(
        1, AnalysisTable((part,), ("pain",), 0, {"age": "integer"}, time_varying=persons.time_varying)
    )
    assert found.to_polars()["status"].to_list() == ["not_estimable: constant(seen)"]


def test_reasons_say_who_left() -> None:
    ends = [
        "disenrolment",
        "record of another arm",
        "end of data",
        "end of study",
        "longest follow-up",
        "death",
        "surgery",
    ]
    rows = pl.DataFrame({"exit_reason": ends, "cause": [0] * 7})
    left = {
        name: rows.select(NaturalCensoring.of(terms="age", reasons=(name,)).left).to_series().to_list()
        for name in ("disenrolment", "other_arm", "records")
    }
    assert {name: [end for end, flag in zip(ends, flags, strict=True) if flag] for name, flags in left.items()} == {
        "disenrolment": ["disenrolment"],
        "other_arm": ["record of another arm"],
        "records": ["surgery"],
    }


def test_a_study_file_says_it_and_the_protocol_names_it(tmp_path) -> None:
    plan = study()
    plan.to_toml(tmp_path / "study.toml")
    text = (tmp_path / "study.toml").read_text()
    assert "[[time_varying]]" in text
    assert "[analyses.natural_censoring]" in text
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256
    said = {item: words for _, item, words in protocol(plan)}
    assert "in the 10 days before" in said["Seen (changes)"]
    assert "of which disenrolment, foretold by seen + age, are weighted for" in said["intercurrent events"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"analyses": [co.cox("seen + age")]}, "'seen', which changes after index; only analyses that weight by it"),
        ({"analyses": [co.emulated_trial("opioid", 30, "sean", 365)]}, "'sean', which is no covariate; did you mean 'seen'"),
        ({"time_varying": [co.time_varying("age", BACK)]}, "named age"),
        (
            {"analyses": [co.emulated_trial("opioid", 30, "age", 365, natural_censoring={"terms": "age", "reasons": ["other_arm"]})]},
            r"natural_censoring.reasons: 'other_arm' ends nobody's follow-up here; add it to cohort.end.censor_at",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        study(**options)


def test_the_auditor_knows_a_treatment_that_foretells_itself_and_leaving_before_risk() -> None:
    itself = study(time_varying=[co.time_varying("seen", OPIOID, 10)])
    assert [finding.code for finding in itself.audit() if finding.severity == "error"] == ["treatment_foretells_itself"]
    late = study(outcome=co.first_record(PAIN, from_day=91))
    assert "leaving_before_risk" in [finding.code for finding in late.audit()]


def test_one_model_of_starting_serves_both_strategies_where_nothing_changes() -> None:
    by_start = co.emulated_trial("physio", 30, "age", 200, replicates=20, departing="starting")
    found = by_start.estimate(1, table(1500)).to_polars()
    expected = co.effects.clone_censor_weight(
        table(1500).parts[0].drop("seen"), treatment_time="physio", grace_days=30, terms="age", horizon=200,
        departing="starting",
    ).table.filter(measure="risk", group="start within the grace period")["estimate"].item()  # fmt: skip
    assert risk(found, START)["value"] == pytest.approx(expected)
    assert "models of starting on age" in by_start.text
    with pytest.raises(StudyError, match="goes without natural_censoring"):
        co.emulated_trial("physio", 30, "age", 200, departing="starting", natural_censoring=LEAVING)
    with pytest.raises(StudyError, match=r"analyses\[1\].departing: 'starting' goes with covariates at index alone"):
        study(analyses=[co.emulated_trial("opioid", 30, "age + seen", 365, departing="starting")])
