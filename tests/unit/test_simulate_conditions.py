"""Scenarios of other conditions: their own codes, a procedure as treatment, and what they leave out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort.errors import StudyError
from cohort.simulate import load_scenario, simulate
from cohort.simulate.course import follow
from cohort.simulate.streams import Block
from cohort.simulate.world import draw_world

CONDITIONS = {  # scenario → diagnoses by severity, code of the early treatment
    "fibromyalgia_crps": ({"M79601", "M79604"}, {"G90511", "G90521"}, {"G5641", "G5771"}, "64510"),
    "migraine": ({"G43009"}, {"G43109"}, {"G43019"}, "64405"),
}
LOW_BACK = {"M545", "M5450", "M5441", "M5442", "M5416"}


@pytest.fixture(scope="module", params=CONDITIONS)
def delivered(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    simulate(request.param, persons=4096, seed=7, out=folder)
    return request.param, folder


def test_the_index_condition_is_written_by_severity(delivered):
    name, folder = delivered
    *by_severity, _ = CONDITIONS[name]
    claims = pl.read_csv(folder / "medical_claim.csv", infer_schema=False)
    codes = set(claims["diagnosis_code_1"])
    assert not codes & LOW_BACK
    episodes = pl.read_parquet(folder / "truth/episodes.parquet").drop_nulls("first_visit_date")
    for severity, written in zip(("mild", "moderate", "severe"), by_severity, strict=True):
        # every episode that is seen while enrolled has its first visit under a code of its severity
        first = episodes.filter(severity=severity).select("person_id", pl.col("first_visit_date").cast(pl.String))
        days = claims.join(first, left_on=["person_id", "claim_start_date"], right_on=["person_id", "first_visit_date"])
        named = pl.col("diagnosis_code_1").is_in(written).any()
        assert days.height > 50
        assert days.group_by("person_id", "claim_start_date").agg(named)["diagnosis_code_1"].all()


def test_the_early_treatment_is_a_procedure_on_its_day_and_no_opioid_is_dispensed(delivered):
    name, folder = delivered
    *_, procedure = CONDITIONS[name]
    episodes = pl.read_parquet(folder / "truth/episodes.parquet").drop_nulls("opioid_date")
    treated = episodes.select("person_id", pl.col("opioid_date").cast(pl.String))
    claims = pl.read_csv(folder / "medical_claim.csv", infer_schema=False).filter(hcpcs_code=procedure)
    both = {"left_on": ["person_id", "claim_start_date"], "right_on": ["person_id", "opioid_date"]}
    on_the_day = claims.join(treated, how="semi", **both)
    assert on_the_day.height > 100
    if name == "migraine":  # later blocks exist only in the other scenario
        assert on_the_day.height == claims.height
    drugs = pl.read_csv(folder / "pharmacy_claim.csv", infer_schema=False)
    assert set(drugs["ndc_code"]) <= {"00591565801"}  # muscle relaxant


def test_an_early_block_works_better_the_earlier_it_comes():
    scenario = load_scenario("fibromyalgia_crps")
    plan = draw_world(scenario, Block(5, 0)).plan
    nobody, everybody = (follow(scenario, plan, np.full(plan.would_treat.shape, given)) for given in (False, True))
    reached = everybody.treated
    gain = np.log(nobody.lasts[reached] / everybody.lasts[reached])
    early = plan.opioid[reached] < np.median(plan.opioid[reached])
    assert (gain >= 0).all()
    assert np.median(gain[early]) > 1.1 * np.median(gain[~early])


def test_the_sensitized_respond_less_to_an_early_block():
    scenario = load_scenario("fibromyalgia_crps")
    made = draw_world(scenario, Block(5, 0))
    reached = made.plan.seen & (made.plan.untreated > made.plan.opioid)
    gain = np.log(made.plan.untreated / made.plan.treated)
    trait = np.broadcast_to(made.persons.sensitization[:, None], gain.shape)
    at_once = reached & (made.plan.opioid < 3)
    low, high = (np.median(gain[at_once & group]) for group in (trait < -1, trait > 1))
    # ln 1.8 = 0.588 less 0.15 per standard deviation: about 0.588 + 0.15 * 1.5 against 0.588 - 0.15 * 1.5
    assert high < 0.7 * low


def test_a_procedure_cannot_be_refilled(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "migraine"\nname = "mine"\n[opioid]\nrefill = 0.1\n')
    with pytest.raises(StudyError, match="opioid: refill and long_term must be 0"):
        load_scenario(tmp_path / "mine.toml")


def test_a_scenario_may_start_from_one_that_has_a_base_itself(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "migraine"\nname = "mine"\n[persons]\nfemale = 0.5\n')
    mine, base = load_scenario(tmp_path / "mine.toml"), load_scenario("migraine")
    assert mine.persons.female == 0.5
    assert mine.persons.age_at_first_day == base.persons.age_at_first_day
    assert mine.calendar == load_scenario("low_back_pain").calendar
