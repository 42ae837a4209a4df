"""Lines of treatment, paths through them, defined daily doses, rapid taper, score trajectories: worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.features.doses import defined_daily_doses
from cohort.features.lines import pathways, treatment_lines
from cohort.features.opioids import rapid_taper
from cohort.features.trajectories import score_trajectory


def day(number):
    return dt.date(2020, 1, 1) + dt.timedelta(number)


def dispensed(*rows):
    """Build dispensings from (person, agent, day, supply)."""
    return pl.LazyFrame(
        {
            "person_id": [row[0] for row in rows],
            "agent": [row[1] for row in rows],
            "date": [day(row[2]) for row in rows],
            "days_supply": pl.Series([row[3] for row in rows], dtype=pl.Int32),
        }
    )


# person 1: nsaid days 0-89, opioid days 60-239 (refilled on day 150): 60 days nsaid, 30 both, 150 opioid
# person 2: nsaid days 0-89, opioid 80-169: ten days of both are a change-over
# person 3: nsaid 0-29, a gap of 70 days (more than 60), nsaid 100-129: one line, of 60 days
LINES = dispensed(
    (1, "nsaid", 0, 90),
    (1, "opioid", 60, 90),
    (1, "opioid", 150, 90),
    (2, "nsaid", 0, 90),
    (2, "opioid", 80, 90),
    (3, "nsaid", 0, 30),
    (3, "nsaid", 100, 30),
)


def test_a_line_is_what_is_taken_together_for_long_enough():
    assert treatment_lines(LINES).collect().rows() == [
        (1, 1, "nsaid", day(0), day(59), 60),
        (1, 2, "nsaid + opioid", day(60), day(89), 30),
        (1, 3, "opioid", day(90), day(239), 150),
        (2, 1, "nsaid", day(0), day(79), 80),
        (2, 2, "opioid", day(90), day(169), 80),
        (3, 1, "nsaid", day(0), day(129), 60),
    ]


def test_paths_count_persons_from_line_to_line():
    assert pathways(treatment_lines(LINES)).collect().rows() == [
        (1, "nsaid", "none", 1),
        (1, "nsaid", "nsaid + opioid", 1),
        (1, "nsaid", "opioid", 1),
        (2, "nsaid + opioid", "opioid", 1),
        (2, "opioid", "none", 1),
        (3, "opioid", "none", 1),
    ]
    assert pathways(treatment_lines(LINES), most=2).collect()["step"].unique().to_list() == [1]


def test_lines_do_not_depend_on_row_order():
    shuffled = LINES.collect().sample(fraction=1.0, shuffle=True, seed=3).lazy()
    assert treatment_lines(shuffled).collect().equals(treatment_lines(LINES).collect())


def test_defined_daily_doses_are_amount_over_ddd():
    rows = pl.LazyFrame(
        {
            "person_id": [1, 1, 1, 2, 2],
            "agent": ["ibuprofen", "ibuprofen", "unlisted", "ibuprofen", "morphine"],
            "quantity": [60.0, 30.0, 10.0, None, 20.0],
            "strength": [400.0, 600.0, 10.0, 400.0, 30.0],
        }
    )
    assigned = pl.LazyFrame({"agent": ["ibuprofen", "morphine"], "ddd": [1200.0, 100.0]})
    assert defined_daily_doses(rows, assigned).collect().rows() == [
        (1, "ibuprofen", 35.0, 0),  # 60 x 400 / 1200 = 20 and 30 x 600 / 1200 = 15
        (1, "unlisted", None, 1),
        (2, "ibuprofen", None, 1),
        (2, "morphine", 6.0, 0),
    ]


@pytest.mark.parametrize(
    ("before", "after", "fall", "rapid"),
    [
        (90.0, 60.0, 33.333333, True),
        (90.0, 63.0, 30.0, False),  # exactly 30 percent is no more than 30
        (90.0, 99.0, -10.0, False),
        (40.0, 0.0, 100.0, None),  # below 50 MME nothing is said of a taper
        (0.0, 60.0, None, None),
    ],
)
def test_a_rapid_taper_is_a_fall_of_more_than_30_percent_within_a_month(before, after, fall, rapid):
    days = [(1, day(n), before if n < 30 else after) for n in range(60)]
    daily = pl.LazyFrame(days, schema={"person_id": pl.Int64, "date": pl.Date, "mme": pl.Float64}, orient="row")
    index = pl.LazyFrame({"person_id": [1], "index_date": [day(30)]})
    _, baseline, found, flag = rapid_taper(daily, index).collect().row(0)
    assert baseline == pytest.approx(before)
    assert found == (None if fall is None else pytest.approx(fall))
    assert flag is rapid


def test_a_trajectory_has_level_and_slope():
    # NRS 8, 6, 4 on days 0, 30, 60: slope -2 points per 30 days; day 60 is asked twice, 3 and 5, mean 4
    rows = [(1, 0, 8.0), (1, 30, 6.0), (1, 60, 3.0), (1, 60, 5.0), (2, 0, 7.0), (2, 10, 6.5)]
    scores = pl.LazyFrame(
        {
            "person_id": [person for person, _, _ in rows],
            "date": [day(number) for _, number, _ in rows],
            "instrument": ["NRS"] * len(rows),
            "value": [value for _, _, value in rows],
        }
    )
    found = score_trajectory(scores, "nrs").collect().rows()
    assert found[0] == (1, 3, 8.0, 4.0, 8.0, 6.0, pytest.approx(-2.0))
    assert found[1] == (2, 2, 7.0, 6.5, 7.0, 6.75, None)  # two days make no trend
    assert score_trajectory(scores, "BDI").collect().is_empty()
