"""Exact ties and conditional logistic regression against every subset written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from scipy import optimize

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival import fit_conditional_logistic, fit_cox, fit_cox_exact


def by_hand(coef: np.ndarray, x: np.ndarray, case: np.ndarray, matched_set: np.ndarray) -> float:
    """Return the conditional log-likelihood: each set's cases among all subsets of as many members."""
    total = 0.0
    for code in np.unique(matched_set):
        eta, own = x[matched_set == code] @ coef, case[matched_set == code] == 1
        subsets = [eta[list(chosen)].sum() for chosen in combinations(range(own.size), int(own.sum()))]
        total += eta[own].sum() - np.log(np.exp(subsets).sum())
    return total


def test_matched_pairs_have_the_closed_form() -> None:
    # 30 pairs with only the case exposed, 10 with only the control, 5 alike: odds ratio 30/10, variance 1/30 + 1/10
    exposed = [(1, 0)] * 30 + [(0, 1)] * 10 + [(1, 1)] * 5
    rows = [(k, case, value) for k, pair in enumerate(exposed) for case, value in zip((1, 0), pair, strict=True)]
    frame = pl.DataFrame(rows, schema=["matched_set", "case", "x"], orient="row").sample(
        fraction=1, shuffle=True, seed=1
    )
    fit = fit_conditional_logistic(frame, terms="x")
    np.testing.assert_allclose(fit.coef, np.log(3), rtol=1e-12)
    np.testing.assert_allclose(fit.std_error, np.sqrt(1 / 30 + 1 / 10), rtol=1e-12)
    assert fit.method == "conditional logistic regression, Wald limits"


@pytest.mark.parametrize("seed", range(4))
def test_sets_of_any_composition_have_the_likelihood_of_all_subsets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matched_set, x = np.repeat(np.arange(15), 7), rng.standard_normal((105, 2))
    case = (rng.random(105) < 0.4).astype(int)
    case[:14] = [1] * 7 + [0] * 7  # a set without controls and one without cases say nothing
    frame = pl.DataFrame({"matched_set": [f"set {k}" for k in matched_set], "case": case, "a": x[:, 0], "b": x[:, 1]})
    fit = fit_conditional_logistic(frame, terms="a + b")
    np.testing.assert_allclose(fit.log_likelihood, by_hand(fit.coef, x, case, matched_set), rtol=1e-12)
    np.testing.assert_allclose(fit.log_likelihood_null, by_hand(np.zeros(2), x, case, matched_set), rtol=1e-12)
    best = optimize.minimize(lambda coef: -by_hand(coef, x, case, matched_set), np.zeros(2), tol=1e-10)
    np.testing.assert_allclose(fit.coef, best.x, atol=1e-5)  # the optimiser's own reach
    moved = fit_conditional_logistic(frame.sample(fraction=1, shuffle=True, seed=seed), terms="a + b")
    assert fit.coef.tobytes() == moved.coef.tobytes()


def test_without_ties_exact_is_efron_with_delayed_entry() -> None:
    rng = np.random.default_rng(5)
    time = rng.permutation(60) + 20
    frame = pl.DataFrame(
        {"time": time, "entry": time - rng.integers(1, 20, 60), "event": rng.random(60) < 0.5, "x": rng.normal(size=60)}
    )
    exact, efron = fit_cox_exact(frame, entry="entry", terms="x"), fit_cox(frame, entry="entry", terms="x")
    np.testing.assert_allclose(exact.coef, efron.coef, rtol=1e-10)
    np.testing.assert_allclose(exact.std_error, efron.std_error, rtol=1e-10)
    np.testing.assert_allclose(exact.log_likelihood, efron.log_likelihood, rtol=1e-12)


def test_a_covariate_that_tells_cases_from_controls_has_no_estimate() -> None:
    # in every set each case lies above each control, though the two cases of a set differ
    frame = pl.DataFrame(
        {"matched_set": np.repeat([1, 2, 3], 4), "case": [1, 1, 0, 0] * 3, "x": [9, 5, 4, 1, 8, 3, 2, 0, 7, 7, 6, 1]}
    )
    with pytest.raises(NotEstimableError, match=r"monotone_likelihood\(x\)"):
        fit_conditional_logistic(frame, terms="x")
    with pytest.raises(NotEstimableError, match=r"constant\(y\)"):
        fit_conditional_logistic(frame.with_columns(y="matched_set"), terms="y")
    with pytest.raises(InputRefusedError, match="matched_set is missing in 12 rows"):
        fit_conditional_logistic(frame.with_columns(matched_set=pl.lit(None, dtype=pl.Int64)), terms="x")
