"""Proportions and standardised rates by hand, and where they are not estimable."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import InputRefusedError, StudyError
from cohort.survival.proportions import proportion_limits


def test_prevalence_by_group() -> None:
    rows = pl.DataFrame({"pain": [True, False, False, False, True], "sex": ["f", "f", "f", "f", "m"]})
    table = sv.proportion(rows, "pain", by="sex")
    assert table.select("group", "n", "n_event", "estimate").rows() == [("f", 4, 1, 0.25), ("m", 1, 1, 1.0)]
    # Wilson for 1 of 4: centre (0.25 + z²/8)/(1 + z²/4) = 0.372467, half-width 0.3269…: 0.0456, 0.6994
    assert table.row(0)[-2:] == pytest.approx((0.045587, 0.699358), abs=1e-6)
    assert table["upper"][1] == 1.0


def test_a_proportion_of_nobody_is_not_estimable() -> None:
    for method in ("wilson", "wilson_corrected", "exact"):
        limits = proportion_limits([0], [0], method=method)
        assert all(np.isnan(values).all() for values in limits.values())
    with pytest.raises(StudyError):
        proportion_limits([1], [2], method="wald")


def test_direct_standardisation_by_hand() -> None:
    # young 2/100, old 9/100; standard 3 : 1 → (3·0.02 + 0.09)/4 = 0.0375; variance (9·2 + 9)/(16·100²) = 27/160000
    table = pl.DataFrame({"n_event": [2, 9], "person_time": [100, 100], "standard": [3, 1], "g": ["a", "a"]})
    row = sv.direct_rate(table, by="g", per=1).row(0, named=True)
    assert (row["group"], row["crude"], row["estimate"]) == ("a", 0.055, pytest.approx(0.0375))
    assert row["std_error"] == pytest.approx((27 / 160000) ** 0.5)
    assert row["lower"] < 0.0375 < row["upper"]


def test_equal_weights_give_the_exact_poisson_limits() -> None:
    # with one stratum Fay and Feuer's limits are Garwood's
    table = pl.DataFrame({"n_event": [11], "person_time": [800], "standard": [5]})
    direct = sv.direct_rate(table, per=1).row(0, named=True)
    exact = sv.incidence_rate(pl.DataFrame({"t": [72] * 11 + [8], "e": [1] * 11 + [0]}), per=1, unit="day").row(
        0, named=True
    )
    assert exact["person_time"] == 800
    for name in ("estimate", "std_error", "lower", "upper"):
        assert direct[name] == pytest.approx(exact[name], rel=1e-12)


def test_no_events_and_no_person_time() -> None:
    none = sv.direct_rate(pl.DataFrame({"n_event": [0, 0], "person_time": [10, 20], "standard": [1, 1]}), per=1)
    assert (none["estimate"][0], none["lower"][0]) == (0, 0)
    assert none["upper"][0] > 0
    empty = sv.direct_rate(pl.DataFrame({"n_event": [1, 0], "person_time": [10, 0], "standard": [1, 1]}))
    assert [empty[name][0] for name in ("estimate", "std_error", "lower", "upper")] == [None] * 4


def test_standardised_morbidity_ratio_by_hand() -> None:
    # expected: 100·(10/1000) + 50·(40/1000) = 3; observed 6 → 2; the standard's crude rate is 50/2000
    table = pl.DataFrame(
        {"n_event": [4, 2], "person_time": [100, 50], "standard_events": [10, 40], "standard_time": [1000, 1000]}
    )
    row = sv.indirect_rate(table, per=1000).row(0, named=True)
    assert (row["expected"], row["smr"], row["estimate"]) == (pytest.approx(3), pytest.approx(2), pytest.approx(50))
    # Garwood for 6: 2.201894 and 13.059474, over 3
    assert (row["smr_lower"], row["smr_upper"]) == pytest.approx((0.733965, 4.353158), abs=1e-6)


def test_rate_ratio_with_empty_counts() -> None:
    none = sv.rate_ratio(0, 10, 0, 10)
    assert (none.estimate, none.lower, none.upper, none.p_value) == (None, None, None, 1.0)
    open_ended = sv.rate_ratio(5, 10, 0, 10)
    assert open_ended.estimate is None and open_ended.upper is None and open_ended.lower > 0
    assert sv.rate_ratio(0, 10, 5, 10).lower == 0
    with pytest.raises(InputRefusedError):
        sv.rate_ratio(1, 0, 1, 10)


def test_strata_that_are_not_counts_are_refused() -> None:
    table = pl.DataFrame({"n_event": [1, None], "person_time": [10.0, -2.0], "standard": [1, 1]})
    with pytest.raises(InputRefusedError, match="1 strata"):
        sv.direct_rate(table)
