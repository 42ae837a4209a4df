"""Long-term opioid use by six published definitions: dispensings in, the day on which each is first met out.

Everybody enters on day 0 with back pain and is followed for 400 days. Supplies are in days, both ends included: 30 days
from day 0 last to day 29.
"""

from __future__ import annotations

from worlds import exits, people, world

import cohort as co

OPIOID = co.Codelist.from_rows("opioids", [{"system": "atc", "code": "N02A"}])
PEOPLE = co.Cohort("back pain").enter_at_first(co.diagnosis("low_back_pain")).follow_up(max_days=400)
FREE = (400, 0)


def long_term(definition, text, numbers, **rule):
    index = "\n".join(f"{n} d0 M545" for n in numbers)
    filled = "\n".join(f"{line} atc N02AA05" for line in text.splitlines() if line.strip())
    tables = world(
        **people(*numbers),
        diagnosis=f"person_id date code\n{index}",
        dispensing=f"person_id date days_supply system code\n{filled}",
    )
    return exits(tables, PEOPLE, co.chronification(OPIOID, definition=definition, **rule))


def test_consort_an_episode_longer_than_90_days_with_120_days_of_supply_or_10_dispensings():
    found, _ = long_term(
        "consort",
        """
        1 d0   60
        1 d50  60
        2 d0   60
        2 d60  59
        2 d118 1
        3 d0   119
        4 d10  60
        4 d200 60
        5 d10  60
        5 d251 60
        6 d0   5
        6 d10  5
        6 d20  5
        6 d30  5
        6 d40  5
        6 d50  5
        6 d60  5
        6 d70  5
        6 d80  5
        6 d90  5
        7 d0   45
        7 d45  45
        7 d45  30
        """,
        range(1, 8),
    )
    assert found == {
        1: (90, 1),  # 120 days' supply since day 50; day 90 is the 91st of the episode, and still supplied
        2: (118, 1),  # 120 days' supply only with the last dispensing
        3: FREE,  # 119 days
        4: (200, 1),  # 130 days without supply do not end the episode; on day 200 all is met at once
        5: FREE,  # 181 days without supply do: two episodes of 60
        6: (90, 1),  # ten dispensings on day 90, of 50 days together
        7: (90, 1),  # dispensed twice on day 45: 120 days' supply, carried over to day 119
    }


def test_consort_the_episode_must_reach_the_day_not_only_the_count():
    """Two dispensings on day 40, supply until day 84: whether the episode goes on is known on day 95."""
    found, _ = long_term(
        "consort",
        """
        1 d0  40
        1 d40 45
        1 d95 1
        """,
        [1],
        fills=2,
    )
    assert found == {1: (95, 1)}  # not day 90, inside a gap that only the dispensing of day 95 closes


def test_a_user_who_meets_the_definition_before_index_is_a_prevalent_case():
    found, lost = long_term(
        "consort",
        """
        1 d-120 130
        2 d-30  130
        """,
        [1, 2],
    )
    assert lost == {
        "No consort on or before the index date": 1,  # 1: 91st day on day -30
        "Without the outcome by day 89": 1,  # 2: on day 60, an episode that began before index
    }
    assert found == {}


def test_opera_90_days_of_episode_and_of_supply_and_half_of_the_days_covered():
    found, _ = long_term(
        "opera",
        """
        1 d0   90
        2 d0   89
        3 d0   10
        3 d60  85
        4 d0   45
        4 d100 45
        """,
        range(1, 5),
    )
    assert found == {
        1: (89, 1),  # the 90th day, which is the last one supplied
        2: FREE,
        3: (99, 1),  # 50 days uncovered, so half of the days are covered from day 99 on: 50 of 100
        4: (109, 1),  # 55 days uncovered: 55 of 110 on day 109
    }


def test_opera_a_gap_of_more_than_90_days_starts_another_episode():
    text = """
        1 d0   50
        1 d140 60
        2 d0   50
        2 d141 60
    """
    found, _ = long_term("opera", text, [1, 2], covered_percent=0)
    assert found == {1: (140, 1), 2: FREE}  # 90 days without supply, and 91


def test_group_health_70_days_of_supply_in_a_calendar_quarter():
    """Index is 1 March 2020: day 31 is 1 April, day 121 is 30 June and day 122 is 1 July."""
    found, lost = long_term(
        "group_health",
        """
        1 d31  40
        1 d121 30
        2 d31  40
        2 d122 30
        3 d5   35
        3 d5   35
        4 d30  69
        5 d-1  90
        """,
        range(1, 6),
    )
    assert found == {1: (121, 1), 2: FREE, 3: (5, 1), 4: FREE}
    assert lost == {"No group health on or before the index date": 1}


def test_opioid_cds_one_prescription_for_28_days():
    text = """
        1 d3 27
        1 d9 28
        2 d3 27
        2 d4 27
    """
    assert long_term("opioid_cds", text, [1, 2])[0] == {1: (9, 1), 2: FREE}


def test_landsman_blumberg_90_days_of_supply_after_the_diagnosis():
    found, _ = long_term(
        "landsman_blumberg",
        """
        1 d-1  90
        1 d10  45
        1 d360 44
        1 d365 1
        2 d10  89
        2 d366 1
        3 d0   90
        """,
        range(1, 4),
    )
    assert found == {
        1: (365, 1),  # supply from before the diagnosis does not count
        2: FREE,  # day 366 is too late
        3: (0, 1),  # dispensed with the diagnosis: an event on day 0
    }


def test_brummett_a_dispensing_90_to_180_days_after_surgery():
    found, lost = long_term(
        "brummett",
        """
        1 d5   10
        1 d89  10
        2 d90  1
        3 d180 1
        4 d181 1
        5 d89  1
        5 d95  -
        """,
        range(1, 6),
    )
    assert found == {1: FREE, 2: (90, 1), 3: (180, 1), 4: FREE, 5: (95, 1)}  # whatever the supply
    assert lost == {}


def test_a_dispensing_without_a_supply_starts_no_episode():
    for definition in ("consort", "opera", "group_health", "opioid_cds", "landsman_blumberg"):
        assert long_term(definition, "1 d10 -\n1 d200 0", [1])[0] == {1: FREE}
