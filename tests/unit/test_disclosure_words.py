"""Texts of a released set: no count of persons hides in a method, a status or a note."""

from __future__ import annotations

import polars as pl

from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates

FLOW = Attrition((Step("in the store", 1000, 0, 1000, 0),))


def gate(rows: pl.DataFrame) -> pl.DataFrame:
    estimates = Estimates.from_rows(rows, analysis=1, outcome="pain")
    return release(estimates, FLOW, DisclosureRule()).estimates.frame


def test_how_many_a_model_left_out_is_not_told():
    # 1,000 in the cohort, 996 in the model: the counts go, and so must the words that tell of four
    method = "Cox model; 4 persons with a missing covariate left out"
    rows = pl.DataFrame({"estimand": "hazard_ratio", "term": "age", "value": 1.1, "n": [996], "events": [300]})
    assert gate(rows.with_columns(method=pl.lit(method)))["method"].to_list() == [
        "Cox model; persons with a missing covariate left out"
    ]


def test_why_there_is_no_answer_counts_nobody():
    why = "not_estimable: column pain is missing in 3 rows; mend or remove them first"
    rows = pl.DataFrame({"estimand": ["hazard_ratio"], "term": ["age"], "n": [500], "events": [90], "status": [why]})
    assert gate(rows)["status"].to_list() == [why.replace("3 rows", "some rows")]


def equipoise(share: float, n: int) -> pl.DataFrame:
    words = f"share in equipoise in the arm with fewer: {share:.2g}, at least 0.2 asked"
    gates = {"estimand": ["gate"], "group": ["true"], "term": ["equipoise"], "category": ["closed"], "value": [share]}
    rows = pl.DataFrame({**gates, "n": [n], "events": [n // 2], "method": [words]})
    risk = pl.DataFrame({"estimand": ["risk"], "group": ["true"], "n": [n], "events": [n // 2], "method": ["weights"]})
    return gate(pl.concat([rows, risk.with_columns(status=pl.lit(f"sealed: {words}"))], how="diagonal"))


def test_a_share_that_is_a_few_persons_of_its_arm_is_withheld_wherever_it_is_said():
    frame = equipoise(0.04, 200)  # 8 persons of 200 in equipoise
    assert not frame.filter(pl.col("estimand") == "gate")["value"].count()
    assert not any("0.04" in text for name in ("method", "status") for text in frame[name].drop_nulls())
    assert "sealed: equipoise" in frame["status"].to_list()


def test_a_share_of_enough_persons_is_told():
    frame = equipoise(0.1, 200)
    assert frame.filter(pl.col("estimand") == "gate")["value"].to_list() == [0.1]
    assert any("0.1" in text for text in frame["status"])
