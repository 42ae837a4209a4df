"""Propensity scores: against a maximiser of our own, and every way in which there is no answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from scipy import sparse

from cohort import effects as ef
from cohort.effects import logistic
from cohort.errors import InputRefusedError, NotEstimableError, StudyError


def people(n: int = 300, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    age, sick = rng.integers(20, 80, n), rng.random(n) < 0.4
    treated = rng.random(n) < 1 / (1 + np.exp(-(-2 + 0.03 * age + 0.8 * sick)))
    return pl.DataFrame({"age": age, "sick": sick, "treated": treated})


def newton(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Maximise the logistic likelihood by Newton steps from 0."""
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-x @ beta))
        beta += np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]), x.T @ (a - p))
    return 1 / (1 + np.exp(-x @ beta))


def test_unpenalised_scores_are_the_maximum_likelihood() -> None:
    frame = people()
    x = np.column_stack([np.ones(300), frame["age"], frame["sick"]]).astype(float)
    found = ef.propensity_scores(frame, "treated", "age + sick")
    # the solver stops at a gradient of 1e-10 per person
    assert np.abs(found.score - newton(x, frame["treated"].to_numpy())).max() < 1e-7


def test_many_rows_start_from_a_few_and_end_at_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    # small limits, so that a small frame takes the way of a large one: a start from every second row, the information
    # of every fourth, and steps that mend it
    monkeypatch.setattr(logistic, "_LARGE", 100)
    monkeypatch.setattr(logistic, "_SAMPLE", 2)
    monkeypatch.setattr(logistic, "_ENOUGH", 30)
    rng = np.random.default_rng(8)
    z = rng.standard_normal((2400, 5))
    y = (rng.random(2400) < 1 / (1 + np.exp(0.5 - 1.5 * z[:, 0]))).astype(float)
    weight = rng.integers(1, 4, 2400).astype(float)
    found = logistic.maximise_logistic(z, y, tuple("abcde"), weight)
    repeated = np.repeat(np.column_stack([np.ones(2400), z, y]), weight.astype(int), axis=0)
    expected = newton(repeated[:, :-1], repeated[:, -1])
    assert np.repeat(found.score, weight.astype(int)) == pytest.approx(expected, abs=1e-9)


def test_a_step_that_overshoots_is_halved() -> None:
    rng = np.random.default_rng(9)
    z = rng.standard_normal((400, 1))
    y = (rng.random(400) < 1 / (1 + np.exp(-3 * z[:, 0]))).astype(float)
    sums = logistic._Sums(z, y, None, ThreadPoolExecutor(1))
    nowhere, far = np.zeros(2), np.array([0.0, 4000.0])
    assert sums.likelihood(far) < sums.likelihood(nowhere)
    step, ahead = logistic._ahead(sums, nowhere, sums.gradient(nowhere), far, logistic._solver(np.eye(2)))
    assert 0 < step[1] < far[1]
    assert sums.likelihood(step) >= sums.likelihood(nowhere)
    assert ahead == pytest.approx(sums.gradient(step))


def test_a_covariate_that_says_nothing_leaves_the_prevalence() -> None:
    # the start of the solver is the maximum: its line search has nowhere to go
    frame = pl.DataFrame({"x": [0, 0, 1, 1] * 10, "a": [0, 1, 0, 1] * 10})
    assert ef.propensity_scores(frame, "a", "x").score == pytest.approx(np.full(40, 0.5), abs=1e-12)


def test_a_saturated_model_gives_the_proportions() -> None:
    # of 4 with the disease 3 are treated, of 6 without it 2
    frame = pl.DataFrame({"d": [1] * 4 + [0] * 6, "a": [1, 1, 1, 0, 1, 1, 0, 0, 0, 0]})
    found = ef.propensity_scores(frame, "a", "d")
    assert found.score == pytest.approx([3 / 4] * 4 + [1 / 3] * 6, abs=1e-8)
    # odds of 3 against overall odds of 1 (5 of 10 treated): preference = propensity here
    assert found.preference == pytest.approx(found.score, abs=1e-12)


@pytest.mark.parametrize("model", ["logistic", "lasso", "ridge", "boosting"])
def test_scores_do_not_depend_on_the_order_of_rows(model: str) -> None:
    frame = people(200).with_row_index()
    shuffled = frame.sample(fraction=1, shuffle=True, seed=5)
    straight = ef.propensity_scores(frame, "treated", "age + sick", model=model).score
    mixed = ef.propensity_scores(shuffled, "treated", "age + sick", model=model).score
    assert np.array_equal(straight[shuffled["index"].to_numpy()], mixed)


