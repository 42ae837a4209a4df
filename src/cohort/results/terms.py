"""Covariates and products as a study file writes them, such as ``age + sex + age:sex``."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from cohort.errors import StudyError
from cohort.survival.design import parse_terms


def check_terms(terms: str) -> str:
    """Refuse covariates and products that do not parse; as a ValueError it is reported with its key."""
    try:
        parse_terms(terms)
    except StudyError as error:
        raise ValueError(str(error)) from None
    return terms


def split_terms(terms: str, changing: Collection[str]) -> tuple[str, str]:
    """Return the terms of what is known at index, and those of which a part changes after it."""
    parsed = parse_terms(terms)
    moves = [bool(set(term.variables) & set(changing)) for term in parsed]
    fixed, moving = (
        " + ".join(term.name for term, moved in zip(parsed, moves, strict=True) if moved == side)
        for side in (False, True)
    )
    return fixed, moving


def renamed(terms: str, names: Mapping[str, str]) -> str:
    """Return terms with some covariates called otherwise."""
    return " + ".join(":".join(names.get(name, name) for name in term.variables) for term in parse_terms(terms))


def variables_of(terms: str) -> tuple[str, ...]:
    """Return the covariates that terms name, each once."""
    return tuple(dict.fromkeys(name for term in parse_terms(terms) for name in term.variables))
