"""Code indicators from records, and the lasso on thousands of them."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression

import cohort as co
from cohort import effects as ef
from cohort.effects.balance_table import count_balance
from cohort.effects.lasso import fit_lasso, lasso_path, path_of_penalties
from cohort.errors import InputRefusedError, NotEstimableError, StudyError

DAY = dt.date(2020, 6, 1)
PEOPLE = pl.DataFrame({"person_id": [7, 3, 5, 9], "index_date": [DAY] * 4})


def records(*rows: tuple[int, int, str]) -> pl.LazyFrame:
    """Return records from (person, day relative to index, code)."""
    return pl.LazyFrame(
        [(person, DAY + dt.timedelta(day), "icd10cm", code) for person, day, code in rows],
        schema=["person_id", "date", "system", "code"],
        orient="row",
    )


def test_a_code_counts_in_its_window_and_for_the_persons_asked_for() -> None:
    rows = records(
        (7, -1, "M545"), (7, -365, "E119"), (3, 0, "M545"), (3, -366, "M545"), (5, -30, "M545"), (5, -30, "M545"),
        (8, -30, "M545"), (9, -10, "I10"), (7, -10, "I10"), (3, -10, "I10"), (5, -10, "I10"),
    )  # fmt: skip
    found = ef.code_indicators(PEOPLE, rows)
    # day 0 and day -366 are outside, person 8 is nobody's, and I10, which everybody has, tells nothing
    assert found.columns == ("year:icd10cm:E119", "year:icd10cm:M545")
    assert found.matrix.toarray().tolist() == [[1, 1], [0, 0], [0, 1], [0, 0]]
    assert found.dropped == {"rare": 0, "common": 1}
    # buckets in any order are the same records
    parts = [rows.filter(pl.col("person_id") == person) for person in (9, 5, 3, 8, 7)]
    again = ef.code_indicators(PEOPLE, parts)
    assert again.columns == found.columns
    assert (again.matrix != found.matrix).nnz == 0


def test_days_windows_characters_and_shares_are_as_asked() -> None:
    rows = records((7, -1, "M545"), (7, -1, "M546"), (7, -200, "M541"), (3, -5, "M545"), (5, -5, "E119"))
    near = {"month": co.Window(-30, -1), "year": co.Window(-365, -1)}
    found = ef.code_indicators(PEOPLE, rows, windows=near, characters=3)
    assert found.columns == ("month:icd10cm:E11", "month:icd10cm:M54", "year:icd10cm:E11", "year:icd10cm:M54")
    # two codes of a category on one day are one day
    twice = ef.code_indicators(PEOPLE, rows, windows=near, characters=3, minimum_days=2)
    assert twice.columns == ("year:icd10cm:M54",)
    assert twice.matrix.toarray().ravel().tolist() == [1, 0, 0, 0]
    assert ef.code_indicators(PEOPLE, rows, characters=3, least=0.5).columns == ("year:icd10cm:M54",)


def test_what_cannot_be_counted_is_refused_without_a_person() -> None:
    with pytest.raises(InputRefusedError, match="doubled in 1 rows"):
        ef.code_indicators(pl.concat([PEOPLE, PEOPLE[:1]]), records())
    with pytest.raises(StudyError, match="minimum_days"):
        ef.code_indicators(PEOPLE, records(), minimum_days=0)
    empty = ef.code_indicators(PEOPLE, records((1, -1, "M545")))
    treated = PEOPLE.with_columns(a=pl.Series([True, False, True, False]))
    with pytest.raises(NotEstimableError, match="no_covariates"):
        ef.large_scale_scores(treated, "a", empty)
    with pytest.raises(StudyError, match="2 rows"):
        ef.large_scale_scores(treated[:2], "a", empty)


def coded(n: int, p: int, seed: int = 0) -> tuple[sparse.csr_array, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = sparse.random_array((n, p), density=0.1, rng=rng, format="csr")
    x.data[:] = 1
    eta = x[:, [0]].toarray().ravel() * 1.5 - x[:, [1]].toarray().ravel() - 0.3
    return x, (rng.random(n) < 1 / (1 + np.exp(-eta))).astype(float)


def test_the_path_solves_the_penalised_likelihood() -> None:
    x, y = coded(600, 30)
    z = sparse.csr_matrix(x / 0.3)
    penalties = path_of_penalties(z, y)
    fits = list(lasso_path(z, y, penalties[:26]))
    assert not fits[0][1].any()
    for penalty, (intercept, slope) in zip(penalties, fits, strict=False):
        # the conditions of a minimum: the intercept's gradient is 0, those of columns at most the penalty, and equal to
        # it where a column is in; steps end at 1e-6
        left = y - 1 / (1 + np.exp(-intercept - z @ slope))
        pull = z.T @ left / 600
        assert abs(left.mean()) < 1e-6
        assert np.abs(pull).max() < penalty + 1e-6
        inside = slope != 0
        assert pull[inside] == pytest.approx(penalty * np.sign(slope[inside]), abs=1e-6)
    # scikit-learn's penalty is on the sum of losses; it stops early
    one = LogisticRegression(C=1 / (600 * penalties[8]), l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=10_000)
    assert fits[8][1] == pytest.approx(one.fit(z, y).coef_[0], abs=2e-3)


def test_the_lasso_keeps_what_decides_treatment() -> None:
    x, y = coded(1500, 200)
    fold = np.arange(1500) % 5
    fit = fit_lasso(x / 0.3, y, fold)
    largest = np.argsort(-np.abs(fit.slope))[:2]
    assert set(largest) == {0, 1}
    assert np.count_nonzero(fit.slope) < 100
    assert fit_lasso(x / 0.3, y, fold).slope.tolist() == fit.slope.tolist()


def test_scores_of_codes_and_terms_balance_what_was_unbalanced() -> None:
    x, y = coded(1500, 60)
    rng = np.random.default_rng(2)
    people = pl.DataFrame({"person_id": np.arange(1500), "index_date": [DAY] * 1500, "age": rng.normal(50, 9, 1500)})
    people = people.with_columns(a=pl.Series(y == 1))
    where = x.tocoo()
    rows = records(*((int(i), -9, f"C{j:03}") for i, j in zip(where.row, where.col, strict=True)))
    indicators = ef.code_indicators(people, rows)
    assert indicators.matrix.shape == (1500, 60)
    scores = ef.large_scale_scores(people, "a", indicators, terms="age")
    weights = ef.balancing_weights(scores)
    plain = people.with_columns(decides=pl.Series(x[:, [0]].toarray().ravel()))
    table = ef.balance(plain, weights, "decides").row(0, named=True)
    assert abs(table["difference"]) > 0.3
    # a penalised score leaves a part of the difference
    assert abs(table["difference_weighted"]) < 0.4 * abs(table["difference"])


def test_codes_are_balanced_without_being_filled_in() -> None:
    x, y = coded(400, 12)
    columns = tuple(f"year:icd10cm:C{j:02}" for j in range(12))
    indicators = ef.CodeIndicators(x.tocsr(), columns, {})
    weights = ef.balancing_weights(ef.scores_from_matrix(x.toarray()[:, :3], y == 1, columns[:3]), trim=(0.1, 0.9))
    kept = weights.propensity.kept
    expected = count_balance(x.toarray()[kept], columns, weights).finish()
    # ones and weights are added in another order
    assert_frame_equal(ef.balance_of_codes(indicators, weights), expected, rel_tol=1e-11, abs_tol=1e-13)
    with pytest.raises(StudyError, match="indicators of 12"):
        ef.balance_of_codes(ef.CodeIndicators(x.tocsr()[:12], columns, {}), weights)
