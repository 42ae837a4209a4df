"""The Cox model over buckets: Newton's method here, sums by day there, and the same bits for any number of buckets.

Persons belong to 256 lanes by their number; a bucket holds whole lanes. A lane's rows are added up in person order and
the lanes along one fixed binary tree, so it does not matter who added which part. Each Newton step asks every bucket
twice: for the risk by day, and, once the hazard is known, for first moments by day and one p × p matrix. Buckets
may lie in memory, in files, on a cluster or at several sites; only these sums travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.survival.cox import CoxFit, model_columns, summarise
from cohort.survival.cox_checks import Extremes, extremes, require_bounded, require_identified
from cohort.survival.cox_model import in_units
from cohort.survival.cox_newton import PartialLikelihood, Penalty, Ties, invert, maximise
from cohort.survival.cox_risk import RiskSets, check_follow_up, place_in_cells
from cohort.survival.cox_sums import Arrays, Rows, RowSums, ScoreTables, by_column, centre_of, score_tables, workers
from cohort.survival.design import Missing, Term, design_matrix, parse_terms, seen_levels

Floats = NDArray[np.float64]
R = TypeVar("R")
Nodes = dict[tuple[int, int], Arrays]
MapBuckets = Callable[[Callable[[Any], Any]], Iterable[Any]]

LANES = 256
_LEVELS = LANES.bit_length() - 1
_NONE = np.empty(0)


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a bucket's frame that the model reads, and what to do with missing values in its terms."""

    person: str
    time: str
    event: str
    entry: str | None
    terms: tuple[Term, ...]
    missing: Missing

    def table(self, frame: Any) -> pl.DataFrame:
        """Return a bucket's rows by lane, then person, then everything else."""
        columns = {"person": self.person, "time": self.time, "event": self.event}
        table = model_columns(frame, columns | ({"entry": self.entry} if self.entry else {}), self.terms)
        if not table[self.person].dtype.is_integer() or (table[self.person] < 0).any():
            raise InputRefusedError(f"column {self.person} must hold whole numbers from 0: they place persons in lanes")
        person = table[self.person].to_numpy()
        order = np.lexsort((person, person % LANES))
        if (person[order[1:]] == person[order[:-1]]).any():  # several rows of a person: their order has to be fixed too
            return table.sort(table.columns, nulls_last=True).sort(pl.col(self.person) % LANES, maintain_order=True)
        return table if (order[1:] > order[:-1]).all() else table[order]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of buckets before the first step: rows, lanes, levels, and events by day; surveys add up."""

    n: int = 0
    n_missing: int = 0
    lanes: tuple[int, ...] = ()
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)

    def __add__(self, other: Survey) -> Survey:
        """Return the survey of both; a lane in two buckets is refused."""
        if shared := set(self.lanes) & set(other.lanes):
            raise InputRefusedError(
                f"{len(shared)} lanes (person % {LANES}) lie in more than one bucket; bucket by the lane, so that sums "
                "do not depend on the number of buckets"
            )
        levels = {
            name: tuple(sorted({*self.levels.get(name, ()), *other.levels.get(name, ())}))
            for name in {**self.levels, **other.levels}
        }
        deaths = dict(self.deaths)
        for day, count in other.deaths.items():
            deaths[day] = deaths.get(day, 0) + count
        lanes = (*self.lanes, *other.lanes)
        return Survey(self.n + other.n, self.n_missing + other.n_missing, lanes, levels, deaths)


@dataclass(frozen=True, slots=True)
class Model:
    """What a bucket needs to take part: the plan, all levels, all event days, and each column's centre and scale."""

    plan: Plan
    levels: dict[str, tuple[str, ...]]
    cells: RiskSets
    centre: Floats
    scale: Floats

    @contextmanager
    def sums(self, frame: Any) -> Iterator[tuple[RowSums, list[int], NDArray[np.int64]]]:
        """Give a bucket's sums by lane, its lanes, and each row's person."""
        table = self.plan.table(frame)
        design = design_matrix(table, self.plan.terms, self.plan.missing, self.levels)
        table = table.filter(pl.Series(design.kept))
        person = table[self.plan.person].to_numpy().astype(np.int64)
        entry = table[self.plan.entry].to_numpy() if self.plan.entry else None
        event = table[self.plan.event].cast(pl.Float64).to_numpy() == 1
        cells = place_in_cells(self.cells, table[self.plan.time].to_numpy(), event, entry)
        lanes, first = np.unique(person % LANES, return_index=True)
        with workers() as pool:
            rows = Rows(design.matrix, self.centre, self.scale, _NONE, _NONE, cells)
            yield RowSums(rows, pool, [*first.tolist(), person.size]), lanes.tolist(), person


