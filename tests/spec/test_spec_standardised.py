"""Incidence and prevalence by hand, crude and standardised by age, from the study to the printed table."""

from __future__ import annotations

import polars as pl
import pytest
from test_spec_analyses import rows, table

import cohort as co
from cohort import survival as sv
from cohort.errors import StudyError
from cohort.population.attrition import Attrition, Step
from cohort.report.labels import Labels
from cohort.report.sections import rate_sections
from cohort.results.disclosure import release
from cohort.results.estimates import SUPPRESSED, Estimates
from cohort.results.table_one import count_table_one

FOUR = {"time": [100] * 4, "cause": [1, 0, 1, 1], "age": [20, 22, 60, 61], "pain": [True, False, True, True]}
OWN = {0: 3, 50: 1}


def four(parts=1, **columns):
    return table(FOUR | columns, parts, age="integer", pain="boolean")


@pytest.mark.parametrize("parts", [1, 3])
def test_a_standardised_rate_weights_the_rates_of_age_groups(parts):
    """Young 1 event in 200 days, old 2 in 200; weights 3 to 1: (3 · 1/200 + 2/200) / 4 = 1/160 a day."""
    found = rows(co.incidence_rate(standard=OWN).estimate(1, four(parts)), estimand="standardised_rate").row(
        0, named=True
    )
    assert found["value"] == pytest.approx(365_250 / 160, rel=1e-12)
    assert (found["n"], found["events"], found["person_days"]) == (4, 3, 400)
    assert found["method"].startswith(
        "standardised by age at index to the study's own standard population, the 2 of its 2"
    )


def test_time_before_risk_starts_is_not_at_risk():
    late = table(FOUR, landmark=60, age="integer", pain="boolean")
    found = rows(co.incidence_rate(standard=OWN).estimate(1, late), estimand="standardised_rate").row(0, named=True)
    assert found["person_days"] == 4 * 40


def test_a_standardised_prevalence_weights_shares():
    """Young 1 of 2, old 2 of 2; weights 3 to 1: (3 · 1/2 + 1) / 4 = 0.625."""
    found = co.prevalence("pain", standard=OWN).estimate(1, four())
    assert rows(found, estimand="prevalence").select("n", "events", "value").row(0) == (4, 3, 0.75)
    assert rows(found, estimand="standardised_prevalence")["value"].item() == pytest.approx(0.625)


def test_limits_of_a_standardised_share_are_wilsons_for_the_effective_number():
    """One age group: the share is crude, its variance p(1 − p)/n, the effective number n, the limits Wilson's."""
    one = co.prevalence("pain", standard={0: 1}).estimate(1, four())
    crude, weighted = (
        rows(one, estimand=name).row(0, named=True) for name in ("prevalence", "standardised_prevalence")
    )
    for name in ("value", "lower", "upper"):
        assert weighted[name] == pytest.approx(crude[name], rel=1e-12)


def test_age_groups_that_nobody_is_in_have_no_weight_and_a_group_that_lacks_one_has_no_rate():
    sexes = four(sex=["f", "f", "f", "m"])  # the only man is 61
    found = rows(co.incidence_rate("sex", standard="european_2013").estimate(1, sexes), estimand="standardised_rate")
    assert found["status"].to_list() == ["ok", "not_estimable: no person-time at some age that others have"]
    together = rows(co.incidence_rate(standard="european_2013").estimate(1, four()), estimand="standardised_rate")
    # all events at ages 20 to 24 (weight 6 000) and 60 to 64 (6 000): the mean of 1/200 and 2/200 a day
    assert together["value"].item() == pytest.approx(365_250 * 1.5 / 200)


def test_persons_of_unknown_age_are_in_no_age_group():
    found = co.incidence_rate(standard=OWN).estimate(1, four(age=[20, None, 60, 61]))
    assert rows(found, estimand="incidence_rate")["n"].item() == 4
    assert rows(found, estimand="standardised_rate")["n"].item() == 3


