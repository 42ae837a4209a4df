"""Clones whose chance of leaving changes: covariates measured again during follow-up, and natural censoring.

A clone's weight is the inverse of the chance of having neither departed from its strategy nor been lost, each with a
Cox model of its own on the rows (start, stop] of what was known. Weights change on days of departure or loss; clones
are walked through them one by one and never written out.

References
----------
Hernán MA, Robins JM (2016), Am J Epidemiol 183:758–764, doi:10.1093/aje/kwv254. Robins JM, Finkelstein DM (2000),
Biometrics 56:779–788, doi:10.1111/j.0006-341X.2000.00779.x (weights for censoring).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.effects.clones import Arm, DaySums, Persons, day_sums, loops, place_exits
from cohort.effects.propensity import treatment_of
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.cox_residuals import baseline_hazard
from cohort.survival.design import design_matrix, parse_terms
from cohort.survival.spells import check_spells
from cohort.survival.types import Floats, Ints, Numbers

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """Covariates that change: rows ``(start, stop]`` from day 0 on, without gaps, of the persons of a frame.

    ``terms`` may name columns of ``frame`` and of the persons' frame; both have a column ``person``. What the last row
    says holds on. No terms: what changes foretells natural censoring alone.
    """

    frame: Any
    terms: str
    person: str = "person_id"
    start: str = "start"
    stop: str = "stop"


@dataclass(frozen=True, slots=True)
class Leaving:
    """Natural censoring that covariates may foretell: the terms of its model, and whose censoring it is.

    ``informative`` names a Boolean column of the persons' frame, true where follow-up ended for such a reason (leaving
    the plan) and not with the study; without it every censoring counts.
    """

    terms: str
    informative: str | None = None


class Rows(NamedTuple):
    """What was known of n persons: rows ``first[i] … first[i + 1]`` of person i, from ``start`` to ``stop`` (R,).

    ``x`` (R, p) are covariates of departing, ``natural`` (R, q) of being lost, with ``lost`` (n,) who was; None where
    natural censoring is not modelled.
    """

    first: Ints
    start: Floats
    stop: Floats
    x: Floats
    columns: tuple[str, ...]
    natural: Floats | None
    natural_columns: tuple[str, ...]
    lost: Flags


def read_rows(frame: Any, persons: Persons, terms: str, histories: Histories | None, leaving: Leaving | None) -> Rows:
    """Return what was known of the persons of a frame, who are in its order.

    Raises
    ------
    InputRefusedError
        On rows that overlap, leave a gap or do not begin on day 0, and persons without a row; by count.
    """
    table = as_lazy(frame).with_row_index("__place").collect()
    known = table.with_columns(__start=pl.lit(0.0), __stop=pl.lit(np.inf)) if histories is None else None
    if histories is not None:
        known, terms = _joined(table, histories), " + ".join(part for part in (terms, histories.terms) if part)
    assert known is not None  # noqa: S101 -- one of the two it is
    departing = design_matrix(known, parse_terms(terms) if terms else ())
    natural = None if leaving is None else design_matrix(known, parse_terms(leaving.terms) if leaving.terms else ())
    lost = (persons.cause == 0) if leaving is not None else np.zeros(len(persons.time), dtype=bool)
    if leaving is not None and leaving.informative is not None:
        lost = lost & treatment_of(table, leaving.informative)
    first = np.searchsorted(known["__place"].to_numpy(), np.arange(table.height + 1))
    return Rows(
        first,
        known["__start"].cast(pl.Float64).to_numpy(),
        known["__stop"].cast(pl.Float64).to_numpy(),
        departing.matrix,
        departing.names,
        None if natural is None else natural.matrix,
        () if natural is None else natural.names,
        lost,
    )


def _joined(table: pl.DataFrame, histories: Histories) -> pl.DataFrame:
    """Return the rows of histories with their person's place and covariates, in that order and that of time."""
    key, start, stop = histories.person, histories.start, histories.stop
    require_columns(table.lazy(), {"person": key})
    check_spells(histories.frame, key, start, stop)
    if table[key].n_unique() < table.height:
        raise InputRefusedError(f"column {key!r} of the persons' frame does not tell persons apart; one row each")
    rows = as_lazy(histories.frame).collect()
    both = [name for name in rows.columns if name in table.columns and name != key]
    found = rows.join(table.drop(both), on=key, how="inner").sort("__place", start)
    new = (found["__place"] != found["__place"].shift(1)).fill_null(value=True)
    faults = {
        "persons have no row": table.height - found["__place"].n_unique(),
        "persons have a first row that does not begin on day 0": int((new & (found[start] != 0)).sum()),
        "rows begin after a gap": int((~new & (found[start] != found[stop].shift(1))).sum()),
    }
    if wrong := [f"{n} {name}" for name, n in faults.items() if n]:
        raise InputRefusedError("histories refused: " + "; ".join(wrong) + "; mend or remove them first")
    return found.with_columns(__start=pl.col(start), __stop=pl.col(stop))


