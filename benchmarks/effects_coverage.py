"""Whether estimates of effects are right: small worlds of known truth, many times, the naive analysis beside them.

``python benchmarks/effects_coverage.py [WORLD …] [--replicates 400] [--persons 1000] [--jobs 2]`` prints one line per
world and estimator: truth, mean bias with its Monte Carlo error, the share of 95 % intervals that hold the truth with
its own, and the mean standard error reported as a share of the estimates' standard deviation. Every truth is a closed
form of the numbers below; nothing is written.

400 replicates know a coverage to 1.1 points, and one of several estimators leaves 94–96 % by chance more often than
not; the last figure knows the same to 3.5 %, which is 0.8 points of coverage.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import product
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import polars as pl

from cohort import effects as ef
from cohort import survival as sv
from cohort.errors import NotEstimableError
from cohort.survival.intervals import normal_quantile

HORIZON, GRACE, PERIOD, PERIODS = 365, 60, 30, 8
SAMPLES = 200
"""Bootstrap samples behind an interval that needs them, as in a study file."""


class Found(NamedTuple):
    """One estimator's answer in one replicate, on the scale on which its limits are symmetric."""

    estimator: str
    truth: float
    estimate: float
    lower: float
    upper: float


def _mix(chance: dict[tuple[int, ...], float], risk: Callable[..., float]) -> float:
    return sum(weight * risk(*pattern) for pattern, weight in chance.items())


# strong confounding: two conditions decide treatment and hazard

HAZARD, EFFECT = 1 / 500, np.log(0.7)
SICK, OLD = 0.4, 0.5


def _hazard(sick, old, treated):
    return HAZARD * np.exp(0.9 * sick + 0.6 * old + EFFECT * treated)


def _risk(treated: int) -> float:
    chance = {(s, o): (SICK if s else 1 - SICK) * (OLD if o else 1 - OLD) for s, o in product((0, 1), (0, 1))}
    return _mix(chance, lambda s, o: 1 - np.exp(-HORIZON * _hazard(s, o, treated)))


def confounded(n: int, random: np.random.Generator) -> pl.DataFrame:
    """Return persons treated because they are sick and old, which also brings the event; censoring is by calendar."""
    sick, old = random.random(n) < SICK, random.random(n) < OLD
    treated = random.random(n) < 1 / (1 + np.exp(1.2 - 1.5 * sick - 0.8 * old))
    event, last = random.exponential(1 / _hazard(sick, old, treated)), random.uniform(HORIZON, 3 * HORIZON, n)
    time = np.ceil(np.minimum(event, last)).astype(int)
    return pl.DataFrame({"time": time, "cause": (event <= last).astype(int), "sick": sick, "old": old, "a": treated})


def strong_confounding(n: int, random: np.random.Generator) -> Iterator[Found]:
    """Estimate the risk difference as if nothing confounded it, under weights, and doubly robust."""
    frame = confounded(n, random)
    truth = _risk(1) - _risk(0)
    query = {"horizon": HORIZON, "measures": ("risk",)}
    nobody = ef.propensity_scores(frame.with_columns(noise=pl.Series(random.standard_normal(n))), "a", "noise")
    yield _difference("naive", truth, ef.weighted_effects(frame, ef.balancing_weights(nobody), **query).table)
    scores = ef.propensity_scores(frame, "a", "sick * old")
    yield _difference("weights", truth, ef.weighted_effects(frame, ef.balancing_weights(scores), **query).table)
    robust = ef.doubly_robust_effects(frame, scores, "sick * old", **query)
    yield _difference("augmented weights", truth, robust.table)


def _difference(name: str, truth: float, table: pl.DataFrame) -> Found:
    row = table.filter(pl.col("measure") == "risk_difference").row(0, named=True)
    return Found(name, truth, row["estimate"], row["lower"], row["upper"])


# immortal time: treatment starts some day and does nothing


