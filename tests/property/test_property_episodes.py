"""Episodes against a loop over the encounters of one person at a time."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.features.episodes import bridge_episodes, flag_censoring

FIRST = dt.date(2019, 12, 15)
encounters = st.lists(
    st.tuples(
        st.integers(1, 3), st.sampled_from(["neck", "low_back"]), st.integers(0, 400), st.sampled_from([0, 0, 0, 3, 60])
    ),
    max_size=25,
)


def oracle(rows, gap_days):
    """Return (person, region, start, end, days, encounters) by walking each key's encounters in order of start."""
    found = []
    for person, region, start, length in sorted(rows):
        end = start + length
        last = found[-1] if found else None
        if last and last["key"] == (person, region) and start - last["end"] <= gap_days:
            last["end"] = max(last["end"], end)
            last["starts"].add(start)
        else:
            found.append({"key": (person, region), "start": start, "end": end, "starts": {start}})
    return [(*e["key"], date(e["start"]), date(e["end"]), e["end"] - e["start"] + 1, len(e["starts"])) for e in found]


def date(offset):
    return FIRST + dt.timedelta(offset)


def frame(rows):
    cells = [(person, region, date(start), date(start + length)) for person, region, start, length in rows]
    schema = {"person_id": pl.Int64, "region": pl.String, "date": pl.Date, "end_date": pl.Date}
    return pl.DataFrame(cells, schema=schema, orient="row").lazy()


@settings(max_examples=80, deadline=None)
@given(encounters, st.sampled_from([0, 1, 30, 90]), st.randoms())
def test_episodes_equal_the_walk_whatever_the_order_and_the_duplicates(rows, gap_days, random):
    shuffled = random.sample(rows, len(rows)) + rows[:3]
    found = bridge_episodes(frame(shuffled), by=("person_id", "region"), gap_days=gap_days).collect()
    assert found.rows() == oracle(rows, gap_days)
    assert found.columns == ["person_id", "region", "start", "end", "days", "encounters"]


@settings(max_examples=40, deadline=None)
@given(encounters, st.integers(1, 7))
def test_buckets_hold_what_the_whole_holds(rows, buckets):
    whole = bridge_episodes(frame(rows), by=("person_id", "region")).collect()
    parts = [
        bridge_episodes(
            frame([row for row in rows if row[0] % buckets == bucket]), by=("person_id", "region")
        ).collect()
        for bucket in range(buckets)
    ]
    assert pl.concat(parts).sort("person_id", "region", "start").equals(whole)


@settings(max_examples=60, deadline=None)
@given(
    encounters,
    st.lists(st.tuples(st.integers(1, 3), st.integers(-300, 300), st.integers(0, 400)), max_size=3),
    st.sampled_from([0, 30, 90]),
    st.sampled_from([0, 60]),
)
def test_an_episode_is_censored_unless_every_day_around_it_is_observed(rows, spans, gap_days, washout_days):
    observed = {}
    for person, start, length in spans:
        observed.setdefault(person, set()).update(range(start, start + length + 1))
    enrolment = merged(observed)
    found = flag_censoring(
        bridge_episodes(frame(rows), gap_days=gap_days), enrolment, gap_days=gap_days, washout_days=washout_days
    ).collect()
    for row in found.iter_rows(named=True):
        days = observed.get(row["person_id"])
        start, end = (row["start"] - FIRST).days, (row["end"] - FIRST).days
        before, after = set(range(start - washout_days, start + 1)), set(range(end, end + gap_days + 1))
        assert row["left_censored"] == (None if days is None else not before <= days)
        assert row["right_censored"] == (None if days is None else not after <= days)


def merged(observed):
    """Return {person: days} as disjoint spans that do not touch, as the store keeps them."""
    spans = []
    for person, days in observed.items():
        for day in sorted(days):
            if spans and spans[-1][0] == person and spans[-1][2] == day - 1:
                spans[-1][2] = day
            else:
                spans.append([person, day, day])
    schema = {"person_id": pl.Int64, "start_date": pl.Date, "end_date": pl.Date}
    return pl.DataFrame([(p, date(a), date(b)) for p, a, b in spans], schema=schema, orient="row").lazy()
