"""Curves worked by hand: ties of different causes, day 0, one person, nobody, everybody; and what is refused."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import duckdb
import polars as pl
import pytest

from cohort import survival as sv
from cohort.errors import InputRefusedError, NotEstimableError, StudyError


def frame(**columns) -> pl.DataFrame:
    return pl.DataFrame(columns)


def estimates(curves: sv.Curves, *columns: str):
    return curves.to_polars().select(columns or ("time", "estimate")).rows()


def test_tied_events_of_different_causes_are_exact() -> None:
    # Six persons; on day 2 one event of each cause.
    #   day 1: Y=6, cause 1: 1 → F1 = 1/6, S = 5/6
    #   day 2: Y=5, one of each → F1 = 1/6 + 5/6·1/5 = 1/3, F2 = 1/6, S = 5/6·3/5 = 1/2
    #   day 3: censored, Y=3 → 2;  day 4: Y=2, cause 2 → F2 = 1/6 + 1/2·1/2 = 5/12, S = 1/4;  day 5: censored
    rows = frame(t=[1, 2, 2, 3, 4, 5], c=[1, 1, 2, 0, 2, 0])
    curves = sv.cumulative_incidence(rows)
    expected = [
        *[
            (1, t, float(p))
            for t, p in zip(
                range(1, 6),
                [Fraction(1, 6), Fraction(1, 3), Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)],
                strict=True,
            )
        ],
        *[
            (2, t, float(p))
            for t, p in zip(
                range(1, 6), [0, Fraction(1, 6), Fraction(1, 6), Fraction(5, 12), Fraction(5, 12)], strict=True
            )
        ],
    ]
    for ours, theirs in zip(estimates(curves, "cause", "time", "estimate"), expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-15)


def test_the_six_persons_that_random_jitter_gets_wrong() -> None:
    # Breaking ties at random gives another number on every run (lifelines #413: 0.375, 0.4 or 0.5 for 0.388889).
    #   day 1: Y=6, one of each cause → F1 = 1/6, S = 4/6;  day 2: Y=3 (one censored on day 1) … one of each cause:
    #   F1 = 1/6 + 4/6·1/3 = 7/18 = 0.388889, S = 4/6·1/3 = 2/9;  day 3: censored.
    rows = frame(t=[1, 1, 1, 2, 2, 3], c=[1, 2, 0, 1, 2, 0])
    first = [p for cause, p in estimates(sv.cumulative_incidence(rows), "cause", "estimate") if cause == 1]
    assert first == pytest.approx([1 / 6, 7 / 18, 7 / 18], abs=1e-15)


def test_events_precede_censorings_of_the_same_day() -> None:
    # Day 3: the censored person is still at risk for the event: 1 - 1/2, not 1 - 1/1.
    assert estimates(sv.kaplan_meier(frame(t=[3, 3], e=[1, 0]))) == [(3, 0.5)]


def test_day_0_counts() -> None:
    # Two of four have the event on day 0: S(0) = 1/2; then 1 of 2 on day 5: 1/4.
    curves = sv.kaplan_meier(frame(t=[0, 0, 5, 9], e=[1, 1, 1, 0]))
    assert estimates(curves, "time", "n_risk", "estimate") == [(0, 4, 0.5), (5, 2, 0.25), (9, 1, 0.25)]
    incidence = sv.cumulative_incidence(frame(t=[0, 1], c=[1, 0]))
    assert estimates(incidence) == [(0, 0.5), (1, 0.5)]


def test_one_person_nobody_everybody() -> None:
    one = sv.kaplan_meier(frame(t=[7], e=[1])).to_polars().row(0, named=True)
    # S = 0 has no Greenwood variance (0 · ∞) and no limits, as in R.
    assert (one["estimate"], one["std_error"], one["lower"], one["upper"]) == (0.0, None, None, None)
    nobody = sv.kaplan_meier(frame(t=[7, 8], e=[0, 0])).to_polars()
    assert nobody["estimate"].to_list() == [1.0, 1.0] and nobody["std_error"].to_list() == [0.0, 0.0]
    everybody = sv.kaplan_meier(frame(t=[4, 4, 4], e=[1, 1, 1]))
    assert estimates(everybody) == [(4, 0.0)]


@pytest.mark.parametrize("estimator", [sv.kaplan_meier, sv.nelson_aalen, sv.fleming_harrington])
def test_an_empty_frame_gives_an_empty_table(estimator) -> None:
    table = estimator(pl.DataFrame(schema={"t": pl.Int64, "e": pl.Int64})).to_polars()
    assert table.columns == [
        "group", "time", "n_risk", "n_event", "n_censored", "estimate", "std_error", "lower", "upper",
    ]  # fmt: skip
    assert table.is_empty()


def test_delayed_entry_is_at_risk_after_its_day_only() -> None:
    # Entry on day 2 is at risk in (2, 5]: not for the event on day 2.
    #   day 2: Y = 2 (first and second row), S = 1/2; day 5: Y = 2, S = 1/4; day 6: Y = 1, censored.
    rows = frame(a=[0, 0, 2], t=[2, 6, 5], e=[1, 0, 1])
    curves = sv.kaplan_meier(rows, entry="a")
    assert estimates(curves, "time", "n_risk", "estimate") == [(2, 2, 0.5), (5, 2, 0.25), (6, 1, 0.25)]


def test_a_censored_follow_up_of_no_days_is_counted_and_never_at_risk() -> None:
    # the third person enters and leaves on day 3: nobody's risk set, one more in n and among the censored
    rows = frame(t=[2, 5, 3], e=[1, 1, 0], a=[0, 0, 3])
    curve = sv.kaplan_meier(rows, entry="a").to_polars()
    assert curve.select("time", "n_risk", "n_event", "n_censored", "estimate").rows() == [
        (2, 2, 1, 0, 0.5), (3, 1, 0, 1, 0.5), (5, 1, 1, 0, 0.0),
    ]  # fmt: skip
    assert sv.incidence_rate(rows, entry="a", unit="day", per=1).select("n", "person_time").rows() == [(3, 7)]


def test_groups_are_text_and_joined() -> None:
    rows = frame(t=[1, 2, 3], e=[1, 1, 0], sex=["f", "m", "f"], arm=[2, 1, 10])
    curves = sv.kaplan_meier(rows, by=["sex", "arm"]).to_polars()
    assert curves["group"].to_list() == ["f, 10", "f, 2", "m, 1"]


def test_groups_of_every_type() -> None:
    many = list(range(0, 3000, 1000))  # too far apart to be counted by position
    for values, texts in [
        ([5_000_000_000, 5_000_000_001, -3], ["-3", "5000000000", "5000000001"]),
        (many, ["0", "1000", "2000"]),
        ([True, False, True], ["false", "true"]),
        ([0.5, 1.0, 2.0], ["0.5", "1.0", "2.0"]),
        ([date(2020, 1, 1), date(2021, 1, 1), date(2022, 1, 1)], ["2020-01-01", "2021-01-01", "2022-01-01"]),
    ]:
        curves = sv.kaplan_meier(frame(t=[1, 2, 3], e=[1, 1, 1], g=values), by="g").to_polars()
        assert curves["group"].unique().sort().to_list() == texts


def test_days_too_far_apart_for_a_table() -> None:
    curves = sv.kaplan_meier(frame(a=[0, 1, 2], t=[3, 2**52, 2**40], e=[1, 1, 0]), entry="a")
    assert estimates(curves) == [(3, pytest.approx(2 / 3)), (2**40, pytest.approx(2 / 3)), (2**52, 0.0)]


def test_any_frame_will_do() -> None:
    columns = {"t": [1, 2, 3], "e": [1, 0, 1]}
    expected = sv.kaplan_meier(columns).to_polars()
    relation = duckdb.sql("select * from (values (1, 1), (2, 0), (3, 1)) as rows(t, e)")
    for rows in (pl.DataFrame(columns), pl.LazyFrame(columns), pl.DataFrame(columns).to_arrow(), relation):
        assert sv.kaplan_meier(rows).to_polars().equals(expected)


def test_two_groups_never_share_a_name() -> None:
    rows = frame(t=[1, 2], e=[1, 1], a=["x, y", "x"], b=["z", "y, z"])
    with pytest.raises(InputRefusedError, match="one name"):
        sv.kaplan_meier(rows, by=["a", "b"])


def test_a_risk_set_that_empties_and_refills() -> None:
    # Everyone at risk on day 1 has the event: S stays 0 although another person enters on day 3.
    rows = frame(a=[0, 3], t=[1, 5], e=[1, 1])
    assert estimates(sv.kaplan_meier(rows, entry="a")) == [(1, 0.0), (5, 0.0)]


def test_near_ties_are_one_time() -> None:
    # 0.1 + 0.2 and 0.3 differ by 5.6e-17: one time with two events, as R's timefix has it.
    rows = frame(t=[0.1 + 0.2, 0.3, 1.5], e=[1, 1, 0])
    assert estimates(sv.kaplan_meier(rows), "n_risk", "n_event", "estimate") == [(3, 2, 1 / 3), (1, 0, 1 / 3)]


def test_days_and_halves_of_days_scale_together() -> None:
    whole, halves = frame(t=[1, 3, 3, 5], e=[1, 1, 0, 1]), frame(t=[0.5, 1.5, 1.5, 2.5], e=[1, 1, 0, 1])
    left, right = (sv.kaplan_meier(rows).to_polars().drop("time") for rows in (whole, halves))
    assert left.equals(right)


def test_weights_of_case_counts_equal_the_expanded_rows() -> None:
    rows = frame(t=[2, 4, 4, 6], c=[1, 2, 0, 1], w=[3, 1, 2, 5])
    expanded = rows.select(pl.all().repeat_by("w")).explode("t", "c", "w")
    weighted = sv.kaplan_meier(rows.with_columns(e=pl.col("c") > 0), weights="w", variance="greenwood").to_polars()
    plain = sv.kaplan_meier(expanded.with_columns(e=pl.col("c") > 0)).to_polars()
    for name in ("time", "n_risk", "n_event", "n_censored", "estimate", "std_error"):
        assert weighted[name].to_list() == pytest.approx(plain[name].to_list(), abs=1e-15)


def test_zero_weights_change_nothing() -> None:
    rows = frame(t=[2, 4, 4, 6], e=[1, 1, 0, 0], w=[1.5, 0.25, 2.0, 1.0])
    extra = pl.concat([rows, frame(t=[4, 2], e=[1, 0], w=[0.0, 0.0])])
    for estimator in (sv.kaplan_meier, sv.nelson_aalen):
        assert estimator(rows, weights="w").to_polars().equals(estimator(extra, weights="w").to_polars())


def test_a_group_without_any_weight_is_not_estimable() -> None:
    with pytest.raises(NotEstimableError, match="weights_add_up_to_0_in_1_groups"):
        sv.kaplan_meier(frame(t=[1, 2], e=[1, 0], w=[0.0, 0.0]), weights="w")


GOOD = {"t": [1, 2], "e": [1, 0], "a": [0, 1], "w": [1.0, 1.0], "g": ["x", "y"]}
REFUSED = {
    "negative time": {"t": [-5, 2]},
    "missing time": {"t": [None, 2]},
    "not a number": {"t": [float("nan"), 2.0]},
    "infinite time": {"t": [float("inf"), 2.0]},
    "text time": {"t": ["1", "2"]},
    "code 2 where 0/1 is declared": {"e": [2, 0]},
    "code -1": {"e": [-1, 0]},
    "text codes": {"e": ["1", "0"]},
    "half a code": {"e": [0.5, 0.0]},
    "missing event": {"e": [True, None]},
    "an event on the day of entry": {"a": [1, 1]},
    "entry after exit": {"a": [0, 9]},
    "negative entry": {"a": [-1, 1]},
    "negative weight": {"w": [-0.5, 1.0]},
    "missing weight": {"w": [float("nan"), 1.0]},
    "infinite weight": {"w": [float("inf"), 1.0]},
    "no group": {"g": [None, "y"]},
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refused(fault) -> None:
    with pytest.raises(InputRefusedError, match=r"rows|must be a number"):
        sv.kaplan_meier(frame(**(GOOD | REFUSED[fault])), entry="a", weights="w", by="g")


def test_a_refusal_names_the_column_and_a_count_but_no_value() -> None:
    with pytest.raises(InputRefusedError) as error:
        sv.kaplan_meier(frame(days=[-777, 3, -888], e=[0, 1, 1]), time="days")
    assert "days" in str(error.value) and "2 rows" in str(error.value)
    assert "777" not in str(error.value)


def test_options_that_do_not_exist_are_refused() -> None:
    rows = frame(**GOOD)
    for options in ({"conf_type": "exact"}, {"level": 95}, {"variance": "bootstrap"}):
        with pytest.raises(StudyError):
            sv.kaplan_meier(rows, **options)
    with pytest.raises(StudyError, match="no form for weights"):
        sv.cumulative_incidence(rows, cause="e", weights="w", variance="delta")


def test_the_value_on_a_day() -> None:
    curves = sv.kaplan_meier(frame(t=[2, 4, 9], e=[1, 1, 0]))
    read = curves.at([0, 2, 3, 4, 9, 10])
    assert read["estimate"].to_list() == pytest.approx([1, 2 / 3, 2 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert read["n_risk"].to_list() == [3, 3, 2, 2, 1, 0]


def test_contrasts_at_a_day() -> None:
    # a: 1 - 1/2 on day 2; b: 1 - 1/4 on day 2. Difference 1/4 with variance 1/8 + 3/64; after day 5 b has nobody.
    rows = frame(t=[2, 9, 2, 5, 5, 5], e=[1, 0, 1, 0, 0, 0], g=list("aabbbb"))
    table = sv.kaplan_meier(rows, by="g").contrasts([2, 6])
    difference, later, ratio, _ = table.rows(named=True)
    assert (difference["group"], difference["reference"], difference["time"]) == ("b", "a", 2)
    assert (difference["estimate"], difference["std_error"]) == (0.25, pytest.approx((1 / 8 + 3 / 64) ** 0.5))
    assert ratio["contrast"] == "ratio" and ratio["estimate"] == pytest.approx(1.5)
    assert later["estimate"] is None and later["p_value"] is None
    zero = sv.cumulative_incidence(frame(t=[1, 3, 3], c=[0, 1, 0], g=list("aab")), by="g").contrasts([1, 3])
    assert zero.filter(pl.col("contrast") == "ratio")["estimate"].to_list() == [None, None]
