"""Outcomes from pain scores at visits: between which two visits pain became chronic, and who responded to treatment.

Everybody enters on day 0 and is followed for 365 days. Scores are NRS, 0 to 10.
"""

from __future__ import annotations

import datetime as dt

import pytest
from worlds import exits, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.outcomes import outcome as make
from cohort.plan import codes_needed, run_bucket

PEOPLE = co.Cohort("treated").enter_at_first(co.diagnosis("low_back_pain")).follow_up(max_days=365)


def registry(text, numbers, died=""):
    index = "\n".join(f"{n} d0 M545" for n in numbers)
    return world(
        **people(*numbers, died=died),
        diagnosis=f"person_id date code\n{index}",
        measurement=f"person_id date value instrument\n{text}",
    )


def intervals(tables, outcome):
    rows = run_bucket(tables, PEOPLE, outcome, (), codes_needed(PEOPLE, outcome, ()), dt.date(2022, 12, 31)).rows
    return {row["person_id"]: (row["lower"], row["upper"], row["time"], row["cause"]) for row in rows.to_dicts()}


SCORES = """
    1 d30  7 NRS
    1 d100 2 NRS
    1 d200 6 NRS
    2 d89  8 NRS
    2 d90  4 NRS
    3 d100 3 NRS
    3 d300 2 NRS
    4 d100 3 NRS
    4 d100 5 NRS
    5 d120 2 NRS
    5 d150 9 BDI
    6 d95  1 NRS
    6 d400 8 NRS
    7 d100 1 NRS
"""


def test_pain_became_chronic_after_the_last_visit_seen_free_and_by_the_first_seen_chronic():
    tables = registry(SCORES, range(1, 9), died="7:d250")
    assert intervals(tables, co.chronification(definition="registry_pain")) == {
        1: (100, 200, 200, 1),
        2: (89, 90, 90, 1),  # the first visit that counts; before day 90 no pain is chronic
        3: (300, None, 365, 0),
        4: (89, 100, 100, 1),  # the highest score of a day counts
        5: (120, None, 365, 0),  # another instrument
        6: (95, None, 365, 0),  # seen chronic after follow-up
        7: (100, None, 250, 2),  # died; last seen free on day 100
        8: (89, None, 365, 0),  # never seen
    }


def test_after_surgery_the_threshold_is_3_at_12_months():
    outcome = co.chronification(definition="registry_pain", at_least=3.0, after_days=300)
    assert intervals(registry("1 d100 5 NRS\n1 d330 3 NRS", [1]), outcome) == {1: (299, 330, 330, 1)}


RESPONSES = """
    1 d-40 9 NRS
    1 d0   8 NRS
    1 d84  5.6 NRS
    2 d-29 9 NRS
    2 d-5  8 NRS
    2 d84  5.7 NRS
    3 d0   6 NRS
    3 d42  3 NRS
    4 d0   6 NRS
    4 d41  3 NRS
    4 d127 3 NRS
    5 d0   6 NRS
    5 d80  6 NRS
    5 d88  1 NRS
    5 d126 1 NRS
    6 d0   3.9 NRS
    6 d84  0 NRS
    7 d-31 8 NRS
    7 d84  0 NRS
    8 d0   8 NRS
    9 d0   8 NRS
    9 d126 0 NRS
"""


def test_response_is_a_fall_of_30_percent_at_the_visit_nearest_to_12_weeks():
    tables = registry(RESPONSES, range(1, 11), died="8:d60 10:d100")
    found, lost = exits(tables, PEOPLE, make.registry_response("observed"))
    assert found == {
        1: (84, 1),  # 8 to 5.6 is 30 %
        2: (365, 0),  # 29 % from the last score before index, though 37 % from the one before that
        3: (42, 1),  # six weeks: the first day of the window
        5: (365, 0),  # days 80 and 88 are equally near: the earlier counts
        8: (60, 2),  # died within the window: that is known
        9: (126, 1),  # 18 weeks: the last day of the window
    }
    assert lost == {
        "NRS of 4 or more at baseline (day -30 to day 0)": 3,  # 6 too low; 7 more than 30 days before; 10 none
        "Outcome can be judged by day 41": 1,  # 4 was seen too early and too late
    }


def test_non_responder_imputation_keeps_at_risk_who_was_not_seen():
    tables = registry(RESPONSES, range(1, 11), died="8:d60 10:d100")
    found, lost = exits(tables, PEOPLE, make.registry_response("non_response"))
    assert found[4] == (365, 0)
    assert {n: exit for n, exit in found.items() if n != 4} == {
        1: (84, 1), 2: (365, 0), 3: (42, 1), 5: (365, 0), 8: (60, 2), 9: (126, 1),
    }  # fmt: skip
    assert list(lost.values()) == [3]


def test_the_secondary_response_is_a_fall_of_half():
    tables = registry("1 d0 8 NRS\n1 d84 4 NRS\n2 d0 8 NRS\n2 d84 4.1 NRS", [1, 2])
    assert exits(tables, PEOPLE, make.registry_response("observed", fall_percent=50))[0] == {1: (84, 1), 2: (365, 0)}


def test_a_fall_of_exactly_30_percent_counts_whatever_the_decimals():
    """7 to 4.9; in binary 4.9 * 100 is a little more than 490."""
    assert exits(registry("1 d0 7 NRS\n1 d84 4.9 NRS", [1]), PEOPLE, make.registry_response("observed"))[0] == {
        1: (84, 1)
    }


def test_a_response_seen_after_follow_up_is_not_seen():
    tables = registry("1 d0 8 NRS\n1 d84 0 NRS", [1])
    cohort = PEOPLE.follow_up(max_days=83)
    assert exits(tables, cohort, make.registry_response("non_response"))[0] == {1: (83, 0)}
    lost = exits(tables, cohort, make.registry_response("observed"))[1]
    assert lost == {"Outcome can be judged by day 41": 1}


def test_what_cannot_be_is_refused():
    with pytest.raises(StudyError, match="the baseline reaches past the index date"):
        make.registry_response("observed", baseline=co.Window(-30, 1))
    with pytest.raises(StudyError, match="opens on or before the index date"):
        make.registry_response("observed", target_day=42)
    with pytest.raises(StudyError, match="'observed' or 'non_response'"):
        make.registry_response("weighted")
    with pytest.raises(StudyError, match="at_least: input should be a valid number"):
        co.chronification(definition="registry_pain", at_least="4")
