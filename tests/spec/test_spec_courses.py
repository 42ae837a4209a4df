"""Analyses of a whole follow-up, declared in the study: recurrent care, days free of it, response in a registry."""

from __future__ import annotations

import datetime as dt

import pytest
from worlds import people, world

import cohort as co
from cohort.errors import StudyError
from cohort.outcomes import outcome as make
from cohort.plan import codes_needed, run_bucket

PAIN = co.diagnosis("low_back_pain")
DRUG = co.dispensing("opioid")
COHORT = co.Cohort("back pain").enter_at_first(PAIN).follow_up(max_days=100)
OPEN = co.DisclosureRule(minimum=0)


def study(*analyses, outcome=None, cohort=COHORT, covariates=(), disclosure=OPEN):
    outcome = outcome or co.first_record(DRUG)
    return co.Study(cohort, outcome=outcome, covariates=covariates, analyses=analyses, disclosure=disclosure)


def rows(plan, tables):
    """Return the estimates of the first analysis of a bucket, by group."""
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    part = run_bucket(tables, plan.cohort, plan.outcome, plan.measured, codes, dt.date(2022, 12, 31))
    _, released = plan.conclude((part,))
    return released.estimates.select(analysis=1)


VISITS = """
    person_id date end_date code
    1 d0   d0   M545
    1 d10  d12  M545
    1 d40  d40  M545
    1 d101 d101 M545
    2 d0   d0   M545
    3 d0   d0   M545
    3 d20  d20  M545
    4 d0   d0   M545
    4 d3   d3   M545
"""
DISPENSED = "person_id date system code days_supply\n1 d15 atc N02AA01 5"
TABLES = world(**people(1, 2, 3, 4, died="3:d49"), diagnosis=VISITS, dispensing=DISPENSED)


def test_care_is_counted_beyond_the_outcome_to_the_end_of_follow_up():
    """Person 1 has the outcome on day 15 and the care of day 40 counts; day 101 is after follow-up.

    Days 10 and 40, none, day 20 before death, day 3: four events among four persons, none of them censored before 60.
    """
    found = rows(study(co.mean_cumulative_count(PAIN, horizon_days=60)), TABLES)
    row = found.row(0, named=True)
    assert (row["estimand"], row["outcome"], row["time"]) == ("mean_cumulative_count", "recurrent_care", 60)
    assert (row["value"], row["n"], row["events"], row["status"]) == (1.0, 4, 3, "ok")  # three persons had an event


def test_close_events_are_one():
    """Day 3 continues the index record of day 0; the rest are farther apart."""
    found = rows(study(co.mean_cumulative_count(PAIN, horizon_days=60, apart_days=5)), TABLES)
    assert found["value"].to_list() == [0.75]


def test_days_free_of_care_count_neither_care_nor_days_after_death():
    """Of days 1 to 60: person 1 has 10, 11, 12 and 40 in care, 2 none, 3 is alive for 49 less day 20, 4 day 3."""
    found = rows(study(co.mean_care_free_days(PAIN, horizon_days=60)), TABLES)
    assert found["value"].to_list() == [(56 + 60 + 48 + 59) / 4]
    assert found.select("n", "events").row(0) == (4, 3)  # three had a day that was not free


def test_groups_are_those_of_a_covariate():
    plan = study(
        co.mean_cumulative_count(PAIN, horizon_days=60, by="opioid"),
        covariates=(co.exposed(DRUG, co.Window(0, 20), name="opioid", observed="assumed"),),
    )
    assert dict(rows(plan, TABLES).select("group", "value").iter_rows()) == {"false": 2 / 3, "true": 2.0}


def test_with_a_landmark_care_counts_from_where_risk_starts():
    """Nobody has the outcome before day 30 and all reach it: the care of days 3, 10 and 20 came before risk started."""
    later = co.first_record(co.dispensing("benzodiazepine"), from_day=31)
    found = rows(study(co.mean_cumulative_count(PAIN, horizon_days=60), outcome=later), TABLES)
    assert found["value"].to_list() == [0.25]