@dataclass(slots=True)
class BucketSums:
    """The sums of all buckets; ``moments`` belong to the coefficients that ``risk`` was last asked for."""

    map_buckets: MapBuckets
    model: Model
    theta: Floats = field(default_factory=lambda: np.empty(0))

    def risk(self, theta: Floats) -> tuple[Floats, float]:
        """Return the risk by slot, shape (2 (K + 1),), and the events' sum of eta."""
        self.theta = theta
        table, total = gather(self.map_buckets(partial(_risk, model=self.model, theta=theta)))
        return table, float(total[0])

    def moments(self, hazard: Floats, tied: Floats) -> tuple[Floats, Floats]:
        """Return the first moments by slot (p, 2 (K + 1)) and the sum of v z z' (p, p)."""
        ask = partial(_moments, model=self.model, theta=self.theta, hazard=hazard, tied=tied)
        return by_column(*gather(self.map_buckets(ask)), self.model.scale.size)

    def events(self) -> Floats:
        """Return the sum of z over events, shape (p,)."""
        return gather(self.map_buckets(partial(_events, model=self.model)))[0]

    def products(self, theta: Floats, tables: ScoreTables) -> Floats:
        """Return the sum over persons of the outer product of their scores, shape (p, p)."""
        return gather(self.map_buckets(partial(_products, model=self.model, theta=theta, tables=tables)))[0]

    def extremes(self, direction: Floats) -> Extremes:
        """Return the extremes of all rows along a direction."""
        found: Extremes = _total(self.map_buckets(partial(_extremes, model=self.model, direction=direction)))
        return found


def fit_cox_buckets(
    map_buckets: MapBuckets,
    *,
    person: str = "person_id",
    time: str = "time",
    event: str = "event",
    entry: str | None = None,
    terms: str | tuple[Term, ...],
    ties: Ties = "efron",
    level: float = 0.95,
    missing: Missing = "refuse",
    robust: bool = False,
) -> CoxFit:
    """Fit a Cox model to rows that lie in buckets; the bits depend neither on their number nor on the engine.

    ``map_buckets`` takes a function of one bucket's frame (picklable) and returns its results for all buckets, in any
    order. ``person`` is a whole number from 0, ``person % 256`` its lane, and no lane may lie in two buckets; a person
    may have several rows ``(entry, time]``, in whole days. ``robust`` asks for the sandwich variance, the scores of a
    person's rows added before they are squared. Everything else, and what is raised, as in
    :func:`cohort.survival.cox.fit_cox`.
    """
    parsed = parse_terms(terms) if isinstance(terms, str) else terms
    plan = Plan(person, time, event, entry, parsed, missing)
    survey: Survey = _total(map_buckets(partial(_survey, plan=plan)))
    names, model = _model(map_buckets, plan, survey)
    sums, nothing = BucketSums(map_buckets, model), Penalty.none(len(names))
    likelihood = PartialLikelihood(sums, model.cells, ties, sums.events())
    optimum = maximise(
        likelihood,
        nothing,
        lambda point: require_identified(point, names, nothing),
        lambda point: require_bounded(sums.extremes, point.score, names, nothing),
    )
    variance = invert(optimum.point.information)
    if robust:
        variance = variance @ sums.products(optimum.point.theta, score_tables(optimum.point, model.cells)) @ variance
    remarks = ("delayed entry",) * bool(entry) + ("sandwich by person",) * robust
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


def merge(nodes: Nodes, *, close: bool) -> Nodes:
    """Add up what can be added along the tree of lanes: lane l with l + 128, then l + 64, … down to one node.

    A node waits for its sibling, which another bucket may hold; with ``close`` there is none to wait for. Which of
    two nodes comes first depends on their place in the tree alone.
    """
    for level in range(_LEVELS):
        half = LANES >> (level + 1)
        for index in range(half):
            left, right = nodes.pop((level, index), None), nodes.pop((level, index + half), None)
            if left is not None and right is not None:
                nodes[level + 1, index] = tuple(a + b for a, b in zip(left, right, strict=True))
            elif close and (left or right):
                nodes[level + 1, index] = left or right  # type: ignore[assignment]  # one of them is there
            elif left is not None:
                nodes[level, index] = left
            elif right is not None:
                nodes[level, index + half] = right
    return nodes


