"""The truth beside the extracts: consistent potential outcomes, and effects worked by hand from their counts."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from cohort.simulate import load_scenario, simulate
from cohort.simulate.counts import GROUPS, TruthCounts, count_block, outcomes_by_strategy
from cohort.simulate.effects import finish, log_hazard_ratio, true_effects
from cohort.simulate.streams import Block
from cohort.simulate.truth import DEATH, NEITHER, OUTCOME, find_index, potential_outcome, usual_care
from cohort.simulate.world import draw_world

SCENARIO = load_scenario("low_back_pain")


def with_opioid(**fields):
    return SCENARIO.model_copy(update={"opioid": SCENARIO.opioid.model_copy(update=fields)})


@pytest.fixture(scope="module")
def world():
    return draw_world(SCENARIO, Block(5, 0))


@pytest.fixture(scope="module")
def index(world):
    return find_index(world, 4096)


def test_usual_care_has_the_potential_outcome_of_the_strategy_that_it_follows(world, index):
    given = world.plan.would_treat[index.person, index.episode]
    real = usual_care(world, index)
    under = {opioid: potential_outcome(world, index, opioid=opioid) for opioid in (True, False)}
    assert 0.1 < given.mean() < 0.4
    for field in ("time", "cause", "pain_days", "treated"):
        expected = np.where(given, getattr(under[True], field), getattr(under[False], field))
        assert (getattr(real, field) == expected).all()


def test_an_opioid_prolongs_the_pain_of_the_treated_and_of_nobody_else(world, index):
    treated, untreated = (potential_outcome(world, index, opioid=opioid) for opioid in (True, False))
    assert not untreated.treated.any()
    assert treated.treated.all()
    # who is free of pain before the day of dispensing has the same pain either way
    late, in_time = untreated.pain_days < treated.treatment, untreated.pain_days > treated.treatment + 1
    assert 0 < late.mean() < 0.1
    assert (treated.pain_days > untreated.pain_days)[in_time].all()
    assert treated.pain_days[late] == pytest.approx(untreated.pain_days[late], abs=1e-6)


def test_index_dates_meet_the_rules(world, index):
    day = index.day
    assert len(np.unique(index.person)) == len(index.person)
    assert world.enrolment.observes(index.person, day).all()
    assert world.enrolment.observes(index.person, day - 365).all()
    assert (day - world.persons.birth[index.person] >= 18 * 365.25).all()
    visits = world.happened
    for person, start in zip(index.person.tolist(), day.tolist(), strict=True):
        before = start - visits.day(world.course)[visits.person == person]
        assert not ((before >= 1) & (before <= 365)).any()


def test_without_an_effect_both_strategies_are_the_same_person_by_person():
    null = draw_world(with_opioid(log_hazard_ratio_remission=0.0), Block(5, 0))
    index = find_index(null, 4096)
    first, second = (potential_outcome(null, index, opioid=opioid) for opioid in (True, False))
    # the same to rounding: the pain days of the treated are put together from two pieces
    assert first.pain_days == pytest.approx(second.pain_days, rel=1e-9)
    assert (first.time == second.time).all()
    assert (first.cause == second.cause).all()


def test_a_late_opioid_does_less_when_the_effect_decays():
    constant, decaying = (
        draw_world(with_opioid(decay_per_day=decay, same_day=0.0), Block(5, 0)).plan for decay in (0.0, 0.2)
    )
    longer = np.log(constant.treated / constant.untreated)
    assert (np.log(decaying.treated / decaying.untreated) <= longer + 1e-12).all()
    late = constant.seen & (constant.opioid > 14) & (constant.untreated > constant.opioid)
    # exp(-0.2 · 14) leaves less than a fifteenth of the log hazard ratio
    assert np.median(np.log(decaying.treated / decaying.untreated)[late]) < 0.15 * np.median(longer[late])


def counts(*rows):
    """Build counts from rows of (group, strategy, day, cause, persons)."""
    exits = np.zeros((GROUPS, 2, 366, 3), dtype=np.int64)
    for group, strategy, day, cause, persons in rows:
        exits[group, strategy, day, cause] += persons
    return TruthCounts(strategies=exits, usual_care=exits, observed=exits)


def test_effects_of_four_persons_by_hand():
    # early_opioid: outcomes on days 100 and 200, a death on day 150, one free until 365;
    # no_early_opioid: an outcome on day 200, three free until 365
    made = counts(
        (0, 0, 100, OUTCOME, 1), (1, 0, 150, DEATH, 1), (2, 0, 200, OUTCOME, 1), (3, 0, 365, NEITHER, 1),
        (0, 1, 365, NEITHER, 1), (1, 1, 365, NEITHER, 1), (2, 1, 200, OUTCOME, 1), (3, 1, 365, NEITHER, 1),
    )  # fmt: skip
    effects = {
        (effect["estimand"], effect["strategy"].split()[0], effect["day"]): effect["value"]
        for effect in finish(SCENARIO, made)["effects"]
    }
    assert effects["cumulative_incidence", "early_opioid", 180] == 1 / 4
    assert effects["cumulative_incidence", "early_opioid", 365] == 2 / 4
    assert effects["cumulative_incidence_death", "early_opioid", 365] == 1 / 4
    assert effects["restricted_mean_days", "early_opioid", 180] == (100 + 150 + 180 + 180) / 4
    assert effects["restricted_mean_days", "early_opioid", 365] == (100 + 150 + 200 + 365) / 4
    assert effects["risk_difference", "early_opioid", 365] == 2 / 4 - 1 / 4
    assert effects["risk_ratio", "early_opioid", 365] == 2
    # no outcome under no_early_opioid by day 180: neither ratio is defined
    assert effects["risk_ratio", "early_opioid", 180] is None
    assert effects["log_hazard_ratio", "early_opioid", 180] is None


def test_the_hazard_ratio_is_that_of_a_cox_model_with_efron_ties():
    pandas, lifelines = pytest.importorskip("pandas"), pytest.importorskip("lifelines")
    random = np.random.Generator(np.random.Philox(1))
    exits = random.poisson(0.4, (2, 60, 3)) * np.array([1, 2, 1])
    exits[0, :, OUTCOME] += random.poisson(0.5, 60)
    rows = [
        {"t": day, "e": int(cause == OUTCOME), "x": 1 - arm}
        for arm, day, cause in np.ndindex(2, 60, 3)
        for _ in range(exits[arm, day, cause])
    ]
    fitted = lifelines.CoxPHFitter().fit(pandas.DataFrame(rows), "t", "e")
    # both stop their Newton steps below 1e-7
    assert log_hazard_ratio(exits, 59) == pytest.approx(float(fitted.params_["x"]), abs=1e-6)


def test_monte_carlo_errors_shrink_with_the_root_of_the_population():
    small, large = (
        {(e["estimand"], e["day"]): e for e in true_effects(SCENARIO, persons, 3)["effects"]}
        for persons in (4096, 16 * 4096)
    )
    ratio = small["risk_difference", 365]["monte_carlo_error"] / large["risk_difference", 365]["monte_carlo_error"]
    # 4 on average; a jackknife over 32 groups knows an error to about 1 part in 8, here twice
    assert 2.5 < ratio < 6.5


def test_truth_files_agree_with_each_other_and_with_the_extract(tmp_path):
    run = simulate(persons=2000, seed=3, out=tmp_path)
    read = {file.stem: pl.read_parquet(file) for file in run.truth.glob("*.parquet")}
    others = {"episodes", "conditions", "spread", "flares", "dispensings", "potential_outcomes"}
    assert set(read) == {"persons", *others}
    assert read["persons"].height == 2000
    episodes = read["episodes"]
    assert (episodes["remission_date"] >= episodes["onset_date"]).drop_nulls().all()
    chronic = episodes.drop_nulls("chronification_date")
    waited = (chronic["chronification_date"] - chronic["onset_date"]).dt.total_days()
    assert waited.is_between(89, 91).all()
    first = chronic.group_by("person_id").agg(pl.col("chronification_date").min())
    both = read["persons"].join(first, on="person_id", how="left")
    assert both["first_chronification_date"].equals(both["chronification_date"], check_names=False)
    dispensed = pl.read_csv(tmp_path / "pharmacy_claim.csv", infer_schema=False).with_columns(
        opioid_date=pl.col("dispensing_date").str.to_date()
    )
    indexed = read["potential_outcomes"].filter("usual_care_opioid").join(episodes, on=["person_id", "episode"])
    seen = indexed.drop_nulls("opioid_date").join(dispensed, on=["person_id", "opioid_date"], how="semi")
    # enrolled on the index date; few leave before the opioid of the following days
    assert seen.height > 0.97 * indexed["opioid_date"].count()
    head = json.loads((run.truth / "truth.json").read_text())
    assert head["scenario_hash"] == SCENARIO.hash
    assert head["eligible_persons"] == read["potential_outcomes"].height


LOW_BACK = ("M545", "M544", "M5416")
EXPLICIT = ("G8929", "G894")


def test_the_claims_show_the_outcome_of_the_truth_while_the_person_is_enrolled(tmp_path):
    run = simulate(persons=6000, seed=4, out=tmp_path)
    claims, spells = (
        pl.read_csv(tmp_path / f"{name}.csv", infer_schema=False)
        .with_columns(pl.col("^(claim_start|enrollment_start|enrollment_end)_date$").str.to_date())
        .partition_by("person_id", as_dict=True)
        for name in ("medical_claim", "eligibility")
    )
    truth = pl.read_parquet(run.truth / "potential_outcomes.parquet")
    found = 0
    for row in truth.iter_rows(named=True):
        follows = "early_opioid" if row["usual_care_opioid"] else "no_early_opioid"
        seen = []
        for claim in claims[row["person_id"],].iter_rows(named=True):
            day = (claim["claim_start_date"] - row["index_date"]).days
            codes = [claim[f"diagnosis_code_{place}"] or "" for place in range(1, 6)]
            late = 90 <= day <= 365 and any(code.startswith(LOW_BACK) for code in codes)
            if late or (1 <= day <= 365 and any(code in EXPLICIT for code in codes)):
                seen.append(day)
        spans = spells[row["person_id"],].iter_rows(named=True)
        enrolled = next(
            (span["enrollment_end_date"] - row["index_date"]).days
            for span in spans
            if span["enrollment_start_date"] <= row["index_date"] <= span["enrollment_end_date"]
        )
        if row[f"cause_{follows}"] == OUTCOME and row[f"days_{follows}"] <= enrolled:
            assert min(seen) == row[f"days_{follows}"]
            found += 1
        else:
            assert not [day for day in seen if day <= min(enrolled, row[f"days_{follows}"])]
    # about 15 % of 6,000 are eligible and a third of these have the outcome
    assert found > 150


def test_what_is_observed_ends_with_the_spell_of_the_index_date(world, index):
    observed = count_block(world, index, outcomes_by_strategy(world, index)).observed.sum(axis=(0, 1))
    real = usual_care(world, index)
    person, first, last = world.enrolment.spells()
    expected = np.zeros_like(observed)
    for who, day, time, cause in zip(index.person, index.day, real.time, real.cause, strict=True):
        (spell,) = np.flatnonzero((person == who) & (first <= day) & (day <= last))
        left = last[spell] - day
        expected[(time, cause) if time <= left else (left, NEITHER)] += 1
    assert (observed == expected).all()
    assert observed[:365, NEITHER].sum() > 0


def test_one_person_is_enough(tmp_path):
    run = simulate(persons=1, out=tmp_path)
    head = json.loads((run.truth / "truth.json").read_text())
    assert head["eligible_persons"] in (0, 1)