SCORES = """
    person_id date instrument value
    1 d0  nrs 8
    1 d84 nrs 4
    2 d0  nrs 8
    2 d80 nrs 7
    3 d0  nrs 8
    4 d0  nrs 2
    5 d0  nrs 6
    6 d0  nrs 6
"""
RESPONSE = make.registry_response("observed", instrument="nrs")


def test_the_share_who_respond_has_three_versions():
    """Persons 1 and 2 are seen and one responds; 3 dies before the visit and has not; 5 and 6 are not seen.

    Person 4 has no high baseline. Observed 1 of 3, non-responder 1 of 5. Of the men 1 of 2 is known and responded, of
    the women 2 of 3 and none did: weighted 2 of 5.
    """
    persons = people(1, 2, 3, 4, 5, 6, died="3:d60")
    for man in (1, 5):
        persons["person"] = persons["person"].replace(f"\n{man} 1970-01-01 female", f"\n{man} 1970-01-01 male")
    tables = world(
        **persons,
        diagnosis="person_id date code\n" + "\n".join(f"{n} d0 M545" for n in range(1, 7)),
        measurement=SCORES,
    )
    plan = study(
        co.response_shares(RESPONSE, terms="sex"), covariates=(co.sex(),), cohort=COHORT.follow_up(max_days=200)
    )
    found = {row["estimand"]: row for row in rows(plan, tables).to_dicts()}
    assert {name: row["n"] for name, row in found.items()} == {
        "response_observed": 3,
        "response_non_responder": 5,
        "response_weighted": 5,
    }
    assert found["response_observed"]["value"] == pytest.approx(1 / 3)
    assert found["response_non_responder"]["value"] == pytest.approx(1 / 5)
    assert found["response_weighted"]["value"] == pytest.approx(2 / 5, rel=1e-6)  # the logistic model stops at 1e-8


def test_without_weights_two_versions_stand():
    """Everybody is a woman of one age: nothing tells who is measured, so that no model of it can be fitted."""
    tables = world(
        **people(1, 2, 3),
        diagnosis="person_id date code\n1 d0 M545\n2 d0 M545\n3 d0 M545",
        measurement="person_id date instrument value\n1 d0 NRS 8\n2 d0 NRS 8\n3 d0 NRS 8\n1 d84 NRS 1",
    )
    plan = study(
        co.response_shares(co.registry_response("observed"), terms="sex"),
        covariates=(co.sex(),),
        cohort=COHORT.follow_up(max_days=200),
    )
    found = {row["estimand"]: row for row in rows(plan, tables).to_dicts()}
    assert found["response_observed"]["value"] == 1.0
    assert found["response_non_responder"]["value"] == pytest.approx(1 / 3)
    assert found["response_weighted"]["status"].startswith("not_estimable")


def test_an_empty_cohort_has_no_rows_and_no_fault():
    plan = study(co.mean_cumulative_count(PAIN, horizon_days=60), co.mean_care_free_days(DRUG, 60, name="free"))
    assert rows(plan, world(**people(1))).is_empty()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("courses")
    co.simulate("low_back_pain", persons=600, seed=5, layout="tuva", out=folder / "extract")
    return co.ingest(folder / "extract", "tuva", folder / "store", buckets=2)


def test_a_run_of_a_store_equals_the_estimators_of_its_frames(store, tmp_path):
    """The declared analysis against the public frames: spells without deaths are those of the mean cumulative function.

    And the whole study comes back from its file, with its report.
    """
    from cohort import survival as sv

    plan = study(co.mean_cumulative_count(PAIN, horizon_days=90), co.mean_care_free_days(PAIN, 90, name="free"))
    plan.to_toml(tmp_path / "study.toml")
    result = co.Study.from_toml(tmp_path / "study.toml").run(store)
    mean, free = (result.estimates.select(analysis=n).row(0, named=True) for n in (1, 2))
    known = co.care_free_days(COHORT, store, PAIN, 90)["free_days"].drop_nulls()
    assert abs(free["value"] - known.mean()) < 2  # complete cases, unweighted
    spells = co.recurrent_events(COHORT, store, PAIN)
    curve = sv.mean_cumulative_function(spells, "person_id", "start", "stop", "event").to_polars()
    alive = curve.filter(time=curve.filter(curve["time"] <= 90)["time"].max())["estimate"][0]
    assert mean["value"] == pytest.approx(alive, rel=0.02)  # that one takes the dead, of whom there are few, for lost
    page = result.report(tmp_path / "out").read_text()
    assert "Recurrent care" in page
    assert "Days free of care" in page


