"""Design faults are found in the plan, before a row is read."""

from __future__ import annotations

import pytest

import cohort as co
from cohort.errors import StudyError

PEOPLE = co.Cohort("c").enter_at_first(co.diagnosis("low_back_pain"), washout_days=180)


def study(window: co.Window, from_day: int) -> co.Study:
    outcome = co.first_record(co.diagnosis("chronic_pain_explicit"), from_day=from_day)
    return co.Study(PEOPLE, outcome=outcome, covariates=[co.exposed("opioid", window, name="opioid")])


@pytest.mark.parametrize(
    ("window", "from_day", "codes"),
    [
        (co.Window(0, 14), 15, []),  # known at the end of day 14, risk starts then
        (co.Window(0, 14), 14, ["immortal_time"]),  # an event on day 14 could come before the dispensing
        (co.Window(0, 14), 1, ["immortal_time"]),
        (co.Window(-365, -1), 1, []),
        (co.Window(None, 0), 1, []),
        (co.Window(0, None), 91, ["immortal_time"]),
    ],
)
def test_exposure_after_the_start_of_risk_is_immortal_time(window, from_day, codes):
    assert [finding.code for finding in study(window, from_day).audit()] == codes


def test_an_error_stops_the_run_before_a_row_is_read(tmp_path):
    with pytest.raises(StudyError, match="risk starts after day 0"):
        study(co.Window(0, 14), 1).run(tmp_path / "no store here")
