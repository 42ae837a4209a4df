"""A useless drug, given by chance up to half a year after index: the trial finds nothing, "ever treated" a benefit.

`docs/scenarios/immortal_time_trap.md` has the truth: a log hazard ratio of 0, and -0.49 for ever treated.
"""

from __future__ import annotations

import math

import polars as pl
import pytest

import cohort as co
from cohort.results.trial_rows import EVER, TIME_VARYING

BACK, CHRONIC, OPIOID = co.diagnosis("low_back_pain"), co.diagnosis("chronic_pain_explicit"), co.dispensing("opioid")


@pytest.fixture(scope="module")
def estimates(tmp_path_factory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("immortal_time_trap")
    co.simulate("immortal_time_trap", persons=8000, seed=5, layout="tuva", out=folder / "extract")
    store = co.ingest(folder / "extract", "tuva", folder / "store", buckets=2)
    people = (
        co.Cohort("Incident low back pain")
        .enter_at_first(BACK, washout_days=180)
        .require_enrolled(co.Window(-365, 0))
        .exclude(CHRONIC, co.Window(-365, -1), reason="chronic pain already recorded")
        .follow_up(max_days=365, censor_at=["disenrolment"])
    )
    study = co.Study(
        people,
        outcome=co.chronification("low_back_pain", after_days=90, within_days=365),
        covariates=[co.age(), co.sex()],
        exposures=[co.exposure("opioid", OPIOID)],
        analyses=[co.emulated_trial("opioid", 180, "age + sex", 364, replicates=40)],
    )
    return study.run(store).estimates.to_polars()


def ratio(estimates: pl.DataFrame, category: str | None) -> dict[str, float]:
    named = pl.col("category").is_null() if category is None else pl.col("category") == category
    return estimates.filter(pl.col("estimand") == "marginal_hazard_ratio", named).row(0, named=True)


def test_the_trial_finds_that_the_drug_does_nothing(estimates) -> None:
    found = ratio(estimates, None)
    assert found["status"] == "ok"
    # some 1,200 persons: a standard error of the log hazard ratio of 0.05 to 0.07
    assert abs(math.log(found["value"])) < 3 * found["std_error"] < 0.25
    difference = estimates.filter(pl.col("estimand") == "risk_difference", pl.col("category").is_null()).row(
        0, named=True
    )
    assert difference["lower"] < 0 < difference["upper"]


def test_ever_treated_misses_and_a_time_varying_exposure_does_not(estimates) -> None:
    assert ratio(estimates, EVER)["upper"] < 0.85
    assert abs(math.log(ratio(estimates, TIME_VARYING)["value"])) < 3 * ratio(estimates, TIME_VARYING)["std_error"]
