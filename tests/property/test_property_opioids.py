"""Daily MME against a loop over days in exact fractions; the same bits in any row order."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cohort.features.opioids import daily_mme, mme_factors

FIRST = dt.date(2020, 2, 20)
DRUGS = ("oxycodone", "methadone", "tramadol", "buprenorphine", "fentanyl")
row = st.tuples(
    st.integers(1, 2),
    st.integers(0, 20),
    st.sampled_from([None, 0, 1, 7, 10]),
    st.sampled_from([None, 10, 30, 45]),
    st.sampled_from([5, 10]),
    st.sampled_from(DRUGS),
)


def factor(factors, drug, dose):
    """Return the factor whose bin (lo, hi] holds the dose, as a fraction, or None."""
    for own, form, low, high, value in factors:
        if own == drug and form == "oral" and dose > low and (high is None or dose <= high):
            return Fraction(str(value))
    return None


def oracle(rows, version):
    """Return {(person, day): (mme or None, converted, unconverted)}."""
    factors = mme_factors(version).rows()
    active = {}
    for person, start, days, quantity, strength, drug in rows:
        known = bool(days) and quantity is not None
        for day in range(start, start + max(days or 1, 1)):
            dose = Fraction(strength * quantity, days) if known else None
            active.setdefault((person, day), []).append((drug, dose))
    found = {}
    for key, doses in active.items():
        total, converted = None, 0
        for drug in {drug for drug, _ in doses}:
            own = [dose for name, dose in doses if name == drug and dose is not None]
            rate = factor(factors, drug, sum(own)) if own else None
            if rate is not None:
                total, converted = (total or 0) + sum(own) * rate, converted + len(own)
        found[key] = (total, converted, len(doses) - converted)
    return found


def frame(rows):
    cells = [(person, FIRST + dt.timedelta(start), *rest) for person, start, *rest in rows]
    schema = {"id": pl.Int64, "date": pl.Date, "days_supply": pl.Int32, "quantity": pl.Float64,
              "strength": pl.Float64, "drug": pl.String}  # fmt: skip
    return pl.DataFrame(cells, schema=schema, orient="row")


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=10), st.sampled_from(["cdc2016", "cdc2022"]), st.randoms())
def test_daily_mme_is_the_sum_over_the_day_in_any_row_order(rows, version, random):
    found = daily_mme(frame(rows), version=version)
    assert found.equals(daily_mme(frame(random.sample(rows, len(rows))), version=version))
    expected = oracle(rows, version)
    assert found.height == len(expected)
    for person, date, mme, converted, unconverted in found.iter_rows():
        total, *counts = expected[person, (date - FIRST).days]
        assert [converted, unconverted] == counts
        # each dose is rounded to 2^-30 mg
        assert mme is None if total is None else mme == pytest.approx(float(total), abs=1e-6)
