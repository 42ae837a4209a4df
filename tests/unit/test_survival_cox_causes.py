"""Cause-specific Cox models as a set: the models are those of each cause, and their predictions add up."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival.cox import fit_cox
from cohort.survival.cox_causes import fit_cause_specific


def people(n: int = 400, seed: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    when = np.ceil(rng.exponential(20 / np.exp(0.4 * x), n)).astype(int)
    out = rng.integers(1, 40, n)
    which = 1 + (rng.random(n) < 0.4)
    return pl.DataFrame({"time": np.minimum(when, out), "cause": np.where(when <= out, which, 0), "x": x})


def test_each_model_is_the_cox_model_of_its_cause() -> None:
    frame = people()
    fit = fit_cause_specific(frame, terms="x")
    for cause in (1, 2):
        alone = fit_cox(frame.with_columns(event=pl.col("cause") == cause), terms="x")
        np.testing.assert_allclose(fit.fits[cause].coef, alone.coef, rtol=1e-12)
        np.testing.assert_allclose(fit.fits[cause].std_error, alone.std_error, rtol=1e-12)
    assert fit.to_polars()["cause"].to_list() == [1, 2]


def test_incidences_and_survival_add_up_to_one() -> None:
    fit = fit_cause_specific(people(), terms="x")
    new = pl.DataFrame({"x": [-1.0, 0.0, 2.0]})
    incidence, survival = fit.cumulative_incidence(new, [0, 5, 10, 39])
    assert incidence.shape == (2, 4, 3)
    np.testing.assert_allclose(incidence.sum(axis=0) + survival, 1, rtol=1e-12)
    np.testing.assert_array_equal(incidence[:, 0], 0)
    assert (np.diff(incidence, axis=1) >= 0).all()


def test_a_single_cause_gives_one_minus_survival() -> None:
    frame = people().with_columns(cause=(pl.col("cause") > 0).cast(pl.Int64))
    fit = fit_cause_specific(frame, terms="x", ties="breslow")
    incidence, survival = fit.cumulative_incidence(frame.head(3), [10])
    np.testing.assert_allclose(incidence[0], 1 - survival, rtol=1e-12)


def test_worked_by_hand_without_an_effect() -> None:
    # x is balanced in every risk set of an event, so its coefficient is 0 and hazards are events / at risk.
    # Day 1: 1 event of cause 1 among 4 twice (x = 0 and x = 1): hazard 2/8; day 2: cause 2, 2 among 6; then censored.
    # S(1) = exp(-1/4), S(2) = exp(-1/4 - 1/3); incidence 1 = 1 - exp(-1/4), incidence 2 = S(1) (1 - exp(-1/3)).
    frame = pl.DataFrame({"time": [1, 2, 3, 3] * 2, "cause": [1, 2, 0, 0] * 2, "x": [0] * 4 + [1] * 4})
    fit = fit_cause_specific(frame, terms="x", ties="breslow")
    incidence, survival = fit.cumulative_incidence(pl.DataFrame({"x": [0, 1]}), [1, 2])
    np.testing.assert_allclose(survival, np.exp([[-1 / 4] * 2, [-7 / 12] * 2]), rtol=1e-12)
    np.testing.assert_allclose(incidence[0], 1 - np.exp(-1 / 4), rtol=1e-12)
    np.testing.assert_allclose(incidence[1], [[0, 0], [np.exp(-1 / 4) * (1 - np.exp(-1 / 3))] * 2], atol=1e-12)


def test_causes_that_are_none_are_refused() -> None:
    with pytest.raises(NotEstimableError, match="no_events"):
        fit_cause_specific(people().with_columns(cause=0), terms="x")
    with pytest.raises(InputRefusedError, match="is not a cause"):
        fit_cause_specific(people().with_columns(cause=pl.col("cause") - 1), terms="x")
