"""Design faults are found in the plan, before a row is read: for each, a study that has it and one that has not."""

from __future__ import annotations

import pytest

import cohort as co
from cohort.errors import StudyError

BACK, PAIN, OPIOID = co.diagnosis("low_back_pain"), co.diagnosis("chronic_pain_explicit"), co.dispensing("opioid")
YEAR = co.Window(-365, 0)
SOUND = co.Cohort("c").enter_at_first(BACK, washout_days=180).require_enrolled(YEAR)


def found(people=SOUND, outcome=None, covariates=(), analyses=()):
    outcome = outcome or co.first_record(PAIN)
    return co.Study(people, outcome=outcome, covariates=covariates, analyses=analyses).audit()


def codes(*arguments, **values):
    return [finding.code for finding in found(*arguments, **values)]


def opioid(first, last):
    return [co.exposed("opioid", co.Window(first, last), name="opioid")]


def entering(record, washout_days=None):
    return co.Cohort("c").enter_at_first(record, washout_days=washout_days)


def test_a_sound_design_has_no_findings():
    assert found() == ()


@pytest.mark.parametrize(
    ("window", "from_day", "expected"),
    [
        ((0, 14), 15, []),  # known at the end of day 14, risk starts then
        ((0, 14), 14, ["immortal_time"]),  # an event on day 14 could come before the dispensing
        ((0, 14), 1, ["immortal_time"]),
        ((-365, -1), 1, []),
        ((-365, 0), 1, []),
        ((0, None), 91, ["immortal_time"]),
    ],
)
def test_exposure_after_the_start_of_risk_is_immortal_time(window, from_day, expected):
    assert codes(outcome=co.first_record(PAIN, from_day=from_day), covariates=opioid(*window)) == expected


def test_an_analysis_grouped_by_what_is_known_later_is_named():
    (finding,) = found(covariates=opioid(0, 14), analyses=[co.kaplan_meier(), co.cumulative_incidence(by="opioid")])
    assert (finding.severity, finding.code) == ("error", "immortal_time")
    assert "covariates[1].window: 'opioid' (used by analyses[2]) looks ahead to day 14" in finding.message
    assert "landmark" in finding.message
    assert "clone–censor–weight" in finding.message


@pytest.mark.parametrize(
    ("people", "from_day", "expected"),
    [
        (SOUND.require_enrolled(co.Window(0, 365)), 1, ["future_requirement"]),
        (SOUND.require_enrolled(co.Window(0, 90)), 91, []),  # whoever is at risk after day 90 was followed until then
        (SOUND.require(OPIOID, co.Window(0, 30), reason="treated"), 1, ["future_requirement"]),
        (SOUND.require(OPIOID, co.Window(0, 30), reason="treated"), 31, []),
        (SOUND.exclude(OPIOID, co.Window(1, None), reason="treated later"), 31, ["future_requirement"]),
        (SOUND.exclude(OPIOID, co.Window(None, 0), reason="treated before"), 1, []),
    ],
)
def test_a_requirement_on_the_future_selects_survivors(people, from_day, expected):
    assert codes(people, co.first_record(PAIN, from_day=from_day)) == expected


def test_a_requirement_on_the_future_is_an_error_at_its_place():
    (finding,) = found(SOUND.require_enrolled(co.Window(0, 365)))
    assert finding.severity == "error"
    assert finding.message.startswith("cohort.rules[2].window: ")
    assert "let disenrolment censor" in finding.message


@pytest.mark.parametrize(("max_days", "expected"), [(89, ["no_time_at_risk"]), (90, []), (None, [])])
def test_follow_up_that_ends_before_risk_starts(max_days, expected):
    assert codes(SOUND.follow_up(max_days=max_days), co.first_record(PAIN, from_day=90)) == expected


@pytest.mark.parametrize(("max_days", "expected"), [(364, ["outcome_after_follow_up"]), (365, []), (None, [])])
def test_an_outcome_that_follow_up_cannot_see(max_days, expected):
    assert codes(SOUND.follow_up(max_days=max_days), co.chronification("low_back_pain", within_days=365)) == expected


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (co.chronification("low_back_pain", definition="icd11_episode", longer_than_days=101), ["longer_than_days"]),
        (co.chronification("low_back_pain", definition="icd11_episode", gap_days=101), []),  # bridges, is not awaited
        (co.discontinuation("opioid", gap_days=101), ["gap_days"]),
        (co.registry_response("observed"), ["target_day"]),  # day 84 and 42 days more
        (co.first_of(co.first_record(PAIN), co.discontinuation("opioid", gap_days=101), label="any"), ["gap_days"]),
    ],
)
def test_every_rule_that_reaches_beyond_follow_up_is_found(outcome, said):
    found = co.Study(SOUND.follow_up(max_days=100), outcome=outcome).audit()
    keys = [f.message.partition(":")[0].removeprefix("outcome.") for f in found if f.code == "outcome_after_follow_up"]
    assert keys == said


