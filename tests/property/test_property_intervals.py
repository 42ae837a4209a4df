"""Intervals against sets of days: the slow definition of each operation, on generated spans."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.features.intervals import complement, days_covered, intersect, split, union

FIRST = dt.date(2020, 2, 20)  # 29 February 2020 lies inside the generated range
SCHEMA = {"person_id": pl.Int64, "start_date": pl.Date, "end_date": pl.Date}

spans = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 30), st.integers(0, 8)).map(
        lambda span: (span[0], FIRST + dt.timedelta(span[1]), FIRST + dt.timedelta(span[1] + span[2]))
    ),
    max_size=10,
)


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy()


def days_of(rows):
    """Return {person: set of days} of inclusive spans."""
    days = {}
    for person, start, end in rows:
        days.setdefault(person, set()).update(start + dt.timedelta(n) for n in range((end - start).days + 1))
    return days


def runs_of(days, bridge_days=0):
    """Return the maximal spans of {person: days}, bridging gaps of up to ``bridge_days`` missing days."""
    found = []
    for person, own in sorted(days.items()):
        for day in sorted(own):
            if found and found[-1][0] == person and (day - found[-1][2]).days <= bridge_days + 1:
                found[-1][2] = day
            else:
                found.append([person, day, day])
    return [tuple(run) for run in found]


@settings(max_examples=60, deadline=None)
@given(spans, st.integers(0, 5), st.randoms())
def test_union_is_the_runs_of_the_covered_days_in_any_row_order(rows, bridge_days, random):
    shuffled = random.sample(rows, len(rows)) + rows[:2]  # and duplicates change nothing
    assert union(frame(shuffled), bridge_days=bridge_days).collect().rows() == runs_of(days_of(rows), bridge_days)


@settings(max_examples=60, deadline=None)
@given(spans, spans)
def test_intersection_complement_and_days_are_those_of_sets(one, other):
    left, right = days_of(one), days_of(other)
    both = {person: left[person] & right[person] for person in left.keys() & right.keys()}
    missing = {person: right[person] - left.get(person, set()) for person in right}
    assert intersect(frame(one), frame(other)).collect().rows() == runs_of(both)
    assert complement(frame(one), frame(other)).collect().rows() == runs_of(missing)
    assert dict(days_covered(frame(one)).collect().rows()) == {person: len(days) for person, days in left.items()}
    within = days_covered(frame(one), frame(other)).collect()
    assert dict(within.rows()) == {person: len(both.get(person, ())) for person in right}
    assert within.schema["days"] == pl.Int64


@settings(max_examples=60, deadline=None)
@given(spans, st.lists(st.tuples(st.integers(1, 3), st.integers(0, 40)), max_size=8))
def test_splitting_begins_an_interval_on_every_cut_inside(rows, offsets):
    cuts = [(person, FIRST + dt.timedelta(offset)) for person, offset in offsets]
    expected = []
    for person, start, end in rows:
        inside = sorted({day for key, day in cuts if key == person and start < day <= end})
        starts = [start, *inside]
        ends = [day - dt.timedelta(1) for day in inside] + [end]
        expected += [(person, *pair) for pair in zip(starts, ends, strict=True)]
    at = pl.DataFrame(cuts, schema={"person_id": pl.Int64, "date": pl.Date}, orient="row").lazy()
    assert split(frame(rows), at).collect().rows() == sorted(expected)
