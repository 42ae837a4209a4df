"""The public feature functions on other people's frames, and what they refuse without quoting a cell."""

from __future__ import annotations

import datetime as dt

import duckdb
import polars as pl
import pytest

from cohort.errors import InputRefusedError
from cohort.features.adherence import covered_days
from cohort.features.comorbidity import comorbidity
from cohort.features.episodes import episodes
from cohort.features.opioids import daily_mme

ROWS = pl.DataFrame(
    {
        "id": ["p1", "p1", "p2"],
        "date": [dt.date(2020, 1, 1), dt.date(2020, 3, 1), dt.date(2020, 1, 1)],
        "code": ["I21.0", "E11.9", None],
        "days_supply": [30, None, 10],
        "quantity": [30.0, 30.0, None],
        "strength": [10.0, 10.0, 10.0],
        "drug": ["morphine", "morphine", "morphine"],
    }
)
CALLS = [comorbidity, episodes, covered_days, daily_mme]


@pytest.mark.parametrize("call", CALLS)
def test_any_kind_of_frame_gives_the_same_result(call):
    pandas = pytest.importorskip("pandas")
    expected = call(ROWS)
    relation = duckdb.sql("select * from ROWS")  # duckdb finds the frame by its name
    in_pandas = pandas.DataFrame(ROWS.to_dict(as_series=False))
    in_pandas["date"] = pandas.to_datetime(in_pandas["date"])
    for frame in (ROWS.to_dict(), ROWS.to_arrow(), relation, in_pandas):
        assert call(frame).equals(expected)
    lazy = call(ROWS.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(expected)


@pytest.mark.parametrize("call", CALLS)
def test_an_empty_frame_gives_an_empty_result(call):
    found = call(ROWS.clear())
    assert found.height == 0
    assert found.columns == call(ROWS).columns


def test_a_pandas_frame_without_rows_has_no_persons():
    pandas = pytest.importorskip("pandas")
    for empty in (pandas.DataFrame({"id": [], "code": []}), pandas.DataFrame(columns=["id", "code"])):
        assert comorbidity(empty).shape == (0, 20)


@pytest.mark.parametrize(
    ("call", "column", "values", "message"),
    [
        (comorbidity, "code", [410, 250, 1], "the column for code='code' is Int64; codes and names are text"),
        (episodes, "date", ["SECRET"] * 3, "the column for start='date' is String; parse it to dates first"),
        (covered_days, "days_supply", ["SECRET"] * 3, "the column for days_supply='days_supply' is String"),
        (daily_mme, "strength", ["SECRET"] * 3, "the column for strength='strength' is String; convert it to numbers"),
        (daily_mme, "drug", [1, 2, 3], "the column for drug='drug' is Int64"),
    ],
)
def test_another_kind_of_value_is_refused_by_name_without_the_value(call, column, values, message):
    with pytest.raises(InputRefusedError, match=message) as refusal:
        call(ROWS.with_columns(pl.Series(column, values)))
    assert "SECRET" not in str(refusal.value)


def test_whole_numbers_may_come_as_floats_with_gaps():
    floats = ROWS.with_columns(days_supply=pl.Series([30.0, float("nan"), 10.0]))
    assert covered_days(floats).equals(covered_days(ROWS))
    assert daily_mme(floats).equals(daily_mme(ROWS))


@pytest.mark.parametrize("codes", [["SECRET", 250], ["SECRET"]], ids=["text and numbers", "too few"])
def test_cells_that_make_no_column_are_refused_without_the_cell(codes):
    pandas = pytest.importorskip("pandas")
    frames = [{"id": [1, 2], "code": codes}]
    if len(codes) == 2:
        frames.append(pandas.DataFrame(frames[0]))
    for frame in frames:
        with pytest.raises(InputRefusedError, match="give every column one type and one value per row") as refusal:
            comorbidity(frame)
        assert "SECRET" not in str(refusal.value)
