"""Propensity scores: the probability of treatment given what was known at time 0.

Ridge and trees are scikit-learn's; the unpenalised model of a dense matrix (`cohort.effects.logistic`) and the lasso
(`cohort.effects.lasso`) are ours, for many rows and for thousands of sparse columns. What surrounds them is the same:
rows in an order that depends on the rows alone, columns standardised inside, cross-fitting, and separation told apart
from a fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, sparse
from scipy.special import expit, logit

from cohort.effects.covariates import Matrix, Standardised, standardise, standardise_sparse
from cohort.effects.lasso import fit_lasso
from cohort.effects.logistic import maximise_logistic
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.design import Missing, design_parts
from cohort.survival.types import Floats, Ints

Model = Literal["logistic", "lasso", "ridge", "boosting"]
Fitted = Callable[[Matrix], Floats]
"""Rows of covariates to their probabilities of treatment, (n,)."""
Fitter = Callable[[Matrix, NDArray[np.bool_]], Fitted]

_CERTAIN = 1e-8
"""A fitted probability this close to 0 or 1 asks whether the covariates separate the groups."""
_SOLVED = 1e-9
"""A mean score equation this small is solved."""
_ON_ONE_SIDE = 1e-6
"""A linear program's answer below this is 0."""
_INNER_FOLDS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Propensity:
    """Propensity scores of n persons, in the order of the frame they came from.

    ``score`` and ``treated`` have shape (n,). ``columns`` names the p columns of the model's ``terms``; ``design``
    holds them where the scores are those of one unpenalised logistic model with an intercept, and is None where they
    are not: only then is it known how the scores move with the sample. ``kept`` marks the frame's rows used.
    """

    score: Floats
    treated: NDArray[np.bool_]
    model: str
    columns: tuple[str, ...]
    folds: int
    design: Standardised | None
    kept: NDArray[np.bool_]
    terms: str = ""

    @property
    def prevalence(self) -> float:
        """Return the share of the persons who were treated."""
        return float(self.treated.mean())

    @property
    def preference(self) -> Floats:
        """Return the preference score, (n,): the propensity if half of the persons had been treated.

        References
        ----------
        Walker AM et al. (2013), Comparative Effectiveness Research 3:11–20, doi:10.2147/CER.S40357.
        """
        preference: Floats = expit(logit(self.score) - logit(self.prevalence))
        return preference

    @property
    def text(self) -> str:
        """Return the model in words."""
        crossed = f", cross-fitted in {self.folds} folds" if self.folds > 1 else ""
        return f"{_WORDS[self.model]}{crossed}"


_WORDS = {
    "logistic": "logistic regression",
    "lasso": "logistic regression, lasso penalty by cross-validation",
    "ridge": "logistic regression, ridge penalty by cross-validation",
    "boosting": "gradient-boosted trees",
}


def propensity_scores(
    frame: Any,
    treatment: str,
    terms: str,
    *,
    model: Model = "logistic",
    folds: int = 1,
    seed: int = 0,
    missing: Missing = "refuse",
) -> Propensity:
    """Estimate the probability of treatment for every person.

    Parameters
    ----------
    frame
        One row per person, any tabular object; ``treatment`` is Boolean or 0/1.
    terms
        Covariates and products, such as ``"age + sex + age:sex"``, all known at time 0.
    model
        ``logistic`` without a penalty, ``lasso`` or ``ridge`` with one chosen by cross-validated log-loss, or
        ``boosting``. No fit depends on the order of rows.
    folds
        From 2 on, each person's score comes from a model fitted to the other folds, which are drawn by place in the
        frame: sort it by person to get the same folds again.
    missing
        ``leave_out`` leaves out persons with a missing covariate, see ``kept``.

    Raises
    ------
    InputRefusedError, NotEstimableError
        ``single_arm`` if nobody or everybody is treated, ``separation(columns)`` if covariates tell them apart.

    References
    ----------
    Rosenbaum PR, Rubin DB (1983), Biometrika 70:41–55, doi:10.1093/biomet/70.1.41. Chernozhukov V et al. (2018),
    Econom J 21:C1–C68, doi:10.1111/ectj.12097 (cross-fitting).
    """
    parts = design_parts(frame, terms, missing)
    treated = treatment_of(frame, treatment)[parts.kept]
    require_answerable(model, treated, folds)
    scores = _scores(standardise(parts.columns, treated, parts.names), treated, parts.names, model, folds, seed)
    return replace(scores, kept=parts.kept, terms=terms)


def scores_from_matrix(
    matrix: Any,
    treated: Any,
    columns: tuple[str, ...],
    *,
    model: Model = "logistic",
    folds: int = 1,
    seed: int = 0,
) -> Propensity:
    """Estimate propensity scores from a matrix, dense or scipy sparse, shape (n, p); see `propensity_scores`.

    For the thousands of 0/1 columns of a large-scale model the matrix is sparse, and stays so.
    """
    treated = treatment_of({"treated": np.asarray(treated)}, "treated")
    require_answerable(model, treated, folds)
    matrix, names = _read_matrix(matrix, len(treated), columns), tuple(columns)
    if isinstance(matrix, np.ndarray):
        return _scores(standardise(list(matrix.T), treated, names), treated, names, model, folds, seed)
    return _scores(standardise_sparse(matrix, treated, names), treated, names, model, folds, seed)


