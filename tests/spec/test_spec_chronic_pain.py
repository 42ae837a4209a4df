"""Definitions of chronic pain from diagnoses: one small world each, every person worked by hand.

Everybody has back pain (M54) on day 0, the index date, and is followed for 730 days.
"""

from __future__ import annotations

import pytest
from worlds import exits, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.outcomes.outcome import DEFINITIONS

PAIN = co.Codelist.from_rows(
    "pain",
    [
        {"system": "icd10cm", "code": "M54", "category": "back"},
        {"system": "icd10cm", "code": "G43", "category": "headache"},
    ],
)
BACK = PAIN.only(category="back")
PEOPLE = co.Cohort("back pain").enter_at_first(co.diagnosis(BACK)).follow_up(max_days=730)
FREE = (730, 0)


def chronic(definition, text, numbers, codes=PAIN, **rule):
    index = "\n".join(f"{n} d0 M545 outpatient" for n in numbers)
    tables = world(**people(*numbers), diagnosis=f"person_id date code setting\n{index}\n{text}")
    return exits(tables, PEOPLE, co.chronification(codes, definition=definition, **rule))


def test_ci_nyc_two_diagnoses_of_one_category_more_than_90_days_and_at_most_182_apart():
    found, lost = chronic(
        "ci_nyc",
        """
        1 d90  M545 outpatient
        2 d91  M545 outpatient
        3 d91  G43  outpatient
        4 d182 M545 outpatient
        5 d183 M545 outpatient
        6 d183 M545 outpatient
        6 d274 M545 outpatient
        7 d60  G43  outpatient
        7 d120 M545 outpatient
        7 d151 G43  outpatient
        8 d89  M545 outpatient
        8 d90  M545 outpatient
        9 d-20 G43  outpatient
        9 d80  G43  outpatient
        """,
        range(1, 10),
    )
    assert found == {
        1: FREE,  # 90 days are not more than 90
        2: (91, 1),
        3: FREE,  # another category
        4: (182, 1),
        5: FREE,  # beyond six months
        6: (274, 1),  # too late for the index diagnosis, but 91 days after the second
        7: (120, 1),  # back: day 120 - 0; headache would follow on day 151 (151 - 60 = 91)
        8: FREE,  # diagnoses in the first 90 days do not count
        9: FREE,  # nor do those before index
    }
    assert lost == {}  # nobody can have the event by day 90


def test_icd11_the_episode_of_care_lasts_longer_than_90_days():
    found, _ = chronic(
        "icd11_episode",
        """
        1 d45  M545 outpatient
        1 d89  M545 outpatient
        2 d45  M545 outpatient
        2 d90  M545 outpatient
        3 d91  M545 outpatient
        3 d181 M545 outpatient
        4 d90  M545 outpatient
        4 d180 M545 outpatient
        """,
        range(1, 5),
        codes=BACK,
    )
    assert found == {
        1: FREE,  # days 0 to 89 are 90 days
        2: (90, 1),  # 91 days
        3: (181, 1),  # the gap of 91 days ends the first episode; the second one has 91 days on day 181
        4: (90, 1),  # a gap of 90 days does not end it
    }


def test_icd11_an_admission_that_spans_the_day_reaches_it_on_that_day():
    tables = world(
        **people(1),
        diagnosis="""
            person_id date end_date code setting
            1 d0  d0   M545 outpatient
            1 d80 d100 M545 inpatient
        """,
    )
    found, _ = exits(tables, PEOPLE, co.chronification(BACK, definition="icd11_episode"))
    assert found == {1: (90, 1)}


def test_icd11_another_gap_rule_gives_another_answer():
    text = """
        1 d50  M545 outpatient
        1 d100 M545 outpatient
    """
    found = {gap: chronic("icd11_episode", text, [1], codes=BACK, gap_days=gap)[0][1] for gap in (30, 49, 50, 180)}
    assert found == {30: FREE, 49: FREE, 50: (100, 1), 180: (100, 1)}


def test_medicare_two_more_days_with_a_diagnosis():
    found, lost = chronic(
        "medicare_new_onset",
        """
        1 d1  M545 outpatient
        1 d1  M545 emergency
        2 d1  M545 outpatient
        2 d2  M545 outpatient
        3 d10 M545 outpatient
        3 d20 M545 outpatient
        3 d30 M545 outpatient
        """,
        range(1, 4),
        codes=BACK,
    )
    assert found == {1: FREE, 2: (2, 1), 3: (20, 1)}  # two records of one day are one diagnosis
    assert lost == {}


