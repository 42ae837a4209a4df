"""Duration, spread, unpredictability, intensity and flares of pain care, worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.codes.codelist import Codelist
from cohort.errors import StudyError
from cohort.features.flares import care_flares
from cohort.features.pain_course import (
    amplification,
    first_new_region,
    gap_variation,
    pain_history,
    pain_spread,
    visit_intensity,
)
from cohort.time import Window

BACK, NECK, EVERYWHERE, NOWHERE = "M545", "M542", "M797", "G8921"


def day(number):
    return dt.date(2021, 1, 1) + dt.timedelta(number)


def diagnosed(*rows):
    """Build diagnoses of person 1 from (day, code) or (day, code, last day, setting)."""
    full = [(*row, row[0], "outpatient") if len(row) == 2 else row for row in rows]
    return pl.LazyFrame(
        [(1, day(first), day(last), "icd10cm", code, setting) for first, code, last, setting in full],
        schema={"person_id": pl.Int64, "date": pl.Date, "end_date": pl.Date, "system": pl.String, "code": pl.String,
                "setting": pl.String},
        orient="row",
    )  # fmt: skip


INDEX = pl.LazyFrame({"person_id": [1, 2], "index_date": [day(500), day(500)]})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (0, 0, 0)),
        # day 480 to the index on day 500, both included: 21 days
        ([(480, BACK)], (21, 0, 0)),
        ([(410, BACK)], (91, 0, 0)),  # seen 90 days before: still the same episode
        ([(409, BACK)], (0, 1, 1)),  # 91 days: over
        # days 0 to 60 are one episode of 61 days, day 300 another of one, day 450 to index the current one
        ([(0, BACK), (60, BACK), (300, BACK), (450, BACK), (490, BACK)], (51, 2, 62)),
        ([(490, BACK), (501, BACK), (700, BACK)], (11, 0, 0)),  # the future is not known at index
        # a stay that ends after the index is cut there; it began on day 400
        ([(400, BACK, 520, "inpatient")], (101, 0, 0)),
        ([(480, NECK)], (0, 0, 0)),  # another condition
    ],
)
def test_history_as_known_at_index(rows, expected):
    found = pain_history(diagnosed(*rows), INDEX, Codelist.shipped("low_back_pain")).collect()
    assert found.rows() == [(1, day(500), *expected), (2, day(500), 0, 0, 0)]


@pytest.mark.parametrize(
    ("rows", "regions", "widespread"),
    [
        ([(321, BACK), (500, NECK), (400, NOWHERE)], 2, False),  # day 321 is the first of 180 up to the index
        ([(320, BACK), (501, NECK)], 0, False),
        ([(400, BACK), (400, NECK), (400, "R51")], 3, True),
        ([(400, EVERYWHERE)], 1, True),
    ],
)
def test_spread_counts_regions_in_the_window(rows, regions, widespread):
    found = pain_spread(diagnosed(*rows), INDEX).collect()
    assert found.rows() == [(1, day(500), regions, widespread), (2, day(500), 0, False)]


def test_the_first_new_region_is_dated_where_it_is_seen():
    rows = diagnosed((490, BACK), (510, BACK), (530, NECK), (520, NOWHERE), (530, "R51"), (600, EVERYWHERE))
    assert first_new_region(rows, INDEX).collect().rows() == [(1, day(500), day(530), "head_face")]
    assert first_new_region(diagnosed((400, BACK), (510, BACK)), INDEX).collect().is_empty()
    assert first_new_region(diagnosed((500, NECK), (510, NECK)), INDEX).collect().is_empty()  # known on the index day
    # what was seen before the look-back is new again
    found = first_new_region(diagnosed((400, BACK), (510, BACK)), INDEX, look_back_days=99).collect()
    assert found["date"].to_list() == [day(510)]


def test_gap_variation_is_the_sample_coefficient_of_variation():
    # days 0, 10, 20, 40, 80 (twice): gaps 10, 10, 20, 40; mean 20, sum of squares about it 100 + 100 + 0 + 400 = 600
    rows = diagnosed(*[(number, BACK) for number in (0, 10, 20, 40, 80, 80)])
    assert gap_variation(rows).collect().row(0) == (1, 4, pytest.approx((600 / 3) ** 0.5 / 20, abs=1e-12))
    assert gap_variation(rows, minimum=5).collect().row(0) == (1, 4, None)
    with pytest.raises(StudyError, match="minimum is 1"):
        gap_variation(rows, minimum=1)


@pytest.mark.parametrize(
    ("days", "blocks", "trend"),
    [
        # blocks of 28 days with 1, 2 and 3 encounter days: one more each
        ([0, 28, 30, 56, 58, 60], 3, 1.0),
        ([0, 1, 2, 28, 56], 3, -1.0),  # 3, 1, 1: mean 5/3, slope (3 x (0 + 1 + 2) - 3 x 5) / (3 x 5 - 9)
        ([0, 60], 3, 0.0),  # 1, 0, 1
        ([0, 28], 2, None),  # two points always make a line
        ([0, 0], 1, None),
    ],
)
def test_amplification_is_the_slope_over_blocks_empty_ones_included(days, blocks, trend):
    found = amplification(diagnosed(*[(number, BACK) for number in days])).collect()
    assert found.rows() == [(1, day(0), blocks, trend)]


def test_intensity_is_per_thirty_days_outside_hospital():
    # enrolled days 0 to 99 and 200 to 209; in hospital days 10 to 19: 100 days at risk; visits on days 5, 50 and 205
    rows = diagnosed(
        (5, BACK), (5, NECK), (50, BACK), (205, BACK), (150, BACK), (10, BACK, 19, "inpatient"), (12, BACK)
    )  # fmt: skip
    spans = pl.LazyFrame(
        {"person_id": [1, 1, 2], "start_date": [day(0), day(200), day(0)], "end_date": [day(99), day(209), day(59)]}
    )
    assert visit_intensity(rows, spans).collect().rows() == [(1, 3, 100, 3 * 30 / 100), (2, 0, 60, 0.0)]


def test_someone_in_hospital_all_the_time_has_no_intensity():
    spans = pl.LazyFrame({"person_id": [1], "start_date": [day(0)], "end_date": [day(9)]})
    found = visit_intensity(diagnosed((0, BACK, 9, "inpatient")), spans).collect()
    assert found.row(0) == (1, 0, 0, None)


NO_PROCEDURES = pl.LazyFrame(schema={"person_id": pl.Int64, "date": pl.Date, "system": pl.String, "code": pl.String})


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, BACK), (60, BACK)], []),
        ([(0, BACK), (30, BACK, 30, "emergency")], [(0, 30, 30, 1)]),
        # emergency visits 28 days apart are one flare, 29 days apart two
        ([(0, BACK, 0, "emergency"), (28, BACK, 28, "emergency")], [(0, 0, 28, 2)]),
        ([(0, BACK, 0, "emergency"), (29, BACK, 29, "emergency")], [(0, 0, 0, 1), (0, 29, 29, 1)]),
        # blocks of 28 days: counts 1, 1, 4, 1; median 1; the third has twice as many
        ([(number, BACK) for number in (0, 28, 60, 62, 64, 66, 90)], [(0, 60, 66, 4)]),
        # counts 1, 0, 0, 2: the median is 0.5, and two encounter days are enough
        ([(0, BACK), (84, BACK), (85, BACK)], [(0, 84, 85, 2)]),
        # one block: its count is its own median
        ([(number, BACK) for number in (0, 1, 2, 3)], []),
        # an emergency visit in another episode
        ([(0, BACK), (200, BACK, 200, "emergency")], [(200, 200, 200, 1)]),
    ],
)
def test_care_flares(rows, expected):
    found = care_flares(diagnosed(*rows), NO_PROCEDURES).collect()
    assert found.columns == ["person_id", "episode_start", "start", "end", "signs"]
    assert found.rows() == [(1, *(day(number) for number in row[:3]), row[3]) for row in expected]


def test_an_injection_inside_an_episode_is_a_sign():
    shots = pl.LazyFrame(
        {
            "person_id": [1, 1, 1],
            "date": [day(40), day(200), day(20)],
            "system": ["cpt", "cpt", "cpt"],
            "code": ["62323", "62323", "97110"],  # epidural; epidural after the episode; exercise
        }
    )
    found = care_flares(diagnosed((0, BACK), (60, BACK)), shots).collect()
    assert found.rows() == [(1, day(0), day(40), day(40), 1)]


def test_windows_may_be_narrowed():
    history = pain_history(
        diagnosed((0, BACK), (490, BACK)), INDEX, Codelist.shipped("low_back_pain"), window=Window(-365, -1)
    )
    assert history.collect().row(0) == (1, day(500), 11, 0, 0)