def _read_matrix(matrix: Any, persons: int, columns: tuple[str, ...]) -> Matrix:
    """Return a matrix of finite numbers of the shape that it should have."""
    try:
        read = sparse.csr_matrix(matrix, dtype=np.float64) if sparse.issparse(matrix) else np.asarray(matrix, float)
    except (TypeError, ValueError):
        raise InputRefusedError("the matrix holds something else than numbers") from None
    if read.shape != (persons, len(columns)):
        raise StudyError(f"the matrix has shape {read.shape}; {persons} persons and {len(columns)} columns are named")
    if wrong := int((~np.isfinite(read if isinstance(read, np.ndarray) else read.data)).sum()):
        raise InputRefusedError(f"the matrix has {wrong} missing or infinite values; fill them or leave such rows out")
    return read


def require_answerable(model: str, treated: NDArray[np.bool_], folds: int) -> None:
    """Refuse a model that there is not, folds out of range, and a single arm."""
    if model not in get_args(Model):
        raise StudyError(f"model = {model!r}; one of {', '.join(get_args(Model))}")
    _require_two_arms(treated, folds)


def _scores(
    known: Standardised, treated: NDArray[np.bool_], columns: tuple[str, ...], model: str, folds: int, seed: int
) -> Propensity:
    n, sides = len(treated), treated[known.order]
    fold = assign_folds(n, folds, seed)[known.order]
    score = np.empty(n)
    try:
        score[known.order] = _cross_fit(_FITTERS[model](seed, columns), known.z, sides, fold)
    except NotEstimableError as error:
        if error.reason == "not_converged":
            _refuse_separation(known.z, sides, columns)
        raise
    if ((score < _CERTAIN) | (score > 1 - _CERTAIN)).any():
        _refuse_separation(known.z, sides, columns)
    exact = model == "logistic" and folds == 1 and isinstance(known.z, np.ndarray)
    return Propensity(score, treated, model, columns, folds, known if exact else None, np.ones(n, dtype=bool))


def _cross_fit(fitter: Fitter, x: Matrix, treated: NDArray[np.bool_], fold: Ints) -> Floats:
    """Return everybody's score from a model of the other folds; of all persons where there is one fold."""
    score = np.empty(len(treated))
    folds = np.unique(fold)
    for held_out in folds:
        rest = np.flatnonzero(fold == held_out)
        if len(folds) == 1:
            with one_thread():
                return _fitted(fitter, x, treated)(x)
        train = np.flatnonzero(fold != held_out)
        _require_two_arms(treated[train], 1)
        with one_thread():
            score[rest] = _fitted(fitter, x[train], treated[train])(x[rest])
    return score


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which libraries use one thread: sums of floats have one order, whatever the machine."""
    from threadpoolctl import threadpool_limits  # scikit-learn depends on it

    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits


def _fitted(fitter: Fitter, x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
    """Return a fitted model.

    Raises
    ------
    NotEstimableError
        ``not_converged``.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = fitter(x, treated)
    complained = any(issubclass(warning.category, ConvergenceWarning) for warning in said)
    # a line search complains, too, where the start is the maximum already
    if complained and not _is_maximum(fitted(x), x, treated):
        raise NotEstimableError("not_converged")
    return fitted


def _is_maximum(score: Floats, x: Matrix, treated: NDArray[np.bool_]) -> bool:
    """Return whether the unpenalised score equations hold, at probabilities that are not on their way to 0 or 1."""
    gradient = np.abs(x.T @ (treated - score)) / len(score)
    return bool(gradient.max(initial=0.0) < _SOLVED and score.min() > _CERTAIN and score.max() < 1 - _CERTAIN)


def treatment_of(frame: Any, treatment: str) -> NDArray[np.bool_]:
    """Return a Boolean or 0/1 column as Booleans, (n,).

    Raises
    ------
    InputRefusedError
        If it is missing for anybody or has other values.
    """
    lazy = as_lazy(frame)
    require_columns(lazy, {"treatment": treatment})
    column = lazy.select(treatment).collect().to_series()
    if not (column.dtype == pl.Boolean or column.dtype.is_numeric()):
        raise InputRefusedError(f"column {treatment!r} is {column.dtype}; a treatment is true or false, or 0/1")
    number = column.cast(pl.Float64)
    if wrong := int((number.is_null() | ~number.is_in([0.0, 1.0])).sum()):
        raise InputRefusedError(f"column {treatment!r} is neither true nor false in {wrong} rows; mend or remove them")
    treated: NDArray[np.bool_] = (number == 1).to_numpy()
    return treated


