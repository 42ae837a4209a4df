"""Cox, Fine–Gray and concordance on a frame in memory, from the frame to the summary, beside Python's and R's peers.

``n`` is rows, or persons where a person has several. R's cases are there when Rscript is (packages survival and
cmprsk), scikit-survival's and coxdev's when they are installed. The yardstick "reads" is what no exact fit can do
without: two passes over the covariates and one rank-p update for each Newton step.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
from harness import Case
from r_peer import HAS_R, RPeer

from cohort import survival as sv
from cohort.survival.cox_lanes import LANES
from cohort.survival.cox_sums import workers

STEPS = 5
"""Evaluations of a Cox fit on these data: the start, three steps, and the point that is reported."""
STRIP, CHUNK = 4096, 1 << 17
HOLD = 1 << 30


def covariates(n: int, p: int, random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return ``p`` columns, by turns 0/1 and continuous, and their linear predictor."""
    columns = {
        f"x{j:02d}": random.standard_normal(n) if j % 2 else (random.random(n) < 0.1 + 0.8 * j / p).astype(float)
        for j in range(p)
    }
    predictor = sum((0.3 if j % 3 == 0 else -0.1) * column for j, column in enumerate(columns.values()))
    return columns, predictor - np.mean(predictor)


def follow_up(n: int, p: int, *, whole_days: bool = True) -> pl.DataFrame:
    """Return ``n`` persons with up to five years of follow-up, about 15 to 20 % events."""
    random = np.random.default_rng(7)
    columns, predictor = covariates(n, p, random)
    event_time = random.exponential(6000 / np.exp(predictor))
    last = random.uniform(1, 1826, n)
    time, event = np.minimum(event_time, last), event_time <= last
    return pl.DataFrame({"t": np.ceil(time) if whole_days else time, "e": event.astype(float)} | columns)


def spells(persons: int, p: int) -> pl.DataFrame:
    """Return rows ``(start, stop]`` of persons whose covariates change, 3.5 each; one person in nine has an event."""
    random = np.random.default_rng(7)
    counts = 1 + random.poisson(2.66, persons)
    person = np.repeat(np.arange(persons), counts)
    n = person.size
    columns, predictor = covariates(n, p, random)
    length = np.ceil(random.uniform(1, 400, n))
    end = np.cumsum(length)
    first = np.cumsum(counts) - counts
    start = end - length - np.repeat((end - length)[first], counts)
    hazard = random.exponential(7000 / np.exp(predictor))
    event = hazard < length
    earlier = np.cumsum(event) - event
    kept = earlier == np.repeat(earlier[first], counts)
    stop = start + np.where(event, np.ceil(hazard), length)
    frame = {"id": person, "start": start, "stop": stop, "e": event.astype(float)} | columns
    return pl.DataFrame(frame).filter(pl.Series(kept))


def competing(n: int, p: int) -> pl.DataFrame:
    """Return persons with two causes in whole days."""
    random = np.random.default_rng(7)
    columns, predictor = covariates(n, p, random)
    first, second = random.exponential(5000 / np.exp(predictor)), random.exponential(9000, n)
    last = random.uniform(1, 1826, n)
    time = np.minimum(np.minimum(first, second), last)
    cause = np.where(time == last, 0, np.where(first < second, 1, 2))
    return pl.DataFrame({"t": np.ceil(time), "c": cause} | columns)


def weighted(n: int) -> pl.DataFrame:
    """Return persons with probability weights."""
    frame = follow_up(n, 10)
    return frame.with_columns(w=pl.Series(np.random.default_rng(8).uniform(0.2, 5, n)))


def cox(n: int, folder: Path, *, p: int, whole_days: bool = True):
    """Fit ours to a polars frame, summary included."""
    frame = follow_up(n, p, whole_days=whole_days)

    def run():
        return sv.CoxPHFitter().fit(frame, "t", "e").summary["coef"].to_numpy()

    return run


