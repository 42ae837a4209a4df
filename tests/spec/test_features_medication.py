"""Supply, eras, new use, changes of agent and days covered, worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.errors import InputRefusedError, StudyError
from cohort.features.adherence import covered_days
from cohort.features.medication import agent_changes, carry_over, concurrent_days, new_use, restarts, treatment_eras
from cohort.time import Window


def day(number):
    """Return the date ``number`` days after 1 January 2020 (day 0); day 59 is 29 February."""
    return dt.date(2020, 1, 1) + dt.timedelta(number)


def dispensed(*rows):
    """Build dispensings of person 1 from (agent, day, supply)."""
    return pl.LazyFrame(
        {
            "person_id": [1] * len(rows),
            "agent": [agent for agent, _, _ in rows],
            "date": [day(start) for _, start, _ in rows],
            "days_supply": pl.Series([supply for _, _, supply in rows], dtype=pl.Int32),
        }
    )


def test_an_early_refill_waits_for_the_supply_before_it():
    # 30 days from day 0; refilled on day 20: starts on day 30, ends on day 59; then a gap; then day 70
    rows = dispensed(("a", 20, 30), ("a", 0, 30), ("a", 70, 10), ("a", 5, None), ("a", 6, 0))
    assert carry_over(rows).collect().rows() == [
        (1, day(0), day(0), day(29)),
        (1, day(20), day(30), day(59)),
        (1, day(70), day(70), day(79)),
    ]


@pytest.mark.parametrize(("gap_days", "expected"), [(10, 1), (9, 2)])
def test_an_era_bridges_gaps_of_at_most_gap_days_without_supply(gap_days, expected):
    rows = dispensed(("a", 0, 30), ("a", 40, 30))  # days 30 to 39 are without supply: ten days
    eras = treatment_eras(rows, gap_days=gap_days).collect()
    assert eras.height == expected
    if expected == 1:
        assert eras.row(0) == (1, "a", day(0), day(69), 70, day(40), 2)


def test_new_use_is_a_dispensing_after_a_clean_washout():
    rows = dispensed(("a", 0, 30), ("a", 365, 30), ("a", 731, 30))  # 365 days later, then 366
    assert new_use(rows, washout_days=365).collect()["date"].to_list() == [day(0), day(731)]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # a until day 29; b from day 40: switch, certain when a was not refilled by day 89
        ([("a", 0, 30), ("b", 40, 30)], [("switch", "a", "b", day(40), day(90))]),
        ([("a", 0, 30), ("b", 89, 30)], [("switch", "a", "b", day(89), day(90))]),  # 60 days after day 29
        ([("a", 0, 30), ("b", 90, 30)], []),  # too late
        ([("a", 0, 30), ("b", 10, 30)], [("switch", "a", "b", day(10), day(90))]),  # a never refilled
        # b from day 10, a refilled on day 30 until day 59: together days 10 to 39, thirty days
        ([("a", 0, 30), ("b", 10, 30), ("a", 30, 30)], [("add_on", "a", "b", day(10), day(39))]),
        ([("a", 0, 30), ("b", 10, 29), ("a", 30, 30)], []),  # twenty-nine days together
        # the refill of a comes later than thirty days together: known on the day of the refill
        ([("a", 0, 60), ("b", 10, 90), ("a", 60, 30)], [("add_on", "a", "b", day(10), day(60))]),
        ([("a", 0, 30), ("a", 30, 30)], []),  # no other agent
    ],
)
def test_switch_and_add_on(rows, expected):
    assert agent_changes(dispensed(*rows)).drop("person_id").collect().rows() == expected


def covered(rows, **options):
    return covered_days(dispensed(*rows).collect(), "person_id", "date", "days_supply", **options).row(0, named=True)


def test_days_covered_in_the_first_year():
    # 30 + 30 carried over, 60 of 365
    found = covered([("a", 0, 30), ("a", 20, 30)])
    assert (found["window_days"], found["covered_days"], found["pdc"]) == (365, 60, 60 / 365)


@pytest.mark.parametrize("window", [(day(10), day(39)), Window(10, 39), ("opens", "closes")])
def test_a_window_may_be_dates_days_or_columns(window):
    frame = dispensed(("a", 0, 20), ("a", 30, 30)).with_columns(opens=pl.lit(day(10)), closes=pl.lit(day(39)))
    found = covered_days(frame, "person_id", "date", "days_supply", window=window).collect()
    # supply on days 10 to 19 and 30 to 39
    assert found.select("window_days", "covered_days").row(0) == (30, 20)


def test_the_measures_differ_as_their_definitions_do():
    # window days 10 to 39, ends before day 40; supply 0-19 and, dispensed on days 25 and 30, 25-34 and 35-44
    found = covered([("a", 0, 20), ("a", 25, 10), ("a", 30, 10)], window=Window(10, 39))
    assert found["cma1"] == 10 / 5  # supply before the last dispensing, over 25 to 30
    assert found["cma2"] == 20 / 15  # all supply, over 25 to 40
    assert (found["cma3"], found["cma4"]) == (1, 1)
    assert found["cma5"] == 1  # days 25 to 29 are covered
    assert found["cma6"] == 1  # days 25 to 39 are covered
    assert found["cma7"] == 25 / 30  # 10 to 19 and 25 to 39
    assert found["cma8"] == 15 / 20  # the window starts when the old stock ends: 20 to 39
    # 20 of 25 days until the next dispensing, spread over the 15 of them in the window; 5 of 5; 10 of 10
    assert found["cma9"] == pytest.approx((15 * 20 / 25 + 5 + 10) / 30, abs=1e-9)  # shares are whole parts of 2^-30 day


def test_what_is_not_recorded_is_not_zero():
    known, partly = covered([("a", 0, 30)]), covered([("a", 0, 30), ("a", 40, None)])
    unknown = covered([("a", 0, None)])
    assert (known["covered_days"], known["unknown_supply"]) == (30, 0)
    assert (partly["covered_days"], partly["unknown_supply"]) == (30, 1)
    assert (unknown["covered_days"], unknown["pdc"], unknown["cma9"], unknown["unknown_supply"]) == (
        None,
        None,
        None,
        1,
    )
    outside = covered([("a", 0, 30)], window=Window(100, 199))
    assert (outside["covered_days"], outside["pdc"], outside["cma2"]) == (0, 0, None)


def test_refusals():
    frame = dispensed(("a", 0, 30))
    with pytest.raises(StudyError, match="is open; days covered need a first and a last day"):
        covered_days(frame, "person_id", window=Window(0, None))
    with pytest.raises(InputRefusedError, match=r"no column for person='id', window\[1\]='stop'"):
        covered_days(frame, window=("date", "stop"))


def test_concurrent_days_count_days_with_both_supplies():
    opioid = dispensed(("a", 0, 10), ("a", 5, 10))  # days 0 to 19
    sedative = dispensed(("b", 15, 10))  # days 15 to 24
    window = pl.LazyFrame({"person_id": [1, 2], "start_date": [day(0)] * 2, "end_date": [day(17)] * 2})
    assert concurrent_days(opioid, sedative, window).collect().rows() == [(1, 3), (2, 0)]


def test_a_restart_is_the_same_agent_again_after_the_gap_whatever_was_taken_in_between():
    # a: supplied to day 29, then 61 days without, more than 60; on day 90 it would have gone on
    rows = dispensed(("a", 0, 30), ("b", 40, 30), ("a", 91, 30), ("a", 300, 10), ("b", 129, 30))
    assert restarts(rows).collect().rows() == [
        (1, "restart", "a", "a", day(91), day(91)),
        (1, "restart", "a", "a", day(300), day(300)),
    ]  # b: supplied to day 69, then 59 days without: one era
    assert restarts(rows, gap_days=365).collect().is_empty()
