"""The share who respond when not everybody was measured: observed, non-responder and weighted versions."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from worlds import people, world

import cohort as co
from cohort import effects
from cohort.errors import InputRefusedError, NotEstimableError
from cohort.outcomes import outcome as make
from cohort.outcomes.recurrent import EndOfFollowUp
from cohort.plan import codes_needed, run_bucket


def by_group(rows):
    """Return one row per entry from (group, responded, times)."""
    return pl.DataFrame(
        [{"severe": group, "responded": answer} for group, answer, times in rows for _ in range(times)],
        schema={"severe": pl.Boolean, "responded": pl.Boolean},
    )


# mild: 40 of 50 measured, 30 responded; severe: 10 of 50 measured, 2 responded
FRAME = by_group([(False, True, 30), (False, False, 10), (False, None, 10), (True, True, 2), (True, False, 8), (True, None, 40)])  # fmt: skip


def shares(frame, terms="severe"):
    table = effects.response_shares(frame, "responded", terms)
    return {row["version"]: row for row in table.to_dicts()}


def test_the_three_versions_worked_by_hand():
    """Observed 32 / 50; non-response 32 / 100; weighted: half of 30 / 40 and half of 2 / 10, as both groups are 50."""
    found = shares(FRAME)
    assert found["observed"]["estimate"] == pytest.approx(0.64, rel=1e-12)
    assert found["non_response"]["estimate"] == pytest.approx(0.32, rel=1e-12)
    assert found["weighted"]["estimate"] == pytest.approx(0.475, rel=1e-6)  # the logistic model stops at 1e-8 or so
    assert {(row["n"], row["measured"]) for row in found.values()} == {(100, 50)}


def test_the_error_of_the_weighted_share_is_that_of_post_stratification():
    """With one group and a saturated model the weights are the inverse shares measured, so the estimate is the mean of
    two shares and its variance the sum of theirs (0.75 · 0.25 / 40 and 0.2 · 0.8 / 10, each a quarter), plus that of
    the sizes of the groups, (0.75 − 0.2)² · 0.25 / 100.
    """
    variance = 0.25 * (0.75 * 0.25 / 40 + 0.2 * 0.8 / 10) + 0.55**2 * 0.25 / 100
    assert shares(FRAME)["weighted"]["std_error"] == pytest.approx(variance**0.5, rel=1e-5)


def test_when_all_are_measured_the_versions_are_one():
    frame = by_group([(False, True, 3), (True, False, 5)])
    found = shares(frame)
    assert {row["estimate"] for row in found.values()} == {0.375}
    assert found["observed"]["std_error"] == pytest.approx((0.375 * 0.625 / 8) ** 0.5)


def test_weights_remove_the_bias_that_both_others_have():
    """Response 0.6 without and 0.2 with severe pain, measured 0.9 and 0.3: the truth is 0.4. 4 standard errors wide."""
    rng = np.random.default_rng(5)
    severe = rng.random(20_000) < 0.5
    responded = rng.random(20_000) < np.where(severe, 0.2, 0.6)
    measured = rng.random(20_000) < np.where(severe, 0.3, 0.9)
    frame = pl.DataFrame(
        {"severe": severe, "responded": [bool(y) if m else None for y, m in zip(responded, measured, strict=True)]}
    )
    found = shares(frame)
    assert abs(found["weighted"]["estimate"] - 0.4) < 4 * found["weighted"]["std_error"]
    assert found["observed"]["estimate"] - 0.4 > 4 * found["observed"]["std_error"]
    assert 0.4 - found["non_response"]["estimate"] > 4 * found["non_response"]["std_error"]


def test_what_cannot_be_is_refused():
    with pytest.raises(InputRefusedError, match="nobody was measured"):
        shares(by_group([(True, None, 5), (False, None, 5)]))
    with pytest.raises(NotEstimableError):
        shares(by_group([(True, None, 50), (False, True, 20), (False, False, 30)]))


SCORES = """
    person_id date value instrument
    1 d0 8 NRS
    1 d84 4 NRS
    2 d0 8 NRS
    2 d84 7 NRS
    3 d0 8 NRS
    3 d200 1 NRS
    4 d0 8 NRS
    5 d0 3 NRS
    5 d84 0 NRS
"""


def test_who_was_measured_who_responded_and_who_died():
    """1 fell by half, 2 did not, 3 came too late, 4 died on day 60, 5 had too little pain to begin with."""
    index = "\n".join(f"{n} d0 M545" for n in range(1, 6))
    tables = world(**people(*range(1, 6), died="4:d60"), diagnosis=f"person_id date code\n{index}", measurement=SCORES)
    cohort = co.Cohort("treated").enter_at_first(co.diagnosis("low_back_pain")).follow_up(max_days=365)
    nothing = EndOfFollowUp()
    rows = run_bucket(tables, cohort, nothing, (), codes_needed(cohort, nothing, ()), dt.date(2022, 12, 31)).rows
    found = make.registry_response("observed").judged(tables, rows.lazy()).collect()
    assert dict(found.select("person_id", "responded").iter_rows()) == {1: True, 2: False, 3: None, 4: False}
    assert set(found["baseline"]) == {8.0}