def test_a_cross_fitted_score_is_not_that_of_the_person_himself() -> None:
    # the treatment of nobody can be told from noise, which trees fitted to everybody reproduce all the same
    rng = np.random.default_rng(3)
    frame = pl.DataFrame({"x": rng.normal(size=400), "a": rng.random(400) < 0.5})
    own = ef.positivity(ef.propensity_scores(frame, "a", "x", model="boosting")).c_statistic
    crossed = ef.positivity(ef.propensity_scores(frame, "a", "x", model="boosting", folds=5)).c_statistic
    assert own > 0.7
    assert crossed < 0.6


def test_a_sparse_matrix_gives_the_scores_of_the_dense_one() -> None:
    frame = people(400)
    x = np.column_stack([frame["age"] / 100, frame["sick"]]).astype(float)
    dense = ef.scores_from_matrix(x, frame["treated"], ("age", "sick"))
    thin = ef.scores_from_matrix(sparse.csr_matrix(x), frame["treated"], ("age", "sick"))
    # lbfgs stops at a gradient of 1e-10 as well, but along a longer way
    assert np.abs(dense.score - thin.score).max() < 1e-4
    assert thin.design is None


@pytest.mark.parametrize("model", ["ridge", "lasso"])
def test_penalised_models_take_sparse_columns(model: str) -> None:
    codes = sparse.random_array((400, 30), density=0.1, rng=np.random.default_rng(0), format="csr")
    codes.data[:] = 1
    treated = np.random.default_rng(1).random(400) < 1 / (1 + np.exp(-2 * codes[:, [0]].toarray().ravel()))
    found = ef.scores_from_matrix(codes, treated, tuple(f"code{i}" for i in range(30)), model=model)
    with_code = codes[:, [0]].toarray().ravel() > 0
    assert found.score[with_code].mean() > found.score[~with_code].mean() + 0.1  # the one column that matters


@pytest.mark.parametrize("value", [True, False])
def test_one_arm_only_is_an_outcome_of_its_own(value: bool) -> None:
    frame = people(20).with_columns(treated=pl.lit(value))
    with pytest.raises(NotEstimableError, match="single_arm"):
        ef.propensity_scores(frame, "treated", "age")


def test_separation_names_the_columns_that_separate() -> None:
    # whoever is above 50 is treated, nobody else; sex has nothing to do with it
    age = np.arange(20, 80)
    frame = pl.DataFrame({"age": age, "sex": age % 2, "treated": age > 50})
    with pytest.raises(NotEstimableError, match=r"separation\(age"):
        ef.propensity_scores(frame, "treated", "age + sex")


def test_separation_by_a_combination_of_columns_is_found() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=200), rng.normal(size=200)
    frame = pl.DataFrame({"a": a, "b": b, "c": rng.normal(size=200), "treated": a + b > 0})
    with pytest.raises(NotEstimableError, match=r"separation\(a, b"):
        ef.propensity_scores(frame, "treated", "a + b")


def test_a_column_without_variation_and_columns_that_repeat_each_other_are_named() -> None:
    frame = people(50).with_columns(one=pl.lit(7), twice=pl.col("age") * 2)
    with pytest.raises(NotEstimableError, match=r"constant\(one\)"):
        ef.propensity_scores(frame, "treated", "age + one")
    with pytest.raises(NotEstimableError, match="collinear"):
        ef.propensity_scores(frame, "treated", "age + twice")


def test_a_treatment_that_is_not_yes_or_no_is_refused_by_count() -> None:
    frame = people(10).with_columns(treated=pl.Series([0, 1, 2, 0, 1, None, 1, 0, 0, 1]))
    with pytest.raises(InputRefusedError, match="in 2 rows"):
        ef.propensity_scores(frame, "treated", "age")


def test_persons_with_a_missing_covariate_are_left_out_only_when_asked() -> None:
    frame = people(100).with_columns(age=pl.when(pl.int_range(100) >= 3).then("age"))
    with pytest.raises(InputRefusedError, match="age in 3 rows"):
        ef.propensity_scores(frame, "treated", "age")
    found = ef.propensity_scores(frame, "treated", "age", missing="leave_out")
    assert found.kept.tolist() == [False] * 3 + [True] * 97
    assert len(found.score) == 97


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(StudyError, match="model"):
        ef.propensity_scores(people(), "treated", "age", model="magic")
    with pytest.raises(StudyError, match="folds"):
        ef.propensity_scores(people(), "treated", "age", folds=0)
