"""Where random data sets showed R and us apart: what we do, and why."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import InputRefusedError
from cohort.survival.cox_model import Follow, estimate


def test_ranks_of_times_in_years_are_those_of_days() -> None:
    """``(d + 0.1) / 365.25 - 0.1 / 365.25`` is d / 365.25 but for its last digit: a near tie, as in R (timefix)."""
    random = np.random.default_rng(5)
    day = random.integers(1, 40, 200)
    years = np.where(random.random(200) < 0.5, day / 365.25, (day + 0.1) / 365.25 - 0.1 / 365.25)
    x = np.asfortranarray(random.standard_normal((200, 2)))
    event = random.random(200) < 0.5
    tests = [
        sv.proportional_hazards_test(estimate(x, Follow(time, event), ("x", "y")), "rank").statistic
        for time in (day, years)
    ]
    np.testing.assert_allclose(tests[1], tests[0], rtol=1e-10)


def test_gray_compares_a_cause_although_another_cannot_be_compared() -> None:
    """Cause 2 happens once, on the last day, when group b alone is at risk."""
    frame = pl.DataFrame({"t": [1, 2, 3, 1, 2, 9], "c": [1, 1, 0, 0, 1, 2], "g": [*"aaabbb"]})
    both = sv.gray(frame, "t", "c", "g")
    alone = sv.gray(frame.with_columns(pl.col("c").replace(2, 0)), "t", "c", "g")
    # competing on the last day changes nothing for cause 1, which is over by then
    assert both.statistic == pytest.approx(alone.statistic, rel=1e-12)
    assert both.table.filter(pl.col("cause") == 2).rows() == [(2, None, 0, None)]
    with pytest.raises(Exception, match="no_events_to_compare"):
        sv.gray(frame, "t", "c", "g", cause_of_interest=2)


def test_the_limit_of_a_quantile_is_where_the_band_first_reaches_it() -> None:
    """One late entry after a first event among few: the lower limit falls to 0.20 on day 1 and is 0.24 on day 3.

    Of five on day 1 one dies (S = 0.8), of ten on day 3 one (S = 0.72): limits exp(-exp(log(-log S) + 1.96 se)) of
    0.2038 and 0.2379. R 4.2.2 (survival 3.5-3) says 3 for the lower limit of the quartile, where the band is closest
    to 0.75 from below; the band reaches 0.75 on day 1.
    """
    early = pl.DataFrame({"entry": [0] * 5, "time": [1, 9, 9, 9, 9], "event": [1, 0, 0, 0, 0]})
    late = pl.DataFrame({"entry": [1] * 6, "time": [3, 9, 9, 9, 9, 9], "event": [1, 0, 0, 0, 0, 0]})
    curve = sv.kaplan_meier(pl.concat([early, late]), "time", "event", entry="entry", conf_type="log-log")
    limits = curve.to_polars().filter(pl.col("n_event") > 0)
    np.testing.assert_allclose(limits["lower"], [0.2038, 0.2379], atol=5e-5)
    assert curve.quantiles([0.25])["lower"].to_list() == [1]


def test_rows_that_meet_but_for_rounding_do_not_overlap() -> None:
    """0.1 + 0.2 > 0.3: the second row of a person starts 5e-17 before the first ends, which R's timefix forgives."""
    rows = pl.DataFrame(
        {
            "id": [1, 1, 2, 2, 3, 3],
            "start": [0.0, 0.3, 0.0, 0.3, 0.0, 0.3],
            "stop": [0.1 + 0.2, 0.9, 0.1 + 0.2, 1.1, 0.1 + 0.2, 1.4],
            "event": [0, 1, 0, 0, 0, 1],
            "x": [0.0, 0.4, 1.0, 0.5, 1.0, 0.2],
        }
    )
    exact = rows.with_columns(stop=pl.col("stop").round(6))
    fits = [sv.CoxTimeVaryingFitter().fit(frame, "event", id_col="id", robust=True) for frame in (rows, exact)]
    np.testing.assert_allclose(*(fit.standard_errors_ for fit in fits), rtol=1e-9)
    curves = [sv.kaplan_meier(frame, "stop", "event", entry="start", id="id").to_polars() for frame in (rows, exact)]
    np.testing.assert_allclose(*(curve["std_error"][:2] for curve in curves), rtol=1e-12)
    with pytest.raises(InputRefusedError, match="overlap"):
        sv.CoxTimeVaryingFitter().fit(rows.with_columns(stop=pl.col("stop") + 1e-3), "event", id_col="id")


def test_an_event_that_only_rounding_parts_from_its_entry_is_refused() -> None:
    """Merged with its entry, the row would die without having been at risk (R: an interval of effective length 0)."""
    frame = pl.DataFrame({"s": [0.0, 0.0, 1.0], "t": [1.0, 2.0, 1.0 + 1e-12], "e": [1, 0, 1], "x": [1.0, 0.0, 2.0]})
    for fit in (
        lambda rows: sv.CoxPHFitter().fit(rows, "t", "e", entry_col="s"),
        lambda rows: sv.kaplan_meier(rows, "t", "e", entry="s"),
    ):
        with pytest.raises(InputRefusedError, match="rounding"):
            fit(frame)
    # censored, it is a follow-up of no days, as it is beside exact times
    censored = frame.with_columns(e=pl.Series([1, 0, 0]))
    expected = sv.kaplan_meier(censored.with_columns(t=pl.col("t").round(6)), "t", "e", entry="s").to_polars()
    assert sv.kaplan_meier(censored, "t", "e", entry="s").to_polars().equals(expected)
