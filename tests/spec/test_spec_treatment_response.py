"""What becomes of a treatment: dispensings in, the day on which a rule is met or can no longer be judged out.

Everybody enters at the first dispensing of drug X (N02AA05), day 0, and is followed for 300 days unless said otherwise.
"""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from worlds import INDEX, exits, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.outcomes import outcome as make
from cohort.outcomes.dating import UNJUDGED
from cohort.plan import codes_needed, run_bucket

DRUGS = co.Codelist.from_rows(
    "drugs",
    [
        {"system": "atc", "code": "N02AA05", "category": "X"},
        {"system": "atc", "code": "N02AX02", "category": "Y"},
    ],
)
X = DRUGS.only(category="X")
SHOT = co.Codelist.from_rows("shot", [{"system": "cpt", "code": "62323"}])
EXPLANT = co.Codelist.from_rows("explant", [{"system": "cpt", "code": "63661"}])
CODE = {"X": "N02AA05", "Y": "N02AX02"}
PEOPLE = co.Cohort("treated").enter_at_first(co.dispensing(X)).follow_up(max_days=300)


def filled(text):
    rows = [line.split() for line in text.splitlines() if line.strip()]
    lines = "\n".join(f"{n} {date} {supply} atc {CODE[agent]}" for n, date, agent, supply in rows)
    return f"person_id date days_supply system code\n{lines}"


def treated(outcome, text, numbers, died="", cohort=PEOPLE, **tables):
    return exits(world(**people(*numbers, died=died), dispensing=filled(text), **tables), cohort, outcome)[0]


def reasons(outcome, text, numbers, cohort=PEOPLE, **tables):
    bucket = world(**people(*numbers), dispensing=filled(text), **tables)
    codes = codes_needed(cohort, outcome, ())
    rows = run_bucket(bucket, cohort, outcome, (), codes, dt.date(2022, 12, 31)).rows
    return {row["person_id"]: (row["time"], row["exit_reason"]) for row in rows.to_dicts()}


def test_discontinuation_is_dated_at_the_end_of_supply_after_60_days_without():
    found = treated(
        make.discontinuation(X),
        """
        1 d0  X 30
        2 d0  X 30
        2 d90 X 30
        3 d0  X 30
        3 d91 X 30
        4 d0  X 30
        4 d20 X 30
        5 d0  X 30
        5 d30 Y 90
        """,
        range(1, 6),
    )
    assert found == {
        1: (29, 1),
        2: (119, 1),  # refilled after 60 days without supply: goes on
        3: (29, 1),  # after 61: that treatment had ended on day 29
        4: (59, 1),  # the early refill waits for the first supply to end
        5: (29, 1),  # another drug is not this treatment
    }


@pytest.mark.parametrize(
    ("last_day", "leaves"),
    [
        (91, (29, "discontinuation")),
        (90, (29, "discontinuation")),  # 61 days after the end of supply are observed
        (89, (29, UNJUDGED)),  # only 60: a refill on the 61st would have continued it
        (30, (29, UNJUDGED)),
        (29, (29, "longest follow-up")),
        (28, (28, "longest follow-up")),  # still supplied when follow-up ends
    ],
)
def test_whoever_is_followed_too_shortly_after_the_end_of_supply_is_censored_there(last_day, leaves):
    cohort = PEOPLE.follow_up(max_days=last_day)
    assert reasons(make.discontinuation(X), "1 d0 X 30", [1], cohort) == {1: leaves}


def test_a_refill_after_follow_up_does_not_tell_how_follow_up_ended():
    """Person 2 is refilled on day 70, person 1 never: on day 60 nobody can tell them apart."""
    cohort = PEOPLE.follow_up(max_days=60)
    found = treated(make.discontinuation(X), "1 d0 X 30\n2 d0 X 30\n2 d70 X 30", [1, 2], cohort=cohort)
    assert found == {1: (29, 0), 2: (29, 0)}


def test_whoever_dies_within_the_gap_has_not_discontinued():
    found = treated(make.discontinuation(X), "1 d0 X 30\n2 d0 X 30\n3 d0 X 30", [1, 2, 3], "1:d40 2:d90 3:d89")
    assert found == {1: (40, 2), 2: (29, 1), 3: (89, 2)}  # 2 died on the day on which it was known


