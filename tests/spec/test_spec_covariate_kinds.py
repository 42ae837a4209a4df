"""One value per kind of covariate, worked by hand; null with its reason where it could not be known."""

from __future__ import annotations

import datetime as dt
import re
import typing

import polars as pl
import pytest
from worlds import world

import cohort as co
from cohort import _HOME
from cohort.errors import StudyError
from cohort.features.covariates import Covariate
from cohort.plan import codes_needed, run_bucket

# index 2020-07-01 = day 0; 2020-01-01 is day -182. Person 2 is enrolled from day -91 only; nothing is known of 3
TABLES = world(
    person="""
        person_id birth_date sex    region deprivation
        1         1954-07-02 female north  Q5
        2         1990-07-01 male   -      -
        3         -          -      -      -
    """,
    enrolment="""
        person_id start_date end_date
        1         2018-01-01 2020-02-15
        1         2020-03-10 2021-12-31
        2         2020-04-01 2021-12-31
    """,
    diagnosis="""
        person_id date       end_date   code    setting
        1  2020-01-10 2020-01-10 M545    outpatient
        1  2020-02-01 2020-02-01 M545    outpatient
        1  2020-05-02 2020-05-02 M545    outpatient
        1  2020-05-12 2020-05-12 M5416   emergency
        1  2020-05-22 2020-05-22 M545    outpatient
        1  2020-06-01 2020-06-01 M542    outpatient
        1  2020-06-20 2020-07-05 M797    inpatient
        1  2020-06-20 2020-07-05 C509    inpatient
        1  2020-03-15 2020-03-15 E119    outpatient
        1  2020-03-15 2020-03-15 F329    laboratory
        1  2020-03-16 2020-03-16 G4700   outpatient
        2  2020-05-01 2020-05-01 F329    outpatient
        2  2020-05-01 2020-05-01 K580    outpatient
    """,
    procedure="""
        person_id date       system code  setting
        1  2020-05-12 cpt    20552 outpatient
        1  2020-06-02 cpt    97110 outpatient
        2  2020-05-05 cpt    97110 outpatient
    """,
    dispensing="""
        person_id date       system code        quantity days_supply
        1  2020-05-12 ndc    00007031920 60 10
        1  2020-05-17 ndc    00007031920 60 10
        1  2020-05-20 atc    N05BA01     30 30
        2  2020-05-01 ndc    00007031920 60 -
    """,
    measurement="""
        person_id date       instrument value
        1  2020-04-01 NRS 8
        1  2020-05-01 NRS 7
        1  2020-05-31 NRS 6.5
    """,
    cost="""
        person_id date       service amount
        1  2020-05-12 medical  9000
        1  2020-05-12 pharmacy 3050
        1  2020-06-02 medical  -50
        1  2020-07-01 medical  99900
    """,
)
INDEX = dt.date(2020, 7, 1)
ENTRIES = pl.LazyFrame({"person_id": [1, 2, 3], "index_date": [INDEX] * 3})
HALF_YEAR = co.Window(-180, -1)
THIN = co.Window(-60, -1)  # 2 May to 30 June: persons 1 and 2 are enrolled on all of it
NOT_ENROLLED = "not enrolled throughout the window"
BENZODIAZEPINE = co.Codelist.from_rows("benzodiazepine", [{"system": "atc", "code": "N05BA"}])
PAIN = "pain_regions"


def column(covariate):
    """Return value and reason of persons 1, 2 and 3."""
    found = covariate.column(TABLES, ENTRIES).sort("person_id").collect()
    assert found.columns == ["person_id", "index_date", covariate.name, f"{covariate.name}_missing"]
    return list(zip(found[covariate.name], found[f"{covariate.name}_missing"], strict=True))


