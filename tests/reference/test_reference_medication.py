"""Adherence and eras against AdhereR on 1,080 dispensings of 100 persons, every figure to 1e-9."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.features.adherence import covered_days
from cohort.features.medication import treatment_eras
from cohort.time import Window

FOLLOW_UP = Window(0, 729)  # AdhereR's default: two years from the first dispensing


@pytest.fixture(scope="module")
def events(shared):
    frame = pl.read_csv(shared / "reference/medication/adherer_med_events.csv", try_parse_dates=True)
    assert frame.height == 1080
    return frame


@pytest.mark.parametrize(
    ("file", "window"),
    [("adherer_fu0_ow0_365_CMA", Window(0, 364)), ("adherer_fu0_ow182_365_carry_any_CMA", Window(182, 546))],
)
def test_all_nine_measures_of_adherer(shared, events, file, window):
    expected = pl.read_csv(shared / f"reference/medication/{file}.csv").rename(str.lower)
    found = covered_days(events, "PATIENT_ID", "DATE", "DURATION", window=window, follow_up=FOLLOW_UP)
    pairs = found.join(expected, left_on="person", right_on="patient_id", suffix="_expected")
    assert pairs.height == 100
    for number in range(1, 10):
        ours, theirs = pairs[f"cma{number}"], pairs[f"cma{number}_expected"]
        assert (ours.is_null() == theirs.is_null()).all()
        assert (ours - theirs).abs().max() < 1e-9  # AdhereR prints 15 digits
    assert (pairs["pdc"] == pairs["cma7"]).all()
    assert (pairs["covered_days"] - pairs["pdc"] * 365).abs().max() < 1e-9


def test_eras_are_adherers_episodes_with_a_gap_of_60_days(shared, events):
    expected = pl.read_csv(shared / "reference/medication/adherer_episodes_gap60.csv", try_parse_dates=True)
    dispensings = events.lazy().select(person_id="PATIENT_ID", date="DATE", days_supply="DURATION")
    until = pl.col("date").min().over("person_id") + pl.duration(days=730)
    followed = dispensings.with_columns(until=until).filter(pl.col("date") <= pl.col("until"))
    eras = treatment_eras(followed, by=("person_id", "until"), gap_days=60).collect()
    # AdhereR prints the day after the last day supplied, and lets an era run on to the end of follow-up when that is
    # within the gap or the supply outlasts it; we keep the end of supply and leave censoring to a flag
    after = pl.col("end_date") + dt.timedelta(days=1)
    runs_on = after + dt.timedelta(days=60) >= pl.col("until")
    last = pl.col("start_date") == pl.col("start_date").max().over("person_id")
    ours = eras.select("person_id", "start_date", end=pl.when(last & runs_on).then("until").otherwise(after))
    theirs = expected.select(person_id="PATIENT_ID", start_date="episode.start", end="episode.end")
    assert ours.sort("person_id", "start_date").equals(theirs.sort("person_id", "start_date"))
