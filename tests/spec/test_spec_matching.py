"""Matching: who is put into a set with whom, that nothing but the seed decides between equals, and what is estimated."""

from __future__ import annotations

import datetime as dt
import itertools
import math

import polars as pl
import pytest

import cohort as co
from cohort.errors import StudyError
from cohort.matched import BEFORE
from cohort.population.matching import MatchedArms, RiskSets
from cohort.protocol import protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.regressions import Cox

JANUARY = dt.date(2020, 1, 1)


def candidates(text):
    """Return candidates from lines of person, arm, sex, year of birth, region and month of index; ``-`` is null."""
    rows = [[None if cell == "-" else cell for cell in line.split()] for line in text.strip().splitlines()]
    return pl.DataFrame(
        {
            "person_id": [int(row[0]) for row in rows],
            "index_date": [dt.date(2020, int(row[5]), 10 + int(row[0]) % 9) for row in rows],
            "arm": [row[1] for row in rows],
            "_sex": [row[2] for row in rows],
            "_birth_year": [None if row[3] is None else int(row[3]) for row in rows],
            "_region": [row[4] for row in rows],
        },
        schema_overrides={"_birth_year": pl.Int64},
    )


TABLE = candidates("""
    1  new female 1970 north 1
    2  new male   1970 north 1
    3  new female 1980 south 2
    4  new -      1970 north 1
    11 old female 1971 north 1
    12 old female 1969 north 1
    13 old male   1970 south 1
    14 old female 1983 south 2
    15 old female 1980 south 3
    16 old -      1970 north 1
""")


def sets(matching, table=TABLE):
    """Return {person of the first arm: persons matched to it, in order}."""
    found = matching.sets(table, ("new", "old"))
    return {
        leader: found.filter(pl.col("matched_set") == number, ~pl.col("case"))["person_id"].to_list()
        for leader, number in found.filter("case").select("person_id", "matched_set").iter_rows()
    }


def test_exact_values_leave_one_choice():
    assert sets(MatchedArms(on=("sex", "birth_year"))) == {2: [13], 3: [15]}
    assert sets(MatchedArms(on=("sex", "region", "index_month"))).keys() == {1, 3}
    assert sets(MatchedArms(on=("sex", "birth_year", "index_month"), birth_years_apart=3))[3] == [14]


def test_a_missing_value_matches_nobody():
    assert 4 not in sets(MatchedArms(on=("sex",), ratio=5))
    assert 4 in sets(MatchedArms(on=("birth_year",), replace=True))


def test_the_nearest_year_of_birth_comes_first():
    """Of 1971 and 1969, both one year from 1970, one; with 15 (1980) and 14 (1983), the one of the same year."""
    both = MatchedArms(on=("sex", "birth_year"), birth_years_apart=3)
    found = sets(both)
    assert found[3] == [15]
    assert found[1][0] in {11, 12}
    assert sorted(sets(both.model_copy(update={"ratio": 2}))[1]) == [11, 12]


CROWD = candidates(
    "\n".join(f"{n} {'new' if n % 5 == 0 else 'old'} female {1960 + n % 7} north 1" for n in range(1, 201))
)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("ratio", [1, 3])
def test_each_set_is_full_while_there_are_enough(ratio, replace):
    """40 of the first arm, 160 of the second; within 2 years everybody finds three."""
    matching = MatchedArms(on=("sex", "birth_year"), birth_years_apart=2, ratio=ratio, replace=replace)
    found = sets(matching, CROWD)
    born = dict(CROWD.select("person_id", "_birth_year").iter_rows())
    assert len(found) == 40
    assert {len(members) for members in found.values()} == {ratio}
    assert all(abs(born[m] - born[leader]) <= 2 for leader, members in found.items() for m in members)
    used = list(itertools.chain(*found.values()))
    assert (len(set(used)) == len(used)) is (not replace)
    assert all(len(set(members)) == len(members) for members in found.values())


def test_comparators_are_dealt_in_rounds():
    """Two of the first arm, ratio 2: nobody has two comparators before everybody has one."""
    for comparators, sizes in ((2, [1, 1]), (3, [1, 2])):
        rows = (f"{n} {'new' if n < 3 else 'old'} male 1970 north 1" for n in range(1, comparators + 3))
        found = sets(MatchedArms(on=("sex",), ratio=2), candidates("\n".join(rows)))
        assert sorted(map(len, found.values())) == sizes


