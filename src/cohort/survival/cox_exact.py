"""Exact ties and conditional logistic regression: which of those at risk had the events, given how many had them.

Efron and Breslow approximate this where days are a grouping of continuous time. Where the events of a set are truly
simultaneous (cases and controls of a matched set), it is the likelihood itself. The sum over all subsets of d of n at
risk is a recursion of n·d steps for each event time, so sets should be small or ties few.

References
----------
Gail MH, Lubin JH, Rubinstein LV (1981), doi:10.1093/biomet/68.3.703 (the recursion);
Breslow NE, Day NE (1980), Statistical methods in cancer research 1, IARC, chapter 7 (conditional logistic regression).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox import CoxFit, model_arrays, summarise
from cohort.survival.cox_checks import Extremes, extremes, require_bounded, require_identified
from cohort.survival.cox_columns import Columns
from cohort.survival.cox_frames import stratum_codes
from cohort.survival.cox_model import Follow, in_units, place_rows
from cohort.survival.cox_newton import Optimum, Penalty, Point, invert, maximise
from cohort.survival.cox_risk import RiskSets
from cohort.survival.cox_sums import Rows, workers
from cohort.survival.design import Design, Missing, Term, parse_terms

Floats = NDArray[np.float64]

_SET, _TIME = "matched set of the row", "time of the row"  # names that no term can have


@dataclass(frozen=True, slots=True)
class ExactLikelihood:
    """The conditional likelihood of rows; ``order`` (m,) lists those ever at risk by stratum, the last to leave first.

    ``first`` and ``end`` (K,) are where the stratum of each cell begins and ends in ``order``.
    """

    rows: Rows
    order: NDArray[np.int64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Rows) -> ExactLikelihood:
        """Lay out the risk sets of rows."""
        cells = rows.cells
        at_risk = np.flatnonzero(cells.stop < cells.time.size)
        stop = cells.stop[at_risk]
        order = at_risk[np.lexsort((-stop, cells.stratum[stop]))]
        stratum = cells.stratum[cells.stop[order]]
        return cls(
            rows, order, np.searchsorted(stratum, cells.stratum), np.searchsorted(stratum, cells.stratum, "right")
        )

    @property
    def cells(self) -> RiskSets:
        """Return the event times."""
        return self.rows.cells

    def value(self, theta: Floats) -> tuple[float, Floats, Floats, Floats]:
        """Return the log-likelihood (-inf where it overflows); there are no tie terms, S0 and D0 to give."""
        value = self._sums(theta, derivatives=False)[0]
        nothing = np.zeros(self.cells.time.size)
        return (value if np.isfinite(value) else -np.inf), np.zeros((5, nothing.size)), nothing, nothing

    def at(self, theta: Floats) -> Point | None:
        """Return the likelihood with its derivatives, or None where it overflows."""
        value, *made_of = self.value(theta)
        return None if value == -np.inf else self.derive(theta, value, *made_of)

    def derive(self, theta: Floats, value: float, terms: Floats, at_risk: Floats, dying: Floats) -> Point:
        """Return the likelihood with its derivatives."""
        _, score, second, spread = self._sums(theta, derivatives=True)
        nothing = np.zeros((theta.size, at_risk.size))
        return Point(theta, value, score, second - spread, second, terms, at_risk, dying, nothing, nothing)

    def extremes(self, direction: Floats) -> Extremes:
        """Return the extremes along a direction, the highest of those at risk among the ones without an event then."""
        cells, size = self.cells, self.cells.time.size
        before = np.where(cells.event, cells.stop - 1, cells.stop)
        gone = cells.event & cells.head[cells.stop * cells.event]
        if cells.start.size:
            gone |= before == cells.start
        without = replace(cells, slot=np.where(gone, size, before).astype(np.int32))
        others, events = extremes(replace(self.rows, cells=without), direction), extremes(self.rows, direction)
        return replace(events, top=others.top, top_z=others.top_z)

    def _sums(self, theta: Floats, *, derivatives: bool) -> tuple[float, Floats, Floats, Floats]:
        rows, p = self.rows, theta.size
        z = (rows.x[self.order] - rows.centre) / rows.scale
        eta = z @ theta + (rows.offset[self.order] if rows.offset.size else 0.0)
        score, second, spread = np.zeros(p), np.zeros((p, p)), np.zeros((p, p))
        start = self.cells.start[self.order] if self.cells.start.size else np.empty(0, dtype=np.int32)
        places = (self.cells.stop[self.order], self.cells.event[self.order], start)
        # importing it loads numba, which `import cohort` must not
        value = import_module("cohort.survival.cox_exact_kernels").subset_sums(
            z, eta, *places, self.first, self.end, self.cells.deaths, derivatives, score, second, spread
        )
        return value, score, second, spread


def fit_cox_exact(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    terms: str | tuple[Term, ...],
    level: float = 0.95,
    missing: Missing = "refuse",
) -> CoxFit:
    """Fit a Cox model whose tied events are truly simultaneous; see :func:`cohort.survival.cox.fit_cox`."""
    design, follow = model_arrays(frame, time, event, entry, terms=terms, missing=missing)
    return _fit(design, follow, level, "Cox proportional hazards, exact ties")


def fit_conditional_logistic(
    frame: Any,
    case: str = "case",
    matched_set: str = "matched_set",
    *,
    terms: str | tuple[Term, ...],
    level: float = 0.95,
    missing: Missing = "refuse",
) -> CoxFit:
    """Fit a conditional logistic model to cases and controls in matched sets; ``hazard_ratio`` is an odds ratio.

    ``case`` is Boolean or 0/1, ``matched_set`` anything that tells the sets apart; any number of cases and controls
    may be in one. Sets without a case, or without a control, say nothing and take no part. ``terms``, ``missing`` and
    what is raised as in :func:`cohort.survival.cox.fit_cox`.

    References
    ----------
    Breslow NE et al. (1978), doi:10.1093/oxfordjournals.aje.a112623.
    """
    parsed = parse_terms(terms) if isinstance(terms, str) else terms
    lazy = as_lazy(frame)
    require_columns(lazy, {"case": case, "matched_set": matched_set})
    variables = dict.fromkeys([case, matched_set, *(name for term in parsed for name in term.variables)])
    table = lazy.select(list(variables)).collect()
    codes, _ = stratum_codes(table, (matched_set,))
    # a set's number takes the place of the entry, so that rows are put in one order with it; nobody enters late
    placed = table.with_columns(pl.Series(_SET, codes), pl.lit(1).alias(_TIME))
    design, follow = model_arrays(placed, _TIME, case, _SET, terms=parsed, missing=missing)
    follow = Follow(follow.time, follow.event, stratum=follow.entry)  # type: ignore[arg-type]  # whole numbers
    return _fit(design, follow, level, "conditional logistic regression")


def _fit(design: Design, follow: Follow, level: float, method: str) -> CoxFit:
    if not 0 < level < 1:
        raise StudyError("level must lie between 0 and 1")
    with workers() as pool:
        rows, follow, _ = place_rows(Columns.of(design.matrix), follow, pool)
        optimum = _optimise(ExactLikelihood.of(rows), design.names)
    fit = summarise(
        optimum,
        in_units(optimum.theta, invert(optimum.point.information), rows.scale),
        design.names,
        "exact",
        level,
        n=rows.shape[0],
        n_events=int(rows.cells.deaths.sum()),
        n_missing=design.n_missing,
        references=design.references,
    )
    return replace(fit, method=f"{method}, Wald limits")


def _optimise(likelihood: ExactLikelihood, names: tuple[str, ...]) -> Optimum:
    nothing = Penalty.none(len(names))
    return maximise(
        likelihood,
        nothing,
        lambda point: require_identified(point, names, nothing),
        lambda point: require_bounded(likelihood.extremes, point.score, names, nothing),
    )
