"""A study whose persons enter more than once, from the store to the report: counts of entries hide persons no less."""

from __future__ import annotations

import polars as pl
import pytest

import cohort as co
from cohort.errors import StudyError
from cohort.population.attrition import Attrition, Step
from cohort.results.disclosure import DisclosureRule, release
from cohort.results.estimates import Estimates

PEOPLE = (
    co.Cohort("Every new episode of back pain")
    .enter_at_each(co.diagnosis("low_back_pain"), washout_days=90)
    .require_enrolled(co.Window(-90, 0))
    .follow_up(max_days=180)
)
OUTCOME = co.first_record(co.diagnosis("low_back_pain"), label="next_visit")
ANALYSES = [co.kaplan_meier(), co.cumulative_incidence(by="sex"), co.incidence_rate(), co.cox("age + sex")]


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repeated")
    co.simulate("low_back_pain", persons=3000, seed=5, layout="tuva", out=folder / "extract")
    store = co.ingest(folder / "extract", "tuva", folder / "store", buckets=3)
    rule = DisclosureRule(minimum=5)
    return co.Study(PEOPLE, outcome=OUTCOME, covariates=[co.age(), co.sex()], analyses=ANALYSES, disclosure=rule).run(
        store
    )


def test_entries_of_a_person_follow_each_other_without_sharing_a_day(result):
    rows = result.table.lazy().select("person_id", "index_date", "time").collect()
    previous = (pl.col("index_date") + pl.duration(days=pl.col("time"))).shift().over("person_id")
    assert rows.filter(pl.col("index_date") <= previous).is_empty()
    assert rows.height > rows["person_id"].n_unique()


def test_attrition_ends_with_the_entries_that_are_analysed(result):
    last = result.attrition.steps[-1]
    table = result.table.lazy().collect()
    assert (last.persons_kept, last.entries_kept) == (table["person_id"].n_unique(), table.height)


def test_every_analysis_is_robust_to_entries_of_one_person(result):
    for number, analysis in enumerate(ANALYSES, start=1):
        found = analysis.estimate(number, result.table).frame
        methods = found.filter(pl.col("std_error").is_not_null())["method"].unique().to_list()
        assert len(methods) == 1
        assert any(word in methods[0] for word in ("by person", "robust to several entries", "by cluster"))


def test_the_report_says_why_counts_may_be_missing(result, tmp_path):
    page = result.report(tmp_path).read_text(encoding="utf-8")
    assert "A person may count more than once" in page
    assert "outside the follow-up of an earlier entry" in page


def table_one(n):
    counts = {"estimand": "count", "value": float(n), "n": n, "unit": "persons"}
    return Estimates.from_rows(pl.DataFrame([counts]), analysis=0)


FLOW = Attrition((Step("all", 100, 0, 100, 0),))


@pytest.mark.parametrize(("n", "most_rows", "shown"), [(20, 1, True), (20, 2, False), (22, 2, True), (32, 3, False)])
def test_a_count_of_rows_must_hold_enough_persons_however_they_are_spread(n, most_rows, shown):
    """11 persons at least: with up to 2 rows each, 22 rows hold 11 persons or more, 20 might be 10."""
    released = release(table_one(n), FLOW, DisclosureRule(minimum=11), most_rows)
    assert (released.estimates.frame["value"].item() is not None) is shown
    assert released.rule.minimum == 11


def test_a_fine_gray_model_takes_rows_for_independent():
    with pytest.raises(StudyError, match="persons may enter more than once"):
        co.Study(PEOPLE, outcome=OUTCOME, covariates=[co.age()], analyses=[co.fine_gray("age")])
