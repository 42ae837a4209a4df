"""Rows around an index date."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.features.windows import up_to_index, within
from cohort.time import Window

D = dt.date
ROWS = pl.LazyFrame(
    {
        "person_id": [1, 1, 1, 1, 2],
        "date": [D(2020, 2, 28), D(2020, 2, 29), D(2020, 3, 1), D(2020, 3, 2), D(2020, 3, 1)],
        "end_date": [D(2020, 2, 28), D(2020, 3, 5), D(2020, 3, 1), D(2020, 3, 2), D(2020, 3, 1)],
    }
)
INDEX = pl.LazyFrame({"person_id": [1], "index_date": [D(2020, 3, 1)]})


@pytest.mark.parametrize(
    ("window", "days"),
    [(Window(-1, 0), [29, 1]), (Window(-1, -1), [29]), (Window(None, -1), [28, 29]), (Window(1, None), [2])],
)
def test_within_holds_both_ends(window, days):
    assert [date.day for date in within(ROWS, INDEX, window).collect().sort("date")["date"]] == days


def test_what_lasts_beyond_the_index_ends_there():
    found = up_to_index(ROWS, INDEX, Window(None, None)).collect().sort("date")
    assert found["date"].to_list() == [D(2020, 2, 28), D(2020, 2, 29), D(2020, 3, 1)]
    assert found["end_date"].to_list() == [D(2020, 2, 28), D(2020, 3, 1), D(2020, 3, 1)]


def test_each_entry_of_a_person_gets_its_own_rows():
    twice = pl.LazyFrame({"person_id": [1, 1], "index_date": [D(2020, 2, 28), D(2020, 3, 1)]})
    found = within(ROWS, twice, Window(0, 0)).collect()
    assert sorted(found.select("index_date", "date").rows()) == [(D(2020, 2, 28),) * 2, (D(2020, 3, 1),) * 2]
