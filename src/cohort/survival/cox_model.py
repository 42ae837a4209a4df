"""One fitted Cox model on arrays: rows placed in time, maximised, with model-based or sandwich variance.

Everything above this module (studies, lifelines' fitters, Fine–Gray) brings arrays here; everything below adds up
rows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.cox_checks import extremes, require_bounded, require_identified, require_reach
from cohort.survival.cox_columns import Columns
from cohort.survival.cox_firth import FirthLikelihood, FirthProfile, maximise_firth
from cohort.survival.cox_newton import Optimum, PartialLikelihood, Penalty, Point, Ties, maximise
from cohort.survival.cox_order import distinct
from cohort.survival.cox_risk import check_follow_up, risk_sets
from cohort.survival.cox_sums import Rows, RowSums, centre_and_scale, score_tables, workers
from cohort.survival.exact import LARGEST_WEIGHT, SMALLEST_WEIGHT

Floats = NDArray[np.float64]
_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class Follow:
    """When each row is at risk and how it counts; arrays of shape (n,), or None where the model has none.

    ``time`` (exit) and ``entry`` in days or any unit, ``event`` 0/1 or Boolean, ``stratum`` codes 0 … S - 1,
    ``weight`` not negative, ``offset`` added to the linear predictor, ``cluster`` whole numbers of rows that belong
    together.
    """

    time: NDArray[np.generic]
    event: NDArray[np.generic]
    entry: NDArray[np.generic] | None = None
    stratum: NDArray[np.int64] | None = None
    weight: Floats | None = None
    offset: Floats | None = None
    cluster: NDArray[np.int64] | None = None

    def take(self, kept: NDArray[np.bool_]) -> Follow:
        """Return the rows of a Boolean mask of shape (n,)."""
        return Follow(
            *(
                None if column is None else column[kept]
                for column in (self.time, self.event, self.entry, self.stratum, self.weight, self.offset, self.cluster)
            )  # type: ignore[arg-type]  # time and event are never None
        )


@dataclass(frozen=True, slots=True)
class CoxEstimate:
    """A maximum of the partial likelihood, in the units of the covariates.

    ``coef`` has shape (p,), ``covariance`` (p, p): the sandwich where that was asked for, else the inverse
    information, which ``model_covariance`` always is. ``used`` marks the rows with a positive weight, shape (n,);
    ``rows`` and ``follow`` hold those. ``firth`` has the profile limits of a penalised fit.
    """

    names: tuple[str, ...]
    coef: Floats
    std_error: Floats
    covariance: Floats
    model_covariance: Floats
    optimum: Optimum
    rows: Rows
    follow: Follow
    used: NDArray[np.bool_]
    ties: Ties
    robust: bool
    firth: FirthProfile | None = None

    @property
    def point(self) -> Point:
        """Return the likelihood at the maximum with all it is made of."""
        return self.optimum.point

    @property
    def score_test(self) -> float:
        """Return the score statistic of "no covariate matters", chi-squared on p degrees of freedom."""
        return self.optimum.score_test

    @property
    def wald_test(self) -> float:
        """Return the Wald statistic of "no covariate matters", from ``covariance``."""
        scaled = self.coef / self.std_error
        return float(scaled @ np.linalg.solve(self.covariance / np.outer(self.std_error, self.std_error), scaled))


def place_rows(x: Columns, follow: Follow, pool: ThreadPoolExecutor) -> tuple[Rows, Follow, NDArray[np.bool_]]:
    """Return the rows of positive weight, checked and placed in time, their follow-up, and which they are.

    Raises
    ------
    InputRefusedError
        For impossible follow-up, or weights or offsets that are negative or not finite.
    NotEstimableError
        If no row has an event.
    """
    check_follow_up(follow.time, follow.event, follow.entry)
    used = np.ones(follow.time.size, dtype=bool)
    if follow.weight is not None:
        used = positive(follow.weight)
    if follow.offset is not None and (wrong := int((~np.isfinite(follow.offset)).sum())):
        raise InputRefusedError(f"the offset is not a finite number in {wrong} rows")
    if not used.all():
        x, follow = Columns.of(x[used]), follow.take(used)
    event = follow.event.astype(bool)
    cells = risk_sets(follow.time, event, follow.entry, follow.stratum, follow.weight)
    weight = _NONE if follow.weight is None else follow.weight
    # the level of an offset cancels in the model, but exp(level) may overflow
    offset = _NONE if follow.offset is None else follow.offset - follow.offset.mean()
    centre, scale = centre_and_scale(x, weight, pool)
    return Rows(x, centre, scale, weight, offset, cells), follow, used


def estimate(
    x: Floats | Columns,
    follow: Follow,
    names: tuple[str, ...],
    ties: Ties = "efron",
    penalty: Penalty | None = None,
    *,
    robust: bool = False,
    cluster: NDArray[np.int64] | None = None,
    firth_level: float | None = None,
) -> CoxEstimate:
    """Maximise the partial likelihood.

    Parameters
    ----------
    x
        Covariates, float64, shape (n, p): columns, or a matrix (one that is not column-major is copied).
    penalty
        On the coefficients in the units of the covariates.
    robust, cluster
        Ask for the sandwich variance, over rows or over clusters (whole numbers, int64, shape (n,)).
    firth_level
        Ask for Firth's penalty, with profile limits at this level; with neither another penalty nor a sandwich.

    References
    ----------
    Lin DY, Wei LJ (1989), doi:10.1080/01621459.1989.10478874 (sandwich variance).
    """
    if firth_level is not None and (penalty or robust or cluster is not None):
        raise StudyError("Firth's correction goes with neither another penalty nor a robust variance")
    with workers() as pool:
        rows, follow, used = place_rows(Columns.of(x), follow, pool)
        require_reach(names, rows.scale)
        sums = RowSums(rows, pool)
        scaled = (penalty or Penalty.none(len(names))).over(rows.scale)
        optimum, profile = _maximum(sums, names, ties, scaled, firth_level)
        bread = scaled.bread(optimum)
        meat = None
        if robust or cluster is not None:
            groups = None if cluster is None else distinct(cluster[used])[0]
            if groups is not None and not groups.any():
                raise NotEstimableError("sandwich_of_one_cluster")
            meat = sums.score_products(score_tables(optimum.point, rows.cells), groups)
    variance = bread if meat is None else sandwich(bread, meat)
    coef, std_error, covariance = in_units(optimum.theta, variance, rows.scale)
    model = in_units(optimum.theta, bread, rows.scale)[2]
    return CoxEstimate(
        names, coef, std_error, covariance, model, optimum, rows, follow, used, ties,
        robust=meat is not None, firth=profile,
    )  # fmt: skip


def _maximum(
    sums: RowSums, names: tuple[str, ...], ties: Ties, penalty: Penalty, firth_level: float | None
) -> tuple[Optimum, FirthProfile | None]:
    """Return the maximum at scaled coefficients, and the profile if Firth's penalty was asked for."""
    rows = sums.rows
    likelihood = PartialLikelihood(sums, rows.cells, ties, sums.events())

    def identified(point: Point) -> None:
        require_identified(point, names, penalty)

    def bounded(point: Point) -> None:
        require_bounded(lambda u: extremes(rows, u), point.score, names, penalty)

    if firth_level is None:
        return maximise(likelihood, penalty, identified, bounded), None
    return maximise_firth(FirthLikelihood(likelihood, sums, names), rows.scale, identified, firth_level)


