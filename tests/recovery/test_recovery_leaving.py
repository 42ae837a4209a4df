"""Weights for leaving, worked by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from cohort.validity.leaving import weighted_spells

INDEX = dt.date(2020, 1, 10)
"""Months end on days 21, 50 and 81; the visit of the index date is recent on the first two of them."""


def rows(**columns: list[object]) -> pl.DataFrame:
    persons = len(next(iter(columns.values())))
    return pl.DataFrame({"person_id": range(1, persons + 1), "index_date": [INDEX] * persons, **columns})


def test_whoever_stays_stands_for_those_of_the_same_history_who_left():
    # 1 leaves on day 21; 2, 3 and 4 are followed to day 90, and 2 is seen again on day 60. Months after a recent visit:
    # 4 + 3 + 1 (person 2 on day 81) = 8, one of which is left: hazard 1/8. Nobody leaves without one: hazard 0.
    ends = rows(censor_day=[21, 90, 90, 90], censor_reason=["disenrolment"] + ["longest follow-up"] * 3,
                death_day=[None] * 4)  # fmt: skip
    visits = pl.DataFrame({"person_id": [1, 2, 3, 4, 2], "date": [INDEX] * 4 + [INDEX + dt.timedelta(60)]})
    table = rows(entry=[30] * 4, time=[21, 90, 90, 85], cause=[0, 0, 1, 2])
    table = table.filter(pl.col("time") > pl.col("entry"))
    found = weighted_spells(table, ends.with_columns(pl.col("death_day").cast(pl.Int64)), visits)
    stay = 8 / 7
    pieces = found.select("person_id", "entry", "time", "cause", "weight").rows()
    assert [piece[:4] for piece in pieces] == [
        (2, 30, 50, 0), (2, 50, 81, 0), (2, 81, 90, 0),
        (3, 30, 50, 0), (3, 50, 81, 0), (3, 81, 90, 1),
        (4, 30, 50, 0), (4, 50, 81, 0), (4, 81, 85, 2),
    ]  # fmt: skip
    expected = [stay, stay**2, stay**3, stay, stay**2, stay**2, stay, stay**2, stay**2]
    assert [piece[4] for piece in pieces] == pytest.approx(expected, rel=1e-12)


def test_without_leaving_all_weights_are_one():
    ends = rows(censor_day=[365, 365], censor_reason=["longest follow-up"] * 2, death_day=[200, None])
    table = rows(entry=[89, 89], time=[200, 365], cause=[2, 1])
    found = weighted_spells(table, ends, pl.DataFrame({"person_id": [1, 2], "date": [INDEX] * 2}))
    assert found["weight"].unique().to_list() == [1.0]
    assert found.group_by("person_id").agg(pl.col("time").max(), pl.col("cause").sum()).sort("person_id").rows() == [
        (1, 200, 2), (2, 365, 1)
    ]  # fmt: skip
