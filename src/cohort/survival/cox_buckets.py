"""The Cox model over buckets: Newton's method here, sums by day there, and the same bits for any number of buckets.

Persons belong to 256 lanes by their number; a bucket holds whole lanes, which are added along one fixed tree (see
:mod:`cohort.survival.cox_lanes`). Each Newton step asks every bucket twice: for the risk by day, and, once the hazard
is known, for first moments by day and one p × p matrix. Buckets may lie in memory, in files, on a cluster or at
several sites; only these sums travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import NotEstimableError, StudyError
from cohort.survival.cox import CoxFit, summarise
from cohort.survival.cox_checks import Extremes, extremes, require_bounded, require_identified, require_reach
from cohort.survival.cox_columns import Columns
from cohort.survival.cox_lanes import Nodes, gather, nodes_of
from cohort.survival.cox_model import in_units, sandwich
from cohort.survival.cox_newton import PartialLikelihood, Penalty, Ties, maximise
from cohort.survival.cox_plan import BucketRows, Plan, Survey, refuse_shared_lanes
from cohort.survival.cox_risk import RiskSets, place_in_cells
from cohort.survival.cox_sums import Rows, RowSums, ScoreTables, by_column, centre_of, score_tables, workers
from cohort.survival.design import Missing, Term, parse_terms

Floats = NDArray[np.float64]
R = TypeVar("R")
MapBuckets = Callable[[Callable[[Any], Any]], Iterable[Any]]

_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class Model:
    """What a bucket needs to take part: the plan, the survey, all event days, and each column's centre and scale."""

    plan: Plan
    survey: Survey
    cells: RiskSets
    centre: Floats
    scale: Floats

    def placed(self, bucket: Any) -> Placed:
        """Return the rows of a bucket's frame, or those that are held already."""
        return bucket if isinstance(bucket, Placed) else Placed.of(self.plan.rows(bucket, self.survey), self.cells)

    @contextmanager
    def sums(self, bucket: Any) -> Iterator[tuple[RowSums, list[int], NDArray[np.int64]]]:
        """Give a bucket's sums by lane, its lanes, and each row's person."""
        held = self.placed(bucket)
        cells = replace(self.cells, slot=held.places.slot, start=held.places.start)
        with workers(len(held.lanes)) as pool:
            rows = Rows(held.x, self.centre, self.scale, held.rows.weight, _NONE, cells)
            yield RowSums(rows, pool, held.bounds), held.lanes, held.rows.person


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows of one bucket with their places among the event days, its lanes, and where the rows of each begin."""

    rows: BucketRows
    x: Columns
    places: RiskSets
    lanes: list[int]
    bounds: list[int]

    @classmethod
    def of(cls, rows: BucketRows, cells: RiskSets) -> Placed:
        """Place rows in the cells of all buckets."""
        places = place_in_cells(cells, rows.time, rows.event, rows.entry, rows.stratum)
        return cls(rows, Columns.of(rows.x), places, *rows.lanes())


@dataclass(slots=True)
class BucketSums:
    """The sums of all buckets; ``moments`` belong to the coefficients that ``risk`` was last asked for.

    ``start`` is the risk by slot at 0, which was asked for together with the events.
    """

    map_buckets: MapBuckets
    model: Model
    start: Floats
    theta: Floats = field(default_factory=lambda: np.empty(0))

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the events' sum of w eta."""
        self.theta = theta
        if not theta.any():
            return self.start, 0.0
        table, total = gather(self.map_buckets(partial(_risk, model=self.model, theta=theta)))
        return table, float(total[0])

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot (p, 2 (K + 1)) and the sum of v z z' (p, p)."""
        ask = partial(_moments, model=self.model, theta=self.theta, hazard=hazard, tied=tied)
        table, square = gather(self.map_buckets(ask))
        return by_column(table, square, self.model.scale.size)

    def products(self, theta: Floats, tables: ScoreTables) -> Floats:
        """Return the sum over persons of the outer product of their scores, shape (p, p)."""
        return gather(self.map_buckets(partial(_products, model=self.model, theta=theta, tables=tables)))[0]

    def extremes(self, direction: Floats) -> Extremes:
        """Return the extremes of all rows along a direction."""
        found: Extremes = _total(self.map_buckets(partial(_extremes, model=self.model, direction=direction)))
        return found