@pytest.mark.parametrize("matching", [MatchedArms(on=("sex",), ratio=2), MatchedArms(on=("sex",), replace=True)])
def test_only_the_seed_decides_between_equals(matching):
    expected = sets(matching, CROWD)
    assert sets(matching, CROWD.sample(fraction=1, shuffle=True, seed=3)) == expected
    assert sets(matching.model_copy(update={"seed": 2}), CROWD) != expected


def test_a_person_is_not_matched_with_itself():
    twice = pl.concat([CROWD.head(5), CROWD.head(5).with_columns(arm=pl.lit("new"))]).filter(pl.col("person_id") == 1)
    assert sets(MatchedArms(on=("sex",)), twice) == {}


# Risk sets --------------------------------------------------------------------------------------------------------

FOLLOWED = pl.DataFrame(
    {
        "person_id": [1, 2, 3, 4, 5, 6],
        "index_date": [JANUARY] * 6,
        "entry": [0, 0, 0, 10, 0, 20],
        "time": [10, 20, 9, 30, 10, 40],
        "cause": [1, 1, 0, 0, 2, 0],
        "_sex": ["male"] * 6,
    }
)


def controls(matching, table=FOLLOWED):
    found = matching.sets(table)
    return {
        leader: found.filter(pl.col("matched_set") == number, ~pl.col("case"))["person_id"].to_list()
        for leader, number in found.filter("case").select("person_id", "matched_set").iter_rows()
    }


def test_controls_are_those_at_risk_on_the_day_of_the_event():
    """On day 10: 2, and 5 who leaves that day; 3 has left, 4 joins after day 10. On day 20: 4; 6 joins after it."""
    assert controls(RiskSets(on=("sex",), ratio=9)) == {1: [2, 5], 2: [4]}


def test_every_control_is_as_likely_as_another():
    """100 seeds draw 1 of 4: each 25 times give or take 3 standard deviations of 4.3."""
    table = pl.DataFrame(
        {"person_id": [1, 2, 3, 4, 5], "index_date": [JANUARY] * 5, "entry": [0] * 5, "time": [5, 9, 9, 9, 9],
         "cause": [1, 0, 0, 0, 0], "_sex": ["male"] * 5}
    )  # fmt: skip
    drawn = [controls(RiskSets(on=("sex",), seed=seed), table)[1][0] for seed in range(100)]
    assert all(12 <= drawn.count(person) <= 38 for person in (2, 3, 4, 5))


def test_pairs_of_cases_and_controls_give_the_ratio_of_discordant_pairs():
    """12 pairs with only the case exposed, 4 with only the control: odds ratio 3, variance of its log 1/12 + 1/4."""
    pairs = [(True, False)] * 12 + [(False, True)] * 4 + [(True, True)] * 3 + [(False, False)] * 5
    rows = [(number, case, exposed[0 if case else 1]) for number, exposed in enumerate(pairs) for case in (True, False)]
    frame = pl.DataFrame(
        {
            "person_id": range(len(rows)),
            "index_date": [JANUARY] * len(rows),
            "entry": [0] * len(rows),
            "time": [7 + number for number, _, _ in rows],
            "cause": [int(case) for _, case, _ in rows],
            "exposed": [exposed for _, _, exposed in rows],
            "matched_set": [number for number, _, _ in rows],
        }
    )
    table = AnalysisTable((frame,), ("pain", "death"), 0, {"exposed": "boolean"}, strata="matched_set")
    found = Cox(terms="exposed").estimate(1, table).frame.filter(pl.col("std_error").is_not_null()).row(0, named=True)
    assert found["value"] == pytest.approx(3, rel=1e-9)
    assert found["std_error"] == pytest.approx(math.sqrt(1 / 12 + 1 / 4), rel=1e-9)
    assert "stratified" in found["method"]


# Whole studies ----------------------------------------------------------------------------------------------------

BACK = co.Codelist.shipped("low_back_pain")
ARMS = {"urgent": co.diagnosis(BACK, settings=["emergency"]), "planned": co.diagnosis(BACK, settings=["outpatient"])}
PEOPLE = co.Cohort("First seen where").enter_at_first(ARMS, washout_days=180).follow_up(max_days=365)
OUTCOME = co.first_record(co.diagnosis("chronic_pain_explicit"))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matching")
    co.simulate("low_back_pain", persons=3000, seed=5, layout="tuva", out=folder / "extract")
    return [co.ingest(folder / "extract", "tuva", folder / f"store{n}", buckets=n, keep_ids=True) for n in (1, 4)]


