"""Fine–Gray regression: the hazard of the cumulative incidence of one cause, others competing, in linear time.

A person who had a competing event stays at risk afterwards with the probability of not yet being censored,
``G(t-) / G(T-)``. In sums by event time that is one backward sum over everybody and one forward sum over those
persons, so no row is ever copied: cmprsk::crr is quadratic, R's finegray() multiplies rows.

References
----------
Fine JP, Gray RJ (1999), doi:10.1080/01621459.1999.10474144; Geskus RB (2011), doi:10.1111/j.1541-0420.2010.01420.x;
Kawaguchi ES et al. (2021), doi:10.32614/RJ-2021-010 (the forward–backward scan).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.cox import model_arrays, require_causes
from cohort.survival.cox_checks import extremes, require_bounded, require_identified, require_reach
from cohort.survival.cox_columns import Columns
from cohort.survival.cox_model import in_units, place_rows
from cohort.survival.cox_newton import Optimum, Penalty, Point, Ties, assemble, invert, maximise, tied_terms
from cohort.survival.cox_risk import RiskSets, clock
from cohort.survival.cox_sums import Rows, RowSums, kernels, never_at_risk, score_tables, workers
from cohort.survival.design import Design, Missing, Term, design_matrix
from cohort.survival.fine_gray_limits import Clock, Influences, Persons, influences

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FineGrayFit:
    """A fitted Fine–Gray model; arrays have one entry per column of the design, shape (p,), ``covariance`` (p, p).

    ``time`` and ``hazard`` (K,) are the event times and the increments of the subdistribution hazard at the covariate
    ``means`` (p,), ``scale`` the reach of each column; ``influences()`` is what limits of predictions need.
    ``n_events`` and ``n_competing`` count events of the cause of interest and of the others.
    """

    terms: tuple[str, ...]
    coef: Floats
    std_error: Floats
    covariance: Floats
    log_likelihood_null: float
    log_likelihood: float
    time: Floats
    hazard: Floats
    means: Floats
    scale: Floats
    influences: Callable[[], Influences]
    n: int
    n_events: int
    n_competing: int
    n_missing: int
    design: Design
    ties: Ties
    level: float
    method: str

    @property
    def references(self) -> dict[str, str]:
        """Return the reference level of each categorical variable."""
        return self.design.references

    @property
    def p_value(self) -> Floats:
        """Return two-sided Wald p-values, shape (p,)."""
        values: Floats = 2 * stats.norm.sf(np.abs(self.coef / self.std_error))
        return values

    def limits(self) -> tuple[Floats, Floats]:
        """Return the limits of the coefficients at ``level``, each of shape (p,)."""
        reach = stats.norm.isf((1 - self.level) / 2) * self.std_error
        return self.coef - reach, self.coef + reach

    def to_polars(self) -> pl.DataFrame:
        """Return one row per column: term, coef, std_error, hazard_ratio and its limits, z, p_value."""
        lower, upper = self.limits()
        columns = {
            "coef": self.coef,
            "std_error": self.std_error,
            "hazard_ratio": np.exp(self.coef),
            "lower": np.exp(lower),
            "upper": np.exp(upper),
            "z": self.coef / self.std_error,
            "p_value": self.p_value,
        }
        return pl.DataFrame({"term": list(self.terms), **columns})

    def cumulative_incidence(self, frame: Any, times: Any = None) -> Floats:
        """Return the predicted cumulative incidence at ``times`` (m,), by default all event times, shape (m, rows)."""
        x = design_matrix(frame, self.design.terms, levels=self.design.levels).matrix
        curve = np.concatenate([[0.0], np.cumsum(self.hazard)])
        at = self.time if times is None else np.asarray(times, dtype=float)
        cumulative = curve[np.searchsorted(self.time, at, side="right")]
        incidence: Floats = -np.expm1(-np.outer(cumulative, np.exp((x - self.means) @ self.coef)))
        return incidence

    def predict(self, frame: Any, times: Any = None) -> pl.DataFrame:
        """Return predicted incidence with limits at ``level``: ``row, time, estimate, std_error, lower, upper``.

        Limits are those of the log cumulative subdistribution hazard, so that they stay between 0 and 1; they count
        the coefficients, the baseline and, where the sandwich does (``ties="breslow"``), the censoring curve.
        """
        x = design_matrix(frame, self.design.terms, levels=self.design.levels).matrix
        at = self.time if times is None else np.asarray(times, dtype=float)
        place = np.searchsorted(self.time, at, side="right")
        total = np.cumsum(self.hazard)
        risk = np.exp((x - self.means) @ self.coef)
        cumulative = np.outer(np.append(0.0, total)[place], risk)
        spread = np.sqrt(self.influences().variance((x - self.means) / self.scale, total, place)) * risk
        return incidence_table(cumulative, spread, at, self.level)


def incidence_table(cumulative: Floats, spread: Floats, times: Floats, level: float) -> pl.DataFrame:
    """Return incidence and its limits from cumulative hazards and their standard errors, both (times, rows)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.exp(stats.norm.isf((1 - level) / 2) * np.where(cumulative > 0, spread / cumulative, 0.0))
        shown = {
            "estimate": -np.expm1(-cumulative),
            "std_error": np.exp(-cumulative) * spread,
            "lower": -np.expm1(-cumulative / ratio),
            "upper": np.where(cumulative > 0, -np.expm1(-cumulative * ratio), 0.0),
        }
    rows = np.repeat(np.arange(cumulative.shape[1]), times.size)
    columns = {name: values.T.ravel() for name, values in shown.items()}
    return pl.DataFrame({"row": rows, "time": np.tile(times, cumulative.shape[1]), **columns})