@pytest.mark.parametrize(
    ("people", "expected"),
    [
        (entering(OPIOID), ["prevalent_users", "enrolment_not_required"]),
        (entering(OPIOID).require_enrolled(YEAR), []),  # the first ever, and a year without one was observed
        (entering(OPIOID).require_enrolled(co.Window(0, 0)), ["prevalent_users"]),
        (entering(OPIOID, washout_days=180).require_enrolled(YEAR), []),
        (co.Cohort("c").enter_at_nth(OPIOID, 3).require_enrolled(YEAR), ["prevalent_users"]),
        (entering(BACK).require_enrolled(co.Window(0, 0)), []),
    ],
)
def test_treated_persons_who_need_not_be_new_users(people, expected):
    assert codes(people) == expected


@pytest.mark.parametrize(("washout_days", "expected"), [(365, []), (366, ["washout_unobserved"]), (None, [])])
def test_a_washout_that_nobody_watched(washout_days, expected):
    assert codes(entering(BACK, washout_days).require_enrolled(YEAR)) == expected


@pytest.mark.parametrize("last", [-1, 0])
def test_enrolment_up_to_index_or_the_day_before_is_history(last):
    assert codes(entering(BACK, 365).require_enrolled(co.Window(-365, last))) == []


def test_enrolment_that_ends_before_index_is_none():
    assert codes(entering(BACK, 180).require_enrolled(co.Window(-365, -90))) == ["enrolment_not_required"]


def test_without_any_enrolment_requirement_one_warning_names_all_that_depends_on_it():
    covariates = [co.age(), co.charlson(co.Window(-365, -1)), *opioid(0, 0)]
    (finding,) = found(entering(BACK, 180), covariates=covariates)
    assert (finding.severity, finding.code) == ("warning", "enrolment_not_required")
    assert "the washout of 180 days and 'charlson' cannot tell" in finding.message


@pytest.mark.parametrize(
    ("window", "expected"),
    [((-365, -1), []), ((-366, -1), ["covariate_unobserved"]), ((None, 0), ["covariate_unobserved"])],
)
def test_a_covariate_of_days_on_which_nobody_had_to_be_enrolled(window, expected):
    assert codes(covariates=opioid(*window)) == expected


@pytest.mark.parametrize(
    ("observed", "effect"), [("throughout", "has no value and is left out of models"), ("assumed", "looks healthier")]
)
def test_what_such_a_covariate_does(observed, effect):
    covariate = co.charlson(co.Window(-400, -1)).model_copy(update={"observed": observed})
    (finding,) = found(covariates=[covariate])
    assert f"who was enrolled for less {effect}" in finding.message


def codelist(*codes, system="icd10cm"):
    """A list of codes; one that begins with ``!`` is taken out again."""
    rows = [(code.lstrip("!"), "excluded" if code[0] == "!" else "list") for code in codes]
    return co.Codelist.from_rows("list", [{"system": system, "code": c, "category": label} for c, label in rows])


@pytest.mark.parametrize(
    ("entry", "outcome", "expected"),
    [
        (["M54"], ["M54.5"], True),  # the entry's M54 stands for M54.5
        (["M54.5"], ["M54"], True),  # and the outcome's does
        (["M54.5"], ["M54.6"], False),
        (["M54", "!M54.5"], ["M54.5"], False),  # taken out of the entry again
        (["M54.5"], ["G89"], False),
    ],
)
def test_an_outcome_that_the_entry_record_also_meets(entry, outcome, expected):
    people = entering(co.diagnosis(codelist(*entry)), 180).require_enrolled(YEAR)
    assert codes(people, co.first_record(co.diagnosis(codelist(*outcome)))) == ["outcome_repeats_entry"] * expected


def test_the_same_codes_in_another_table_system_or_setting_are_another_event():
    people = entering(co.diagnosis(codelist("M54"), settings=["outpatient"]), 180).require_enrolled(YEAR)
    elsewhere = (
        co.diagnosis(codelist("M54"), settings=["inpatient"]),
        co.diagnosis(codelist("M54", system="icd10")),
        co.procedure(codelist("M54")),
    )
    assert [codes(people, co.first_record(record)) for record in elsewhere] == [[], [], []]
    assert codes(people, co.first_record(co.diagnosis(codelist("M54")))) == ["outcome_repeats_entry"]


def test_chronification_is_meant_to_repeat_the_region():
    assert codes(outcome=co.chronification("low_back_pain")) == []


@pytest.mark.parametrize(("competing", "expected"), [(["death"], []), ([], ["death_censored"])])
def test_death_as_a_censoring(competing, expected):
    assert codes(outcome=co.first_record(PAIN, competing=competing)) == expected


def test_errors_come_first():
    findings = found(entering(BACK, 180), covariates=opioid(0, 14))
    assert [finding.severity for finding in findings] == ["error", "warning"]


def test_an_error_stops_the_run_before_a_row_is_read(tmp_path):
    study = co.Study(SOUND, outcome=co.first_record(PAIN), covariates=opioid(0, 14))
    with pytest.raises(StudyError, match="risk starts after day 0"):
        study.run(tmp_path / "no store here")


@pytest.mark.parametrize(
    ("example", "expected"), [("low_back_pain", []), ("injury_to_chronic_pain", ["enrolment_not_required"])]
)
def test_the_examples(root, example, expected):
    """The injury example says in a comment why its warning stands."""
    study = co.Study.from_toml(root / "examples" / f"{example}.toml")
    assert [finding.code for finding in study.audit()] == expected
