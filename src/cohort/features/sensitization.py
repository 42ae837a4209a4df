"""Signs of central sensitization in claims: symptom domains, overlapping conditions, and an index of them.

The index is **not validated**: it counts documented signs, each with weight one, so that a reader sees what it is made
of. Whoever knows the sensitivity and specificity of such a flag in their data can correct a prevalence with
`rogan_gladen`.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from scipy.stats import beta

from cohort.codes.codelist import Codelist
from cohort.codes.match import label, matches
from cohort.errors import StudyError
from cohort.features.pain_course import WIDESPREAD

DOMAINS = (
    "sleep",
    "fatigue",
    "mood",
    "cognition",
    "altered_sensation",
    "posttraumatic_stress",
    "functional_somatic",
    "substance_use",
)
"""Symptom domains; each is the shipped codelist of that name."""

ITEMS = {
    "widespread_pain": 1,
    "overlapping_conditions": 1,
    "sleep": 1,
    "fatigue": 1,
    "mood": 1,
    "cognition": 1,
    "altered_sensation": 1,
    "posttraumatic_stress": 1,
}
"""Items of the index and their weights; ``overlapping_conditions`` means two or more of them."""


def symptom_domains(diagnoses: pl.LazyFrame) -> pl.LazyFrame:
    """Return one Int8 0/1 column per domain of `DOMAINS` for every person of ``diagnoses``; sorted.

    Parameters
    ----------
    diagnoses
        ``person_id, system, code``, already restricted to a window.
    """
    found = diagnoses.select("person_id").unique()
    for domain in DOMAINS:
        persons = matches(diagnoses, Codelist.shipped(domain)).select("person_id").unique()
        found = _flag(found, persons, domain)
    return found.sort("person_id")


def overlapping_conditions(diagnoses: pl.LazyFrame) -> pl.LazyFrame:
    """Return how many chronic overlapping pain conditions each person of ``diagnoses`` has a code for.

    Returns
    -------
    LazyFrame
        ``person_id`` and Int64 ``overlapping_conditions``, 0 included; sorted.

    References
    ----------
    Maixner W, Fillingim RB, Williams DA, Smith SB, Slade GD (2016). Overlapping chronic pain conditions. J Pain
    17(9 Suppl):T93-T107. doi:10.1016/j.jpain.2016.06.002.
    """
    counted = (
        label(diagnoses, Codelist.shipped("overlapping_pain_conditions"), into="condition")
        .group_by("person_id")
        .agg(overlapping_conditions=pl.col("condition").n_unique().cast(pl.Int64))
    )
    everybody = diagnoses.select("person_id").unique().join(counted, on="person_id", how="left")
    return everybody.with_columns(pl.col("overlapping_conditions").fill_null(0)).sort("person_id")


def sensitization_index(diagnoses: pl.LazyFrame) -> pl.LazyFrame:
    """Return the items of `ITEMS` and their weighted sum per person; unvalidated, see the module.

    Parameters
    ----------
    diagnoses
        ``person_id, system, code``, already restricted to a window of equal length for everybody.

    Returns
    -------
    LazyFrame
        ``person_id``, one Int8 0/1 column per item, ``sensitization_index`` (Int64); sorted.
    """
    regions = label(diagnoses, Codelist.shipped("pain_regions"), into="region")
    widespread = regions.filter(pl.col("region") == WIDESPREAD).select("person_id").unique()
    two_or_more = overlapping_conditions(diagnoses).filter(pl.col("overlapping_conditions") >= 2).select("person_id")
    items = _flag(symptom_domains(diagnoses), widespread, "widespread_pain")
    items = _flag(items, two_or_more, "overlapping_conditions")
    total = pl.sum_horizontal(pl.col(item).cast(pl.Int64) * weight for item, weight in ITEMS.items())
    return items.select("person_id", *ITEMS, sensitization_index=total).sort("person_id")


@dataclass(frozen=True, slots=True)
class Prevalence:
    """A prevalence corrected for misclassification, with its confidence limits; all in [0, 1]."""

    estimate: float
    lower: float
    upper: float


def rogan_gladen(positive: int, n: int, sensitivity: float, specificity: float, *, level: float = 0.95) -> Prevalence:
    """Correct an apparent prevalence for known sensitivity and specificity.

    The limits are the exact binomial limits of the apparent prevalence, transformed like the estimate and cut to
    [0, 1]; they take sensitivity and specificity as known without error.

    Raises
    ------
    StudyError
        If the counts are no proportion, or sensitivity + specificity is not above 1 (the flag would carry no
        information).

    References
    ----------
    Rogan WJ, Gladen B (1978). Estimating prevalence from the results of a screening test. Am J Epidemiol
    107(1):71-76. doi:10.1093/oxfordjournals.aje.a112510.
    """
    if not 0 <= positive <= n or n == 0:
        raise StudyError("a prevalence needs 0 <= positive <= n and n > 0")
    if not (0 <= sensitivity <= 1 and 0 <= specificity <= 1 and sensitivity + specificity > 1):
        raise StudyError("sensitivity and specificity must lie in [0, 1] and add up to more than 1")
    tail = (1 - level) / 2
    lower = float(beta.ppf(tail, positive, n - positive + 1)) if positive else 0.0
    upper = float(beta.ppf(1 - tail, positive + 1, n - positive)) if positive < n else 1.0
    corrected = [(p + specificity - 1) / (sensitivity + specificity - 1) for p in (positive / n, lower, upper)]
    return Prevalence(*(min(1.0, max(0.0, value)) for value in corrected))


def _flag(everybody: pl.LazyFrame, persons: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Add a 0/1 column: 1 for those among ``persons``."""
    marked = persons.with_columns(pl.lit(1, pl.Int8).alias(name))
    return everybody.join(marked, on="person_id", how="left").with_columns(pl.col(name).fill_null(0))