@dataclass(frozen=True, slots=True)
class Start:
    """What the first look at the covariates gives: their names, and sums at coefficients of 0.

    ``event_sum`` is the sum of w z over events, (p,), ``spread`` each column's standard deviation, (p,), ``risk`` the
    weight by slot, (2 (K + 1),).
    """

    names: tuple[str, ...]
    model: Model
    event_sum: Floats
    spread: Floats
    risk: Floats

    def penalty(self, penalizer: float, l1_ratio: float) -> Penalty:
        """Return lifelines' penalty (see :mod:`cohort.survival.cox_frames`) on scaled coefficients."""
        if not (penalizer >= 0 and 0 <= l1_ratio <= 1):
            raise StudyError("penalizer must not be negative, and l1_ratio must lie between 0 and 1")
        strength = self.model.survey.n * penalizer
        ridge, lasso = strength * (1 - l1_ratio) * self.spread**2, strength * l1_ratio * self.spread
        return Penalty(ridge, lasso).over(self.model.scale)


def fit_cox_buckets(
    map_buckets: MapBuckets,
    *,
    person: str = "person_id",
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    weights: str | None = None,
    strata: str | tuple[str, ...] = (),
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
    robust: bool = False,
    penalizer: float = 0.0,
    l1_ratio: float = 0.0,
    hold_bytes: int = 0,
) -> CoxFit:
    """Fit a Cox model to rows that lie in buckets; the bits depend neither on their number nor on the engine.

    ``map_buckets`` takes a function of one bucket's frame (picklable) and returns its results for all buckets, in any
    order. ``person`` is a whole number from 0, ``person % 256`` its lane, and no lane may lie in two buckets; a person
    may have several rows ``(entry, time]``, in whole days. ``weights`` are case weights, and rows of weight 0 are left
    out. ``robust`` asks for the sandwich variance, the scores of a person's rows added before they are squared. The
    penalty is lifelines', and the log-likelihoods are without it. With ``hold_bytes`` the columns of all buckets are
    fetched once and kept here if they take no more than that; otherwise, and by default, only sums leave a bucket, and
    every step asks each again. Everything else, and what is raised, as in :func:`cohort.survival.cox.fit_cox`.
    """
    parsed = parse_terms(terms) if isinstance(terms, str) else terms
    layers = (strata,) if isinstance(strata, str) else tuple(strata)
    plan = Plan(person, time, event, entry, weights, layers, parsed, missing)
    survey, map_buckets = _surveyed(map_buckets, plan, hold_bytes)
    start = _start(map_buckets, plan, survey)
    names, model, penalty = start.names, start.model, start.penalty(penalizer, l1_ratio)
    sums = BucketSums(map_buckets, model, start.risk)
    optimum = maximise(
        PartialLikelihood(sums, model.cells, ties, start.event_sum),
        penalty,
        lambda point: require_identified(point, names, penalty),
        lambda point: require_bounded(sums.extremes, point.score, names, penalty),
    )
    variance = penalty.bread(optimum)
    if robust:
        meat = sums.products(optimum.point.theta, score_tables(optimum.point, model.cells))
        variance = sandwich(variance, meat)
    said = {"delayed entry": entry, "stratified": layers, "case weights": weights, "penalised": penalty}
    remarks = (*(words for words, given in said.items() if given), *(("sandwich by person",) * robust))
    return summarise(
        optimum,
        in_units(optimum.theta, variance, model.scale),
        names,
        ties,
        level,
        n=survey.n,
        n_events=int(model.cells.deaths.sum()),
        n_missing=survey.n_missing,
        references={name: levels[0] for name, levels in survey.levels.items()},
        remarks=remarks,
    )


def _surveyed(map_buckets: MapBuckets, plan: Plan, hold_bytes: int) -> tuple[Survey, MapBuckets]:
    """Return the survey of all buckets, and how to ask for more: all buckets at once, held here, if they fit."""
    held = _held(map_buckets, plan, hold_bytes) if hold_bytes > 0 else None
    if held is None:
        return _total(map_buckets(partial(_survey, plan=plan))), map_buckets
    survey = plan.survey(held)
    rows = Placed.of(plan.rows(held, survey), _cells(survey))
    return survey, lambda function: [function(rows)]


def _held(map_buckets: MapBuckets, plan: Plan, most: int) -> pl.DataFrame | None:
    """Return the columns of all buckets as one frame, lane after lane; None if they take more bytes, or lack one."""
    lanes: list[tuple[int, pl.DataFrame]] = []
    for table in map_buckets(partial(_read, plan=plan)):
        most -= int(table.estimated_size()) if table is not None else most + 1
        if most < 0:
            return None
        lanes += plan.by_lane(table)
    refuse_shared_lanes([lane for lane, table in lanes if table.height])
    return pl.concat([table for _, table in sorted(lanes, key=itemgetter(0))], how="vertical_relaxed", rechunk=True)


