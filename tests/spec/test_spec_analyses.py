"""Analyses: the rows that each writes into the estimates, on tables worked by hand."""

from __future__ import annotations

import datetime as dt
import math

import polars as pl
import pytest

import cohort as co
from cohort.results.analysis_table import AnalysisTable

SIX = {"time": [1, 1, 2, 3, 3, 4], "cause": [1, 2, 0, 1, 2, 0]}


def table(columns, parts=1, landmark=0, causes=("pain", "death"), **variables):
    n = len(columns["time"])
    frame = pl.DataFrame(columns).with_columns(
        pl.col("time").cast(pl.Int64),
        pl.col("cause").cast(pl.Int8),
        person_id=pl.int_range(1, n + 1, dtype=pl.Int64, eager=True),
        index_date=pl.lit(dt.date(2020, 1, 1)),
        entry=pl.lit(landmark, dtype=pl.Int64),
    )
    pieces = tuple(frame.filter(pl.col("person_id") % parts == part) for part in range(parts))
    return AnalysisTable(pieces, causes, landmark, variables)


def rows(estimates, **where):
    frame = estimates.to_polars()
    return frame.filter(*(pl.col(name) == value for name, value in where.items()))


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_cumulative_incidence_with_ties_of_two_causes(parts):
    """Day 1: 1/6 each. Day 3: 3 at risk of 4 still event-free after the censoring on day 2, 4/6 · 1/3 = 2/9 each."""
    found = rows(co.cumulative_incidence().estimate(1, table(SIX, parts)), outcome="pain")
    assert found["time"].to_list() == [1, 2, 3, 4]
    assert found["n"].to_list() == [6, 4, 3, 1]
    assert found["value"].to_list() == pytest.approx([1 / 6, 1 / 6, 7 / 18, 7 / 18], abs=1e-15)
    assert found["events"].to_list() == [1, 0, 1, 0]
    assert found["censored"].to_list() == [0, 1, 0, 1]


def test_kaplan_meier_is_of_the_composite():
    found = rows(co.kaplan_meier().estimate(1, table(SIX)), estimand="survival")
    assert found["outcome"].unique().to_list() == ["pain or death"]
    assert found["value"].to_list() == pytest.approx([4 / 6, 4 / 6, 2 / 9, 2 / 9], abs=1e-15)


def test_incidence_rate_counts_person_days_at_risk_after_the_landmark():
    """Risk starts after day 10: 5, 10 and 20 days at risk, one event of cause 1; death is no event here."""
    found = rows(
        co.incidence_rate(per=100).estimate(1, table({"time": [15, 20, 30], "cause": [1, 2, 0]}, landmark=10)),
        estimand="incidence_rate",
    ).row(0, named=True)
    assert (found["n"], found["events"], found["person_days"]) == (3, 1, 35)
    assert found["value"] == pytest.approx(100 * 365.25 / 35, rel=1e-15)
    # Garwood: lower limit of 1 event is -log(0.975)
    assert found["lower"] == pytest.approx(-math.log(0.975) * 100 * 365.25 / 35, rel=1e-12)


def test_a_rate_without_person_time_is_not_estimable():
    found = rows(co.incidence_rate().estimate(1, table({"time": [0], "cause": [1]})), estimand="incidence_rate")
    assert found["status"].to_list() == ["not_estimable: no person-time"]
    assert found["value"].to_list() == [None]


def test_cox_on_two_exposed_and_two_not():
    """Times 1 2 3 4, exposed 1 and 3, all events: the score equation in r = exp(beta) is solved by hand.

    The log-likelihood is 2 log r − log(2 + 2r) − log(2 + r) − log(1 + r). Its derivative in log r is zero where
    2/(1 + r) = r/(2 + r), that is r² − r − 4 = 0, r = (1 + √17)/2.
    """
    columns = {"time": [1, 2, 3, 4], "cause": [1] * 4, "exposed": [True, False, True, False]}
    found = rows(co.cox("exposed").estimate(3, table(columns, exposed="boolean")), estimand="hazard_ratio")
    assert found.select("term", "category", "n", "events").rows() == [
        ("exposed", "false", 2, 2),
        ("exposed", "true", 2, 2),
    ]
    assert found["value"].to_list() == pytest.approx([1.0, (1 + math.sqrt(17)) / 2], rel=1e-9)
    assert found["std_error"].to_list()[0] is None


