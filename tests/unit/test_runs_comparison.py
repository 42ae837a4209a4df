"""Two runs compared: each cause of leaving and coming by a person who was made for it."""

from __future__ import annotations

import polars as pl
import pytest
from run_worlds import ALWAYS, PEOPLE, load, study

import cohort as co
from cohort.engines.local import Local
from cohort.errors import StudyError
from cohort.progress import Reporter
from cohort.results.estimates import Estimates
from cohort.runs.batch import Job
from cohort.runs.causes import CAUSES
from cohort.runs.comparison import changed_estimates, compare, count_causes

BACK, OTHER, ADDED = [("2020-04-01", "M545")], [("2020-04-01", "E119")], [("2020-04-01", "M544")]
LATE, SHORT = ("2020-03-01", "2022-12-31"), ("2018-01-01", "2020-02-01")
#            person: born, enrolled, visits                           and in the second snapshot
MADE = {
    101: ((1970, ALWAYS, BACK), (1970, ALWAYS, BACK)),  # stays
    102: ((1970, LATE, BACK), (1970, ALWAYS, BACK)),  # came: a year of enrolment was not known before
    103: ((1970, ALWAYS, BACK), (1970, SHORT, BACK)),  # left: was not enrolled after all
    104: ((1970, ALWAYS, BACK), (1970, ALWAYS, OTHER)),  # left: the claim was corrected
    105: ((1970, ALWAYS, OTHER), (1970, ALWAYS, BACK)),  # came: the claim was corrected
    106: ((1970, ALWAYS, []), (1970, ALWAYS, BACK)),  # came: the claim is new
    107: ((1970, ALWAYS, ADDED), (1970, ALWAYS, ADDED)),  # came: its code was added to the list
    108: ((2003, ALWAYS, BACK), (2003, ALWAYS, BACK)),  # came: 17 years old, and the age was lowered
    109: ((1970, SHORT, ADDED), (1970, ALWAYS, ADDED)),  # came: enrolment too, but the code decided
}
LEFT = {"enrolment update": 1, "corrected claims": 1}
CAME = {"enrolment update": 1, "corrected claims": 1, "new data": 1, "code-list edit": 2, "definition change": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    made = []
    plans = (study(), study(codes=("M545", "M544"), age=16))
    for number, plan in enumerate(plans):
        people = PEOPLE | {person: versions[number] for person, versions in MADE.items()}
        store = load(folder / f"extract{number}", folder / "store", people, buckets=2)
        made.append(Job(plan, store, Local(), folder / "out").run(Reporter())[0])
    return made


def test_everybody_who_left_or_came_has_the_cause_that_was_made_for_them(runs):
    counted = {cause: (left, came) for cause, left, came in compare(*runs).persons.iter_rows()}
    assert counted == {cause: (LEFT.get(cause, 0), CAME.get(cause, 0)) for cause in CAUSES} | {"all causes": (2, 6)}


def test_nobody_left_or_came_between_a_run_and_itself(runs):
    change = compare(runs[0], runs[0])
    assert change.persons.select("left", "came").sum().row(0) == (0, 0)
    assert change.estimates.is_empty()


def test_a_changed_estimate_has_its_values_before_and_after(runs):
    change = compare(*runs)
    rate = change.estimates.filter(pl.col("estimand") == "incidence_rate").row(0, named=True)
    assert rate["n_after"] - rate["n"] == 4  # 6 came, 2 left
    assert "incidence_rate chronification: " in change.text()


def test_runs_whose_persons_have_other_pseudonyms_are_not_compared(runs, tmp_path):
    layout = runs[0].out.parent / "layout"
    store = co.ingest(runs[0].out.parent / "extract0", layout, tmp_path / "store", buckets=2)  # with a key of its own
    other, _ = Job(study(), store, Local(), tmp_path / "out").run(Reporter())
    with pytest.raises(StudyError, match="different keys"):
        compare(runs[0], other)


# The minimum of the disclosure rule -------------------------------------------------------------------------------


def people(**counts):
    rows = [
        (way == "came", cause.replace("_", " ")) for key, n in counts.items() for way, cause in [key.split("__")] * n
    ]
    return pl.DataFrame(rows, schema={"came": pl.Boolean, "cause": pl.String}, orient="row")


def shown(rule, before, after, **counts):
    return {cause: pair for cause, *pair in count_causes(people(**counts), before, after, rule).iter_rows()}


def test_a_small_count_is_withheld_and_cannot_be_had_by_subtraction():
    # 3 corrected of 33 who left: without a second withheld cell 33 - 30 gives the 3 back
    counts = shown(co.DisclosureRule(minimum=11), 500, 467, left__new_data=30, left__corrected_claims=3)
    assert counts["corrected claims"][0] is None
    assert None in (counts["new data"][0], counts["all causes"][0])
    # both reports show their number of persons: 500 - 467 = 33 left if nobody came, so the sum itself tells nothing new
    assert counts["enrolment update"] == [0, 0]


def test_a_few_who_came_among_many_who_left_are_withheld_in_both_sums():
    # 500 before, 462 after: 40 left and 2 came; either sum gives the other
    counts = shown(co.DisclosureRule(minimum=11), 500, 462, left__new_data=40, came__new_data=2)
    assert counts["all causes"] == [None, None]


def test_large_counts_are_shown_and_without_a_rule_all():
    large = {"left__new_data": 30, "came__corrected_claims": 50}
    assert shown(co.DisclosureRule(minimum=11), 500, 520, **large)["all causes"] == [30, 50]
    assert shown(co.DisclosureRule(minimum=0), 500, 501, came__new_data=1)["new data"] == [0, 1]


def test_estimates_that_appear_or_go_are_changed_too():
    one = Estimates.from_rows(pl.DataFrame({"analysis": [1, 1], "estimand": ["a", "b"], "value": [1.0, 2.0]}))
    two = Estimates.from_rows(pl.DataFrame({"analysis": [1, 1], "estimand": ["b", "c"], "value": [2.0, 3.0]}))
    changed = changed_estimates(one, two).select("estimand", "value", "value_after").rows()
    assert changed == [("a", 1.0, None), ("c", None, 3.0)]