def in_units(theta: Floats, variance: Floats, scale: Floats) -> tuple[Floats, Floats, Floats]:
    """Return coefficients, standard errors and covariance in the units of the columns, from those of scaled ones."""
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        # columns of 1e±200 have variances outside float64, while their standard errors are inside
        covariance = variance / scale / scale[:, None]
    return theta / scale, np.sqrt(np.diag(variance)) / scale, covariance


def evaluate(fit: CoxEstimate, x: Floats | Columns, follow: Follow) -> CoxEstimate:
    """Return the model at the coefficients of ``fit``, on other rows (of other persons, or a part of the same)."""
    with workers() as pool:
        rows, follow, used = place_rows(Columns.of(x), follow, pool)
        sums = RowSums(rows, pool)
        likelihood = PartialLikelihood(sums, rows.cells, fit.ties, sums.events())
        point = likelihood.at(fit.coef * rows.scale)
    if point is None:
        raise NotEstimableError("overflow_on_these_rows")
    optimum = replace(fit.optimum, point=point, theta=point.theta)
    return replace(fit, optimum=optimum, rows=rows, follow=follow, used=used)


def sandwich(bread: Floats, meat: Floats) -> Floats:
    """Return bread meat bread, in which coefficients without variance (lassoed to 0, NaN in bread) keep none."""
    unknown = np.isnan(np.diag(bread))
    filled = np.where(np.isnan(bread), 0.0, bread)
    product: Floats = filled @ meat @ filled
    product[unknown] = product[:, unknown] = np.nan
    return product


def positive(weight: Floats) -> NDArray[np.bool_]:
    """Return which weights are not 0, shape (n,), refusing those that cannot be counted."""
    wrong = int((~(np.isfinite(weight) & (weight >= 0))).sum())
    if wrong:
        raise InputRefusedError(f"the weight is negative or not a finite number in {wrong} rows")
    counted: NDArray[np.bool_] = weight > 0
    if extreme := int(((weight > LARGEST_WEIGHT) | (counted & (weight < SMALLEST_WEIGHT))).sum()):
        raise InputRefusedError(
            f"the weight's square leaves the range of numbers in {extreme} rows; rescale the weights"
        )
    return counted