def _read(frame: Any, *, plan: Plan) -> pl.DataFrame | None:
    with suppress(pl.exceptions.ColumnNotFoundError):  # the survey says which
        return plan.read(frame)
    return None


def _total(parts: Iterable[R]) -> R:
    every = iter(parts)
    total: Any = next(every)
    for part in every:
        total = total + part
    return total  # type: ignore[no-any-return]  # the parts know how to add themselves


def _start(map_buckets: MapBuckets, plan: Plan, survey: Survey) -> Start:
    model = Model(plan, survey, _cells(survey), _NONE, _NONE)
    found = list(map_buckets(partial(_ranges, model=model)))
    low = np.min([lowest for _, _, lowest, _ in found], axis=0)
    high = np.max([highest for _, _, _, highest in found], axis=0)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused
        total, mass = gather(nodes for _, nodes, _, _ in found)
        centre, scale = centre_of(low, high, total / mass)
    require_reach(found[0][0], scale)
    model = replace(model, centre=centre, scale=scale)
    event_sum, first, second, risk = gather(map_buckets(partial(_first_sums, model=model)))
    with np.errstate(invalid="ignore", divide="ignore"):  # a single row has no spread
        spread = scale * np.sqrt((second - first**2 / survey.n) / (survey.n - 1))
    if plan.weights:
        dying = risk[model.cells.time.size + 1 : -1]
        model = replace(model, cells=replace(model.cells, weight=dying.copy()))
    return Start(found[0][0], model, event_sum, spread, risk)


def _cells(survey: Survey) -> RiskSets:
    """Return the event days of every stratum, with no row placed in them yet."""
    if not survey.deaths:
        raise NotEstimableError("no_events")
    position = {label: code for code, label in enumerate(survey.strata)}
    found = sorted((position[cell[:-1]], cell[-1], count) for cell, count in survey.deaths.items())
    stratum, days, deaths = (np.array(column, dtype=np.int64) for column in zip(*found, strict=True))
    head = np.ones(stratum.size, dtype=bool)
    head[1:] = stratum[1:] != stratum[:-1]
    empty = np.empty(0, dtype=np.int32)
    return RiskSets(days.astype(np.float64), stratum, head, deaths, deaths.astype(np.float64), empty, empty)


def _survey(frame: Any, *, plan: Plan) -> Survey:
    return plan.survey(frame)


def _ranges(frame: Any, *, model: Model) -> tuple[tuple[str, ...], Nodes, Floats, Floats]:
    """Return column names, weighted sums and weights by lane, and each column's lowest and highest value."""
    placed = model.placed(frame)
    rows, lanes = placed.rows, placed.lanes
    if not rows.person.size:
        nothing = np.full(rows.x.shape[1], np.inf)
        return rows.names, {}, nothing, -nothing
    spans = list(pairwise(placed.bounds))
    with np.errstate(over="ignore", invalid="ignore"):  # the centre then shows it
        if rows.weight.size:
            parts = [(rows.weight[a:b] @ rows.x[a:b], rows.weight[a:b].sum(keepdims=True)) for a, b in spans]
        else:
            parts = [(rows.x[a:b].sum(axis=0), np.array([float(b - a)])) for a, b in spans]
        return rows.names, nodes_of(lanes, parts), rows.x.min(axis=0), rows.x.max(axis=0)


def _first_sums(frame: Any, *, model: Model) -> Nodes:
    """Return the events' sum of w z, the sums of z and z² over rows, and the weight by slot."""
    with model.sums(frame) as (sums, lanes, _):
        risk = sums.risk_parts(np.zeros(model.scale.size))
        parts = zip(sums.event_parts(), sums.spread_parts(), risk, strict=True)
        return nodes_of(lanes, ((*event, *spread, table) for event, spread, (table, _) in parts))


def _risk(frame: Any, *, model: Model, theta: Floats) -> Nodes:
    with model.sums(frame) as (sums, lanes, _):
        return nodes_of(lanes, sums.risk_parts(theta))


def _moments(frame: Any, *, model: Model, theta: Floats, hazard: Floats, tied: Floats) -> Nodes:
    with model.sums(frame) as (sums, lanes, _):
        list(sums.risk_parts(theta))
        return nodes_of(lanes, sums.moment_parts(hazard, tied))


def _products(frame: Any, *, model: Model, theta: Floats, tables: ScoreTables) -> Nodes:
    with model.sums(frame) as (sums, lanes, person):
        list(sums.risk_parts(theta))
        return nodes_of(lanes, sums.person_product_parts(tables, person))


def _extremes(frame: Any, *, model: Model, direction: Floats) -> Extremes:
    with model.sums(frame) as (sums, _, _):
        return extremes(sums.rows, direction)