def cox_lifelines(n: int, folder: Path, *, p: int, whole_days: bool = True):
    """Fit lifelines' to a pandas frame, summary included."""
    from lifelines import CoxPHFitter

    frame = follow_up(n, p, whole_days=whole_days).to_pandas()

    def run():
        return CoxPHFitter().fit(frame, "t", "e").summary["coef"].to_numpy()

    return run


def cox_sksurv(n: int, folder: Path, *, p: int):
    """Fit scikit-survival's with Efron ties to arrays."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    frame = follow_up(n, p)
    outcome = Surv.from_arrays(frame["e"].to_numpy() == 1, frame["t"].to_numpy())
    x = frame.drop("t", "e").to_numpy()
    return lambda: CoxPHSurvivalAnalysis(ties="efron").fit(x, outcome).coef_


def cox_coxdev(n: int, folder: Path, *, p: int):
    """Take Newton's steps on coxdev's deviance and information, from arrays, as many as ours takes."""
    from coxdev import CoxDeviance

    frame = follow_up(n, p)
    time, event, x = frame["t"].to_numpy(), frame["e"].to_numpy(), frame.drop("t", "e").to_numpy()

    def run():
        model, slope = CoxDeviance(event=time, status=event, tie_breaking="efron"), np.zeros(p)
        for _ in range(STEPS):
            predictor = x @ slope
            score = x.T @ model(predictor).gradient / 2  # of the deviance, which is -2 log-likelihoods
            slope -= np.linalg.solve(x.T @ (model.information(predictor) @ x), score)
        return slope

    return run


def cox_r(n: int, folder: Path, *, p: int, whole_days: bool = True):
    """Fit R's coxph to a data frame, summary included."""
    program = "run <- function() summary(coxph(Surv(t, e) ~ ., data = d))$coefficients[, 1]"
    return RPeer(follow_up(n, p, whole_days=whole_days), program, folder / "r")


def cox_r_core(n: int, folder: Path, *, p: int):
    """Fit by the compiled core of R's coxph alone, on a matrix that is ready."""
    program = """
    x <- as.matrix(d[, -(1:2)]); y <- Surv(d$t, d$e); rm(d)
    run <- function() coxph.fit(x, y, NULL, NULL, NULL, coxph.control(), NULL, "efron", NULL, FALSE)$coefficients
    """
    return RPeer(follow_up(n, p), program, folder / "r")


def reads(n: int, folder: Path, *, p: int):
    """Read the covariates twice and add up X'WX, once for each step."""
    x = np.asfortranarray(follow_up(n, p).drop("t", "e").to_numpy()).T
    slope, weight = np.full(p, 0.01), np.ones(n)
    chunks = [(low, min(low + CHUNK, n)) for low in range(0, n, CHUNK)]

    def update(chunk: tuple[int, int]) -> np.ndarray:
        square, strip = np.zeros((p, p)), np.empty((p, STRIP))
        for low in range(*chunk, STRIP):
            high = min(low + STRIP, chunk[1])
            part = strip[:, : high - low]
            np.multiply(x[:, low:high], weight[low:high], out=part)
            square += part @ part.T
        return square

    def run():
        with workers() as pool:  # BLAS on one thread each
            for _ in range(STEPS):
                list(pool.map(lambda chunk: slope @ x[:, chunk[0] : chunk[1]], chunks))
                total = sum(pool.map(update, chunks))
        return float(total[0, 0])

    return run


def time_varying(n: int, folder: Path, *, robust: bool = False):
    """Fit ours to spells."""
    frame = spells(n, 10)

    def run():
        fit = sv.CoxTimeVaryingFitter().fit(frame, "e", "start", "stop", id_col="id", robust=robust)
        return fit.summary[["coef", "se(coef)"]].to_numpy().T.ravel()

    return run


