"""Cohorts of nobody, of one person, and of persons who are never enrolled: every outcome, to the released estimates."""

from __future__ import annotations

import datetime as dt
from typing import get_args

import pytest
from worlds import people, world

import cohort as co
from cohort.outcomes import outcome as make
from cohort.plan import codes_needed, run_bucket

PAIN, OPIOID = co.diagnosis("low_back_pain"), "opioid"
MADE = {
    "first_record": lambda: co.first_record(PAIN),
    "first_of": lambda: make.treatment_failure(OPIOID),
    "discontinuation": lambda: make.discontinuation(OPIOID),
    "re_initiation": lambda: make.re_initiation(OPIOID),
    "switch": lambda: make.switch(OPIOID),
    "add_on": lambda: make.add_on(OPIOID),
    "dose_escalation": make.dose_escalation,
    "taper": make.taper,
    "registry_response": lambda: make.registry_response("observed"),
}
"""How an outcome is made that is no definition of chronic pain."""

KINDS = [kind.model_fields["kind"].default for kind in get_args(get_args(make.Outcome)[0])]


def outcome(kind):
    if kind in MADE:
        return MADE[kind]()
    of_pain = (
        "codes" in make.DEFINITIONS[kind].model_fields and make.DEFINITIONS[kind].model_fields["codes"].is_required()
    )
    return co.chronification("low_back_pain" if of_pain else None, definition=kind)


VISITS = """
    person_id date end_date code
    1 d0   d0   M545
    1 d0   d0   M5450
    1 d100 d100 M545
    1 d100 d100 M545
"""
DISPENSED = """
    person_id date system code days_supply
    1 d0 atc N02AA01 30
    1 d0 atc N02AA01 -
    1 d0 atc N02AX02 30
"""
SCORES = "person_id date instrument value\n1 d0 NRS 8\n1 d0 NRS 3\n1 d84 NRS 2\n1 d84 NRS 2"
NOBODY = world()
ONE = {"diagnosis": VISITS, "dispensing": DISPENSED, "measurement": SCORES}
WORLDS = {
    "nobody in the store": NOBODY,
    "nobody with a record": world(**people(1, 2)),
    "one person, all on the same days": world(**people(1), **ONE),
    "one person who dies on the index date": world(**people(1, died="1:d0"), **ONE),
    "one person who was never enrolled": world(person=people(1)["person"], **ONE),
}


def study(kind):
    return co.Study(
        co.Cohort("back pain").enter_at_first(PAIN).follow_up(max_days=1000),
        outcome=outcome(kind),
        covariates=(co.age(), co.sex()),
        analyses=(
            co.cumulative_incidence(by="sex"),
            co.kaplan_meier(),
            co.incidence_rate(),
            co.cox("sex + age"),
            co.mean_cumulative_count(PAIN, horizon_days=90),
        ),
    )


def conclude(plan, tables):
    codes = codes_needed(plan.cohort, plan.outcome, plan.measured)
    part = run_bucket(tables, plan.cohort, plan.outcome, plan.measured, codes, dt.date(2022, 12, 31))
    return plan.conclude((part,))


@pytest.mark.parametrize("kind", KINDS)
def test_every_outcome_has_an_answer_or_says_why_not(kind):
    """Each world alone and a whole study; nobody is lost on the way, and of so few no number leaves."""
    plan = study(kind)
    for name, tables in WORLDS.items():
        table, released = conclude(plan, tables)
        rows = table.lazy().collect()
        assert rows.height <= 1, name
        assert (rows["time"] >= rows["entry"]).all(), name
        assert released.estimates.frame.filter(released.estimates.frame["value"] > 0).is_empty(), name


def test_who_is_not_enrolled_leaves_on_the_index_date():
    table, _ = conclude(study("first_record"), WORLDS["one person who was never enrolled"])
    assert table.lazy().select("time", "cause", "exit_reason").collect().row(0) == (0, 0, "disenrolment")


def test_death_on_the_index_date_is_an_exit_without_person_time():
    table, _ = conclude(study("first_record"), WORLDS["one person who dies on the index date"])
    assert table.lazy().select("time", "cause", "exit_reason").collect().row(0) == (0, 2, "death")
