"""A marginal structural Cox model: a time-varying exposure whose past changes the covariates that decide its future.

Adjusting for such covariates takes away part of the effect, and leaving them out leaves confounding. Weights make
exposure independent of the covariates at every time, and the model of the weighted persons needs them no more.

References
----------
Hernán MA, Brumback B, Robins JM (2000), Epidemiology 11:561–570, doi:10.1097/00001648-200009000-00012. Cole SR, Hernán
MA (2008), Am J Epidemiol 168:656–664, doi:10.1093/aje/kwn164 (truncation, stabilisation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy.special import ndtr

from cohort.effects.person_time import (
    Flags,
    PersonTime,
    chance_of_exposure,
    cumulated,
    model_chances,
    model_exposure,
)
from cohort.effects.weights import SMALLEST_SHARE, kish
from cohort.errors import InputRefusedError, NotEstimableError, StudyError
from cohort.survival.cox_model import Follow, estimate
from cohort.survival.design import design_matrix, parse_terms
from cohort.survival.intervals import normal_quantile
from cohort.survival.types import Floats

First = Literal["weighted", "given"]


@dataclass(frozen=True, slots=True, eq=False)
class StructuralModel:
    """A weighted Cox model of person-time.

    ``table`` has ``column, hazard_ratio, std_error`` (of its logarithm, robust by person), ``lower, upper, p_value``;
    the exposure is first. ``weights`` has one row per exposure status: ``group, rows, mean, smallest, largest,
    effective`` of the weights used; ``weight`` (n,) are those of the rows in order of person and time.
    """

    table: pl.DataFrame
    weights: pl.DataFrame
    weight: Floats
    persons: int
    events: int
    level: float
    method: str


def marginal_structural_cox(
    frame: Any,
    *,
    person: str = "person_id",
    start: str = "start",
    stop: str = "stop",
    cause: str = "cause",
    exposure: str,
    baseline: str,
    varying: str,
    censored: str | None = None,
    leaving: str | None = None,
    first: First = "weighted",
    cause_of_interest: int = 1,
    truncate: float | None = 0.99,
    level: float = 0.95,
) -> StructuralModel:
    """Estimate the hazard ratio of a time-varying exposure under stabilised weights.

    Parameters
    ----------
    frame
        Person-time; exposure and covariates are those known at the start of a row, and rows are the periods in which
        exposure is decided, so they should be of one length.
    baseline, varying
        Covariates at time 0, in every model, and those that change, in the denominator of the weights alone.
    censored
        Boolean column: the row ends with a censoring that covariates may foretell, or those of ``leaving`` if given.
    first
        Whether exposure in a person's first row is ``weighted`` as in later ones, or ``given``: left to ``baseline``.
    truncate
        Set weights beyond the quantiles ``1 - truncate`` and ``truncate`` of all rows' weights to these.

    Raises
    ------
    InputRefusedError, NotEstimableError
        ``single_arm``, ``separation``, ``weights_explode``, and what the Cox model raises.
    """
    if truncate is not None and not 0.5 < truncate < 1:
        raise StudyError(f"truncate = {truncate}; a quantile between 0.5 and 1, such as 0.99")
    time = PersonTime.read(frame, person, start, stop, cause, exposure)
    if time.exposed.all() or not time.exposed.any():
        raise NotEstimableError("single_arm: every row is exposed, or none is")
    weight = _weights(time, baseline, varying, (censored, leaving), decided(time, first))
    if truncate is not None:
        weight = np.clip(weight, *np.quantile(weight, [1 - truncate, truncate]))
    described = _describe(weight, time.exposed)
    table = _fit(time, weight, baseline, exposure, cause_of_interest, level)
    cut = "" if truncate is None else f", truncated at {1 - truncate:.1%} and {truncate:.1%}"
    method = f"marginal structural Cox model, stabilised weights from pooled logistic models of {varying}{cut}"
    events = int((time.cause == cause_of_interest).sum())
    return StructuralModel(table, described, weight, len(time.first) - 1, events, level, method)


def decided(time: PersonTime, first: First) -> Flags | None:
    """Return the rows whose exposure is modelled; None for all of them."""
    if first == "weighted":
        return None
    later = np.ones(len(time.start), dtype=bool)
    later[time.first[:-1]] = False
    return later


def _weights(
    time: PersonTime, baseline: str, varying: str, censoring: tuple[str | None, str | None], rows: Flags | None
) -> Floats:
    """Return the stabilised weight of each row, (n,)."""
    n, (censored, leaving) = len(time.start), censoring
    log_weight = np.zeros(n)
    for further, foretelling, sign in (("", "", 1.0), (varying, leaving or varying, -1.0)):
        chance = chance_of_exposure(model_exposure(time, _joined(baseline, further), rows), n)
        log_weight += sign * cumulated(time, chance, at_start=True)
        if censored is not None:
            terms = _joined(baseline, foretelling)
            chance = _chance_of_staying(time, terms, time.flags(censored), censored)
            log_weight += sign * cumulated(time, chance, at_start=False)
    return np.exp(log_weight)


def _joined(*terms: str) -> str:
    return " + ".join(part for part in terms if part)


def _chance_of_staying(time: PersonTime, terms: str, left: Flags, name: str) -> Floats:
    if wrong := int((left & (time.cause > 0)).sum()):
        raise InputRefusedError(f"column {name!r} is true in {wrong} rows that end with an event")
    matrix, names = time.columns(terms)
    model = model_chances(np.column_stack([matrix, time.exposed]), (*names, "exposed"), left, time.cause == 0)
    return model.observed(len(left))


def _describe(weight: Floats, exposed: Flags) -> pl.DataFrame:
    """Return the weights by exposure, refusing those that a handful of rows carry."""
    rows = []
    for name, mine in (("exposed", weight[exposed]), ("unexposed", weight[~exposed])):
        if kish(mine) < SMALLEST_SHARE * len(mine):
            raise NotEstimableError(f"weights_explode: {name} rows are worth less than {SMALLEST_SHARE:.0%} of theirs")
        numbers = mine.mean(), mine.min(), mine.max(), kish(mine)
        rows.append((name, len(mine), *map(float, numbers)))
    return pl.DataFrame(rows, schema=["group", "rows", "mean", "smallest", "largest", "effective"], orient="row")


def _fit(time: PersonTime, weight: Floats, baseline: str, exposure: str, code: int, level: float) -> pl.DataFrame:
    """Fit the weighted Cox model of exposure and baseline covariates, robust by person."""
    design = design_matrix(time.table, parse_terms(baseline) if baseline else ())
    x = np.asfortranarray(np.column_stack([time.exposed.astype(np.float64), design.matrix]))
    follow = Follow(time.stop, time.cause == code, entry=time.start, weight=weight, cluster=time.person)
    names = (exposure, *design.names)
    fit = estimate(x, follow, names, cluster=time.person)
    half = normal_quantile(level) * fit.std_error
    return pl.DataFrame(
        {
            "column": names,
            "hazard_ratio": np.exp(fit.coef),
            "std_error": fit.std_error,
            "lower": np.exp(fit.coef - half),
            "upper": np.exp(fit.coef + half),
            "p_value": 2 * ndtr(-np.abs(fit.coef) / fit.std_error),
        }
    )