def test_ccw_one_inpatient_or_two_others_within_730_days():
    found, lost = chronic(
        "ccw",
        """
        1 d5   M545 inpatient
        2 d7   M545 outpatient
        3 d-1  M545 inpatient
        5 d730 M545 emergency
        6 d1   M545 outpatient
        7 d0   M545 inpatient
        """,
        range(1, 8),
        codes=BACK,
    )
    assert found == {
        1: (5, 1),
        2: (7, 1),  # with the index record, which is the first of the two
        4: FREE,
        5: (730, 1),  # 730 days apart still count
        6: (1, 1),
    }
    assert lost == {"No ccw on or before the index date": 2}  # 3 and 7 are in hospital with it when they enter


def test_ccw_two_records_too_far_apart():
    assert chronic("ccw", "1 d729 M545 outpatient", [1], codes=BACK, within_days=728)[0] == {1: FREE}


def test_the_veterans_rule_allows_18_months():
    text = """
        1 d548 M545 outpatient
        2 d549 M545 outpatient
    """
    assert chronic("va_musculoskeletal", text, [1, 2], codes=BACK)[0] == {1: (548, 1), 2: FREE}


def test_ohdsi_a_new_era_starts_after_180_days_without_a_diagnosis():
    found, lost = chronic(
        "ohdsi_era",
        """
        1 d180 M545 outpatient
        2 d181 M545 outpatient
        3 d100 M545 outpatient
        3 d280 M545 outpatient
        3 d461 M545 outpatient
        """,
        range(1, 4),
        codes=BACK,
    )
    assert found == {
        1: FREE,  # the era of day 0 holds until day 180
        2: (181, 1),
        3: (461, 1),  # each diagnosis keeps it for 180 days more: until 460
    }
    assert lost == {}


FROM_DIAGNOSES = ("chronification", "ci_nyc", "icd11_episode", "medicare_new_onset", "ccw", "va_musculoskeletal", "ohdsi_era")  # fmt: skip


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_every_definition_works_on_nobody_and_on_one_person_without_care(definition):
    codes = BACK if definition in FROM_DIAGNOSES else None
    outcome = co.chronification(codes, definition=definition)
    nobody, lost = exits(world(), PEOPLE, outcome)
    assert (nobody, lost) == ({}, {})
    alone = world(**people(1), diagnosis="person_id date code\n1 d0 M545")
    assert exits(alone, PEOPLE, outcome)[0] == {1: FREE}


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_death_before_the_event_competes_and_one_on_its_day_does_not(definition):
    """Day 100 is after every landmark but that of new cohort eras, where it is a loss before risk starts."""
    codes = BACK if definition in FROM_DIAGNOSES else None
    outcome = co.chronification(codes, definition=definition)
    tables = world(**people(1, died="1:d100"), diagnosis="person_id date code\n1 d0 M545")
    found, lost = exits(tables, PEOPLE, outcome)
    if definition == "ohdsi_era":
        assert (found, lost) == ({}, {"Not dead by day 180": 1})
    else:
        assert found == {1: (100, 2)}


def test_the_event_on_the_day_of_death_is_the_event():
    tables = world(**people(1, died="1:d91"), diagnosis="person_id date code\n1 d0 M545\n1 d91 M545")
    assert exits(tables, PEOPLE, co.chronification(BACK, definition="ci_nyc"))[0] == {1: (91, 1)}


def test_a_definition_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(StudyError, match="did you mean 'ci_nyc'"):
        co.chronification(BACK, definition="ci_nic")


def test_a_setting_of_another_definition_is_refused():
    with pytest.raises(StudyError, match="fills: unknown key"):
        co.chronification(BACK, definition="ccw", fills=3)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_study_file_says_the_same_as_python(definition, tmp_path):
    codes = "low_back_pain" if definition in FROM_DIAGNOSES else None
    study = co.Study(PEOPLE, outcome=co.chronification(codes, definition=definition, label="chronic"))
    study.to_toml(tmp_path / "study.toml")
    read = co.Study.from_toml(tmp_path / "study.toml")
    assert read == study
    assert read.outcome.kind == definition
    assert read.outcome.name == "chronic"


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_every_definition_names_its_source(definition):
    text = DEFINITIONS[definition].__doc__
    assert "References\n    ----------\n" in text
