"""Concept sets as codelists: concepts of the store's coding systems, with descendants where they can be known.

In a hierarchical system the codes that begin with a code are its descendants, and a row of a codelist stands for all
of them. Elsewhere (SNOMED, RxNorm) only a vocabulary knows them, so a table of descendants has to be given.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from cohort.circe.node import Node
from cohort.codes.codelist import EXCLUDED, PREFIX_SYSTEMS, Codelist
from cohort.codes.normalise import normalise
from cohort.errors import StudyError

SYSTEMS = {
    "SNOMED": "snomed",
    "ICD10CM": "icd10cm",
    "ICD10": "icd10",
    "ICD9CM": "icd9cm",
    "ATC": "atc",
    "RxNorm": "rxnorm",
    "NDC": "ndc",
    "HCPCS": "hcpcs",
    "CPT4": "cpt",
    "ICD10PCS": "icd10pcs",
    "ICD9Proc": "icd9proc",
}
"""OHDSI's name of a vocabulary → the store's name of the coding system."""

Descendants = Mapping[tuple[str, str], frozenset[str]]
"""(system, code) → the codes below it, of the same system."""

SAID = ("CONCEPT_ID", "CONCEPT_NAME", "STANDARD_CONCEPT", "STANDARD_CONCEPT_CAPTION", "INVALID_REASON",
         "INVALID_REASON_CAPTION", "DOMAIN_ID", "CONCEPT_CLASS_ID", "VALID_START_DATE", "VALID_END_DATE",
        "VOCABULARY_ID", "CONCEPT_CODE")  # fmt: skip
"""The keys of a concept, most of which only describe it."""


def read_descendants(path: str | Path | None) -> Descendants:
    """Read a CSV file with header system, code, descendant, in the store's spelling of systems.

    Raises
    ------
    StudyError
        If the file is missing or has another header.
    """
    if path is None:
        return {}
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError):
        raise StudyError(f"{path}: cannot be read as CSV; give a file with system, code, descendant") from None
    if rows.columns != ["system", "code", "descendant"]:
        raise StudyError(f"{path}: the header is not system, code, descendant")
    found: dict[tuple[str, str], set[str]] = {}
    for system, code, below in rows.drop_nulls().iter_rows():
        found.setdefault((system, _spelled(system, code)), set()).add(_spelled(system, below))
    return {key: frozenset(codes) for key, codes in found.items()}


def codelists(expression: Node, descendants: Descendants) -> dict[int, Codelist | None]:
    """Return the concept sets of an expression by their number; what cannot be said is refused, and is none."""
    found: dict[int, Codelist | None] = {}
    for concept_set in expression.children("ConceptSets"):
        number = concept_set.take("id", int)
        name = concept_set.take("name", str) or f"concept set {number}"
        body = concept_set.child("expression")
        items = [_item(item, descendants) for item in body.children("items")]
        body.close()
        concept_set.close()
        rows = _rows([item for item in items if item is not None])
        if number is None or not items:
            concept_set.refuse("a concept set needs a number and a concept")
        else:
            source = f"concept set {number} of a Circe expression"
            found[number] = (
                None if not rows else Codelist.from_rows(_slug(name), [row | {"source": source} for row in rows])
            )
    return found


def _spelled(system: str, code: str) -> str:
    return str(pl.select(normalise(pl.lit(code), system)).item() or "")


def _slug(name: str) -> str:
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def _item(item: Node, descendants: Descendants) -> tuple[str, frozenset[str], str, bool] | None:
    """Return system, codes, term and whether they are taken out; nothing if that cannot be said."""
    concept = item.child("concept")
    vocabulary, code = concept.take("VOCABULARY_ID", str, ""), concept.take("CONCEPT_CODE", str, "")
    term = concept.take("CONCEPT_NAME", str, "")
    concept.ignore(*SAID)
    concept.close()
    excluded = item.take("isExcluded", bool, default=False)
    below = item.take("includeDescendants", bool, default=False)
    item.must_be("includeMapped", False, because="mapped source codes are not known without a vocabulary")
    item.close()
    system = SYSTEMS.get(vocabulary)
    if system is None or not code:
        concept.refuse(f"vocabulary {vocabulary!r} is no coding system of the store", "VOCABULARY_ID")
        return None
    return system, _codes(item, system, _spelled(system, code), descendants, below=below), term, excluded


def _codes(item: Node, system: str, code: str, descendants: Descendants, *, below: bool) -> frozenset[str]:
    if system in PREFIX_SYSTEMS:
        if not below:
            item.refuse(f"a code of {system} stands for all that begin with it; include the descendants")
        return frozenset({code})
    if below and (system, code) not in descendants:
        item.refuse(
            f"what lies below a concept of {system} is not known; give a table of descendants", "includeDescendants"
        )
    return frozenset({code, *(descendants.get((system, code), ()) if below else ())})


def _rows(items: list[tuple[str, frozenset[str], str, bool]]) -> list[dict[str, str]]:
    """Return the rows of a codelist: what is included, without what is excluded or lies below it."""
    out = {(system, code) for system, codes, _, excluded in items if excluded for code in codes}
    rows = [
        {"system": system, "code": code, "term": term, "category": ""}
        for system, codes, term, excluded in items
        if not excluded
        for code in sorted(codes)
        if not _below(system, code, out)
    ]
    taken = [{"system": system, "code": code, "term": "", "category": EXCLUDED} for system, code in sorted(out)]
    return [*rows, *(row for row in taken if row["system"] in PREFIX_SYSTEMS)] if rows else []


def _below(system: str, code: str, out: set[tuple[str, str]]) -> bool:
    if system not in PREFIX_SYSTEMS:
        return (system, code) in out
    return any(other == system and code.startswith(above) for other, above in out)
