"""Covariates and products as a study file writes them, such as ``age + sex + age:sex``."""

from __future__ import annotations

from cohort.errors import StudyError
from cohort.survival.design import parse_terms


def check_terms(terms: str) -> str:
    """Refuse covariates and products that do not parse; as a ValueError it is reported with its key."""
    try:
        parse_terms(terms)
    except StudyError as error:
        raise ValueError(str(error)) from None
    return terms


def variables_of(terms: str) -> tuple[str, ...]:
    """Return the covariates that terms name, each once."""
    return tuple(dict.fromkeys(name for term in parse_terms(terms) for name in term.variables))