def test_treatment_begins_again_after_more_than_60_days_without_and_at_most_200_after_its_end():
    found = treated(
        make.re_initiation(X, within_days=200),
        """
        1 d0   X 30
        1 d91  X 30
        2 d0   X 30
        2 d90  X 30
        3 d0   X 30
        3 d229 X 30
        4 d0   X 30
        4 d230 X 30
        5 d0   X 30
        5 d40  Y 30
        5 d110 X 30
        """,
        range(1, 6),
    )
    assert {n: day for n, (day, cause) in found.items() if cause == 1} == {
        1: 91,  # 61 days without: supply ended on day 29; person 2 had 60, and goes on
        3: 229,  # the 200th day after; person 4 comes one day late
        5: 110,  # another drug is not this treatment
    }


def test_a_supply_of_one_day_can_end_on_the_index_day():
    assert treated(make.discontinuation(X), "1 d0 X 1", [1]) == {1: (0, 1)}


def test_switch_another_agent_within_60_days_of_the_end_and_the_old_one_not_refilled():
    found = treated(
        make.switch(DRUGS),
        """
        1 d0   X 30
        1 d40  Y 30
        2 d0   X 30
        2 d89  Y 30
        3 d0   X 30
        3 d90  Y 30
        4 d0   X 30
        4 d40  Y 30
        4 d80  X 30
        5 d0   X 30
        5 d0   Y 30
        """,
        range(1, 6),
    )
    assert found == {
        1: (90, 1),  # supply ended on day 29, and since day 90 it is known not to be refilled in time
        2: (90, 1),  # 60 days after the end
        3: (300, 0),  # 61
        4: (300, 0),  # refilled on day 80; Y ended on day 69 and X had started before it
        5: (300, 0),  # both from the first day
    }


def test_a_switch_is_not_met_before_the_new_agent_starts():
    """Not refilled within 10 days is known on day 40; the new agent may start until day 89."""
    outcome = make.switch(DRUGS, gap_days=10, within_days=60)
    assert treated(outcome, "1 d0 X 30\n1 d60 Y 30", [1]) == {1: (60, 1)}


def test_add_on_both_last_30_days_together_and_the_old_one_is_refilled():
    found = treated(
        make.add_on(DRUGS),
        """
        1 d0  X 30
        1 d10 Y 60
        1 d30 X 30
        2 d0  X 90
        2 d10 Y 60
        3 d0  X 30
        3 d10 Y 29
        3 d30 X 30
        4 d0  X 30
        4 d10 Y 10
        4 d30 X 60
        4 d50 Y 30
        5 d0  X 30
        5 d10 Y 60
        5 d60 X 30
        """,
        range(1, 6),
    )
    assert found == {
        1: (39, 1),  # refilled on day 30, the 30th day together is day 39
        2: (300, 0),  # never refilled after day 10
        3: (300, 0),  # 29 days of Y
        4: (50, 1),  # that Y goes on to day 39 is known only with its refill on day 50
        5: (60, 1),  # known with the refill on day 60
    }


def test_treatment_failure_is_the_first_of_its_components_and_says_which():
    outcome = make.treatment_failure(DRUGS, step_up=SHOT, explant=EXPLANT)
    found = reasons(
        outcome,
        """
        1 d0   X 200
        2 d0   X 200
        3 d0   X 30
        4 d0   X 200
        5 d0   X 100
        5 d10  Y 200
        5 d50  X 150
        6 d0   X 250
        """,
        range(1, 7),
        procedure="""
            person_id date system code
            1 d10  cpt 62323
            1 d10  cpt 63661
            2 d40  cpt 63661
            3 d29  cpt 62323
            6 d0   cpt 62323
        """,
    )
    assert found == {
        1: (10, "invasive_step_up"),  # of two on one day the one listed first
        2: (40, "explant"),
        3: (29, "discontinuation"),
        4: (199, "discontinuation"),
        5: (50, "add_on"),  # 30 days together on day 39, refilled on day 50
        6: (249, UNJUDGED),  # a procedure on the index day is no event
    }


def test_a_component_that_cannot_be_judged_censors_the_composite():
    """Keeping person 1 at risk until the injection on day 40, and nobody without one, would count only failures."""
    cohort = PEOPLE.follow_up(max_days=60)
    outcome = make.treatment_failure(DRUGS, step_up=SHOT)
    shots = "person_id date system code\n1 d40 cpt 62323"
    assert reasons(outcome, "1 d0 X 30\n2 d0 X 30", [1, 2], cohort, procedure=shots) == {
        1: (29, UNJUDGED),
        2: (29, UNJUDGED),
    }


