"""How a score of documented signs behaves against a trait that is known: discrimination, calibration, cut-offs.

In real data the trait is not known. In a simulation it is (`truth/persons.parquet`), which shows what the score could
do if the world were like the simulated one, and no more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import polars as pl
from scipy.stats import norm

from cohort.errors import NotEstimableError


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """A score against a yes/no trait.

    Attributes
    ----------
    n, positive
        Persons, and those who have the trait.
    auc, lower, upper
        Probability that a person with the trait scores higher than one without, ties counting half; its limits.
    by_score
        One row per score: ``score, persons, positive, share`` (calibration: how often the trait is there), and for the
        rule "at least this score" ``sensitivity`` and ``specificity``, which `rogan_gladen` takes; sorted by score.
    """

    n: int
    positive: int
    auc: float
    lower: float
    upper: float
    by_score: pl.DataFrame


def validate_score(scores: pl.LazyFrame, *, level: float = 0.95) -> Validation:
    """Compare a whole-number score with a trait, from counts of persons only.

    Parameters
    ----------
    scores
        ``score`` (integer) and ``trait`` (Boolean), one row per person; rows with a null are left out.

    Raises
    ------
    NotEstimableError
        If everybody, or nobody, has the trait.

    References
    ----------
    Hanley JA, McNeil BJ (1982). The meaning and use of the area under a receiver operating characteristic (ROC) curve.
    Radiology 143(1):29-36. doi:10.1148/radiology.143.1.7063747.
    """
    counts = (
        scores.drop_nulls(["score", "trait"])
        .group_by("score")
        .agg(persons=pl.len().cast(pl.Int64), positive=pl.col("trait").sum().cast(pl.Int64))
        .sort("score")
        .collect()
    )
    n, positive = int(counts["persons"].sum()), int(counts["positive"].sum())
    negative = n - positive
    if not positive or not negative:
        raise NotEstimableError("trait_is_constant")
    auc = _area(counts) / (positive * negative)
    width = float(norm.ppf((1 + level) / 2)) * _std_error(auc, positive, negative)
    below = pl.col("persons") - pl.col("positive")
    by_score = counts.with_columns(
        share=pl.col("positive") / pl.col("persons"),
        sensitivity=pl.col("positive").cum_sum(reverse=True) / positive,
        specificity=(below.cum_sum() - below) / negative,
    )
    return Validation(n, positive, auc, max(0.0, auc - width), min(1.0, auc + width), by_score)


def _area(counts: pl.DataFrame) -> float:
    """Return the number of pairs in which the person with the trait scores higher, ties counting half."""
    negative = pl.col("persons") - pl.col("positive")
    halves = pl.col("positive") * (2 * (negative.cum_sum() - negative) + negative)
    return float(counts.select(halves.sum()).item()) / 2


def _std_error(auc: float, positive: int, negative: int) -> float:
    """Return the standard error of Hanley and McNeil 1982."""
    one, two = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    squares = auc * (1 - auc) + (positive - 1) * (one - auc**2) + (negative - 1) * (two - auc**2)
    return math.sqrt(squares / (positive * negative))