def study(people, analyses=None):
    analyses = [co.cox("arm")] if analyses is None else analyses
    return co.Study(people, outcome=OUTCOME, covariates=[co.age(), co.sex()], analyses=analyses)


MATCHED = PEOPLE.match_arms("sex", "birth_year", ratio=2, birth_years_apart=5)
SAMPLED = PEOPLE.sample_risk_sets("sex", "birth_year", ratio=3, birth_years_apart=5)


@pytest.mark.parametrize("people", [MATCHED, SAMPLED])
def test_the_number_of_buckets_changes_nothing(stores, people):
    one, four = (study(people).run(store) for store in stores)
    assert one.estimates.frame.equals(four.estimates.frame, null_equal=True)
    assert one.attrition == four.attrition
    members = [result.table.lazy().select("person_id", "index_date", "matched_set").collect() for result in (one, four)]
    assert members[0].equals(members[1])
    assert members[0].height > 50


def test_matching_is_a_step_of_the_attrition_and_its_balance_stands_before_and_after(stores):
    result = study(MATCHED, analyses=[co.cox("arm"), co.cumulative_incidence(by="arm")]).run(stores[1])
    last = result.attrition.steps[-1]
    assert last.reason.endswith("In a matched set (sex, year of birth (up to 5 apart))")
    assert last.entries_kept == result.table.lazy().collect().height
    after = result.estimates.select(estimand="standardised_difference")
    before = result.estimates.select(estimand=BEFORE)
    assert before["term"].to_list() == after["term"].to_list() == ["age", "sex"]
    assert after.filter(pl.col("term") == "sex")["value"].abs().item() < 0.05  # one member has one comparator or two


def test_the_report_of_a_matched_study_can_be_written(stores, tmp_path):
    page = study(MATCHED, analyses=[co.cox("arm"), co.kaplan_meier(by="arm")]).run(stores[0]).report(tmp_path)
    assert "In a matched set" in page.read_text(encoding="utf-8")


def test_cases_and_controls_split_table_one(stores):
    result = study(SAMPLED).run(stores[0])
    rows = result.table.lazy().collect()
    per_set = rows.group_by("matched_set").agg(pl.col("cause").sum(), pl.len(), pl.col("time").n_unique())
    assert set(per_set["cause"]) == {1}
    assert set(per_set["time"]) == {1}
    assert per_set["len"].max() == 4
    assert set(rows["exit_reason"]) == {"case", "control"}


def test_the_protocol_says_how(stores):
    said = {item: text for section, item, text in protocol(study(MATCHED))}
    assert said["matching"] == (
        "up to 2 of the second arm to each of the first, without replacement, on sex, year of birth (up to 5 apart); "
        "seed 1"
    )
    said = {item: text for section, item, text in protocol(study(SAMPLED))}
    assert said["matching"].startswith(
        "up to 3 controls at risk on the day of each case's event, on sex, year of birth"
    )


def test_a_multiverse_of_matchings_equals_its_own_runs(stores):
    multiverse = study(MATCHED).over({"cohort.matching.ratio": [1, 3], "cohort.entry.washout_days": [90, 180]})
    ran = multiverse.run(stores[1])
    for variant, released in zip(multiverse.studies, ran.released, strict=True):
        own = variant.run(stores[1])
        assert own.estimates.frame.equals(released.estimates.frame, null_equal=True)
        assert own.attrition == released.attrition


def test_nobody_to_match(stores):
    """Of an empty cohort every step stands, with nobody in it."""
    nobody = MATCHED.require_age(149, 150)
    result = study(nobody).run(stores[0])
    assert result.table.lazy().collect().is_empty()
    assert result.attrition.steps[-1].persons_kept == 0


@pytest.mark.parametrize(
    ("make", "repair"),
    [
        (lambda: PEOPLE.match_arms("birth_year", birth_years_apart=30), "less than or equal to 20"),
        (lambda: PEOPLE.match_arms("sex", birth_years_apart=1), "needs birth_year"),
        (PEOPLE.match_arms, "at least 1 item"),
        (lambda: study(co.Cohort("c").enter_at_first(co.diagnosis(BACK)).match_arms("sex"), analyses=()), "two arms"),
        (lambda: study(SAMPLED, analyses=[co.incidence_rate()]), "no curves and rates; use cox"),
    ],
)
def test_what_cannot_be_matched(make, repair):
    with pytest.raises(StudyError, match=repair):
        make()