def restrict(propensity: Propensity, chosen: NDArray[np.bool_]) -> Propensity:
    """Return the scores of some of the persons, (n,) Boolean; their model is no longer that of those left."""
    rows = propensity.kept.copy()
    rows[np.flatnonzero(rows)[~chosen]] = False
    return replace(
        propensity, score=propensity.score[chosen], treated=propensity.treated[chosen], design=None, kept=rows
    )


def _require_two_arms(treated: NDArray[np.bool_], folds: int) -> None:
    smaller = min(int(treated.sum()), int((~treated).sum()))
    if smaller == 0:
        raise NotEstimableError("single_arm: everybody is treated, or nobody is")
    if folds < 1 or folds > smaller:
        raise StudyError(f"folds = {folds}; at least 1 and at most the {smaller} persons of the smaller arm")


def _logistic(seed: int, columns: tuple[str, ...]) -> Fitter:
    def fit(x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
        if not isinstance(x, np.ndarray):
            return _sparse_logistic(x, treated)
        found = maximise_logistic(x, treated.astype(np.float64), columns)
        # the rows that were fitted have their probabilities already
        return lambda rows: found.score if rows is x else expit(found.coef[0] + rows @ found.coef[1:])

    return fit


def _sparse_logistic(x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=np.inf, solver="lbfgs", tol=1e-10, max_iter=200).fit(x, treated)
    return lambda rows: fitted.predict_proba(rows)[:, 1]


def _lasso(seed: int, columns: tuple[str, ...]) -> Fitter:
    def fit(x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
        fold = assign_folds(len(treated), _inner_folds(treated), seed)
        return fit_lasso(x, treated.astype(np.float64), fold).predict

    return fit


def _inner_folds(treated: NDArray[np.bool_]) -> int:
    """Return in how many folds a penalty is chosen.

    Raises
    ------
    NotEstimableError
        ``single_arm`` where an arm has but one person, who is in one fold or in the others.
    """
    smaller = min(int(treated.sum()), int((~treated).sum()))
    if smaller < 2:
        raise NotEstimableError("single_arm: the complement of a fold lacks one")
    return min(_INNER_FOLDS, smaller)


def _ridge(seed: int, columns: tuple[str, ...]) -> Fitter:
    from sklearn.linear_model import LogisticRegressionCV

    def fit(x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
        fitted = LogisticRegressionCV(
            Cs=10,
            l1_ratios=(0.0,),
            cv=_inner_folds(treated),
            solver="lbfgs",
            scoring="neg_log_loss",
            random_state=seed,
            max_iter=5000,
            tol=1e-5,
            use_legacy_attributes=False,
        ).fit(x, treated)
        return lambda rows: fitted.predict_proba(rows)[:, 1]

    return fit


def _boosting(seed: int, columns: tuple[str, ...]) -> Fitter:
    from sklearn.ensemble import HistGradientBoostingClassifier

    def fit(x: Matrix, treated: NDArray[np.bool_]) -> Fitted:
        fitted = HistGradientBoostingClassifier(random_state=seed).fit(_dense(x), treated)
        return lambda rows: fitted.predict_proba(_dense(rows))[:, 1]

    return fit


_FITTERS: dict[str, Callable[[int, tuple[str, ...]], Fitter]] = {
    "logistic": _logistic,
    "lasso": _lasso,
    "ridge": _ridge,
    "boosting": _boosting,
}


def _dense(x: Matrix) -> Floats:
    array: Floats = x if isinstance(x, np.ndarray) else x.toarray()
    return array


def assign_folds(n: int, folds: int, seed: int) -> Ints:
    """Return the fold of each of n persons, (n,), by their place in the frame: sort it to get the same again."""
    fold: Ints = np.random.default_rng(seed).permutation(n) % folds
    return fold


def _refuse_separation(matrix: Matrix, treated: NDArray[np.bool_], columns: tuple[str, ...]) -> None:
    separating = _separating(matrix, treated)
    if separating is not None:
        raise NotEstimableError("separation", tuple(np.asarray(columns)[separating]))


def _separating(matrix: Matrix, treated: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return which columns make a direction that has the treated on one side and the untreated on the other.

    References
    ----------
    Konis K (2007), Linear programming algorithms for detecting separated data in binary logistic regression models,
    DPhil thesis, University of Oxford.
    """
    side = np.where(treated, 1.0, -1.0)[:, None]
    signed = np.unique(side * np.column_stack([np.ones(len(treated)), _dense(matrix)]), axis=0)
    signed /= np.abs(signed).max(axis=0)
    found = optimize.linprog(-signed.sum(axis=0), -signed, np.zeros(len(signed)), bounds=(-1, 1))
    if found.status != 0 or -found.fun < _ON_ONE_SIDE:
        return None
    moved: NDArray[np.bool_] = np.abs(found.x[1:]) > _ON_ONE_SIDE
    return moved
