"""Rows as integers: sorting and de-duplicating them is what polars does column by column."""

import datetime as dt

import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cohort.ingest.packing import settle

SCHEMA = {
    "person_id": pl.Int64(),
    "date": pl.Date(),
    "code": pl.String(),
    "setting": pl.Enum(["inpatient", "outpatient"]),
    "position": pl.Int16(),
    "quantity": pl.Float64(),
    "end_date": pl.Date(),
}
ORDER = list(SCHEMA)
DAYS = st.none() | st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31)) | st.sampled_from([dt.date(2020, 1, 1)])

rows = st.tuples(
    # far apart, so that a row takes more than 64 bits
    st.sampled_from([0, 1, 2**62, 2**63 - 1, -(2**63)]),
    DAYS,
    st.none() | st.sampled_from(["", "A", "a", "Å", "M545", "M5450"]),
    st.none() | st.sampled_from(["inpatient", "outpatient"]),
    st.none() | st.integers(-(2**15), 2**15 - 1),
    st.none() | st.sampled_from([-1.5, 0.0, 1e300]),
    DAYS,
)
few = st.tuples(*(st.just(part) for part in (7, dt.date(2020, 1, 1), "A", None, 1, None)), DAYS)


def frame(values):
    return pl.DataFrame(values, schema=SCHEMA, orient="row")


@settings(max_examples=300, deadline=None)
@example(values=[])
@example(values=[(1, None, None, None, None, None, None)] * 3)
@given(values=st.lists(rows | few, max_size=30))
def test_distinct_rows_come_back_in_order(values):
    given_rows = frame(values)
    settled, distinct = settle(given_rows, ORDER)
    expected = given_rows.unique().sort(ORDER, nulls_last=True)
    assert settled.cast(dict(SCHEMA)).equals(expected)
    assert distinct == expected.height


@settings(max_examples=300, deadline=None)
@example(values=[])
@given(values=st.lists(few | rows, max_size=30))
def test_of_rows_that_differ_only_in_their_end_the_longest_stays(values):
    given_rows = frame([(*rest, end or dt.date(2000, 1, 1)) for *rest, end in values])
    order = [*ORDER[:2], "end_date", *ORDER[2:-1]]
    settled, distinct = settle(given_rows, order, longest="end_date")
    expected = given_rows.group_by(ORDER[:-1]).agg(pl.col("end_date").max()).sort(order, nulls_last=True)
    assert settled.cast(dict(SCHEMA)).equals(expected)
    assert distinct == given_rows.n_unique()
