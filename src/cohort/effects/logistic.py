"""Unpenalised logistic regression of many rows, in chunks whose number depends on the data's shape alone.

A library's solver either sums on as many threads as there are, and its bits follow the machine, or on one thread. Here
chunks run side by side and are added in order. Only the score equations have to be exact at each step; the information
matrix, which costs p times as much, is taken from some rows, mended by what each step showed of it, and taken anew only
when steps shorten too slowly.

References
----------
McCullagh P, Nelder JA (1989), Generalized Linear Models, section 4.4. Kelley CT (2003), Solving Nonlinear Equations
with Newton's Method, doi:10.1137/1.9780898718898, section 2.3 (chord and Shamanskii steps). Nocedal J (1980), Math
Comp 35:773–782, doi:10.1090/S0025-5718-1980-0572855-7 (what steps show of the information).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from scipy import linalg
from scipy.special import expit

from cohort.errors import NotEstimableError
from cohort.survival.cox_sums import Arrays, add, workers
from cohort.survival.types import Floats

_SOLVED = 1e-10
"""Largest mean score of a standardised column at the maximum."""
_STEPS = 100
_SLOW = 0.35
"""A step that leaves more than this share of the score asks for the information where it leads."""
_CHUNK, _STRIP = 1 << 16, 2048
_LARGE, _SAMPLE = 200_000, 16
"""Fits of more rows than this start from the estimate of every sixteenth."""
_NEAR = 1e-4
"""Mean score at which such a start is close enough: the rows left out move the estimate further."""
_LOCAL, _CLOSER = 0.05, 0.25
"""A step whose mean first-order gain is below the one and which leaves at most the other of the squared score is taken
for what it is: the likelihood is looked at only along longer ones."""
_ENOUGH = 400
"""Rows for each column from which the information is taken at first: steps then shorten twentyfold."""
_RANK = 1e-9
"""Share of a column's variance that the columns before it must leave unexplained."""


@dataclass(frozen=True, slots=True, eq=False)
class LogisticFit:
    """Coefficients, intercept first (p + 1,), and fitted probabilities (n,)."""

    coef: Floats
    score: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """The likelihood of rows ``z`` (n, p), column-major and near variance 1, with outcome and weight (n,)."""

    z: Floats
    outcome: Floats
    weight: Floats | None
    pool: ThreadPoolExecutor
    score: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "score", np.empty(len(self.z)))

    def gradient(self, theta: Floats) -> Floats:
        """Return the gradient of the log-likelihood, (p + 1,); ``score`` then holds the probabilities."""

        def one(rows: slice) -> Arrays:
            chance = self.score[rows] = expit(theta[0] + self.z[rows] @ theta[1:])
            left = self.outcome[rows] - chance
            if self.weight is not None:
                left *= self.weight[rows]
            return (np.concatenate([[left.sum()], left @ self.z[rows]]),)

        return add(self._each(one))[0]

    def likelihood(self, theta: Floats) -> float:
        """Return the log-likelihood."""

        def one(rows: slice) -> Arrays:
            eta = theta[0] + self.z[rows] @ theta[1:]
            told = self.outcome[rows] * eta - np.logaddexp(0, eta)
            return (np.array([told.sum() if self.weight is None else told @ self.weight[rows]]),)

        return float(add(self._each(one))[0][0])

    def information(self, every: int) -> Floats:
        """Return the information at the probabilities held, (p + 1, p + 1), from every so many rows."""
        spread = self.score * (1 - self.score) * every
        weighted = spread if self.weight is None else spread * self.weight
        return information(self.z[::every], weighted[::every], self.pool)

    def _each(self, one: Callable[[slice], Arrays]) -> Iterator[Arrays]:
        return self.pool.map(one, _slices(len(self.z), _CHUNK))


def information(z: Floats, spread: Floats, pool: ThreadPoolExecutor) -> Floats:
    """Return the sum over rows of ``spread`` (n,) times the outer product of (1, z), shape (p + 1, p + 1)."""

    def one(rows: slice) -> Arrays:
        total = np.zeros((z.shape[1] + 1,) * 2)
        for strip in _slices(rows.stop, _STRIP, rows.start):
            root = np.sqrt(spread[strip])
            part = np.concatenate([root[None, :], z[strip].T * root])
            total += part @ part.T  # of one matrix with itself: half the work
        return (total,)

    return add(pool.map(one, _slices(len(z), _CHUNK)))[0]


def _slices(stop: int, size: int, start: int = 0) -> list[slice]:
    return [slice(low, min(low + size, stop)) for low in range(start, stop, size)]