def late_starters(n: int, random: np.random.Generator) -> pl.DataFrame:
    """Return persons who start a treatment without effect, sooner when sick, which also brings the event."""
    sick = random.random(n) < SICK
    event = random.exponential(np.where(sick, 200.0, 400.0))
    started = np.ceil(random.exponential(np.where(sick, 80.0, 160.0)))
    time = np.ceil(np.minimum(event, 2 * HORIZON)).astype(int)
    begun = pl.Series(np.where(started <= time, started, np.nan)).fill_nan(None)
    frame = {"time": time, "cause": (event <= 2 * HORIZON).astype(int), "sick": sick}
    return pl.DataFrame(frame).with_columns(started=begun)


def immortal_time(n: int, random: np.random.Generator) -> Iterator[Found]:
    """Estimate the log hazard ratio, 0, of treatment by the four analyses."""
    found = ef.immortal_time_comparison(
        late_starters(n, random), treatment_time="started", grace_days=GRACE, horizon=HORIZON, terms="sick",
        replicates=SAMPLES, seed=int(random.integers(1 << 31)),
    )  # fmt: skip
    for row in found.iter_rows(named=True):
        numbers = np.log([row["hazard_ratio"], row["lower"], row["upper"]])
        yield Found(row["analysis"], 0.0, *numbers)


# informative censoring: who is sick leaves sooner and has the event sooner


def leavers(n: int, random: np.random.Generator) -> pl.DataFrame:
    """Return persons of one cohort who leave, at the end of a month, because they are sick."""
    sick, treated = random.random(n) < SICK, random.random(n) < 0.5
    event = np.ceil(random.exponential(1 / _hazard(sick, 0, treated)))
    stays = random.random((n, PERIODS)) < np.where(sick, 0.80, 0.97)[:, None]
    months = np.where(stays.all(axis=1), PERIODS, 1 + np.argmin(stays, axis=1))
    rows = []
    for period in range(PERIODS):
        begin, end = period * PERIOD, (period + 1) * PERIOD
        there = (event > begin) & (months > period)
        frame = {"person_id": np.arange(n), "start": begin, "stop": np.minimum(event, end).astype(int)}
        frame |= {"cause": (event <= end).astype(int), "sick": sick, "a": treated, "first": np.full(n, period == 0)}
        frame["left"] = (event > end) & (months == period + 1) & (period < PERIODS - 1)
        rows.append(pl.DataFrame(frame).filter(pl.Series(there)))
    return pl.concat(rows).sort("person_id", "start")


def informative_censoring(n: int, random: np.random.Generator) -> Iterator[Found]:
    """Estimate the risk of the untreated at the end, as if censoring told nothing, and under censoring weights."""
    frame, end = leavers(n, random), PERIOD * PERIODS
    truth = _mix({(0,): 1 - SICK, (1,): SICK}, lambda sick: 1 - np.exp(-end * _hazard(sick, 0, 0)))
    query = {"exposure": "a", "eligible": "first", "terms": "", "horizon": end, "replicates": SAMPLES}
    for name, censored in (("naive", None), ("censoring weights", "left")):
        query["terms"] = "sick" if censored else ""
        table = ef.nested_trials(frame, **query, censored=censored, seed=int(random.integers(1 << 31))).table
        row = table.filter(pl.col("measure") == "risk", pl.col("group") == "untreated").row(0, named=True)
        yield Found(name, truth, row["estimate"], row["lower"], row["upper"])


# time-varying confounding: a sign of hidden frailty decides treatment, which changes the sign and does nothing else