def time_varying_lifelines(n: int, folder: Path):
    """Fit lifelines' to spells."""
    from lifelines import CoxTimeVaryingFitter

    frame = spells(n, 10).to_pandas()

    def run():
        fit = CoxTimeVaryingFitter().fit(frame, "e", "start", "stop", id_col="id")
        return fit.summary[["coef", "se(coef)"]].to_numpy().T.ravel()

    return run


def time_varying_r(n: int, folder: Path, *, robust: bool = False):
    """Fit R's coxph to spells, with the variance clustered by person if ``robust``."""
    cluster = " + cluster(id)" if robust else ""
    column = '"robust se"' if robust else '"se(coef)"'
    program = f"""
    form <- as.formula(paste("Surv(start, stop, e) ~", paste(names(d)[-(1:4)], collapse = " + "), "{cluster}"))
    run <- function() {{ s <- summary(coxph(form, data = d))$coefficients; c(s[, 1], s[, {column}]) }}
    """
    return RPeer(spells(n, 10), program, folder / "r")


def robust(n: int, folder: Path):
    """Fit ours with probability weights and sandwich variance."""
    frame = weighted(n)

    def run():
        return sv.CoxPHFitter().fit(frame, "t", "e", weights_col="w", robust=True).summary["coef"].to_numpy()

    return run


def robust_lifelines(n: int, folder: Path):
    """Fit lifelines' with probability weights and sandwich variance."""
    from lifelines import CoxPHFitter

    frame = weighted(n).to_pandas()

    def run():
        return CoxPHFitter().fit(frame, "t", "e", weights_col="w", robust=True).summary["coef"].to_numpy()

    return run


def robust_r(n: int, folder: Path):
    """Fit R's coxph with weights and robust variance."""
    program = (
        "run <- function() summary(coxph(Surv(t, e) ~ . - w, data = d, weights = w, robust = TRUE))$coefficients[, 1]"
    )
    return RPeer(weighted(n), program, folder / "r")


def fine_gray(n: int, folder: Path):
    """Fit ours as cmprsk does: Breslow ties, sandwich with estimated censoring weights."""
    frame = competing(n, 10)
    terms = " + ".join(frame.columns[2:])

    def run():
        fit = sv.fit_fine_gray(frame, "t", "c", 1, terms=terms, ties="breslow")
        return np.concatenate([fit.coef, fit.std_error])

    return run


def fine_gray_r(n: int, folder: Path):
    """Fit cmprsk's crr."""
    program = """
    x <- as.matrix(d[, -(1:2)])
    run <- function() { f <- crr(d$t, d$c, x); c(f$coef, sqrt(diag(f$var))) }
    """
    return RPeer(competing(n, 10), program, folder / "r")


def agreement(n: int, folder: Path):
    """Take Harrell's concordance of a score, ties included."""
    from cohort.survival.cox_concordance import concordance
    from cohort.survival.cox_model import Follow

    score, frame = _score(n)
    follow = Follow(frame["t"].to_numpy(), frame["e"].to_numpy())
    return lambda: [concordance(score, follow, variance=False).estimate]


def agreement_lifelines(n: int, folder: Path):
    """Take lifelines' concordance index of the score."""
    from lifelines.utils import concordance_index

    score, frame = _score(n)
    time, event = frame["t"].to_numpy(), frame["e"].to_numpy()
    return lambda: [concordance_index(time, -score, event)]


def _score(n: int) -> tuple[np.ndarray, pl.DataFrame]:
    frame = follow_up(n, 10)
    return frame.select(pl.sum_horizontal("x01", "x03", "x05")).to_series().to_numpy(), frame.select("t", "e")


