"""Effects of treatment: a weighted comparison over 200 covariates, and clone–censor–weight with its bootstrap.

``n`` is persons. The comparison is measured in times of scikit-learn's own logistic regression, unpenalised, on the
same covariates, which it finds standardised; clone–censor–weight in times of the analysis without weights, one point
estimate: clones in a frame, their cumulative incidence by strategy and a Cox model of the strategy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from harness import Case

from cohort import effects as ef
from cohort import survival as sv

COVARIATES, OUTCOME_COVARIATES = 200, 30
GRACE, HORIZON, REPLICATES = 30, 365, 200


def confounded(n: int) -> pl.DataFrame:
    """Return persons with 200 covariates, every second one 0/1, who are treated and have events because of some."""
    random = np.random.default_rng(11)
    columns, tendency, hazard = {}, np.zeros(n), np.zeros(n)
    for j in range(COVARIATES):
        x = random.standard_normal(n) if j % 2 else (random.random(n) < 0.05 + 0.4 * j / COVARIATES).astype(float)
        columns[f"x{j:03d}"] = x
        tendency += (0.3 if j % 10 == 0 else 0.02) * (x - x.mean())
        hazard += (0.2 if j % 10 == 0 else 0.0) * (x - x.mean())
    treated = random.random(n) < 1 / (1 + np.exp(0.5 - tendency))
    event = random.exponential(4000 / np.exp(hazard - 0.3 * treated))
    last = random.uniform(1, 1826, n)
    time = np.ceil(np.minimum(event, last)).astype(np.int64)
    return pl.DataFrame({"t": time, "e": (event <= last).astype(np.int64), "treated": treated} | columns)


def _names(count: int) -> list[str]:
    return [f"x{j:03d}" for j in range(count)]


def weighted_comparison(n: int, folder: Path):
    """Score, weight, look at the balance of 200 covariates, and fit a weighted Cox model with 30 of them."""
    frame = confounded(n)
    terms, outcome = " + ".join(_names(COVARIATES)), ["treated", *_names(OUTCOME_COVARIATES)]

    def run():
        weights = ef.balancing_weights(ef.propensity_scores(frame, "treated", terms), "ate")
        ef.balance(frame, weights)
        weighted = frame.select("t", "e", *outcome).with_columns(w=pl.Series(weights.weight))
        fit = sv.CoxPHFitter().fit(weighted, "t", "e", weights_col="w", robust=True)
        return weights.propensity.score, fit.standard_errors_.to_numpy()

    return run


def scikit_learn(n: int, folder: Path):
    """Fit scikit-learn's unpenalised logistic regression to covariates that are standardised already."""
    from sklearn.linear_model import LogisticRegression

    frame = confounded(n)
    x, treated = frame.select(_names(COVARIATES)).to_numpy(), frame["treated"].to_numpy()
    x = np.ascontiguousarray((x - x.mean(axis=0)) / x.std(axis=0))

    def run():
        fit = LogisticRegression(C=np.inf, solver="lbfgs", max_iter=1000).fit(x, treated)
        return 1 / (1 + np.exp(-fit.decision_function(x)))

    return run


def starters(n: int) -> pl.DataFrame:
    """Return persons who start treatment on some day or never, with two causes of an event, and why they start."""
    random = np.random.default_rng(12)
    age, severity = random.normal(50, 12, n), random.standard_normal(n)
    sex, earlier, drug = (random.random((3, n)) < [[0.5], [0.3], [0.15]]).astype(float)
    eta = 0.02 * (age - 50) + 0.3 * severity + 0.3 * earlier - 0.2 * sex
    started = np.ceil(random.exponential(90 * np.exp(-0.5 * eta)))
    event, death = random.exponential(600 * np.exp(-eta)), random.exponential(6000, n)
    last = random.uniform(180, 1095, n)
    time = np.ceil(np.minimum(np.minimum(event, death), last)).astype(np.int64)
    cause = np.where(time == np.ceil(last), 0, np.where(event < death, 1, 2))
    frame = {"t": time, "c": cause, "started": np.where(started <= time, started, np.nan), "age": age}
    frame |= {"severity": severity, "sex": sex, "earlier": earlier, "drug": drug}
    return pl.DataFrame(frame).with_columns(pl.col("started").fill_nan(None))


def clones_weighted(n: int, folder: Path):
    """Weight clones and bootstrap their persons 200 times."""
    frame = starters(n)

    def run():
        return ef.clone_censor_weight(
            frame, time="t", cause="c", treatment_time="started", grace_days=GRACE,
            terms="age + severity + sex + earlier + drug", horizon=HORIZON, replicates=REPLICATES,
        ).table  # fmt: skip

    return run


def clones_unweighted(n: int, folder: Path):
    """Write the clones out and analyse them without weights, once."""
    frame = starters(n)
    within = (pl.col("started") <= GRACE).fill_null(False)
    late = ~within & (pl.col("t") > GRACE)

    def run():
        start = frame.select(
            t=pl.when(late).then(GRACE).otherwise("t"), c=pl.when(late).then(0).otherwise("c"), start=pl.lit(1)
        )
        abstain = frame.select(
            t=pl.when(within).then(pl.col("started").cast(pl.Int64)).otherwise("t"),
            c=pl.when(within).then(0).otherwise("c"),
            start=pl.lit(0),
        )
        clones = pl.concat([start, abstain])
        curve = sv.cumulative_incidence(clones, "t", "c", by="start").at([HORIZON])
        ratio = sv.fit_cox(clones.with_columns(e=pl.col("c") == 1), "t", "e", terms="start").hazard_ratio
        return curve, ratio

    return run


def _same_scores(ours: tuple[np.ndarray, np.ndarray], theirs: np.ndarray) -> bool:
    # scikit-learn stops where no mean gradient exceeds 1e-4
    return bool(np.abs(ours[0] - theirs).max() < 0.02)


CASES = [
    Case("weighted_comparison_200", weighted_comparison, scikit_learn, "scikit-learn logistic", _same_scores),
    Case("clone_censor_weight_200", clones_weighted, clones_unweighted, "clones, no weights"),
]