def test_persons_without_a_group_are_left_out_and_said_to_be():
    lacking = four(sex=["f", "f", "f", None])
    for analysis in (co.incidence_rate("sex", standard=OWN), co.prevalence("pain", "sex", standard=OWN)):
        found = analysis.estimate(1, lacking).to_polars()
        assert found["n"].to_list() == [3, 3]
        assert "persons with a missing sex left out" in " ".join(found["method"])


def test_persons_whose_covariate_is_unknown_are_in_neither_count():
    found = rows(co.prevalence("pain").estimate(1, four(pain=[True, None, True, False])), estimand="prevalence")
    assert found.select("n", "events").row(0) == (3, 2)


def test_the_shipped_standards_are_those_published():
    european, world = (sv.standard_population(name) for name in ("european_2013", "who_2000_2025"))
    assert european["from_age"].to_list() == world["from_age"].to_list() == list(range(0, 90, 5))
    assert european["standard"].sum() == 100_000
    assert european.filter(pl.col("from_age") == 85)["standard"].item() == 1500 + 800 + 200
    assert world["standard"].sum() == 10_003  # as printed: the rounded weights are 100.03 %
    assert world["standard"].head(3).to_list() == [886, 869, 860]
    with pytest.raises(StudyError, match="european_2013"):
        sv.standard_population("european_1976")


def study(**changes):
    values = {"covariates": [co.age()], "analyses": [co.incidence_rate(standard="who_2000_2025")]} | changes
    people = co.Cohort("x").enter_at_first(co.diagnosis("low_back_pain"))
    return co.Study(people, outcome=co.first_record(co.diagnosis("fatigue")), **values)


def test_a_study_that_standardises_needs_age_and_a_prevalence_a_yes_or_no(tmp_path):
    study().to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml") == study()
    own = study(analyses=[co.incidence_rate(standard=OWN)])
    own.to_toml(tmp_path / "own.toml")
    assert co.Study.from_toml(tmp_path / "own.toml") == own
    with pytest.raises(StudyError, match="'age'"):
        study(covariates=[])
    with pytest.raises(StudyError, match="no yes/no covariate"):
        study(analyses=[co.prevalence("age")])
    with pytest.raises(StudyError, match="ascend"):
        co.incidence_rate(standard={50: 1, 0: 1})


def test_the_printed_table_has_crude_and_standardised_side_by_side():
    found = co.incidence_rate(per=100, standard=OWN).estimate(1, four())
    (printed,) = rate_sections(found, Labels({}, ()))
    assert printed.heading[-1] == "Age-standardised (95\u202f% CI)"
    assert [cell.text for cell in printed.lines[0].cells][:3] == ["4", "3", "1.1"]
    assert printed.lines[0].cells[-1].text.startswith("228 (")  # 365.25 · 100 / 160


def many(n_pain, region):
    """200 persons in two regions; of the second few have pain."""
    n = 200
    columns = {"time": [100] * n, "cause": [0] * n, "age": [50] * n, "region": ["a"] * (n - region) + ["b"] * region}
    pain = [i < n_pain or i == n - 1 for i in range(n)]
    return table(columns | {"pain": pain}, age="integer", pain="boolean", region="categorical")


def test_a_small_prevalence_cannot_be_had_from_table_1_either():
    """One of region b has pain: with 31 of both in Table 1 and 30 of region a here, a reader would subtract."""
    people = many(30, region=40)
    estimates = Estimates.concat([
        count_table_one(people.lazy(), {"pain": "boolean"}).finish(),
        co.prevalence("pain", by="region").estimate(1, people),
    ])  # fmt: skip
    released = release(estimates, Attrition((Step("all", 200, 0, 200, 0),)), co.DisclosureRule(minimum=11))
    shown = released.estimates.select(estimand="prevalence")
    whole = released.estimates.select(analysis=0, estimand="count").filter(pl.col("category") == "true")
    withheld = dict(zip(shown["group"], shown["status"] == SUPPRESSED, strict=True))
    assert withheld["b"]
    assert withheld["a"] or whole["status"].item() == SUPPRESSED
