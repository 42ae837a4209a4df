"""The parametric g-formula at time 0: predict everybody's risk under either treatment, and average.

References
----------
Robins J (1986), Math Modelling 7:1393–1512, doi:10.1016/0270-0255(86)90088-6; Hernán MA, Robins JM (2020), Causal
Inference: What If, chapter 13; Austin PC (2010), J Clin Epidemiol 63:46–55, doi:10.1016/j.jclinepi.2009.03.012.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from cohort.effects.marginal import ARMS, Effects, Estimated, contrasts, lay_out
from cohort.effects.propensity import treatment_of
from cohort.errors import NotEstimableError, StudyError
from cohort.frames import as_lazy
from cohort.survival.cox_causes import CauseSpecificFit, fit_cause_specific
from cohort.survival.design import parse_terms
from cohort.survival.types import Floats

BLOCK = 4096
"""Covariate patterns predicted at a time: each needs its whole curve in memory."""


def standardised_effects(
    frame: Any,
    treatment: str,
    terms: str,
    *,
    time: str = "time",
    cause: str = "cause",
    horizon: float,
    cause_of_interest: int = 1,
    replicates: int = 200,
    seed: int = 0,
    level: float = 0.95,
) -> Effects:
    """Estimate risks at the horizon had everybody, or nobody, been treated, from cause-specific Cox models.

    Parameters
    ----------
    frame
        One row per person; its order decides which bootstrap sample a person is in, so sort it.
    terms
        Terms of every cause's model; ``treatment`` must be among them, with products where its effect may vary.
    replicates
        Bootstrap samples of persons behind the standard errors; limits are normal. At least 2.

    Raises
    ------
    NotEstimableError
        ``single_arm``, what the Cox models raise, or ``bootstrap_not_estimable`` where they fail in a tenth of the
        samples.

    References
    ----------
    Efron B, Tibshirani R (1993), An Introduction to the Bootstrap, doi:10.1201/9780429246593.
    """
    names = list(dict.fromkeys(name for term in parse_terms(terms) for name in term.variables))
    if treatment not in names or replicates < 2:
        raise StudyError(f"terms must name {treatment!r}, and replicates = {replicates} be at least 2")
    persons = as_lazy(frame).select(list(dict.fromkeys([*names, time, cause]))).collect()
    treated = treatment_of(persons, treatment)
    if treated.all() or not treated.any():
        raise NotEstimableError("single_arm: everybody is treated, or nobody is")
    persons = persons.with_columns(pl.Series(treatment, treated))
    query = (treatment, terms, time, cause, horizon, cause_of_interest)
    one, zero = _risks(persons, *query)
    samples = _bootstrap(persons, query, replicates, seed)
    deviation = (samples - samples.mean(axis=0)) / np.sqrt(len(samples) - 1)
    arms = [
        Estimated("risk", name, value, deviation[:, i], False)
        for i, (name, value) in enumerate(zip(ARMS, (one, zero), strict=True))
    ]
    found = [*arms, *contrasts(*arms)]
    method = f"standardised over cause-specific Cox models of {terms}; {len(samples)} bootstrap samples of persons"
    return lay_out(found, np.column_stack([each.gradient for each in found]), horizon, level, method)


def _bootstrap(persons: pl.DataFrame, query: tuple[Any, ...], replicates: int, seed: int) -> Floats:
    """Return both risks in every sample in which they can be estimated, (samples, 2)."""
    found = []
    for draw in range(replicates):
        chosen = np.random.default_rng([seed, draw]).integers(0, len(persons), len(persons))
        try:
            found.append(_risks(persons[np.sort(chosen)], *query))
        except NotEstimableError:
            continue
    if len(found) < 0.9 * replicates:
        raise NotEstimableError(f"bootstrap_not_estimable: in {replicates - len(found)} of {replicates} samples")
    return np.asarray(found)


def _risks(
    persons: pl.DataFrame, treatment: str, terms: str, time: str, cause: str, horizon: float, code: int
) -> tuple[float, float]:
    """Return the mean predicted risk with everybody treated, and with nobody."""
    fit = fit_cause_specific(persons, time, cause, terms=terms)
    if code not in fit.estimates:
        raise NotEstimableError("no_events")
    covariates = [name for term in fit.design.terms for name in term.variables]
    patterns = persons.group_by(list(dict.fromkeys(covariates))).len("persons").sort(pl.all())
    return _mean_risk(fit, patterns, treatment, True, horizon, code), _mean_risk(
        fit, patterns, treatment, False, horizon, code
    )


def _mean_risk(
    fit: CauseSpecificFit, patterns: pl.DataFrame, treatment: str, value: bool, horizon: float, code: int
) -> float:
    position = list(fit.estimates).index(code)
    total = 0.0
    for block in patterns.with_columns(pl.lit(value).alias(treatment)).iter_slices(BLOCK):
        risks = fit.cumulative_incidence(block, [horizon])[0][position, 0]
        total += float(risks @ block["persons"].to_numpy())
    return total / float(patterns["persons"].sum())
