"""A scenario file says what it means, or is refused with the name of the file and the field."""

from __future__ import annotations

from importlib import resources

import pytest

from cohort.errors import StudyError
from cohort.simulate import load_scenario, shipped_scenarios

TEXT = (resources.files("cohort.simulate") / "scenarios/low_back_pain.toml").read_text("utf-8")


def written(tmp_path, old: str, new: str):
    assert old in TEXT
    file = tmp_path / "mine.toml"
    file.write_text(TEXT.replace(old, new, 1), "utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("per_person_year = 0.093", "per_person_year = -0.093", "onset.per_person_year"),
        ("hazard_at_60 = 0.009", "hazard_at_60 = nan", "death.hazard_at_60"),
        ("female = 0.52", "female = 1.2", "persons.female"),
        ("female = 0.52", 'female = "0.52"', "persons.female"),
        ("female = 0.52", "", "persons.female"),
        ("\nsubacute = 0.90", "\nsubacute = 0.90\nremitted = 1.0", "care.visits_per_30_days.remitted"),
        ("\nsubacute = 0.90", "", "care: visits_per_30_days lacks subacute"),
        ("duration_dependence = 0.656", "duration_dependence = 1.0", "remission.duration_dependence"),
        ("seeks_care = 0.80", "seeks_care = 0.80\nsurprise = 1", "care.surprise"),
        ("shares = [0.40, 0.38, 0.22]", "shares = [0.40, 0.38, 0.32]", "severity.shares"),
        ("chronic_after_days = 90", "chronic_after_days = 30", "states"),
        ("last_day = 2024-12-31", "last_day = 2015-12-31", "calendar"),
        ('concept = "mi"', 'concept = "gout_of_nowhere"', "comorbidity.0.concept"),
        ("opioid = true", "opioid = false", "truth: strategies"),
    ],
)
def test_an_impossible_field_is_named_with_its_file(tmp_path, old, new, field):
    file = written(tmp_path, old, new)
    with pytest.raises(StudyError) as refused:
        load_scenario(file)
    assert str(file) in str(refused.value)
    assert field in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("probability", ["[0.0, 0.22, 0.45]", "[0.10, 0.22, 1.0]"])
def test_a_strategy_that_nobody_can_follow_is_refused(tmp_path, probability):
    file = written(tmp_path, "probability = [0.10, 0.22, 0.45]", f"probability = {probability}")
    with pytest.raises(StudyError, match=r"truth\.strategies\..*nobody with (mild|severe) pain can follow it"):
        load_scenario(file)


def test_broken_toml_and_a_missing_file_are_study_errors(tmp_path):
    (tmp_path / "broken.toml").write_text("name = ")
    with pytest.raises(StudyError, match=r"broken\.toml is not valid TOML"):
        load_scenario(tmp_path / "broken.toml")
    with pytest.raises(StudyError, match=r"give a TOML file or one of .*low_back_pain"):
        load_scenario("no_such_scenario")


def test_a_scenario_may_start_from_a_shipped_one(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('base = "low_back_pain"\nname = "mine"\n[opioid]\nsame_day = 0.5\n')
    shipped, mine = load_scenario("low_back_pain"), load_scenario(file)
    assert (mine.name, mine.opioid.same_day) == ("mine", 0.5)
    assert mine.opioid.model_copy(update={"same_day": 0.8}) == shipped.opioid
    assert mine.remission == shipped.remission
    file.write_text('base = "nowhere"\n')
    with pytest.raises(StudyError, match="base must be a shipped scenario"):
        load_scenario(file)


def test_the_hash_follows_the_parameters_and_not_the_layout_of_the_file(tmp_path):
    shipped = load_scenario("low_back_pain")
    assert load_scenario(written(tmp_path, "female = 0.52", "female   =   0.52  # half")).hash == shipped.hash
    assert load_scenario(written(tmp_path, "female = 0.52", "female = 0.53")).hash != shipped.hash


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_loads_under_its_own_name(name):
    assert load_scenario(name).name == name
