"""Printed tables: numbers under a curve, levels under their variable, refusals in words."""

from __future__ import annotations

import polars as pl
import pytest
import report_content as made_up

from cohort.report.labels import AnalysisTitle, Labels
from cohort.report.tables import model_table, rate_table, risk_at, risk_lines
from cohort.results.disclosure import DisclosureRule

#                      day  at risk  events  censored
CURVE = pl.DataFrame(
    [(10, 100, 5, 0), (40, 95, 20, 10), (90, 65, 5, 60)], schema=["time", "n", "events", "censored"], orient="row"
)
LABELS = Labels({"sex": "Sex", "sex=F": "Female", "age": "Age, years"}, (AnalysisTitle(1, "Rates", "sex"),))


def test_at_risk_left_and_events_are_of_one_moment_and_add_up():
    assert risk_at(CURVE, 0) == (100, 0, 0)
    assert risk_at(CURVE, 10) == (100, 0, 0)  # before the events of the day
    assert risk_at(CURVE, 41) == (65, 10, 25)
    assert risk_at(CURVE, 91) == (None, None, None)
    assert all(sum(risk_at(CURVE, day)) == 100 for day in range(91))


def test_a_tick_without_a_newer_released_point_stays_blank():
    exact, coarse = (dict(risk_lines(CURVE, [0, 30, 60, 90], "Censored", exact=exact)) for exact in (True, False))
    assert exact["At risk"] == ("100", "95", "65", "65")
    assert coarse["At risk"] == ("100", "95", "65", "")


def test_with_late_entry_who_left_otherwise_is_not_given():
    assert risk_at(CURVE.with_columns(n=pl.Series([50, 95, 65])), 41) == (65, None, 25)


def test_a_refusal_is_printed_with_its_reason_and_a_withheld_number_as_a_token():
    rows = pl.DataFrame(
        {
            "estimand": "incidence_rate",
            "outcome": "pain",
            "group": ["F", "M", "X"],
            "n": [None, 40, 12],
            "events": [None, 0, 0],
            "person_days": [None, 3653, 0],
            "value": [None, 0.0, None],
            "lower": [None, 0.0, None],
            "upper": [None, 36.9, None],
            "level": 0.95,
            "unit": "per 100 person-years",
            "method": "exact Poisson",
            "status": ["suppressed", "ok", "not_estimable: no_person_time"],
        }
    )
    table = rate_table(rows, 1, LABELS)
    assert table.heading[-1] == "Rate per 100 person-years (95\u202f% CI)"
    assert [tuple(cell.text for cell in line.cells) for line in table.lines] == [
        ("[c]", "[c]", "[c]", "[c]"),
        ("40", "0", "10.0", "0.00 (0.00 to 36.9)"),
        ("12", "0", "0.0", "no person time"),
    ]


@pytest.mark.parametrize(("minimum", "label"), [(0, "Female"), (11, "Female")])
def test_reference_levels_come_first_under_their_variable(minimum, label):
    content = made_up.content(DisclosureRule(minimum=minimum))
    rows = content.released.estimates.select(estimand="hazard_ratio")
    table = model_table(rows, 3, Labels(content.labels, content.analyses))
    sex = [line for line in table.lines if line.label in {"Sex", "Female", "Male"}]
    assert [(line.label, line.indent) for line in sex] == [("Sex", False), (label, True), ("Male", True)]
    assert sex[1].cells[-1].text == "1 (reference)"
