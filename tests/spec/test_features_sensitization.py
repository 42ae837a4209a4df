"""Symptom domains, overlapping conditions, the unvalidated index, and the Rogan–Gladen correction."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.errors import StudyError
from cohort.features.sensitization import (
    DOMAINS,
    ITEMS,
    overlapping_conditions,
    rogan_gladen,
    sensitization_index,
    symptom_domains,
)


def diagnosed(**codes):
    """Build diagnoses from person=codes."""
    rows = [(person, "icd10cm", code) for person, own in codes.items() for code in own]
    return pl.LazyFrame(rows, schema=["person_id", "system", "code"], orient="row")


ROWS = {
    "a": ["G4700", "R5383", "F329", "R413", "F4310", "F1120"],
    "b": ["M797", "K580", "G43709", "M545"],
    "c": ["M545"],
    "d": ["E119"],
}


def test_domains_of_each_person():
    found = symptom_domains(diagnosed(**ROWS)).collect()
    present = {row["person_id"]: {name for name in DOMAINS if row[name]} for row in found.iter_rows(named=True)}
    assert present == {
        "a": {"sleep", "fatigue", "mood", "cognition", "posttraumatic_stress", "substance_use"},
        "b": set(),
        "c": set(),
        "d": set(),
    }


def test_overlapping_conditions_are_counted_once_each():
    found = overlapping_conditions(diagnosed(**ROWS, e=["K580", "K589"])).collect()
    # b: fibromyalgia, irritable bowel, migraine, low back pain
    assert found.rows() == [("a", 0), ("b", 4), ("c", 1), ("d", 0), ("e", 1)]


def test_the_index_is_the_sum_of_the_items_shown():
    found = sensitization_index(diagnosed(**ROWS)).collect()
    assert found.columns == ["person_id", *ITEMS, "sensitization_index"]
    # a: sleep, fatigue, mood, cognition, stress; b: widespread pain and two or more overlapping conditions
    assert dict(found.select("person_id", "sensitization_index").rows()) == {"a": 5, "b": 2, "c": 0, "d": 0}
    assert (found.select(pl.sum_horizontal(*ITEMS)).to_series() == found["sensitization_index"]).all()


def test_rogan_gladen_by_hand():
    # apparent 0.2, sensitivity 0.8, specificity 0.9: (0.2 + 0.9 - 1) / (0.8 + 0.9 - 1) = 1/7
    found = rogan_gladen(20, 100, 0.8, 0.9)
    assert found.estimate == pytest.approx(1 / 7, abs=1e-12)
    # exact binomial limits of 20 of 100: 0.126656, 0.291843 (Clopper and Pearson)
    assert found.lower == pytest.approx((0.126656 - 0.1) / 0.7, abs=2e-6)
    assert found.upper == pytest.approx((0.291843 - 0.1) / 0.7, abs=2e-6)


@pytest.mark.parametrize(
    ("positive", "n", "expected"),
    [(0, 10, (0.0, 0.0)), (10, 10, (1.0, 1.0)), (1, 100, (0.0, 0.0))],
)
def test_rogan_gladen_is_cut_to_the_possible(positive, n, expected):
    found = rogan_gladen(positive, n, 0.8, 0.9)
    assert (found.estimate, found.upper if positive == n else found.lower) == expected


@pytest.mark.parametrize(
    ("positive", "n", "sensitivity", "specificity", "message"),
    [
        (1, 10, 0.5, 0.5, "add up to more than 1"),
        (1, 10, 1.2, 0.9, "must lie in"),
        (11, 10, 0.9, 0.9, "0 <= positive <= n"),
        (0, 0, 0.9, 0.9, "n > 0"),
    ],
)
def test_rogan_gladen_refuses(positive, n, sensitivity, specificity, message):
    with pytest.raises(StudyError, match=message):
        rogan_gladen(positive, n, sensitivity, specificity)