def in_buckets(n: int, folder: Path, *, buckets: int):
    """Fit ours to buckets in Parquet files, whose columns are held in memory if they take no more than a gigabyte."""
    path = folder / str(buckets)
    path.mkdir()
    frame = follow_up(n, 10).with_columns(person_id=pl.Series(np.random.default_rng(9).permutation(n)))
    frame = frame.with_columns(pl.col("t").cast(pl.Int32)).sort(pl.col("person_id") % LANES, "person_id")
    for k in range(buckets):
        frame.filter(pl.col("person_id") % LANES % buckets == k).write_parquet(path / f"{k}.parquet")
    terms = " + ".join(name for name in frame.columns if name.startswith("x"))
    del frame

    def each(function: Callable[[pl.LazyFrame], object]):
        return (function(pl.scan_parquet(path / f"{k}.parquet")) for k in range(buckets))

    return lambda: sv.fit_cox_buckets(each, time="t", event="e", terms=terms, hold_bytes=HOLD).coef


def _coefficients_agree(relative: float):
    """Return a comparison of coefficient vectors: within ``relative`` of the largest of them."""

    def same(left: object, right: object) -> bool:
        ours, theirs = np.asarray(left, dtype=float), np.asarray(right, dtype=float)
        return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= relative * np.abs(theirs).max())

    return same


def _case(name: str, ours, yardstick, peer: str, relative: float | None) -> Case:
    return Case(name, ours, yardstick, peer, None if relative is None else _coefficients_agree(relative))


warnings.filterwarnings("ignore", module="lifelines")
# lifelines stops earlier than we do, and its sums are less exact; R's coxph agrees to its own stopping rule
CASES = [
    *(_case(f"cox_{p}", partial(cox, p=p), partial(cox_lifelines, p=p), "lifelines", 1e-4) for p in (10, 30)),
    *(_case(f"cox_{p}_reads", partial(cox, p=p), partial(reads, p=p), "reads", None) for p in (10, 30)),
    _case("cox_continuous_10", partial(cox, p=10, whole_days=False), partial(cox_lifelines, p=10, whole_days=False),
          "lifelines", 1e-4),
    _case("cox_continuous_10_reads", partial(cox, p=10, whole_days=False), partial(reads, p=10), "reads", None),
    _case("start_stop_10", time_varying, time_varying_lifelines, "lifelines", 1e-3),
    _case("weighted_robust_10", robust, robust_lifelines, "lifelines", 1e-3),
    _case("weighted_robust_10_reads", robust, partial(reads, p=10), "reads", None),
    _case("fine_gray_10_reads", fine_gray, partial(reads, p=10), "reads", None),
    _case("concordance", agreement, agreement_lifelines, "lifelines", 1e-9),
    *(_case(f"cox_10_buckets_{k}", partial(in_buckets, buckets=k), partial(in_buckets, buckets=1), "1 bucket", 1e-12)
      for k in (32, 256)),
]  # fmt: skip
if find_spec("sksurv"):
    CASES.append(_case("cox_10_sksurv", partial(cox, p=10), partial(cox_sksurv, p=10), "scikit-survival", 1e-4))
if find_spec("coxdev"):
    CASES += [_case(f"cox_{p}_coxdev", partial(cox, p=p), partial(cox_coxdev, p=p), "coxdev", 1e-6) for p in (10, 30)]
if HAS_R:
    CASES += [
        *(_case(f"cox_{p}_r", partial(cox, p=p), partial(cox_r, p=p), "R coxph", 1e-6) for p in (10, 30)),
        *(_case(f"cox_{p}_r_core", partial(cox, p=p), partial(cox_r_core, p=p), "R coxph.fit", 1e-6) for p in (10, 30)),
        _case("start_stop_10_r", time_varying, time_varying_r, "R coxph", 1e-6),
        _case("start_stop_10_clustered_r", partial(time_varying, robust=True), partial(time_varying_r, robust=True),
              "R coxph cluster", 1e-6),
        _case("weighted_robust_10_r", robust, robust_r, "R coxph robust", 1e-6),
        _case("fine_gray_10_crr", fine_gray, fine_gray_r, "R cmprsk::crr", 1e-6),
    ]  # fmt: skip
