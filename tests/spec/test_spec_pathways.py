"""Pathways by hand: lines of treatment after index, who goes from which to which, what may leave, and the picture."""

from __future__ import annotations

import polars as pl
import pytest
from test_spec_analyses import rows, table
from worlds import INDEX, people, world

import cohort as co
from cohort.errors import StudyError
from cohort.population.attrition import Attrition, Step
from cohort.report.labels import Labels
from cohort.report.pathways import pathway_sections
from cohort.results.disclosure import release
from cohort.results.estimates import SUPPRESSED, Estimates
from cohort.results.table_one import count_table_one

PAIN = co.Codelist.from_rows(
    "pain_drugs",
    [
        {"system": "atc", "code": "N02AA", "category": "opioid"},
        {"system": "atc", "code": "N02BF", "category": "gabapentinoid"},
    ],
)
YEAR = co.Window(0, 365)


def line(number, dispensings, *persons):
    """Return {person: treatment} of one line of treatment."""
    tables = world(**people(*persons), dispensing=f"person_id date system code days_supply\n{dispensings}")
    entries = pl.LazyFrame({"person_id": persons, "index_date": [INDEX] * len(persons)})
    found = co.treatment_line(PAIN, YEAR, number).column(tables, entries).collect()
    return dict(found.select("person_id", f"line_{number}").sort("person_id").rows())


DISPENSED = """
    1 d10  atc N02AA01 60
    1 d100 atc N02BF01 90
    2 d0   atc N02AA01 90
    2 d30  atc N02BF01 60
    3 d5   atc N02AA01 7
    4 d400 atc N02AA01 90
"""


def test_lines_of_treatment_are_in_order_and_short_or_later_ones_are_none():
    """2: 30 days alone, 60 days together; 3: seven days are no line; 4: after the window."""
    assert line(1, DISPENSED, 1, 2, 3, 4) == {1: "opioid", 2: "opioid", 3: "none", 4: "none"}
    assert line(2, DISPENSED, 1, 2, 3, 4) == {1: "gabapentinoid", 2: "gabapentinoid + opioid", 3: "none", 4: "none"}
    assert line(3, DISPENSED, 1, 2, 3, 4) == dict.fromkeys((1, 2, 3, 4), "none")


def test_who_is_not_enrolled_throughout_has_no_known_line():
    tables = world(**people(1), dispensing="person_id date system code days_supply\n1 d10 atc N02AA01 60")
    entries = pl.LazyFrame({"person_id": [1], "index_date": [INDEX]})
    late = co.treatment_line(PAIN, co.Window(0, 2000), 1).column(tables, entries).collect()
    assert late["line_1"].to_list() == [None]


SIX = {
    "line_1": ["a", "a", "a", "b", "b", None],
    "line_2": ["x", "x", "y", "x", None, "x"],
    "time": [9] * 6,
    "cause": [0] * 6,
}


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_a_link_counts_persons_of_whom_every_step_is_known(parts):
    """Of six persons four are known: a to x twice, a to y and b to x once."""
    found = rows(co.pathways("line_1", "line_2").estimate(1, table(SIX, parts)))
    assert found.select("term", "category", "group", "n", "value").rows() == [
        ("1", "a", "x", 2, 0.5),
        ("1", "a", "y", 1, 0.25),
        ("1", "b", "x", 1, 0.25),
    ]


def released(counts, minimum=11):
    """Release links given as {(level of step 1, of step 2, …): persons}."""
    paths = [path for path, n in counts.items() for _ in range(n)]
    steps = [f"line_{k + 1}" for k in range(len(paths[0]))]
    columns = {step: [path[k] for path in paths] for k, step in enumerate(steps)}
    made = table(columns | {"time": [9] * len(paths), "cause": [0] * len(paths)})
    sizes = count_table_one(made.lazy(), {}).finish()
    whole = Estimates.concat([sizes, co.pathways(*steps).estimate(1, made)])
    n = len(paths)
    return release(whole, Attrition((Step("all", n, 0, n, 0),)), co.DisclosureRule(minimum=minimum))


def statuses(gated):
    found = gated.estimates.select(estimand="pathway")
    return {(r["category"], r["group"]): r["status"] == SUPPRESSED for r in found.iter_rows(named=True)}


def test_a_small_link_is_withheld_with_another_from_which_it_could_be_had():
    """153 persons in all: with three of four links and the total anybody has the fourth."""
    withheld = statuses(released({("a", "x"): 50, ("a", "y"): 3, ("b", "x"): 40, ("b", "y"): 60}))
    assert withheld["a", "y"]
    assert sum(withheld.values()) >= 2


def test_what_arrives_at_a_level_and_leaves_it_cannot_be_subtracted():
    """All 43 at x go on to p but for 3: 20 and 23 arrive there, so 43 less the 40 that go to p would be 3."""
    gated = released({("a", "x", "p"): 20, ("b", "x", "p"): 20, ("b", "x", "q"): 3, ("a", "y", "q"): 50})
    withheld = statuses(gated)
    assert withheld["x", "q"]
    assert withheld["x", "p"] or withheld["a", "x"] or withheld["b", "x"]
    assert withheld["x", "p"] or withheld["y", "q"]


def test_nothing_is_withheld_where_nothing_is_small():
    assert not any(statuses(released({("a", "x"): 50, ("a", "y"): 30, ("b", "x"): 40, ("b", "y"): 60})).values())


def study(*analyses, **changes):
    lines = [co.treatment_line(PAIN, YEAR, k) for k in (1, 2)]
    people = co.Cohort("x").enter_at_first(co.diagnosis("low_back_pain")).require_enrolled(co.Window(-365, 0))
    values = {"covariates": [co.age(), *lines], "analyses": list(analyses)} | changes
    return co.Study(people, outcome=co.first_record(co.diagnosis("fatigue")), **values)


def test_a_line_of_treatment_may_be_shown_and_not_adjusted_for(tmp_path):
    shown = study(co.pathways("line_1", "line_2"))
    assert "immortal_time" not in {finding.code for finding in shown.audit()}
    shown.to_toml(tmp_path / "study.toml", whole=True)
    assert co.Study.from_toml(tmp_path / "study.toml") == shown
    with pytest.raises(StudyError, match="known only later"):
        study(co.cox("age + line_1"))
    with pytest.raises(StudyError, match="whole number"):
        study(co.pathways("line_1", "age"))
    with pytest.raises(StudyError, match="twice"):
        co.pathways("line_1", "line_1")


def test_the_picture_has_its_words_and_the_links_that_it_draws():
    gated = released({("a", "x"): 50, ("a", "y"): 3, ("b", "x"): 40, ("none", "none"): 60})
    (section,) = pathway_sections(gated.estimates, Labels({}, ()))
    drawn = section.figure.data
    assert ("none", "none", 60) in drawn.select("source", "target", "persons").rows()
    assert drawn["persons"].min() >= 11
    assert "none to none 60" in section.figure.text
    assert any("withheld" in note for note in section.notes)
    assert "[c]" in {cell.text for line in section.data.lines for cell in line.cells}