class Hazard(NamedTuple):
    """The hazard of leaving: by ``day`` (K,) for a row at the mean of the covariates, and each row's to it, (R,)."""

    day: Floats
    jump: Floats
    ratio: Floats


def _hazard(
    arm: Arm, event: Flags, rows: Rows, x: Floats, columns: tuple[str, ...], times: Floats, what: str
) -> Hazard:
    """Fit a Cox model (Efron ties) of clones leaving, on the rows of what was known; who is there on day 0 may."""
    if not event.any():
        return Hazard(np.empty(0), np.empty(0), np.ones(len(x)))
    if not columns:
        raise NotEstimableError(f"no_covariates: weights need a model of {what}")
    person = np.repeat(np.arange(len(arm.time)), np.diff(rows.first))
    exit_ = arm.time[person].astype(np.float64)
    begins = rows.first[:-1][person] == np.arange(len(person))
    ends = rows.first[1:][person] - 1 == np.arange(len(person))
    stop = np.where(ends, exit_, np.minimum(rows.stop, exit_))
    present = begins | (rows.start < exit_)
    last = present & (ends | (rows.stop >= exit_))
    # a day later than it is, so that (0, 1] is day 0
    entry = np.where(begins, 0.0, rows.start + 1)
    follow = Follow(stop + 1, last & event[person], entry=entry, weight=times[person])
    fit = estimate(np.asfortranarray(x[present]), follow.take(present), columns)
    jumps = baseline_hazard(fit, "efron")
    ratio = np.exp((x - fit.rows.centre) @ fit.coef)
    return Hazard(fit.rows.cells.time[jumps > 0] - 1, jumps[jumps > 0], ratio)


def sum_varying(
    arm: Arm, persons: Persons, rows: Rows, day: Numbers, causes: tuple[int, ...], truncate: float | None
) -> DaySums:
    """Return the weighted sums by day of the clones of a strategy.

    Raises
    ------
    NotEstimableError
        ``nobody_follows``, and what the Cox models of departing and of being lost raise.
    """
    if arm.departed.all():
        raise NotEstimableError("nobody_follows: every person departs from one of the strategies")
    hazards = [_hazard(arm, arm.departed, rows, rows.x, rows.columns, persons.times, "departing")]
    if rows.natural is not None:
        lost = rows.lost & ~arm.departed & (arm.cause == 0)
        hazards.append(_hazard(arm, lost, rows, rows.natural, rows.natural_columns, persons.times, "being lost"))
    changes = np.unique(np.concatenate([hazard.day for hazard in hazards]))
    jump = np.zeros((2, len(changes)))
    ratio = np.ones((2, len(rows.x)))
    for k, hazard in enumerate(hazards):
        jump[k, np.searchsorted(changes, hazard.day)] = hazard.jump
        ratio[k] = hazard.ratio
    exits = place_exits(arm, changes, day, causes)

    def walk(cap: float) -> DaySums:
        total, last = np.zeros(len(changes) + 1), np.zeros(len(arm.time))
        table, count = np.zeros((2, len(day), len(causes) + 1))
        loops().varying_sums(
            rows.first, rows.stop, ratio, changes, jump, *exits, persons.times, cap, total, table, count, last
        )
        return day_sums(day, changes, total, table, count, last)

    sums = walk(np.inf)
    return sums if truncate is None else walk(float(np.quantile(sums.last[persons.times > 0], truncate)))


def require_terms(terms: str, histories: Histories | None, leaving: Leaving | None) -> None:
    """Refuse a model without covariates."""
    if histories is None or terms:
        parse_terms(terms)
    if leaving is not None and not leaving.terms:
        raise StudyError("the model of natural censoring has no terms; name covariates, or leave it out")
    if histories is not None and not histories.terms and leaving is None:
        raise StudyError("the histories name no terms; name the covariates that change")