@pytest.mark.parametrize(
    ("covariate", "first"),
    [
        (co.age(), 65),  # 66 tomorrow
        (co.age_group(), "60-74"),
        (co.age_group(66), "00-65"),
        (co.index_year(), "2020"),
        (co.index_season(), "summer"),
        (co.region(), "north"),
        (co.deprivation(), "Q5"),
        (co.charlson(HALF_YEAR), 3),  # diabetes 1, cancer 2
        (co.charlson(HALF_YEAR, weights="2011"), 2),  # diabetes 0, cancer 2
        (co.charlson(HALF_YEAR, cancer_free=True), 1),
        (co.charlson(HALF_YEAR, cancer_free=True, age_adjusted=True), 3),  # 50-59 one point, 60-69 two
        (co.charlson(HALF_YEAR, days_apart=30), 2),  # one outpatient code of diabetes confirms nothing
        (co.elixhauser(HALF_YEAR), 1),  # solid tumour 4, uncomplicated diabetes 0, depression -3
        (co.comorbid("diab", HALF_YEAR), True),
        (co.comorbid("mi", HALF_YEAR), False),
        (co.pain_sites(HALF_YEAR), 3),  # low back, neck, and widespread counts as one
        (co.widespread_pain(HALF_YEAR), True),
        (co.pain_mechanism("neuropathic", HALF_YEAR), True),  # M54.16 is radiculopathy
        (co.pain_condition("fibromyalgia", HALF_YEAR), True),
        (co.current_pain_days(PAIN, HALF_YEAR, gap_days=30), 61),  # 2 May to 1 July
        (co.previous_episodes(PAIN, HALF_YEAR, gap_days=30), 1),
        (co.previous_pain_days(PAIN, HALF_YEAR, gap_days=30), 23),  # 10 January to 1 February
        (co.visit_intensity(PAIN, THIN), 245),  # 4 days outside hospital in 60 - 11: 4 * 3000 / 49 = 244.9
        (co.unpredictability(PAIN, THIN), 37),  # gaps 10, 10, 10, 19: mean 12.25, standard deviation 4.5 = 36.7 %
        (co.amplification(PAIN, THIN), -150),  # 3, 2 and 0 days in three blocks of 28
        (co.care_flares(PAIN, THIN), 1),  # the emergency visit and the injection of 12 May
        (co.symptom("sleep", HALF_YEAR), True),
        (co.symptom_domains(HALF_YEAR), 2),  # sleep, mood
        (co.overlapping_conditions(HALF_YEAR), 2),  # fibromyalgia, chronic low back pain
        (co.sensitization_index(HALF_YEAR), 4),  # widespread, two overlapping, sleep, mood
        (co.exposed("opioid", HALF_YEAR, name="opioid"), True),
        (co.encounter_days(HALF_YEAR), 10),  # 3 + 8 days, the laboratory day of 15 March has diabetes too
        (co.emergency_visits(HALF_YEAR), 1),
        (co.admissions(HALF_YEAR), 1),
        (co.inpatient_days(HALF_YEAR), 11),  # 20 to 30 June; the days after are not known yet
        (co.procedure_days("treatment_modalities", HALF_YEAR), 2),
        (co.treated("interventional", HALF_YEAR), True),
        (co.cost_per_month(THIN), 60),  # 120.00 in 60 days, the payment of the index day not among them
        (co.cost_per_month(THIN, "medical"), 45),  # 90.00 less 0.50 taken back: 44.75
        (co.percent_covered("opioid", THIN), 33),  # 20 of 60 days
        (co.opioid_dose(THIN), 15),  # twice 60 x 5 mg x 1.5 = 450, over 60 days
        (co.opioid_dose(THIN, what="maximum"), 90),  # both are taken as written from 17 to 21 May
        (co.new_use("opioid", THIN, washout_days=120), True),
        (co.concurrent_days("opioid", BENZODIAZEPINE, THIN), 12),  # 20 to 31 May
        (co.score("NRS", HALF_YEAR), 7),  # 6.5, halves upwards
        (co.score("nrs", HALF_YEAR, what="trend"), -75),  # 8, 7, 6.5 every 30 days
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_value_of_person_1(covariate, first):
    assert column(covariate)[0] == (first, None)


@pytest.mark.parametrize(
    ("covariate", "second"),
    [
        (co.region(), (None, "not recorded")),
        (co.deprivation(), (None, "not recorded")),
        (co.cost_per_month(THIN), (0, None)),  # nothing was paid, and that is known
        (co.cost_per_month(HALF_YEAR), (None, NOT_ENROLLED)),
        (co.charlson(HALF_YEAR), (None, NOT_ENROLLED)),
        (co.charlson(HALF_YEAR, observed="assumed"), (0, None)),
        (co.symptom("mood", HALF_YEAR), (True, None)),  # on record, whatever else may be missing
        (co.symptom("sleep", HALF_YEAR), (None, NOT_ENROLLED)),
        (co.symptom("sleep", THIN), (False, None)),
        (co.new_use("opioid", co.Window(-70, -1)), (None, NOT_ENROLLED)),  # the washout was not observed
        (co.percent_covered("opioid", co.Window(-70, -1)), (None, "a dispensing without days' supply")),
        (co.opioid_dose(co.Window(-70, -1)), (None, "an opioid whose dose cannot be converted")),
        (co.unpredictability(PAIN, THIN), (None, "fewer than 5 encounter days")),
        (co.score("NRS", HALF_YEAR), (None, "too few scores in the window")),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_is_not_known_of_person_2_is_null_with_a_reason(covariate, second):
    assert column(covariate)[1] == second


def test_a_store_without_amounts_does_not_know_what_anybody_cost():
    without = {name: table for name, table in TABLES.items() if name != "cost"}
    found = co.cost_per_month(THIN).column(without, ENTRIES).sort("person_id").collect()
    reason = "no amounts in the store, or no day enrolled"
    assert found["cost_per_month"].to_list() == [None] * 3
    assert found["cost_per_month_missing"].to_list() == [reason, reason, NOT_ENROLLED]


def test_nothing_is_known_of_a_person_without_enrolment():
    assert column(co.charlson(HALF_YEAR))[2] == (None, NOT_ENROLLED)
    assert column(co.charlson(HALF_YEAR, age_adjusted=True, observed="assumed"))[2] == (None, "no birth date")
    assert column(co.age())[2] == (None, "no birth date")


def test_a_gap_of_31_days_in_enrolment_is_bridged_once_the_person_is_back():
    # person 1 was away from 16 February to 9 March 2020, 23 days; on 1 March nobody knows yet of the return
    early = pl.LazyFrame({"person_id": [1], "index_date": [dt.date(2020, 3, 1)]})
    later = pl.LazyFrame({"person_id": [1], "index_date": [dt.date(2020, 3, 10)]})
    sites = co.pain_sites(co.Window(-90, -1))
    assert sites.column(TABLES, early).collect()["pain_sites"].to_list() == [None]
    assert sites.column(TABLES, later).collect()["pain_sites"].to_list() == [1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: co.comorbid("diabetes", HALF_YEAR), "charlson has no category 'diabetes'; did you mean 'diab'"),
        (lambda: co.treated("opioids", HALF_YEAR), "no treatment is called 'opioids'; did you mean 'opioid'"),
        (lambda: co.pain_condition("crps", HALF_YEAR), "pain_conditions has no category 'crps'"),
        (lambda: co.percent_covered("opioid", co.Window(None, -1)), "a window with both ends"),
        (lambda: co.previous_episodes(PAIN, co.Window(-10, 10)), "ends on the index date at the latest"),
        (lambda: co.age_group(40, 30), "ascend"),
        (lambda: co.cost_per_month(co.Window(None, -1)), "a rate needs a window with both ends"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(StudyError, match=message):
        make()


def study(covariates):
    people = co.Cohort("Back pain").enter_at_first(co.diagnosis("low_back_pain"), washout_days=30)
    return co.Study(people, outcome=co.first_record(co.diagnosis("mood"), from_day=5), covariates=covariates)


def test_covariates_come_back_from_a_study_file(tmp_path):
    made = study(
        [
            co.charlson(HALF_YEAR, cancer_free=True, weights="2011", days_apart=30, name="strict"),
            co.age_group(40, 65),
            co.comorbid("depre", HALF_YEAR, index="elixhauser"),
            co.previous_episodes("low_back_pain", HALF_YEAR),
            co.emergency_visits(HALF_YEAR),
            co.encounter_days(HALF_YEAR),
            co.concurrent_days("opioid", BENZODIAZEPINE, HALF_YEAR),
            co.score("NRS", HALF_YEAR, what="trend"),
        ]
    )
    made.to_toml(tmp_path / "study.toml")
    assert co.Study.from_toml(tmp_path / "study.toml") == made


def test_two_of_a_kind_need_names():
    with pytest.raises(StudyError, match="two covariates or analyses are named charlson"):
        study([co.charlson(HALF_YEAR), co.charlson(THIN)])


def test_the_analysis_table_has_values_and_reasons_from_the_needed_rows_alone():
    made = study([co.elixhauser(HALF_YEAR), co.percent_covered("opioid", THIN), co.encounter_days(THIN)])
    codes = codes_needed(made.cohort, made.outcome, made.covariates)
    assert codes["diagnosis"] is None and codes["procedure"] is None  # encounters of any code
    assert codes["dispensing"].name == "needed"
    part = run_bucket(TABLES, made.cohort, made.outcome, made.covariates, codes, dt.date(2021, 12, 31))
    # person 1 enters on 10 January 2020: observed, no care before it; no opioid yet
    assert part.rows.select("person_id", "elixhauser", "percent_covered", "encounter_days").rows() == [(1, 0, 0, 0)]
    assert part.rows["elixhauser_missing"].to_list() == [None]


def test_the_page_on_covariates_has_every_kind_and_its_study_file_can_be_read(root, tmp_path):
    page = (root / "docs" / "covariates.md").read_text(encoding="utf-8")
    kinds = {model.model_fields["kind"].default for model in typing.get_args(typing.get_args(Covariate)[0])}
    assert kinds == set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) - {"kind"}
    names = {name for name, home in _HOME.items() if home.startswith("features.covariates")}
    assert names == {name for name in names if re.search(rf"`{name}[(`]", page)}
    python, toml = (re.search(rf"```{kind}\n(.*?)```", page, flags=re.DOTALL)[1] for kind in ("python", "toml"))
    made = {}
    exec(python, made)  # noqa: S102 -- the page's own example
    study(made["covariates"]).to_toml(tmp_path / "python.toml")
    head = (tmp_path / "python.toml").read_text(encoding="utf-8").partition("[[covariates]]")[0]
    (tmp_path / "page.toml").write_text(head + toml, encoding="utf-8")
    assert list(co.Study.from_toml(tmp_path / "page.toml").covariates) == made["covariates"][1:4]
