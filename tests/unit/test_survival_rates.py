"""Incidence rates by hand: 0 days count in n, no person-time is no rate, years are 365.25 days."""

from __future__ import annotations

import polars as pl
import pytest

from cohort import survival as sv
from cohort.survival.rates import rate_limits


def test_events_over_person_years() -> None:
    # f: 1 event in 100 + 265.25 days = 1 person-year → 1000 per 1000; m: 0 events in 50 days.
    rows = pl.DataFrame({"t": [100.0, 265.25, 50.0], "e": [1, 0, 0], "sex": ["f", "f", "m"]})
    table = sv.incidence_rate(rows, by="sex")
    assert table.columns == ["group", "n", "n_event", "person_time", "estimate", "std_error", "lower", "upper"]
    assert table["estimate"].to_list() == pytest.approx([1000, 0])
    # Garwood for one event: 0.0253178 and 5.5716434 (tables of the Poisson distribution)
    assert table.row(0)[-2:] == pytest.approx((25.3178, 5571.6434), rel=1e-6)
    assert table["lower"][1] == 0


def test_person_time_is_whole_days_from_entry() -> None:
    rows = pl.DataFrame({"a": [0, 3], "t": [10, 5], "e": [0, 1]})
    row = sv.incidence_rate(rows, entry="a", per=1, unit="day").row(0, named=True)
    assert (row["n"], row["n_event"], row["person_time"], row["estimate"]) == (2, 1, 12, pytest.approx(1 / 12))


def test_no_person_time_is_not_estimable() -> None:
    rows = pl.DataFrame({"t": [0, 0], "e": [1, 0]})
    row = sv.incidence_rate(rows).row(0, named=True)
    assert (row["n"], row["n_event"], row["person_time"]) == (2, 1, 0)
    assert [row[name] for name in ("estimate", "std_error", "lower", "upper")] == [None] * 4


def test_person_days_beyond_32_bits() -> None:
    rows = pl.DataFrame({"t": pl.Series([2_000_000_000, 2_000_000_000], dtype=pl.Int32), "e": [True, False]})
    assert sv.incidence_rate(rows)["person_time"].to_list() == [4_000_000_000]


def test_zero_events_have_an_upper_limit_only() -> None:
    limits = rate_limits([0], [100])
    # -ln(0.025)/100: the largest rate under which seeing nothing has probability 2.5 %
    assert (limits["lower"][0], limits["upper"][0]) == (0, pytest.approx(0.036888794541139, rel=1e-14))