def test_rescue_care_is_an_emergency_visit_for_pain_or_an_injection():
    found = reasons(
        make.rescue_care("low_back_pain"),
        "1 d0 X 30\n2 d0 X 30\n3 d0 X 30",
        [1, 2, 3],
        diagnosis="""
            person_id date code setting
            1 d12 M545 emergency
            2 d12 M545 outpatient
            3 d12 J00  emergency
        """,
        procedure="""
            person_id date system code
            2 d20  cpt 62323
        """,
    )
    assert found == {1: (12, "emergency_visit"), 2: (20, "injection"), 3: (300, "longest follow-up")}


def test_two_components_of_one_name_are_refused():
    with pytest.raises(StudyError, match="two components are called discontinuation"):
        make.first_of(make.discontinuation(X), make.discontinuation(DRUGS), label="either")


def test_a_component_that_counts_later_than_the_others_is_refused():
    late = co.first_record(co.procedure(SHOT), from_day=30)
    with pytest.raises(StudyError, match="must count from day 1"):
        make.first_of(make.discontinuation(X), late, label="either")


NDC = "00054023525"  # morphine 15 mg tablets in CDC's table: 4 a day are 60 MME
DOSED = co.Cohort("opioids").enter_at_first(co.diagnosis("low_back_pain")).follow_up(max_days=300)
OPIOID = co.Codelist.from_rows("opioids", [{"system": "ndc", "code": NDC}])


def dosed(outcome, text, numbers):
    rows = [line.split() for line in text.splitlines() if line.strip()]
    lines = "\n".join(f"{n} {date} {tablets} {supply} ndc {NDC}" for n, date, tablets, supply in rows)
    index = "\n".join(f"{n} d0 M545" for n in numbers)
    tables = world(
        **people(*numbers),
        diagnosis=f"person_id date code\n{index}",
        dispensing=f"person_id date quantity days_supply system code\n{lines}",
    )
    return exits(tables, DOSED, outcome)


def test_dose_escalation_by_a_fifth_in_the_second_60_days():
    """15 mg a tablet: 120 tablets in the first 60 days are 1800 mg, so 2160 mg, 144 tablets, are a fifth more."""
    found, lost = dosed(
        make.dose_escalation(codes=OPIOID),
        """
        1 d0  120 60
        1 d60 144 60
        2 d0  120 60
        2 d60 143 60
        3 d60 143 60
        4 d0  120 60
        4 d59 145 60
        """,
        range(1, 5),
    )
    assert found == {
        1: (119, 1),
        2: (300, 0),
        3: (300, 0),  # without a dose in the first window there is nothing to rise from
        4: (300, 0),  # one of the 60 days falls into the first window: 59/60 of 145 over 120 + 1/60 of 145
    }
    assert lost == {}


def test_taper_by_15_percent_in_both_windows_from_50_mme_a_day():
    """60 days of 60 MME before index: 240 tablets; 15 % less is 204."""
    found, lost = dosed(
        make.taper(codes=OPIOID),
        """
        1 d-60 240 60
        1 d0   204 60
        1 d60  204 60
        2 d-60 240 60
        2 d0   204 60
        2 d60  205 60
        3 d-60 240 60
        4 d-60 199 60
        5 d-60 200 60
        """,
        range(1, 6),
    )
    assert found == {
        1: (119, 1),  # known when the second window is over
        2: (300, 0),
        3: (119, 1),  # a stop is the largest taper
        5: (119, 1),  # 200 tablets are 50 MME a day
    }
    assert lost == {"With 50 MME a day or more in the 60 days before index": 1}


@pytest.mark.parametrize(
    "outcome",
    [
        make.discontinuation(X),
        make.switch(DRUGS),
        make.add_on(DRUGS),
        make.dose_escalation(),
        make.taper(),
        make.treatment_failure(DRUGS, SHOT, EXPLANT),
        make.rescue_care("low_back_pain"),
        make.registry_response("observed"),
    ],
    ids=lambda outcome: outcome.kind,
)
def test_nobody_at_all_and_a_round_trip(outcome, tmp_path):
    assert exits(world(), PEOPLE, outcome) == ({}, {})
    study = co.Study(PEOPLE, outcome=outcome)
    study.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml") == study


def test_the_dates_do_not_depend_on_the_order_of_rows():
    text = "1 d0 X 30\n1 d10 Y 60\n1 d30 X 30\n2 d0 X 30\n2 d40 Y 30"
    tables = world(**people(1, 2), dispensing=filled(text))
    turned = dict(tables) | {"dispensing": tables["dispensing"].reverse()}
    outcome = make.treatment_failure(DRUGS)
    assert exits(tables, PEOPLE, outcome) == exits(turned, PEOPLE, outcome)
    assert tables["dispensing"].select(pl.col("date").min()).collect().item() == INDEX
