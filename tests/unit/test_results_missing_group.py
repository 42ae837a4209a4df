"""Persons whose group could not be known: no group of their own, and no reason to stop a run."""

from __future__ import annotations

import polars as pl
import pytest

import cohort as co

MISSING = co.AnalysisTable(
    (
        pl.DataFrame(
            {
                "person_id": range(6),
                "index_date": [None] * 6,
                "entry": [0] * 6,
                "time": [10, 20, 30, 40, 50, 60],
                "cause": [1, 0, 1, 0, 1, 0],
                "treated": [True, True, False, False, None, None],
                "treated_missing": [None] * 4 + ["not enrolled"] * 2,
            }
        ),
    ),
    ("pain",),
    0,
    {"treated": "boolean"},
)


@pytest.mark.parametrize("analysis", [co.cumulative_incidence, co.kaplan_meier, co.incidence_rate])
def test_persons_without_a_group_are_left_out_and_said_to_be(analysis):
    found = analysis(by="treated").estimate(1, MISSING).frame
    assert found["group"].unique().sort().to_list() == ["false", "true"]
    assert found["n"].max() == 2
    assert found["method"].str.ends_with("; persons with a missing treated left out").all()


@pytest.mark.parametrize("analysis", [co.cumulative_incidence, co.kaplan_meier, co.incidence_rate])
def test_nobody_is_left_out_where_nothing_is_grouped(analysis):
    found = analysis().estimate(1, MISSING).frame
    assert found["n"].max() == 6
    assert not found["method"].str.contains("left out").any()


def test_how_many_a_model_left_out_is_not_in_its_words():
    found = co.cox("treated").estimate(1, MISSING).frame
    assert "2" not in "".join(found["method"].drop_nulls())
