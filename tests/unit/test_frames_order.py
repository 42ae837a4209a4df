"""Rows that lie in order stay as they are; all others are sorted, whatever is claimed of them."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.frames import in_order

ROWS = [("b", 2), ("a", 3), ("a", 1), ("b", 2), ("b", 1)]
SORTED = [("a", 1), ("a", 3), ("b", 1), ("b", 2), ("b", 2)]


def frame(rows):
    return pl.DataFrame(rows, schema=["person", "day"], orient="row").lazy()


@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], SORTED, SORTED[::-1]])
def test_the_rows_come_sorted_by_all_keys(rows):
    assert in_order(frame(rows), ("person", "day")).collect().rows() == SORTED


def test_a_second_key_out_of_order_inside_one_person_is_seen():
    assert in_order(frame([("a", 2), ("a", 1), ("b", 0)]), ("person", "day")).collect()["day"].to_list() == [1, 2, 0]


def test_rows_in_order_are_not_moved():
    """The third column would come out otherwise if ties were sorted again, or sorted by it."""
    tied = pl.LazyFrame({"person": [1, 1, 2], "day": [5, 5, 3], "position": [2, 1, 1]})
    assert in_order(tied, ("person", "day")).collect()["position"].to_list() == [2, 1, 1]


def test_a_claim_of_order_is_not_believed():
    claimed = pl.DataFrame({"person": [2, 1]}).with_columns(pl.col("person").set_sorted())
    assert in_order(claimed.lazy(), ("person",)).collect()["person"].to_list() == [1, 2]


def test_missing_keys_are_sorted_first_as_polars_does():
    assert in_order(frame([("b", 1), (None, 2), ("a", None)]), ("person", "day")).collect()["person"].to_list() == [
        None,
        "a",
        "b",
    ]


@pytest.mark.parametrize("rows", [[], [("a", 1)]])
def test_fewer_than_two_rows_are_in_order(rows):
    empty = pl.DataFrame(rows, schema={"person": pl.String, "day": pl.Int64}, orient="row")
    assert in_order(empty.lazy(), ("person", "day")).collect().rows() == rows


def test_what_is_not_asked_for_later_does_not_take_a_key_away():
    assert in_order(frame(ROWS), ("person", "day")).select("day").filter(pl.col("day") > 1).collect()[
        "day"
    ].to_list() == [3, 2, 2]