def test_cox_gives_every_level_its_persons_and_events():
    columns = {
        "time": [1, 2, 3, 4, 5, 6, 7, 8],
        "cause": [1, 1, 0, 1, 2, 1, 1, 0],
        "sex": ["female", "male"] * 4,
        "age": [50, 61, 47, 70, 33, 52, 66, None],
    }
    told = rows(co.cox("sex + age").estimate(1, table(columns, sex="categorical", age="integer")), analysis=1)
    tests = told.filter(estimand="proportional_hazards")
    assert tests.select("term", "n", "events").rows() == [(None, 7, 5), ("age", 7, 5), ("sex", 7, 5)]
    assert tests["value"].is_between(0, 1).all()
    found = told.filter(estimand="hazard_ratio")
    assert found.select("term", "category", "n", "events").rows() == [
        ("age", None, 7, 5),  # the person of unknown age is left out, and said to be
        ("sex", "female", 4, 2),
        ("sex", "male", 3, 3),
    ]
    assert "; persons with a missing covariate left out" in found["method"][0]


def test_a_model_without_an_answer_says_why():
    columns = {"time": [1, 2, 3, 4], "cause": [1, 1, 0, 0], "exposed": [True, True, False, False]}
    found = rows(co.cox("exposed").estimate(1, table(columns, exposed="boolean")), estimand="hazard_ratio")
    assert found["status"].to_list() == ["not_estimable: monotone_likelihood(exposed)"]
    assert found["value"].to_list() == [None]


def test_nobody_at_risk_gives_no_rows_and_no_error():
    nobody = table({"time": [], "cause": []})
    for analysis in (co.cumulative_incidence(), co.kaplan_meier(), co.incidence_rate()):
        assert analysis.estimate(1, nobody).to_polars().is_empty()


def test_fine_gray_counts_days_from_the_landmark():
    """Shifting everybody's time and the landmark by the same days changes nothing."""
    columns = {"time": [1, 2, 3, 4, 5, 6, 7, 8], "cause": [1, 2, 1, 1, 0, 1, 1, 0], "exposed": [True, False] * 4}
    later = columns | {"time": [time + 89 for time in columns["time"]]}
    now, then = (
        rows(co.fine_gray("exposed").estimate(1, table(data, landmark=landmark, exposed="boolean")))
        for data, landmark in ((columns, 0), (later, 89))
    )
    assert now["estimand"].unique().to_list() == ["subdistribution_hazard_ratio"]
    assert now["value"].to_list() == pytest.approx(then["value"].to_list(), rel=1e-12)
    assert now.select("term", "category", "n", "events").rows() == [
        ("exposed", "false", 4, 2),
        ("exposed", "true", 4, 3),
    ]


def test_fine_gray_differs_from_cox_where_the_competing_event_matters():
    columns = {"time": [1, 2, 3, 4, 5, 6, 7, 8], "cause": [2, 1, 2, 1, 1, 2, 1, 1], "exposed": [True, False] * 4}
    ratios = [
        rows(analysis.estimate(1, table(columns, exposed="boolean")), category="true")["value"].item()
        for analysis in (co.cox("exposed"), co.fine_gray("exposed"))
    ]
    assert ratios[0] > ratios[1]  # the exposed die first, which lowers their cumulative incidence


def test_no_row_of_a_person_is_in_the_text_of_a_table():
    """What prints itself ends up in logs."""
    shown = repr(table(SIX | {"marker": ["CANARY"] * 6}))
    assert "CANARY" not in shown
    assert "pain" in shown
