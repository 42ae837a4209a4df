"""An exposure after index in a Cox model: each day for what it was, or as it stood at a landmark."""

from __future__ import annotations

import polars as pl
import pytest
from test_spec_emulated_trial import OPIOID, study, table

import cohort as co
from cohort.effects.exposed_time import at_landmark, split_at_start
from cohort.errors import StudyError
from cohort.results.analysis_table import AnalysisTable


def rows(*persons: tuple[int, int | None, int, bool]) -> pl.LazyFrame:
    """Return persons from (entry, day of the start, exit, event)."""
    return pl.DataFrame(
        persons, schema={"entry": pl.Int64, "drug": pl.Int64, "time": pl.Int64, "event": pl.Boolean}, orient="row"
    ).lazy()


@pytest.mark.parametrize(
    ("person", "stretches"),
    [  # stretches: (entry, exit, exposed, event, last)
        ((-1, None, 50, True), [(-1, 50, False, True, True)]),
        ((-1, 20, 50, True), [(-1, 20, False, False, False), (20, 50, True, True, True)]),
        ((-1, 50, 50, True), [(-1, 50, False, True, True)]),  # the event of the day of the start finds it unexposed
        ((-1, 60, 50, False), [(-1, 50, False, False, True)]),  # a start after the exit did not happen
        ((-1, 0, 50, True), [(-1, 0, False, False, False), (0, 50, True, True, True)]),
        ((30, 20, 50, True), [(30, 50, True, True, True)]),  # started before risk did
        ((30, 30, 50, True), [(30, 50, True, True, True)]),
    ],
)
def test_time_is_unexposed_up_to_the_day_of_the_start(person, stretches) -> None:
    found = split_at_start(rows(person), "drug").sort("entry").collect()
    assert found.select("entry", "time", "drug", "event", "last").rows() == stretches


def test_a_landmark_takes_who_is_still_at_risk_and_what_was_known_by_then() -> None:
    persons = rows(
        (-1, 10, 50, True), (-1, 40, 50, True), (-1, 10, 30, True), (-1, None, 31, False), (35, 30, 50, True)
    )
    found = at_landmark(persons, "drug", 30).collect()
    assert found.select("entry", "drug", "time").rows() == [
        (30, True, 50),
        (30, False, 50),
        (30, False, 31),
        (35, True, 50),
    ]


def test_a_useless_treatment_has_no_effect_day_by_day_and_a_person_counts_once() -> None:
    persons = table(1500)
    found = co.exposure_cox("physio", "age").estimate(1, persons).to_polars()
    term = found.filter(pl.col("term") == "physio", pl.col("category") == "true").row(0, named=True)
    assert term["lower"] < 1 < term["upper"]
    frame = persons.parts[0]
    at_end = frame.filter(pl.col("physio") < pl.col("time"))  # no start lies before index, so risk starts unexposed
    assert (term["n"], term["events"]) == (at_end.height, at_end.filter(cause=1).height)
    assert found.filter(pl.col("term") == "age")["n"].to_list() == [frame.height] * 2  # the ratio, and its constancy
    assert found.filter(pl.col("category") == "false")["n"].item() == frame.height - at_end.height


def test_a_landmark_is_the_model_of_those_at_risk_after_it() -> None:
    persons = table(1500)
    found = co.exposure_cox("physio", "age", landmark_days=30).estimate(1, persons).to_polars()
    later = persons.parts[0].filter(pl.col("time") > 30).with_columns(
        physio=(pl.col("physio") <= 30).fill_null(value=False), event=pl.col("cause") == 1, entry=30
    )  # fmt: skip
    expected = co.survival.fit_cox(later, "time", "event", "entry", terms="physio + age")
    term = found.filter(pl.col("term") == "physio", pl.col("category") == "true").row(0, named=True)
    assert term["value"] == pytest.approx(expected.hazard_ratio[0])
    assert term["n"] == later.filter("physio").height


@pytest.mark.parametrize("started", [pl.lit(None, pl.Int64), pl.lit(0, pl.Int64)])
def test_nobody_exposed_or_everybody_is_a_typed_outcome(started: pl.Expr) -> None:
    persons = table(started=started)
    found = co.exposure_cox("physio", "age", landmark_days=10).estimate(1, persons).to_polars()
    assert found["status"].to_list() == ["not_estimable: constant(physio)"]


def test_digits_do_not_depend_on_buckets() -> None:
    whole, cut = (co.exposure_cox("physio", "age").estimate(1, table(parts=n)).to_polars() for n in (1, 4))
    assert whole.equals(cut)


def test_it_is_written_in_a_study_file_and_has_no_immortal_time_to_report(tmp_path) -> None:
    plan = study(analyses=[co.exposure_cox("opioid", "age"), co.exposure_cox("opioid", "age", landmark_days=30)])
    plan.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml").sha256 == plan.sha256
    assert plan.audit() == ()
    assert [analysis.text.split(";")[0] for analysis in plan.analyses] == [
        "opioid day by day",
        "opioid as it stands on day 30",
    ]


def test_an_empty_table_is_a_typed_outcome() -> None:
    persons = table()
    empty = AnalysisTable((persons.parts[0].clear(),), persons.causes, 0, persons.variables)
    found = co.exposure_cox("physio", "age").estimate(1, empty).to_polars()
    assert found["status"].str.starts_with("not_estimable").all()


def test_the_exposure_is_no_term_and_must_be_known() -> None:
    with pytest.raises(StudyError, match="leave it out"):
        co.exposure_cox("physio", "age + physio")
    with pytest.raises(StudyError, match="is no exposure"):
        study(analyses=[co.exposure_cox("opiate", "age")], exposures=[co.exposure("opioid", OPIOID)])
