"""Nothing after the index date moves a feature; row order and exact duplicates do not either."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.codes.codelist import Codelist
from cohort.features.pain_course import gap_variation, pain_history, pain_spread
from cohort.features.sensitization import sensitization_index
from cohort.features.windows import up_to_index
from cohort.time import Window

FIRST = dt.date(2020, 1, 1)
INDEX_DAY = 200
SCHEMA = {"person_id": pl.Int64, "date": pl.Date, "end_date": pl.Date, "system": pl.String, "code": pl.String}
CODES = ("M545", "M542", "M797", "R51", "G4700", "K580", "F329")
PAIN = Codelist.shipped("pain_regions")


def rows_between(first, last):
    return st.lists(
        st.tuples(st.integers(1, 3), st.integers(first, last), st.integers(0, 20), st.sampled_from(CODES)), max_size=12
    )


def frame(rows):
    cells = [
        (person, FIRST + dt.timedelta(day), FIRST + dt.timedelta(day + length), "icd10cm", code)
        for person, day, length, code in rows
    ]
    return pl.DataFrame(cells, schema=SCHEMA, orient="row").lazy()


INDEX = pl.LazyFrame({"person_id": [1, 2, 3], "index_date": [FIRST + dt.timedelta(INDEX_DAY)] * 3})


def features(rows):
    """Return every feature of the index date, as frames."""
    diagnoses = frame(rows)
    past = up_to_index(diagnoses, INDEX, Window(-180, 0))
    lazy = [
        pain_history(diagnoses, INDEX, PAIN),
        pain_spread(diagnoses, INDEX),
        gap_variation(past, minimum=2),
        sensitization_index(past),
    ]
    return [feature.collect() for feature in lazy]


@settings(max_examples=30, deadline=None)
@given(rows_between(0, INDEX_DAY), rows_between(INDEX_DAY + 1, 400), st.randoms())
def test_the_future_the_order_and_duplicates_change_nothing(past, future, random):
    alone = features(past)
    mixed = [*past, *past[:3], *future]
    assert all(one.equals(other) for one, other in zip(alone, features(random.sample(mixed, len(mixed))), strict=True))


@settings(max_examples=30, deadline=None)
@given(rows_between(0, INDEX_DAY))
def test_how_long_a_stay_lasts_beyond_the_index_is_not_known(past):
    longer = [
        (person, day, length + (300 if day + length >= INDEX_DAY else 0), code) for person, day, length, code in past
    ]
    assert all(one.equals(other) for one, other in zip(features(past), features(longer), strict=True))
