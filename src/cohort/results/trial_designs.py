"""What other designs say of the persons of an emulated trial: the errors that it avoids, beside its answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cohort.effects.clones import STRATEGIES, Persons, clone
from cohort.effects.exposed_time import BEFORE_INDEX, at_landmark, ever_exposed, split_at_start
from cohort.errors import NotEstimableError
from cohort.results.trial_question import DIFFERENCE, HAZARD_RATIO, emulate, taken_as_random
from cohort.survival import cumulative_incidence, fit_cox

if TYPE_CHECKING:
    from cohort.results.trial import EmulatedTrial

EVER, CLONES, LANDMARK, TIME_VARYING, RANDOM = (
    "ever treated, as if at index",
    "clones without weights",
    "landmark at the end of grace",
    "time-varying exposure",
    "natural censoring taken as random",
)
"""The designs, named in ``category``; the first takes immortal time for treated."""
_COMPARED = "another design on the same persons"
_SCHEMA = {"category": pl.String, "estimand": pl.String, "group": pl.String, "method": pl.String} | dict.fromkeys(
    ("value", "std_error", "lower", "upper"), pl.Float64
)
_Row = dict[str, Any]


def other_designs(trial: EmulatedTrial, frame: pl.DataFrame, asked: dict[str, Any]) -> pl.DataFrame:
    """Return hazard ratios, risks and their differences by other designs; what has no estimate is left out."""
    exposure, clones = trial.exposure, _clones(trial, frame)
    known = frame.lazy().with_columns(event=pl.col("cause") == 1)
    adjusted = " + ".join(part for part in (exposure, asked["terms"]) if part)
    rows = [
        *_ratio(trial, CLONES, clones.lazy(), exposure),
        *_ratio(trial, LANDMARK, at_landmark(known, exposure, trial.grace_days), adjusted),
        *_risks(trial, CLONES, clones),
        *_unweighted(trial, asked),
    ]
    return pl.concat([plain_designs(trial, frame, asked["terms"]), _table(rows, trial)])


def plain_designs(trial: Any, frame: pl.DataFrame, terms: str) -> pl.DataFrame:
    """Return what is said of any exposure's persons: taken for known at index, and as it happens.

    Parameters
    ----------
    trial
        An analysis with ``exposure``, ``strategies``, ``horizon_days`` and ``level``.
    terms
        Covariates at index.
    """
    exposure = trial.exposure
    known = frame.lazy().with_columns(event=pl.col("cause") == 1)
    ever, adjusted = ever_exposed(known, exposure), " + ".join(part for part in (exposure, terms) if part)
    rows = [
        *_ratio(trial, EVER, ever, adjusted),
        *_ratio(trial, TIME_VARYING, split_at_start(known, exposure), adjusted),
        *_risks(trial, EVER, ever.collect()),
    ]
    return _table(rows, trial)


def _table(rows: list[_Row], trial: Any) -> pl.DataFrame:
    told = pl.DataFrame([{name: row.get(name) for name in _SCHEMA} for row in rows], schema=_SCHEMA)
    return told.with_columns(
        pl.col("group").fill_null(trial.strategies[0]), method=pl.lit(f"{_COMPARED}: ") + pl.col("method")
    )


def _ratio(trial: Any, design: str, rows: pl.LazyFrame, terms: str) -> Iterator[_Row]:
    """Yield the hazard ratio of the exposure in a Cox model."""
    try:
        fit = fit_cox(rows, "time", "event", "entry", terms=terms, level=trial.level)
    except NotEstimableError:
        return
    at = fit.terms.index(trial.exposure)
    numbers = {"value": fit.hazard_ratio, "std_error": fit.std_error, "lower": fit.lower, "upper": fit.upper}
    found = {name: float(values[at]) for name, values in numbers.items()}
    yield {"category": design, "estimand": HAZARD_RATIO, "method": f"Cox model on {terms}"} | found


def _risks(trial: Any, design: str, rows: pl.DataFrame) -> Iterator[_Row]:
    """Yield the risk of the outcome by the horizon of the exposed and of the others, and their difference."""
    curves = cumulative_incidence(rows, "time", "cause", trial.exposure).to_polars()
    until = curves.filter(pl.col("cause") == 1, pl.col("time") <= trial.horizon_days)
    last = until.group_by("group", maintain_order=True).last()
    found = dict(last.select("group", "estimate").iter_rows())
    if found.keys() != {"true", "false"}:
        return
    row = {"category": design, "method": "Aalen–Johansen without weights"}
    for strategy, side in zip(trial.strategies, ("true", "false"), strict=True):
        yield row | {"estimand": "risk", "group": strategy, "value": found[side]}
    yield row | {"estimand": DIFFERENCE, "value": found["true"] - found["false"]}


def _unweighted(trial: EmulatedTrial, asked: dict[str, Any]) -> Iterator[_Row]:
    """Yield what the trial says where natural censoring is taken as random."""
    if trial.natural_censoring is None:
        return
    try:
        table = emulate(trial, taken_as_random(asked), replicates=0).table
    except NotEstimableError:
        return
    names, groups = {"hazard_ratio": HAZARD_RATIO}, dict(zip(STRATEGIES, trial.strategies, strict=True))
    told = table.filter(pl.col("measure").is_in(["risk", DIFFERENCE, "hazard_ratio"]))
    for measure, group, value in told.select("measure", "group", "estimate").iter_rows():
        row = {"estimand": names.get(measure, measure), "group": groups[group], "value": value}
        yield row | {"category": RANDOM, "method": "the trial without the weights of leaving"}


def _clones(trial: EmulatedTrial, frame: pl.DataFrame) -> pl.DataFrame:
    """Return both clones of everybody, without weights."""
    started = frame[trial.exposure].cast(pl.Float64).fill_null(np.inf).to_numpy()
    time, cause = frame["time"].to_numpy(), frame["cause"].to_numpy()
    persons = Persons(time, cause, started, np.empty((len(time), 0)), np.ones(len(time)))
    parts = [
        pl.DataFrame({"time": arm.time.astype(np.int64), "cause": arm.cause, trial.exposure: side})
        for side, arm in zip((True, False), clone(persons, trial.grace_days), strict=True)
    ]
    return pl.concat(parts).with_columns(event=pl.col("cause") == 1, entry=pl.lit(BEFORE_INDEX, pl.Int64))