def test_few_persons_with_care_are_not_shown(store):
    """With a minimum above the persons who had an event, the mean tells how few they were and is withheld."""
    plan = study(co.mean_cumulative_count(PAIN, horizon_days=90), disclosure=co.DisclosureRule(minimum=0))
    open_row = plan.run(store).estimates.select(analysis=1).row(0, named=True)
    strict = co.DisclosureRule(minimum=open_row["events"] + 1)
    shut = study(*plan.analyses, disclosure=strict).run(store).estimates.select(analysis=1).row(0, named=True)
    assert (shut["value"], shut["status"]) == (None, "suppressed")


def test_few_who_were_not_measured_are_not_told_by_the_shares():
    """30 are measured and 3 are not: each version alone is safe, beside each other they show the three."""
    ids = range(1, 34)
    persons = people(*ids)
    persons["person"] = persons["person"].replace("7 1970-01-01 female", "7 1970-01-01 male")  # 7, 17 and 27
    persons["person"] = persons["person"].replace("33 1970-01-01 female", "33 1970-01-01 male")
    tables = world(
        **persons,
        diagnosis="person_id date code\n" + "\n".join(f"{n} d0 M545" for n in ids),
        measurement="person_id date instrument value\n"
        + "\n".join(f"{n} d0 nrs 8" for n in ids)
        + "\n"
        + "\n".join(f"{n} d84 nrs {2 if n % 2 else 8}" for n in ids if n <= 30),
    )
    plan = {"covariates": (co.sex(),), "cohort": COHORT.follow_up(max_days=200)}
    shares = co.response_shares(RESPONSE, terms="sex")
    shown = rows(study(shares, **plan), tables)
    assert shown["value"].null_count() == 0
    rounded = rows(study(shares, **plan, disclosure=co.DisclosureRule(minimum=2, round_to=5)), tables)
    assert rounded["n"].to_list() == [35, 30, 35]  # 33 and 30 of them, in steps of 5
    assert rounded["value"].to_list() == pytest.approx([15 / 35, 15 / 30, 20 / 35])  # of all, seen, weighted: 0.51
    assert rows(study(shares, **plan, disclosure=co.DisclosureRule(minimum=11)), tables)["value"].null_count() == 3


def test_what_cannot_be_said_is_refused():
    count = co.mean_cumulative_count(PAIN, horizon_days=60)
    with pytest.raises(StudyError, match=r"analyses\[1\]: horizon_days is 101, follow-up ends on day 100"):
        study(co.mean_cumulative_count(PAIN, horizon_days=101))
    with pytest.raises(StudyError, match=r"analyses\[2\] counts what another does: two horizons"):
        study(count, co.mean_cumulative_count(PAIN, horizon_days=30, name="other"))
    with pytest.raises(StudyError, match="two covariates or analyses are named recurrent_care"):
        study(count, co.mean_care_free_days(PAIN, 60, name="recurrent_care"))
    with pytest.raises(StudyError, match="holds nobody who is lost by day 30"):
        study(co.mean_care_free_days(PAIN, 60), outcome=co.first_record(DRUG, from_day=31))
    with pytest.raises(StudyError, match="uses 'pain', which is no covariate"):
        study(co.response_shares(RESPONSE, terms="pain"), cohort=COHORT.follow_up(max_days=200))
    with pytest.raises(StudyError, match="takes rows for independent"):
        study(count, cohort=COHORT.enter_at_each(PAIN))