def gather(parts: Iterable[Nodes]) -> Arrays:
    """Return the sum of all buckets' nodes, in whatever order the buckets come."""
    nodes: Nodes = {}
    for part in parts:
        nodes = merge({**nodes, **part}, close=False)
    return merge(nodes, close=True)[_LEVELS, 0]


def _total(parts: Iterable[R]) -> R:
    every = iter(parts)
    total: Any = next(every)
    for part in every:
        total = total + part
    return total  # type: ignore[no-any-return]  # the parts know how to add themselves


def _model(map_buckets: MapBuckets, plan: Plan, survey: Survey) -> tuple[tuple[str, ...], Model]:
    if not survey.deaths:
        raise NotEstimableError("no_events")
    days = sorted(survey.deaths)
    deaths = np.array([survey.deaths[day] for day in days], dtype=np.int64)
    head = np.arange(len(days)) == 0
    empty = np.empty(0, dtype=np.int32)
    cells = RiskSets(
        np.array(days, dtype=np.float64), np.zeros(len(days), dtype=np.int64), head, deaths, deaths.astype(np.float64),
        empty, empty,
    )  # fmt: skip
    model = Model(plan, survey.levels, cells, _NONE, _NONE)
    found = list(map_buckets(partial(_spread, model=model)))
    names = found[0][0]
    (mean,) = gather(nodes for _, nodes, _, _ in found)
    low = np.min([lowest for _, _, lowest, _ in found], axis=0)
    high = np.max([highest for _, _, _, highest in found], axis=0)
    centre, scale = centre_of(low, high, mean / survey.n)
    return names, replace(model, centre=centre, scale=scale)


def _survey(frame: Any, *, plan: Plan) -> Survey:
    table = plan.table(frame)
    kept, levels = seen_levels(table, plan.terms, plan.missing)
    rows = table.filter(pl.Series(kept))
    time, event = rows[plan.time].to_numpy(), rows[plan.event].cast(pl.Float64).to_numpy()
    entry = rows[plan.entry].to_numpy() if plan.entry else None
    check_follow_up(time, event, entry)
    for name, values in ((plan.time, time), (plan.entry, entry)):
        if values is not None and (broken := int((values != np.floor(values)).sum())):
            raise InputRefusedError(f"column {name} is not in whole days in {broken} rows")
    days, counts = np.unique(time[event == 1].astype(np.int64), return_counts=True)
    lanes = np.unique(table[plan.person].to_numpy() % LANES)
    deaths = dict(zip(days.tolist(), counts.tolist(), strict=True))
    return Survey(rows.height, table.height - rows.height, tuple(lanes.tolist()), levels, deaths)


def _spread(frame: Any, *, model: Model) -> tuple[tuple[str, ...], Nodes, Floats, Floats]:
    """Return column names, sums by lane, and each column's lowest and highest value."""
    table = model.plan.table(frame)
    design = design_matrix(table, model.plan.terms, model.plan.missing, model.levels)
    person = table[model.plan.person].to_numpy()[design.kept]
    x = design.matrix
    if not person.size:
        return design.names, {}, np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    lanes, first = np.unique(person % LANES, return_index=True)
    ends = [*first.tolist(), person.size]
    parts = [(x[low:high].sum(axis=0),) for low, high in pairwise(ends)]
    return design.names, _nodes(lanes.tolist(), parts), x.min(axis=0), x.max(axis=0)


def _nodes(lanes: list[int], parts: Iterable[Arrays]) -> Nodes:
    return merge({(0, lane): part for lane, part in zip(lanes, parts, strict=True)}, close=False)


def _risk(frame: Any, *, model: Model, theta: Floats) -> Nodes:
    with model.sums(frame) as (sums, lanes, _):
        return _nodes(lanes, sums.risk_parts(theta))


def _moments(frame: Any, *, model: Model, theta: Floats, hazard: Floats, tied: Floats) -> Nodes:
    with model.sums(frame) as (sums, lanes, _):
        list(sums.risk_parts(theta))
        return _nodes(lanes, sums.moment_parts(hazard, tied))


def _events(frame: Any, *, model: Model) -> Nodes:
    with model.sums(frame) as (sums, lanes, _):
        return _nodes(lanes, sums.event_parts())


def _products(frame: Any, *, model: Model, theta: Floats, tables: ScoreTables) -> Nodes:
    with model.sums(frame) as (sums, lanes, person):
        list(sums.risk_parts(theta))
        return _nodes(lanes, sums.person_product_parts(tables, person))


def _extremes(frame: Any, *, model: Model, direction: Floats) -> Extremes:
    with model.sums(frame) as (sums, _, _):
        return extremes(sums.rows, direction)
