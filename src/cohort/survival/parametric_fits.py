"""Fitting the parametric models: from a frame to distinct rows with counts, to the maximum, to a result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, get_args

import numpy as np
import polars as pl

from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy
from cohort.survival.climbing import climb, require_bounded_by_events, require_full_rank
from cohort.survival.cox import model_columns
from cohort.survival.cox_model import positive
from cohort.survival.cox_risk import check_follow_up
from cohort.survival.design import Design, Missing, design_matrix, parse_terms
from cohort.survival.generalised_gamma import gamma_likelihood
from cohort.survival.hazard_models import Spline, poisson, royston_parmar
from cohort.survival.lexis import split_follow_up
from cohort.survival.location_scale import ERRORS, Spells, likelihood
from cohort.survival.parametric import (
    SHAPES,
    Family,
    ParametricFit,
    family_hazard,
    finished,
    require_options,
    uncentred,
)
from cohort.survival.types import Floats


@dataclass(frozen=True, slots=True)
class _Distinct:
    """The distinct rows a model reads: columns by role, covariates, the weight of each and how many rows it stands for.

    ``columns`` maps a role to an array (n,); ``weight`` and ``count`` have shape (n,). ``idle`` counts rows left aside
    because they say nothing, such as a censored follow-up of 0 days.
    """

    columns: dict[str, Floats]
    design: Design
    weight: Floats
    count: Floats
    n_missing: int
    idle: int = 0

    def keep(self, kept: np.ndarray) -> _Distinct:
        """Return the rows of a mask; the others are idle."""
        idle = self.idle + int(self.count[~kept].sum())
        columns = {role: column[kept] for role, column in self.columns.items()}
        design = replace(self.design, matrix=self.design.matrix[kept])
        return _Distinct(columns, design, self.weight[kept], self.count[kept], self.n_missing, idle)


def fit_parametric(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    terms: str = "",
    model: Family = "weibull",
    weights: str | None = None,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> ParametricFit:
    """Fit an accelerated failure time model ``log t = intercept + x'beta + sigma e`` to right-censored follow-up.

    ``model`` is ``weibull``, ``exponential`` (sigma 1), ``log_normal``, ``log_logistic`` or ``generalised_gamma``; the
    ``shape`` of the last is 1 for the Weibull and 0 for the log-normal. ``weights`` count rows.
    Parameters as R's ``survreg``: positive coefficients lengthen life. A censored follow-up of 0 days counts in n and
    says nothing; an event on day 0 has no logarithm and is refused.

    Raises InputRefusedError as :func:`cohort.survival.cox.fit_cox`, and NotEstimableError (``no_events``,
    ``constant``, ``collinear``, ``monotone_likelihood``, ``not_converged``), which names the columns.

    References
    ----------
    Kalbfleisch JD, Prentice RL (2002), doi:10.1002/9781118032985.
    """
    require_options(level, model, get_args(Family))
    rows = _follow_up(frame, time, event, entry, terms, weights, missing)
    died = rows.columns["event"] > 0
    upper = np.where(died, rows.columns["time"], np.inf)
    spells = (rows.columns["time"], upper, rows.columns.get("entry", np.zeros(died.size)))
    return _location_scale(rows, spells, model, level)


def fit_interval_censored(
    frame: Any,
    lower: str = "lower",
    upper: str = "upper",
    *,
    terms: str = "",
    model: Family = "weibull",
    weights: str | None = None,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> ParametricFit:
    """Fit an accelerated failure time model to events known to lie in ``(lower, upper]``.

    Equal bounds are an event at that time, a lower bound of 0 is left-censored, a missing or infinite upper bound
    right-censored. Otherwise as :func:`fit_parametric`; the nonparametric estimate is
    :func:`cohort.survival.interval_censoring.turnbull`.

    References
    ----------
    Lindsey JC, Ryan LM (1998), doi:10.1002/(SICI)1097-0258(19980130)17:2<219::AID-SIM735>3.0.CO;2-O.
    """
    require_options(level, model, get_args(Family))
    open_ended = as_lazy(frame).with_columns(pl.col(upper).cast(pl.Float64).fill_null(np.inf))
    rows = _distinct(open_ended, {"lower": lower, "upper": upper}, terms, weights, missing)
    low, high = rows.columns["lower"], rows.columns["upper"]
    wrong = ~((low >= 0) & (low < np.inf) & (low <= high) & (high > 0))
    if wrong.any():
        raise InputRefusedError(
            f"the bounds are negative, not numbers or in the wrong order in {int(rows.count[wrong].sum())} rows"
        )
    says_something = (low > 0) | (high < np.inf)
    kept = rows.keep(says_something)
    spells = (kept.columns["lower"], kept.columns["upper"], np.zeros(kept.weight.size))
    return _location_scale(kept, spells, model, level)


def fit_spline(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    terms: str = "",
    knots: int = 3,
    weights: str | None = None,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> ParametricFit:
    """Fit proportional hazards with the log cumulative hazard a natural cubic spline of log time.

    ``knots`` inner knots lie at equal quantiles of the logs of the event times, the boundaries at the first and the
    last; with 0 the model is Weibull's. Otherwise as :func:`fit_parametric`, but coefficients are log hazard ratios. A
    spline whose cumulative hazard falls somewhere (long gaps without events) is ``falling_cumulative_hazard``.

    References
    ----------
    Royston P, Parmar MKB (2002), doi:10.1002/sim.1203.
    """
    require_options(level, "spline", ["spline"])
    if knots < 0:
        raise StudyError("knots must be 0 or more")
    rows = _follow_up(frame, time, event, entry, terms, weights, missing)
    names, died = rows.design.names, rows.columns["event"] > 0
    centre, spread = require_full_rank(rows.design.matrix, rows.weight, names)
    z = (rows.design.matrix - centre) / spread
    spline = Spline(_knots(np.log(rows.columns["time"][died]), rows.count[died], knots))
    entry_times = rows.columns.get("entry", np.zeros(died.size))
    at = royston_parmar(rows.columns["time"], died.astype(float), entry_times, z, rows.weight, spline)
    start = np.zeros(knots + 2 + len(names))
    start[:2] = np.log(rows.weight[died].sum() / (rows.weight @ (rows.columns["time"] - entry_times))), 1.0
    best = climb(at, start, lambda: _require_bounded(z, died, -(~died).astype(float), names), float(rows.weight.sum()))
    if spline.lowest_slope(best.theta[: knots + 2]) <= 0:
        raise NotEstimableError("falling_cumulative_hazard")
    return finished(
        best,
        uncentred(centre, spread, knots + 2, 0, [0]),
        (*(f"gamma{k}" for k in range(knots + 2)), *names),
        partial(_spline_hazard, spline=spline),
        rows.design,
        method=f"Royston–Parmar, {knots} inner knots",
        **_described(rows, died, level),
    )


def fit_piecewise_exponential(
    frame: Any,
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    *,
    cuts: Sequence[float],
    terms: str = "",
    weights: str | None = None,
    level: float = 0.95,
    missing: Missing = "refuse",
) -> ParametricFit:
    """Fit proportional hazards with a constant hazard between ``cuts``: Poisson regression on exact person-time.

    Follow-up is cut at ``cuts`` (ascending, in days; an event on a cut lies before it) and summed by piece and
    covariates. The log-likelihood is that of the times: ``sum(d eta - T exp(eta))``. Otherwise as
    :func:`fit_spline`; an event on day 0 counts in the first piece.

    References
    ----------
    Holford TR (1980), doi:10.2307/2529982.
    """
    require_options(level, "piecewise", ["piecewise"])
    rows = _follow_up(frame, time, event, entry, terms, weights, missing, day_0=True)
    events, person_time, band, origin = _person_time(rows, list(cuts))
    x = rows.design.matrix[origin]
    mass = np.bincount(band, weights=events, minlength=len(cuts) + 1)
    starts = [0.0, *cuts]
    if not (mass > 0).all():
        empty = tuple(f"piece from {starts[k]:g}" for k in np.flatnonzero(mass == 0))
        raise NotEstimableError("no_events", empty)
    centre, spread = require_full_rank(x, np.maximum(person_time, 0), rows.design.names)
    z = (x - centre) / spread
    pieces = (band[:, None] == np.arange(len(starts))).astype(float)
    design = np.hstack([pieces, z])
    start = np.append(np.log(mass / np.bincount(band, weights=person_time)), np.zeros(z.shape[1]))
    names = rows.design.names
    at = poisson(events, person_time, design)
    best = climb(at, start, lambda: _require_bounded(z, events > 0, -(events == 0).astype(float), names), events.sum())
    return finished(
        best,
        uncentred(centre, spread, len(starts), 0, range(len(starts))),
        (*(f"log rate from {day:g}" for day in starts), *names),
        partial(_piecewise_hazard, starts=np.array(starts)),
        rows.design,
        method=f"piecewise exponential, {len(starts)} pieces",
        **_described(rows, rows.columns["event"] > 0, level),
    )


def _distinct(frame: Any, roles: dict[str, str], terms: str, weights: str | None, missing: Missing) -> _Distinct:
    parsed = parse_terms(terms) if terms.strip() else ()
    table = model_columns(frame, roles | ({"weight": weights} if weights else {}), parsed)
    variables = [pl.col(name) for name in dict.fromkeys(v for term in parsed for v in term.variables)]
    keys = [pl.col(name).cast(pl.Float64).alias(f"_{role}") for role, name in roles.items()]
    mass = pl.col(weights).cast(pl.Float64) if weights else pl.lit(1.0)
    table = table.select(*keys, *variables, mass.alias("_mass"))
    table = table.filter(pl.Series(positive(table["_mass"].to_numpy()), dtype=pl.Boolean))
    names = [name for name in table.columns if name != "_mass"]
    totals = (pl.len().alias("_count"), pl.col("_mass").sum())
    if weights:
        # sorted by the weights too: their sums then do not depend on the order of rows
        distinct = table.sort([*names, "_mass"]).group_by(names, maintain_order=True).agg(totals)
    else:
        distinct = table.group_by(names).agg(totals).sort(names)
    design = design_matrix(distinct, parsed, missing)
    count = distinct["_count"].to_numpy().astype(float)
    kept = distinct.filter(pl.Series(design.kept, dtype=pl.Boolean))
    columns = {role: kept[f"_{role}"].to_numpy() for role in roles}
    return _Distinct(columns, design, kept["_mass"].to_numpy(), count[design.kept], int(count[~design.kept].sum()))


def _follow_up(
    frame: Any, time: str, event: str, entry: str | None, terms: str, weights: str | None, missing: Missing,
    *, day_0: bool = False,
) -> _Distinct:  # fmt: skip
    """Return distinct rows of right-censored follow-up, checked; without those of no days unless ``day_0``."""
    roles = {"time": time, "event": event} | ({"entry": entry} if entry else {})
    rows = _distinct(frame, roles, terms, weights, missing)
    died = rows.columns["event"]
    check_follow_up(rows.columns["time"], died, rows.columns.get("entry"))
    if (rows.columns.get("entry", died) < 0).any():
        raise InputRefusedError("the entry is negative: time 0 must be the origin of a parametric model")
    if not (died > 0).any():
        raise NotEstimableError("no_events")
    on_0 = rows.columns["time"] == 0
    if day_0 or not on_0.any():
        return rows
    if lost := int(rows.count[on_0 & (died > 0)].sum()):
        raise InputRefusedError(f"an event on day 0 has no logarithm in {lost} rows; a piecewise model can count them")
    return rows.keep(~on_0)


def _location_scale(
    rows: _Distinct, bounds: tuple[Floats, Floats, Floats], model: Family, level: float
) -> ParametricFit:
    lower, upper, entry = bounds
    if not (upper < np.inf).any():
        raise NotEstimableError("no_events")
    names = rows.design.names
    centre, spread = require_full_rank(rows.design.matrix, rows.weight, names)
    z = np.column_stack([np.ones(len(lower)), (rows.design.matrix - centre) / spread])
    shapes = SHAPES[model]
    spells = Spells(lower, upper, entry, z, rows.weight)
    gamma = model == "generalised_gamma"
    at = gamma_likelihood(spells) if gamma else likelihood(spells, ERRORS[model], scale_is_1=not shapes)
    known = np.where(np.isinf(upper), lower, np.where(lower > 0, (lower + upper) / 2, upper))
    middle = float(rows.weight @ np.log(known) / rows.weight.sum())
    start = np.zeros(z.shape[1] + len(shapes))
    start[0] = middle
    inside = (lower > 0) & (upper < np.inf)
    freed = np.where(np.isinf(upper), 1.0, np.where(lower == 0, -1.0, 0.0))
    best = climb(at, start, lambda: _require_bounded(z[:, 1:], inside, freed, names), float(rows.weight.sum()))
    return finished(
        best,
        uncentred(centre, spread, 1, len(shapes), [0]),
        ("intercept", *names, *shapes),
        family_hazard(model),
        rows.design,
        method=f"accelerated failure time, {model}",
        **_described(rows, lower == upper, level),
    )


def _require_bounded(z: Floats, held: np.ndarray, freed: Floats, names: tuple[str, ...]) -> None:
    require_bounded_by_events(np.column_stack([np.ones(len(z)), z]), held.astype(float), freed, names)


def _described(rows: _Distinct, exact: np.ndarray, level: float) -> dict[str, Any]:
    return {
        "n": int(rows.count.sum()) + rows.idle,
        "n_exact": int(rows.count[exact].sum()),
        "n_rows": rows.count.size,
        "n_missing": rows.n_missing,
        "level": level,
    }


def _knots(log_time: Floats, count: Floats, inner: int) -> Floats:
    """Return boundary and inner knots at equal quantiles (type 7) of values that stand for ``count`` each."""
    order = np.argsort(log_time, kind="stable")
    values, ends = log_time[order], np.cumsum(count[order])
    place = np.linspace(0, ends[-1] - 1, inner + 2)
    low, high = (values[np.searchsorted(ends, part, side="right")] for part in (np.floor(place), np.ceil(place)))
    knots: Floats = low + (place - np.floor(place)) * (high - low)
    if not (np.diff(knots) > 0).all():
        raise NotEstimableError("knots_coincide")
    return knots


def _person_time(rows: _Distinct, cuts: list[float]) -> tuple[Floats, Floats, np.ndarray, np.ndarray]:
    """Return weighted events and person-time of each piece of each distinct row, its piece and its row."""
    starts = rows.columns.get("entry", np.zeros(rows.weight.size))
    frame = pl.DataFrame(
        {"start": starts, "stop": rows.columns["time"], "event": rows.columns["event"], "row": range(starts.size)}
    )
    pieces = split_follow_up(frame, "start", "stop", "event", cuts) if cuts else frame.with_columns(band=None)
    pieces = pieces.sort("row", "start")
    band = np.searchsorted(np.array(cuts), pieces["band"].cast(pl.Float64).fill_null(-np.inf).to_numpy(), "right")
    origin = pieces["row"].to_numpy()
    weight = rows.weight[origin]
    days = (pieces["stop"] - pieces["start"]).to_numpy()
    return weight * pieces["event"].to_numpy(), weight * days, band, origin


def _spline_hazard(theta: Floats, x: Floats, times: Floats, *, spline: Spline) -> Floats:
    with np.errstate(divide="ignore"):
        log_time = np.log(times)
    known = np.isfinite(log_time)
    gamma, beta = theta[: spline.knots.size], theta[spline.knots.size :]
    base = np.full(times.size, -np.inf)
    base[known] = spline.basis(log_time[known]) @ gamma
    value: Floats = base[:, None] + x @ beta
    return value


def _piecewise_hazard(theta: Floats, x: Floats, times: Floats, *, starts: Floats) -> Floats:
    ends = np.append(starts[1:], np.inf)
    inside = np.clip(times[:, None], starts, ends) - starts
    with np.errstate(divide="ignore"):
        value: Floats = np.log(inside @ np.exp(theta[: starts.size]))[:, None] + x @ theta[starts.size :]
    return value
