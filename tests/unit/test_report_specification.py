"""The specification curve of a report: combinations in order, their choices, what they have in common."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import report_content as made_up

from cohort.report.document import compose, render
from cohort.report.labels import Labels
from cohort.report.specification import specification_sections

KEYS = ["cohort.entry.washout_days", "outcome.within_days"]


def table(values, estimand="hazard_ratio"):
    """Return the table of four combinations: washout 90 or 180, outcome within 180 or 365 days."""
    n = len(values)
    return pl.DataFrame(
        {
            "combination": range(1, n + 1),
            KEYS[0]: ["90", "90", "180", "180"][:n],
            KEYS[1]: ["180", "365", "180", "365"][:n],
            "n": [990] * n,
            "events": [110] * n,
            "event": "chronic_pain",
            "group": "all",
            "term": "early_opioid",
            "category": "true",
            "time": pl.Series([None] * n, dtype=pl.Int64),
            "estimand": estimand,
            "value": values,
            "lower": [None if value is None else value - 0.3 for value in values],
            "upper": [None if value is None else value + 0.3 for value in values],
            "level": 0.95,
            "status": ["suppressed" if value is None else "ok" for value in values],
        },
        schema_overrides={"value": pl.Float64, "lower": pl.Float64, "upper": pl.Float64},
    )


def test_estimates_are_drawn_from_the_smallest_to_the_largest_with_what_they_rest_on():
    (section,) = specification_sections(table([1.4, 1.1, 1.5, 1.2]), Labels(made_up.LABELS, ()))
    assert section.title == "Hazard ratio of chronic pain, Opioid in the first 14 days: yes"
    assert section.figure.data["value"].to_list() == [1.1, 1.2, 1.4, 1.5]
    assert section.figure.data[KEYS[1]].to_list() == ["365", "365", "180", "180"]
    for text in ("washout days", "within days", ">90<", ">365<"):
        assert text in section.figure.svg


def test_the_notes_count_combinations_and_intervals():
    """Of 1.4, 1.1, 1.5 and 1.2 ± 0.3 the intervals from 1.1 and 1.2 do not hold 1; the median is 1.3."""
    (section,) = specification_sections(table([1.4, 1.1, 1.5, 1.2]), Labels({}, ()))
    assert section.notes[0] == f"4 combinations of {', '.join(KEYS)}; none without an estimate."
    assert section.notes[1] == "Median estimate 1.30, smallest 1.10, largest 1.50."
    assert section.notes[2] == "2 of 4 intervals do not hold 1."


def test_a_combination_without_an_estimate_is_a_line_and_no_point():
    (section,) = specification_sections(table([1.4, None, 1.5, 1.2]), Labels({}, ()))
    assert section.figure.data.height == 3
    assert [line.cells[-1].text for line in section.data.lines][1] == "[c]"
    assert "1 without an estimate" in section.notes[0]


@pytest.mark.parametrize("values", [[None, None], []])
def test_a_multiverse_of_which_nothing_is_released_has_no_figure(values):
    sections = specification_sections(table(values), Labels({}, ()))
    assert [section.figure for section in sections] == [None] * bool(values)


def test_shares_are_percentages_on_a_linear_axis():
    (section,) = specification_sections(table([0.4, 0.5], "cumulative_incidence"), Labels({}, ()))
    assert "40.0\u202f%" in section.notes[1]
    assert not any("do not hold" in note for note in section.notes)


def test_the_page_has_the_curve_and_the_checklist_points_to_it():
    content = replace(made_up.content(), specifications=table([1.4, 1.1, 1.5, 1.2]))
    assert '<section id="specifications">' in render(content)
    printed = compose(content)
    assert "specifications_1" in dict(printed.figures())
    item = next(item for item in printed.checklist if item.number == "12e")
    assert item.sections == (("specifications", "Specification curve"),)