def histories(n: int, random: np.random.Generator) -> pl.DataFrame:
    """Return person-time of a treatment without effect on the event."""
    frail, exposed, alive = random.random(n) < 0.5, np.zeros(n, bool), np.ones(n, bool)
    rows = []
    for period in range(PERIODS):
        sign = random.random(n) < np.where(frail, 0.8, 0.2) - 0.15 * exposed
        before, exposed = exposed, exposed | (random.random(n) < 0.05 + 0.25 * sign)
        day = np.ceil(random.exponential(1 / (0.002 * np.where(frail, 3.0, 1.0))))
        frame = {"person_id": np.arange(n), "start": period * PERIOD, "sign": sign, "a": exposed, "eligible": ~before}
        frame |= {"stop": (period * PERIOD + np.minimum(day, PERIOD)).astype(int)}
        frame |= {"cause": (day <= PERIOD).astype(int), "earlier": before}
        rows.append(pl.DataFrame(frame).filter(pl.Series(alive)))
        alive = alive & (day > PERIOD)
    return pl.concat(rows).sort("person_id", "start")


def varying_confounding(n: int, random: np.random.Generator) -> Iterator[Found]:
    """Estimate the log hazard ratio, 0, with the sign ignored, and by the structural model and nested trials."""
    frame = histories(n, random)
    fit = sv.fit_cox(frame, "stop", "cause", "start", terms="a", cluster="person_id")
    yield Found("naive", 0.0, *np.log([fit.hazard_ratio[0], fit.lower[0], fit.upper[0]]))
    model = ef.marginal_structural_cox(frame, exposure="a", baseline="", varying="sign", truncate=None).table
    yield Found("structural model", 0.0, *np.log(model.select("hazard_ratio", "lower", "upper").row(0)))
    for protocol in ("intention_to_treat", "per_protocol"):
        table = ef.nested_trials(
            frame, exposure="a", eligible="eligible", terms="sign", horizon=PERIOD * 4, protocol=protocol,
            replicates=SAMPLES, seed=int(random.integers(1 << 31)),
        ).table  # fmt: skip
        yield _difference(f"nested trials, {protocol.replace('_', ' ')}", 0.0, table)


WORLDS = {
    world.__name__: world for world in (strong_confounding, immortal_time, informative_censoring, varying_confounding)
}


def replicate(world: str, persons: int, number: int) -> list[Found]:
    """Return every estimator's answer in one replicate, none where it has no answer."""
    try:
        return list(WORLDS[world](persons, np.random.default_rng([20261120, number])))
    except NotEstimableError:
        return []


def coverage(found: list[list[Found]]) -> pl.DataFrame:
    """Return truth, bias and coverage with their Monte Carlo errors, and the share of the error that was reported."""
    rows = pl.DataFrame([one for each in found for one in each], schema=list(Found._fields), orient="row")
    inside = (pl.col("lower") <= pl.col("truth")) & (pl.col("truth") <= pl.col("upper"))
    error = pl.col("estimate") - pl.col("truth")
    return rows.group_by("estimator", maintain_order=True).agg(
        replicates=pl.len(),
        truth=pl.col("truth").first(),
        bias=error.mean(),
        mc_error=error.std() / pl.len().sqrt(),
        coverage=inside.mean(),
        coverage_mc_error=(inside.mean() * (1 - inside.mean()) / pl.len()).sqrt(),
        reported=(pl.col("upper") - pl.col("lower")).mean() / (2 * normal_quantile(0.95)) / pl.col("estimate").std(),
    )


def main() -> None:
    """Read the arguments, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), help=f"of {', '.join(WORLDS)}; default: all")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--persons", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        for world in chosen.worlds:
            runs = list(pool.map(partial(replicate, world, chosen.persons), range(chosen.replicates), chunksize=8))
            print(f"\n{world}, {chosen.persons} persons, {sum(not run for run in runs)} replicates without an answer")
            for row in coverage(runs).iter_rows(named=True):
                print(
                    f"{row['estimator']:<36}truth {row['truth']:7.4f}  bias {row['bias']:8.5f} ± {row['mc_error']:.5f}"
                    f"  ({row['bias'] / row['mc_error']:6.1f} errors)  coverage {row['coverage']:.3f} ±"
                    f" {row['coverage_mc_error']:.3f}  error reported {row['reported']:.3f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