def maximise_logistic(
    z: Floats, outcome: Floats, columns: tuple[str, ...], weight: Floats | None = None, start: Floats | None = None
) -> LogisticFit:
    """Maximise the likelihood of a logistic regression.

    Parameters
    ----------
    z
        Covariates of about unit variance, float64, shape (n, p).
    outcome
        0 or 1, or a proportion, float64, shape (n,).
    weight, start
        Case weights, shape (n,), and coefficients to start from, intercept first, shape (p + 1,).

    Raises
    ------
    NotEstimableError
        ``collinear``, naming columns that others explain; ``not_converged``, as where covariates separate.
    """
    z = np.asfortranarray(z)
    with workers() as pool:
        if start is None and len(z) > max(_LARGE, 1000 * z.shape[1]):
            start = _start(z, outcome, columns, weight, pool)
        sums = _Sums(z, np.asarray(outcome, dtype=np.float64), weight, pool)
        theta = np.zeros(z.shape[1] + 1) if start is None else start
        return _climb(sums, theta, columns)


def _start(
    z: Floats, outcome: Floats, columns: tuple[str, ...], weight: Floats | None, pool: ThreadPoolExecutor
) -> Floats | None:
    """Return the estimate from every sixteenth row; None where these do not determine one."""
    few = slice(None, None, _SAMPLE)
    part = np.asfortranarray(z[few])
    sums = _Sums(part, np.asarray(outcome[few], np.float64), None if weight is None else weight[few], pool)
    try:
        return _climb(sums, np.zeros(z.shape[1] + 1), columns, _NEAR).coef
    except NotEstimableError:
        return None


def _climb(sums: _Sums, theta: Floats, columns: tuple[str, ...], solved: float = _SOLVED) -> LogisticFit:
    """Climb to the maximum: Newton steps whose information is taken anew, of all rows, when they shorten slowly."""
    mass = float(len(sums.z) if sums.weight is None else sums.weight.sum())
    gradient = sums.gradient(theta)
    solve, seen = _first_solver(sums, columns), _Seen()
    for _ in range(_STEPS):
        size = float(np.abs(gradient).max()) / mass
        if size < solved:
            return LogisticFit(theta, sums.score)
        step, ahead = _ahead(sums, theta, gradient, seen.direction(gradient, solve), solve)
        seen.add(step, gradient - ahead)
        theta, gradient = theta + step, ahead
        if float(np.abs(gradient).max()) / mass > _SLOW * size:
            solve, seen = _solver(sums.information(1)), _Seen()
    raise NotEstimableError("not_converged")


def _ahead(
    sums: _Sums, theta: Floats, gradient: Floats, step: Floats, solve: Callable[[Floats], Floats]
) -> tuple[Floats, Floats]:
    """Return a step, halved until the likelihood has risen, and the gradient where it leads.

    Where the concave likelihood does not fall behind a step, it has risen.
    """
    local = float(gradient @ step) < _LOCAL * len(sums.z)
    enough, told = _CLOSER * float(gradient @ solve(gradient)), None
    for _ in range(30):
        ahead = sums.gradient(theta + step)
        if ahead @ step >= 0 or (local and ahead @ solve(ahead) <= enough):
            break
        told = sums.likelihood(theta) if told is None else told
        if sums.likelihood(theta + step) >= told - 1e-12 * abs(told):
            break
        step = step / 2
    return step, ahead


class _Seen:
    """Steps taken and how they changed the gradient, which corrects the information that directions are found with."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Floats, Floats, float]] = []

    def add(self, step: Floats, change: Floats) -> None:
        if (bent := float(step @ change)) > 0:
            self._pairs.append((step, change, bent))

    def direction(self, gradient: Floats, solve: Callable[[Floats], Floats]) -> Floats:
        """Return the quasi-Newton direction by Nocedal's two loops."""
        left, shares = gradient.copy(), []
        for step, change, bent in reversed(self._pairs):
            shares.append(float(step @ left) / bent)
            left -= shares[-1] * change
        found = solve(left)
        for (step, change, bent), share in zip(self._pairs, reversed(shares), strict=True):
            found = found + (share - float(change @ found) / bent) * step
        return found


def _first_solver(sums: _Sums, columns: tuple[str, ...]) -> Callable[[Floats], Floats]:
    """Return what turns a gradient into a step, from enough rows if these determine every column, else from all."""
    n, p = sums.z.shape
    every = max(1, n // (_ENOUGH * (p + 1)))
    known = sums.information(every)
    if every > 1 and _redundant(known):
        known = sums.information(1)
    if left := _redundant(known):
        raise NotEstimableError("collinear", tuple(columns[k - 1] if k else "intercept" for k in left))
    return _solver(known)


def _solver(known: Floats) -> Callable[[Floats], Floats]:
    try:
        factor = linalg.cho_factor(known)
    except linalg.LinAlgError:  # probabilities on their way to 0 and 1
        raise NotEstimableError("not_converged") from None

    def solve(gradient: Floats) -> Floats:
        step: Floats = linalg.cho_solve(factor, gradient)
        return step

    return solve


def _redundant(known: Floats) -> list[int]:
    """Return the columns that others explain."""
    root = np.sqrt(np.diag(known))
    if not root.all():
        return np.flatnonzero(root == 0).tolist()
    _, pivots, rank, _ = linalg.lapack.dpstrf(known / np.outer(root, root), tol=_RANK)
    return sorted((pivots[rank:] - 1).tolist())
