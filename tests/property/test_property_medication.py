"""Supply and coverage against a walk day by day; invariant to row order."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.features.adherence import covered_days
from cohort.features.medication import carry_over
from cohort.time import Window

FIRST = dt.date(2020, 1, 1)
fills = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 120), st.integers(-1, 40)), min_size=1, max_size=15)


def supplied(rows):
    """Return {person: days with supply}: each day, one day's supply is used up if there is any."""
    days = {}
    for person in {person for person, _, _ in rows}:
        stock, own = 0, set()
        for day in range(2000):
            stock += sum(supply for key, start, supply in rows if key == person and start == day and supply > 0)
            if stock:
                own.add(day)
                stock -= 1
        days[person] = own
    return days


def frame(rows):
    cells = [(person, FIRST + dt.timedelta(day), supply) for person, day, supply in rows]
    schema = {"person_id": pl.Int64, "date": pl.Date, "days_supply": pl.Int32}
    return pl.DataFrame(cells, schema=schema, orient="row")


@settings(max_examples=60, deadline=None)
@given(fills, st.randoms())
def test_supply_is_used_day_by_day_whatever_the_order(rows, random):
    spans = carry_over(frame(random.sample(rows, len(rows))).lazy()).collect()
    found = {person: [] for person in supplied(rows)}
    for person, _, start, end in spans.iter_rows():
        found[person] += range((start - FIRST).days, (end - FIRST).days + 1)
    assert {person: sorted(days) for person, days in found.items()} == {
        person: sorted(days) for person, days in supplied(rows).items()
    }


@settings(max_examples=60, deadline=None)
@given(fills, st.integers(0, 60), st.integers(0, 90), st.randoms())
def test_covered_days_are_the_supplied_days_of_the_window(rows, opens, length, random):
    expected = supplied(rows)
    window = Window(opens, opens + length)
    found = covered_days(frame(random.sample(rows, len(rows))), "person_id", "date", "days_supply", window=window)
    for person, covered, unknown in found.select("person", "covered_days", "unknown_supply").iter_rows():
        first = min(day for key, day, _ in rows if key == person)
        days = range(first + opens, first + opens + length + 1)
        assert unknown or covered == len(expected[person] & set(days))
        assert covered is None or covered == len(expected[person] & set(days))


@settings(max_examples=30, deadline=None)
@given(fills, st.randoms())
def test_every_measure_is_the_same_bits_in_any_row_order(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (
        covered_days(frame(order), "person_id", "date", "days_supply", window=Window(5, 94))
        for order in (rows, shuffled)
    )
    assert one.equals(other)