@dataclass(frozen=True, slots=True)
class _Late:
    """Those with a competing event, after it: the rows, their sums, and G just before each cell, shape (K,)."""

    rows: Ints
    sums: RowSums
    free: Floats


@dataclass(frozen=True, slots=True)
class _SubdistributionLikelihood:
    """The partial likelihood in which persons stay at risk after a competing event."""

    main: RowSums
    late: _Late
    ties: Ties
    event_sum: Floats

    @property
    def cells(self) -> RiskSets:
        """Return the event times of the cause of interest."""
        return self.main.rows.cells

    def value(self, theta: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Return the log-likelihood (-inf where it overflows), the tie terms, S0 and D0."""
        count = self.cells.time.size
        table, events = self.main.risk(theta)
        late, _ = self.late.sums.risk(theta)
        dying = table[count + 1 : 2 * count + 1]
        at_risk = table[:count] + dying
        kernels().reversed_sums(at_risk[None, :], self.cells.head)
        at_risk += self.late.free * np.cumsum(late[:count])
        return *tied_terms(events, at_risk, dying, self.cells, self.ties), at_risk, dying

    def at(self, theta: Floats) -> Point | None:
        """Return the likelihood with its derivatives, or None where it overflows."""
        value, terms, at_risk, dying = self.value(theta)
        return None if value == -np.inf else self.derive(theta, value, terms, at_risk, dying)

    def derive(self, theta: Floats, value: float, terms: Floats, at_risk: Floats, dying: Floats) -> Point:
        """Return the likelihood with its derivatives, given what :meth:`value` returned at ``theta``."""
        count = self.cells.time.size
        table, second = self.main.moments(never_at_risk(np.cumsum(terms[0])), never_at_risk(terms[1]))
        after, late_second = self.late.sums.moments(
            never_at_risk(_from_here(terms[0] * self.late.free)), np.zeros(count + 1)
        )
        d1 = table[:, count + 1 : 2 * count + 1]
        s1 = table[:, :count] + d1
        kernels().reversed_sums(s1, self.cells.head)
        s1 += self.late.free * np.cumsum(after[:, :count], axis=1)
        tables = (at_risk, dying, s1, d1)
        return assemble(theta, value, terms, tables, second=second + late_second, event_sum=self.event_sum)

    def scores(self, point: Point) -> Floats:
        """Return each person's score with the censoring weights taken as known, shape (p, n)."""
        _, _, a2, b2, _ = point.ties
        scores = self.main.all_scores(score_tables(point, self.cells))
        late = np.zeros_like(point.mean_risk)
        drift = _from_here(self.late.free * (a2 * point.mean_risk - b2 * point.mean_dying))
        hazard = _from_here(self.late.free * point.ties[0])
        nothing = never_at_risk(late)
        tables = (never_at_risk(hazard), np.zeros(hazard.size + 1), nothing, never_at_risk(drift), nothing)
        scores[:, self.late.rows] += self.late.sums.all_scores(tables)
        return scores


@dataclass(frozen=True, slots=True)
class _Calendar:
    """Counts on the clock, each of shape (days,): at risk, censored, events of any cause; and each row's place."""

    place: Ints
    present: Floats
    censored: Floats
    died: Floats

    @classmethod
    def of(cls, time: NDArray[np.generic], cause: Ints) -> _Calendar:
        values, place, _ = clock(time, None)
        censored = np.bincount(place[cause == 0], minlength=values.size).astype(np.float64)
        died = np.bincount(place[cause != 0], minlength=values.size).astype(np.float64)
        return cls(place, _from_here(censored + died), censored, died)

    def free_before(self, ties: Ties) -> Floats:
        """Return G(t-), the Kaplan–Meier curve of censoring; under Efron, events on a day leave before censorings.

        R's finegray() does the latter, cmprsk::crr() counts that day's events as still at risk of censoring.
        """
        exposed = self.present - self.died if ties == "efron" else self.present
        factor = 1 - np.divide(self.censored, exposed, out=np.zeros_like(exposed), where=exposed > 0)
        return np.concatenate([[1.0], np.cumprod(factor)[:-1]])


def fit_fine_gray(
    frame: Any,
    time: str = "time",
    cause: str = "cause",
    cause_of_interest: int = 1,
    *,
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
    causes: Sequence[int] | None = None,
) -> FineGrayFit:
    """Fit a Fine–Gray model to one row per person; the result does not depend on row order or threads.

    ``time`` is in whole days or any number, ``cause`` a whole number with 0 = censored, of those declared as ``causes``
    if given. ``ties="efron"`` gives R's
    finegray() + coxph(cluster = id), whose sandwich takes the censoring weights as known; ``ties="breslow"`` gives
    cmprsk::crr(), whose sandwich (Fine and Gray 1999) counts the estimation of the censoring distribution. Terms,
    missing values and what is raised as in :func:`cohort.survival.cox.fit_cox`.
    """
    if ties not in ("efron", "breslow"):
        raise StudyError("ties must be 'efron' or 'breslow'")
    if not 0 < level < 1:
        raise StudyError("level must lie between 0 and 1")
    design, follow = model_arrays(frame, time, cause, terms=terms, missing=missing)
    codes = _causes(follow.event, cause, cause_of_interest, causes)
    follow = replace(follow, event=codes == cause_of_interest)
    competing = np.flatnonzero((codes != 0) & (codes != cause_of_interest))
    with workers() as pool:
        rows, follow, _ = place_rows(Columns.of(design.matrix), follow, pool)
        require_reach(design.names, rows.scale)
        calendar = _Calendar.of(follow.time, codes)
        main = RowSums(rows, pool)
        late = _late(rows, calendar, competing, ties, main)
        likelihood = _SubdistributionLikelihood(main, late, ties, main.events())
        optimum = _optimise(likelihood, design.names, competing)
        bread = invert(optimum.point.information)
        scores = likelihood.scores(optimum.point)
        if ties == "breslow":
            scores += _censoring_scores(likelihood, optimum.point, calendar)
        # costs as much as a Newton step, so only who predicts pays for it
        spread = partial(
            influences, _persons(likelihood, calendar, scores), _clock(likelihood, calendar), optimum.point,
            rows.cells.weight, bread, estimated=ties == "breslow",
        )  # fmt: skip
    covariance = bread @ (scores @ scores.T) @ bread
    return _result(
        optimum, rows, covariance, spread, design,
        causes=codes, cause_of_interest=cause_of_interest, level=level, ties=ties,
    )  # fmt: skip


def _causes(codes: NDArray[Any], name: str, cause_of_interest: int, declared: Sequence[int] | None) -> Ints:
    require_causes(codes, name, declared)
    if cause_of_interest < 1:
        raise StudyError("cause_of_interest must be 1 or more: 0 means censored")
    if not (codes == cause_of_interest).any():
        raise NotEstimableError("no_events")
    return codes.astype(np.int64)


def _late(rows: Rows, calendar: _Calendar, competing: Ints, ties: Ties, main: RowSums) -> _Late:
    """Set up the sums over those with a competing event: weight 1 / G(T-), at risk from the first cell after T on."""
    cells = rows.cells
    free = calendar.free_before(ties)
    of_cell = np.zeros(cells.time.size)
    events = np.flatnonzero(cells.event)
    of_cell[cells.stop[events]] = free[calendar.place[events]]
    stop = cells.stop[competing]
    first = np.where(stop == cells.time.size, 0, stop + 1).astype(np.int32)  # K: they left before the first event
    later = replace(cells, slot=first, start=np.empty(0, dtype=np.int32))
    weight = 1.0 / free[calendar.place[competing]]
    part = Rows(Columns.of(rows.x[competing]), rows.centre, rows.scale, weight, np.empty(0), later)
    return _Late(competing, RowSums(part, main.pool), of_cell)


def _optimise(likelihood: _SubdistributionLikelihood, names: tuple[str, ...], competing: Ints) -> Optimum:
    rows, count = likelihood.main.rows, likelihood.cells.time.size
    slot = rows.cells.slot.copy()
    slot[competing] = count - 1  # they never leave, so separation has to look at them to the end
    whole = replace(rows, cells=replace(rows.cells, slot=slot))
    nothing = Penalty.none(len(names))
    return maximise(
        likelihood,
        nothing,
        lambda point: require_identified(point, names, nothing),
        lambda point: require_bounded(lambda u: extremes(whole, u), point.score, names, nothing),
    )


def _censoring_scores(likelihood: _SubdistributionLikelihood, point: Point, calendar: _Calendar) -> Floats:
    """Return what estimating G adds to each person's score, shape (p, n) (Fine and Gray's psi).

    With q(u) the late persons' part of the score after u, psi_i = q(T_i) / Y(T_i) if i is censored, minus the sum over
    censorings u up to T_i of q(u) / Y(u)².
    """
    cells, late, days = likelihood.cells, likelihood.late, calendar.present.size
    events = np.flatnonzero(cells.event)
    day_of_cell = np.zeros(cells.time.size, dtype=np.int64)
    day_of_cell[cells.stop[events]] = calendar.place[events]
    after = np.zeros(days)
    after[day_of_cell] = late.free * point.ties[0]
    drift = np.zeros((len(point.theta), days))
    drift[:, day_of_cell] = late.free * point.ties[2] * point.mean_risk
    rows, place = late.sums.rows, calendar.place[late.rows]
    risk = late.sums.risk_of_row
    before = np.stack(
        [np.bincount(place, risk, days)]
        + [
            np.bincount(place, risk * (x - m) / s, days)
            for x, m, s in zip(rows.x.parts, rows.centre, rows.scale, strict=True)
        ]
    )
    before = np.cumsum(before, axis=1) - before  # strictly before the day
    share = (_from_here(after) * before[1:] - _from_here(drift) * before[0]) / calendar.present
    spent = np.cumsum(share * calendar.censored / calendar.present, axis=1)
    is_censored = np.ones(calendar.place.size, dtype=bool)
    is_censored[events] = is_censored[late.rows] = False
    by_day = np.concatenate([-spent, share - spent], axis=1)  # of those not censored on the day, and of those censored
    scores: Floats = by_day.take(calendar.place + days * is_censored, axis=1)
    return scores


def _clock(likelihood: _SubdistributionLikelihood, calendar: _Calendar) -> Clock:
    cells = likelihood.cells
    events = np.flatnonzero(cells.event)
    day_of_cell = np.zeros(cells.time.size, dtype=np.int64)
    day_of_cell[cells.stop[events]] = calendar.place[events]
    return Clock(day_of_cell, likelihood.late.free, calendar.present, calendar.censored)


def _persons(likelihood: _SubdistributionLikelihood, calendar: _Calendar, scores: Floats) -> Persons:
    cells, late = likelihood.cells, likelihood.late
    event = cells.event.astype(np.float64)
    late_risk = np.zeros_like(event)
    late_risk[late.rows] = late.sums.risk_of_row
    censored = 1.0 - event
    censored[late.rows] = 0.0
    risk = likelihood.main.risk_of_row
    return Persons(calendar.place, cells.stop.astype(np.int64), event, censored, risk, late_risk, scores)


def _from_here(values: Floats) -> Floats:
    """Return sums from each position to the end, along the last axis."""
    sums: Floats = np.flip(np.cumsum(np.flip(values, axis=-1), axis=-1), axis=-1)
    return sums


def _result(
    optimum: Optimum,
    rows: Rows,
    covariance: Floats,
    spread: Callable[[], Influences],
    design: Design,
    *,
    causes: Ints,
    cause_of_interest: int,
    level: float,
    ties: Ties,
) -> FineGrayFit:
    point = optimum.point
    events = int(rows.cells.deaths.sum())
    coef, std_error, variance = in_units(optimum.theta, covariance, rows.scale)
    known = "known censoring weights" if ties == "efron" else "estimated censoring weights"
    return FineGrayFit(
        terms=design.names,
        coef=coef,
        std_error=std_error,
        covariance=variance,
        log_likelihood_null=optimum.null.log_likelihood,
        log_likelihood=point.log_likelihood,
        time=rows.cells.time,
        hazard=point.ties[0],
        means=rows.centre,
        scale=rows.scale,
        influences=spread,
        n=rows.shape[0],
        n_events=events,
        n_competing=int(np.count_nonzero(causes)) - events,
        n_missing=design.n_missing,
        design=design,
        ties=ties,
        level=level,
        method=f"Fine–Gray, cause {cause_of_interest}, {ties.capitalize()} ties, sandwich with {known}",
    )


class FineGrayFitter:
    """Fine–Gray regression with lifelines' attribute names; :func:`fit_fine_gray` gives the same without pandas."""

    def __init__(self, ties: Ties = "efron", alpha: float = 0.05) -> None:
        self.ties, self.alpha = ties, alpha

    def fit(
        self,
        frame: Any,
        time: str,
        cause: str,
        cause_of_interest: int,
        covariates: str | list[str],
        *,
        missing: Missing = "refuse",
    ) -> FineGrayFitter:
        """Fit; ``covariates`` are names, or terms such as ``"age + sex + age:sex"``."""
        terms = covariates if isinstance(covariates, str) else tuple(Term((name,)) for name in covariates)
        self.fit_ = fit_fine_gray(
            frame, time, cause, cause_of_interest, terms=terms, ties=self.ties, level=1 - self.alpha, missing=missing
        )
        return self

    def __getattr__(self, name: str) -> Any:
        """Give the attributes of lifelines' fitters (``params_``, ``summary``, …) as pandas objects."""
        if name == "fit_":
            raise AttributeError("call fit first")
        return import_module("cohort.survival._lifelines").fine_gray_attribute(self.fit_, name)

    def predict_cumulative_incidence(self, frame: Any, times: Any = None, *, limits: bool = False) -> pl.DataFrame:
        """Return the predicted cumulative incidence: ``time`` and one column per row of the frame, ``0, 1, …``.

        With ``limits``, one line for each row and time: ``row, time, estimate, std_error, lower, upper``.
        """
        if limits:
            return self.fit_.predict(frame, times)
        incidence = self.fit_.cumulative_incidence(frame, times)
        at = self.fit_.time if times is None else np.asarray(times, dtype=float)
        return pl.DataFrame({"time": at, **{str(k): column for k, column in enumerate(incidence.T)}})
