"""The gap rule and the two censoring flags, worked by hand; the public function on a stranger's frame."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.errors import InputRefusedError, StudyError
from cohort.features.episodes import bridge_episodes, episodes, flag_censoring

D = dt.date


def person(*encounters):
    return pl.LazyFrame(
        {
            "person_id": [1] * len(encounters),
            "date": [start for start, _ in encounters],
            "end_date": [end for _, end in encounters],
        }
    )


@pytest.mark.parametrize(("gap_days", "expected"), [(90, 1), (89, 2)])
def test_the_gap_is_start_minus_latest_end(gap_days, expected):
    # 31 January to 30 April 2020: 29 + 31 + 30 = 90 days
    rows = person((D(2020, 1, 1), D(2020, 1, 31)), (D(2020, 4, 30), D(2020, 4, 30)))
    assert bridge_episodes(rows, gap_days=gap_days).collect().height == expected


def test_a_day_visit_inside_an_admission_does_not_shorten_it():
    # the visit of 5 January ends long before the admission does; 31 January to 1 March is 30 days
    rows = person((D(2020, 1, 1), D(2020, 1, 31)), (D(2020, 1, 5), D(2020, 1, 5)), (D(2020, 3, 1), D(2020, 3, 1)))
    found = bridge_episodes(rows, gap_days=30).collect()
    assert found.rows() == [(1, D(2020, 1, 1), D(2020, 3, 1), 61, 3)]  # 31 + 29 + 1 days


def test_a_negative_gap_is_refused():
    with pytest.raises(StudyError, match="gap_days is -1"):
        bridge_episodes(person((D(2020, 1, 1), D(2020, 1, 1))), gap_days=-1)


@pytest.mark.parametrize(
    ("observed", "left", "right"),
    [
        ((D(2019, 1, 1), D(2021, 1, 1)), False, False),
        ((D(2020, 5, 2), D(2020, 9, 8)), False, False),  # exactly 30 days before and 90 days after
        ((D(2020, 5, 3), D(2020, 9, 8)), True, False),
        ((D(2020, 5, 2), D(2020, 9, 7)), False, True),
        ((D(2020, 6, 1), D(2020, 6, 10)), True, True),
        ((D(2018, 1, 1), D(2018, 6, 1)), True, True),  # enrolled, but not then
    ],
)
def test_flags_say_what_was_not_observed(observed, left, right):
    rows = person((D(2020, 6, 1), D(2020, 6, 10)))
    enrolment = pl.LazyFrame({"person_id": [1], "start_date": [observed[0]], "end_date": [observed[1]]})
    flagged = flag_censoring(bridge_episodes(rows), enrolment, gap_days=90, washout_days=30).collect()
    assert flagged.select("left_censored", "right_censored").row(0) == (left, right)


def test_without_any_enrolment_the_flags_are_unknown():
    nobody = pl.LazyFrame(schema={"person_id": pl.Int64, "start_date": pl.Date, "end_date": pl.Date})
    flagged = flag_censoring(bridge_episodes(person((D(2020, 6, 1), D(2020, 6, 1)))), nobody).collect()
    assert flagged.select("left_censored", "right_censored").row(0) == (None, None)


def test_public_episodes_on_any_frame():
    pandas_like = {
        "patient": ["b", "a", "a", None, "a"],
        "seen": [D(2020, 1, 1), D(2020, 6, 1), D(2020, 1, 1), D(2020, 1, 1), None],
    }
    found = episodes(pandas_like, person="patient", start="seen", gap_days=30)
    assert found.rows() == [
        ("a", 1, D(2020, 1, 1), D(2020, 1, 1), 1, 1),
        ("a", 2, D(2020, 6, 1), D(2020, 6, 1), 1, 1),
        ("b", 1, D(2020, 1, 1), D(2020, 1, 1), 1, 1),
    ]
    assert found.columns == ["person", "episode", "start", "end", "days", "encounters"]


def test_public_episodes_take_datetimes_and_ends_and_stay_lazy():
    lazy = pl.LazyFrame(
        {"id": [1, 1], "date": [dt.datetime(2020, 1, 1, 23), dt.datetime(2020, 2, 1)], "out": [D(2020, 1, 20), None]}
    )
    found = episodes(lazy, end="out", gap_days=12)
    assert isinstance(found, pl.LazyFrame)
    assert found.collect().rows() == [(1, 1, D(2020, 1, 1), D(2020, 2, 1), 32, 2)]


def test_public_episodes_refuse_an_absent_column_by_name():
    with pytest.raises(InputRefusedError, match="no column for start='date'"):
        episodes(pl.DataFrame({"id": [1]}))
