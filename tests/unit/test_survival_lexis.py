"""Splitting follow-up and counting prevalence, by hand and against R's survSplit."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import StudyError


def test_pieces_by_hand() -> None:
    # Aged 39 years less 5 days at index, followed 0–20, event on day 20: under the cut until day 5, above from then on.
    rows = pl.DataFrame({"a": [0], "b": [20], "e": [2], "age": [40 * 365 - 5]})
    pieces = sv.split_follow_up(rows, "a", "b", "e", [30 * 365, 40 * 365], origin="age", band="age_band")
    assert pieces.select("a", "b", "e", "age_band").rows() == [(0, 5, 0, 30 * 365), (5, 20, 2, 40 * 365)]


def test_an_event_on_a_cut_lies_before_it() -> None:
    rows = pl.DataFrame({"a": [0], "b": [10], "e": [True]})
    assert sv.split_follow_up(rows, "a", "b", "e", [10]).rows() == [(0, 10, True, None)]


def test_nothing_is_lost_on_three_scales() -> None:
    random = np.random.default_rng(1)
    start = random.integers(0, 50, 500)
    rows = pl.DataFrame(
        {
            "a": start,
            "b": start + random.integers(1, 900, 500),
            "e": random.integers(0, 3, 500),
            "age": random.integers(6000, 30000, 500),
            "day": random.integers(17000, 19000, 500),
        }
    )
    pieces = rows
    for cuts, origin, band in [
        ([365 * y for y in (20, 40, 60)], "age", "ages"),
        ([17500, 18000, 18500], "day", "year"),
        ([30, 90, 365], None, "since"),
    ]:
        pieces = sv.split_follow_up(pieces.lazy(), "a", "b", "e", cuts, origin, band)
    pieces = pieces.collect()
    for whole, split in ((rows, pieces),):
        assert (whole["b"] - whole["a"]).sum() == (split["b"] - split["a"]).sum()
        assert (
            whole["e"]
            .value_counts()
            .filter(pl.col("e") > 0)
            .sort("e")
            .equals(split["e"].value_counts().filter(pl.col("e") > 0).sort("e"))
        )
    assert len(pieces) > len(rows)
    curves = [
        sv.kaplan_meier(f.with_columns(x=pl.col("e") == 1), "b", "x", entry="a").to_polars() for f in (rows, pieces)
    ]
    events = [curve.filter(pl.col("n_event") > 0).select("time", "n_risk", "estimate") for curve in curves]
    assert events[0].equals(events[1])


def test_survsplit(shared) -> None:
    folder = shared / "reference" / "survival" / "data"
    theirs = pl.read_csv(folder / "lung_survsplit.csv", null_values=["NA"])
    lung = pl.read_csv(folder / "lung.csv", null_values=["NA"]).with_row_index("pid", offset=1)
    lung = lung.with_columns(tstart=0, event=(pl.col("status") == 2).cast(pl.Int64))
    ours = sv.split_follow_up(lung, "tstart", "time", "event", [90, 180, 365]).sort("pid", "tstart")
    assert (
        ours.select("pid", "tstart", "time", "event").rows() == theirs.select("pid", "tstart", "time", "event").rows()
    )
    band = {None: 1, 90: 2, 180: 3, 365: 4}
    assert [band[cut] for cut in ours["band"]] == theirs["ep"].to_list()


def test_follow_up_of_0_days_stays() -> None:
    rows = pl.DataFrame({"a": [0, 10], "b": [0, 10], "e": [1, 0]})
    pieces = sv.split_follow_up(rows, "a", "b", "e", [5, 20])
    assert pieces.sort("a").rows() == [(0, 0, 1, None), (10, 10, 0, 5)]


def test_cuts_that_are_no_cuts() -> None:
    rows = pl.DataFrame({"a": [0], "b": [1], "e": [0]})
    for cuts in ([], [5, 5], [9, 3]):
        with pytest.raises(StudyError, match="ascending"):
            sv.split_follow_up(rows, "a", "b", "e", cuts)


OBSERVED = pl.DataFrame(
    {
        "person_id": [1, 2, 3, 3, 4],
        "start": [date(2020, 1, 1), date(2020, 1, 1), date(2019, 1, 1), date(2020, 6, 1), date(2021, 1, 1)],
        "end": [date(2020, 12, 31), date(2020, 3, 1), date(2020, 1, 31), date(2020, 12, 31), date(2021, 12, 31)],
        "sex": ["f", "m", "f", "f", "m"],
    }
)
PAIN = pl.DataFrame(
    {
        "person_id": [1, 2, 3, 4],
        "start": [date(2020, 3, 1), date(2020, 3, 1), date(2020, 3, 1), date(2020, 3, 1)],
        "end": [date(2020, 3, 1), date(2020, 8, 1), date(2020, 5, 31), date(2021, 2, 1)],
    }
)


def test_point_prevalence_takes_both_ends() -> None:
    # On 1 March persons 1 and 2 are observed (person 3 is between two spells); both have pain that day.
    assert sv.prevalence(OBSERVED, PAIN, date(2020, 3, 1)).select("n", "n_event").rows() == [(2, 2)]
    assert sv.prevalence(OBSERVED, PAIN, date(2020, 3, 2)).select("n", "n_event").rows() == [(1, 0)]


def test_period_prevalence_needs_a_day_of_both() -> None:
    # In 2020 persons 1, 2 and 3 are observed on some day; person 3 has pain only while not observed.
    table = sv.prevalence(OBSERVED, PAIN, date(2020, 1, 1), date(2020, 12, 31), by="sex")
    assert table.select("group", "n", "n_event").rows() == [("f", 2, 1), ("m", 1, 1)]
    assert table.columns == ["group", "n", "n_event", "estimate", "lower", "upper"]
    with pytest.raises(StudyError, match="before it starts"):
        sv.prevalence(OBSERVED, PAIN, date(2020, 2, 1), date(2020, 1, 1))


def test_prevalence_counts_add_up_over_buckets() -> None:
    period = (date(2020, 1, 1), date(2020, 12, 31))
    whole = sv.count_prevalence(OBSERVED, PAIN, *period)
    parts = [
        sv.count_prevalence(*(frame.filter(pl.col("person_id") % 2 == k) for frame in (OBSERVED, PAIN)), *period)
        for k in range(2)
    ]
    assert whole.cells.equals(sum(parts).cells)
