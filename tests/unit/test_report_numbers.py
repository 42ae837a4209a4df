"""Numbers as printed."""

from __future__ import annotations

import pytest

from cohort.report.numbers import count, days, decimal, percent, plain, ratio, ratios, significant

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.4512, "1.45"),
        (0.5, "0.50"),
        (12.34, "12.3"),
        (327.94, "328"),
        (0.0341, "0.034"),
        (0.00341, "0.0034"),
        (0.0, "0.00"),
        (float("inf"), "∞"),
        (None, ""),
    ],
)
def test_ratios_have_digits_that_mean_something(value, text):
    assert ratio(value) == text


def test_counts_are_grouped_by_thin_spaces_and_a_missing_one_is_blank():
    assert count(12_345_678) == f"12{THIN}345{THIN}678"
    assert count(0) == "0"
    assert count(None) == ""


def test_a_negative_number_has_a_minus_sign_and_a_rounded_zero_has_none():
    assert decimal(-0.052, 2) == "−0.05"
    assert decimal(-0.001, 2) == "0.00"


def test_days_have_months_beside():
    assert days(365) == f"365{THIN}days (12.0{THIN}months)"
    assert days(1) == f"1{THIN}day (0.0{THIN}months)"


def test_percentages_and_numbers_of_unknown_kind():
    assert percent(0.2345) == f"23.4{THIN}%"
    assert significant(0.0123456) == "0.01235"
    assert significant(-1234.5) == f"−1{THIN}234"


def test_marks_that_cannot_be_seen_are_taken_out():
    assert plain("a\u202eb\u200bc\x00d\ne") == "abcd e"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ((1.17, 1.05, 1.30), ("1.17", "1.05", "1.30")),
        ((0.9983, 0.9954, 1.001), ("0.998", "0.995", "1.001")),  # per year of age
        ((12.31, 12.30, 12.32), ("12.3", "12.3", "12.3")),
        ((1.0, None, None), ("1.00", "", "")),
    ],
)
def test_a_ratio_whose_limits_lie_close_has_three_decimals(ends, told):
    assert ratios(*ends) == told
