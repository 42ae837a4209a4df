"""One spelling per code and coding system: upper case, without dots, blanks, hyphens or what cannot be seen.

Dots carry no information in any system we read: they stand after the third character of ICD-9-CM and ICD-10 codes
and after the fourth of ICD-11 stem codes. Leading zeros do carry information, so codes are text from end to end.
"""

from __future__ import annotations

import re

import polars as pl

from cohort.errors import StudyError
from cohort.store.tables import SYSTEMS

_MODIFIED = ("hcpcs", "cpt")
_EMPTY = r"[\s.\-\u{ad}\u{200b}-\u{200f}\u{202a}-\u{202e}\u{2060}-\u{2064}\u{2066}-\u{2069}\u{feff}]"
_NDC_SEGMENTS = (5, 4, 2)  # labeller, product, package


def spell_system(name: str) -> str:
    """Return the name of a coding system in the store's spelling: ``ICD-10-CM`` is ``icd10cm``.

    Raises
    ------
    StudyError
        If no coding system is called so.
    """
    spelled = re.sub(r"[^a-z0-9]", "", name.lower())
    if spelled not in SYSTEMS:
        raise StudyError(f"unknown coding system {name!r}; use one of {', '.join(SYSTEMS)}")
    return spelled


def spelled_systems(names: pl.Expr) -> pl.Expr:
    """Return a column of coding systems in the store's spelling; null where no system is called so."""
    spelled = names.cast(pl.String).str.to_lowercase().str.replace_all(r"[^a-z0-9]", "")
    return pl.when(spelled.is_in(SYSTEMS)).then(spelled)


def normalise(code: pl.Expr, system: str) -> pl.Expr:
    """Return the codes of one system in the spelling that stores and codelists share.

    Parameters
    ----------
    code
        String expression, as the supplier writes the codes.
    system
        One of `cohort.store.tables.SYSTEMS`.

    Returns
    -------
    Expr
        String; null where nothing is left. HCPCS and CPT lose a modifier written behind a hyphen (``97110-GP``).

    Raises
    ------
    StudyError
        If ``system`` is not one of `SYSTEMS`.
    """
    spelled = spell_system(system)
    return _ndc(code) if spelled == "ndc" else _without_modifier(code) if spelled in _MODIFIED else _plain(code)


def normalise_by(code: pl.Expr, system: pl.Expr) -> pl.Expr:
    """Return codes of several systems, each by the rule of its own ``system`` cell; unknown systems give null."""
    return (
        pl.when(system == "ndc")
        .then(_ndc(code))
        .when(system.is_in(_MODIFIED))
        .then(_without_modifier(code))
        .when(system.is_in(SYSTEMS))
        .then(_plain(code))
    )


def _plain(code: pl.Expr) -> pl.Expr:
    """Return codes in upper case without dots, hyphens, blanks and what cannot be seen; null where nothing is left."""
    text = code.cast(pl.String).str.to_uppercase().str.replace_all(_EMPTY, "")
    return pl.when(text != "").then(text)


def _without_modifier(code: pl.Expr) -> pl.Expr:
    return _plain(code.cast(pl.String).str.replace(r"-.*$", ""))


def _ndc(code: pl.Expr) -> pl.Expr:
    """Return NDCs in eleven digits (5-4-2), or in nine (5-4) for a product without package.

    Hyphens settle the ten-digit forms (4-4-2, 5-3-2, 5-4-1) segment by segment. Without them nine digits are a
    product, and any other short number is padded on the left: right for 4-4-2 and for zeros lost to a spreadsheet,
    except where exactly two were lost. A layout that meets such files must restore the zeros itself. ``spelled_code``
    in ``sql/ingest`` does the same to the codes of a store.
    """
    digits = code.cast(pl.String).str.replace_all(r"[^0-9\-]", "")
    segments = digits.str.split("-")
    padded = [segments.list.get(place, null_on_oob=True).str.zfill(width) for place, width in enumerate(_NDC_SEGMENTS)]
    hyphenated = pl.concat_str(padded, ignore_nulls=True)
    product = digits.str.len_chars() == sum(_NDC_SEGMENTS[:2])
    plain = pl.when(product).then(digits).otherwise(digits.str.zfill(sum(_NDC_SEGMENTS)))
    written = pl.when(digits.str.contains("-", literal=True)).then(hyphenated).otherwise(plain)
    return pl.when(digits.str.contains("[0-9]")).then(written)
