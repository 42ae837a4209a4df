"""How far to believe an effect: what a study file asks for, and the same numbers as the room of effects gives."""

from __future__ import annotations

import polars as pl
import pytest
from test_spec_treatment_effect import effect, shown, table

import cohort as co
from cohort.errors import StudyError

ESTIMANDS = ("e_value", "e_value_limit", "tipping_point", "tipping_point_limit", "corrected_risk_ratio")


def test_an_e_value_stands_beside_every_ratio_of_risks() -> None:
    found = effect().estimate(1, table())
    ratio = shown(found, "risk_ratio")
    expected = co.effects.e_value(ratio["value"], ratio["lower"], ratio["upper"])
    assert shown(found, "e_value")["value"] == expected.estimate
    assert shown(found, "e_value_limit")["value"] == expected.limit
    assert not {"tipping_point", "corrected_risk_ratio"} & set(found.to_polars()["estimand"])


def test_a_confounder_of_stated_prevalences_is_held_against_estimate_and_limit() -> None:
    found = effect(sensitivity={"confounder": (0.2, 0.5)}).estimate(1, table(effect=-0.9))
    ratio = shown(found, "risk_ratio")
    assert ratio["upper"] < 1  # the treatment protects: the limit nearer to 1 is the upper one
    assert shown(found, "tipping_point")["value"] == co.effects.tipping_point(ratio["value"], 0.2, 0.5)
    assert shown(found, "tipping_point_limit")["value"] == co.effects.tipping_point(ratio["upper"], 0.2, 0.5)


def test_a_confounder_that_cannot_do_it_is_a_typed_outcome() -> None:
    found = effect(sensitivity={"confounder": (0.5, 0.5)}).estimate(1, table())
    assert shown(found, "tipping_point")["status"] == "not_estimable: no confounder of these prevalences would do it"


def test_an_outcome_found_without_error_leaves_the_ratio_as_it_is() -> None:
    exact = effect(sensitivity={"outcome_found": (1.0, 1.0), "outcome_free": (1.0, 1.0)}).estimate(1, table())
    # random error is simulated: the median of 20,000 draws lies within a few thousandths of the ratio
    assert shown(exact, "corrected_risk_ratio")["value"] == pytest.approx(shown(exact, "risk_ratio")["value"], abs=0.02)
    false_positives = {"outcome_found": (0.8, 1.0), "outcome_free": (0.8, 0.9)}
    found = shown(effect(sensitivity=false_positives).estimate(1, table()), "corrected_risk_ratio")
    # false positives dilute: the corrected ratio is further from 1
    assert found["value"] < shown(exact, "risk_ratio")["value"] < 1


def test_what_is_sealed_has_no_sensitivity_either() -> None:
    asked = {"confounder": (0.2, 0.5), "outcome_found": (0.8, 1.0), "outcome_free": (0.9, 1.0)}
    found = effect(gates={"balance": 0.0001}, sensitivity=asked).estimate(1, table()).to_polars()
    rows = found.filter(pl.col("estimand").is_in(ESTIMANDS))
    assert rows["status"].str.starts_with("sealed: ").all()
    assert rows["value"].null_count() == rows.height


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        ({"outcome_found": (0.8, 0.9)}, "come together"),
        ({"outcome_found": (0.9, 0.8), "outcome_free": (0.9, 1.0)}, "smaller to the larger"),
        ({"outcome_found": (0.4, 0.9), "outcome_free": (0.5, 1.0)}, "add up to more than 1"),
        ({"confounder": (0.2, 1.5)}, "confounder"),
    ],
)
def test_what_is_impossible_is_refused(asked: dict[str, object], fault: str) -> None:
    with pytest.raises(StudyError, match=fault):
        effect(sensitivity=asked)
