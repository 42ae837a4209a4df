"""One spelling per code and coding system: upper case, without dots, blanks or hyphens; NDC in eleven digits.

Dots carry no information in any system we read: they stand after the third character of ICD-9-CM and ICD-10 codes
and after the fourth of ICD-11 stem codes. Leading zeros do carry information, so codes are text from end to end.
"""

from __future__ import annotations

import polars as pl

from cohort.errors import StudyError
from cohort.store.tables import SYSTEMS

_MODIFIED = ("hcpcs", "cpt")
_NDC_SEGMENTS = (5, 4, 2)  # labeller, product, package


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
    if system not in SYSTEMS:
        raise StudyError(f"unknown coding system {system!r}; use one of {', '.join(SYSTEMS)}")
    text = code.cast(pl.String).str.to_uppercase().str.replace_all(r"\s", "")
    if system == "ndc":
        text = _ndc(text)
    elif system in _MODIFIED:
        text = text.str.replace(r"-.*$", "")
    text = text.str.replace_all(r"[.\-]", "")
    return pl.when(text != "").then(text)


def normalise_by(code: pl.Expr, system: pl.Expr) -> pl.Expr:
    """Return codes of several systems, each by the rule of its own ``system`` cell; unknown systems give null."""
    return pl.coalesce(pl.when(system == name).then(normalise(code, name)) for name in SYSTEMS)


def _ndc(text: pl.Expr) -> pl.Expr:
    """Return NDCs in eleven digits (5-4-2), or in nine (5-4) for a product without package.

    Hyphens settle the ten-digit forms (4-4-2, 5-3-2, 5-4-1) segment by segment. Without them nine digits are a
    product, and any other short number is padded on the left: right for 4-4-2 and for zeros lost to a spreadsheet,
    except where exactly two were lost. A layout that meets such files must restore the zeros itself.
    """
    digits = text.str.replace_all(r"[^0-9\-]", "")
    segments = digits.str.split("-")
    padded = [segments.list.get(place, null_on_oob=True).str.zfill(width) for place, width in enumerate(_NDC_SEGMENTS)]
    hyphenated = pl.concat_str(padded, ignore_nulls=True)
    whole = digits.str.len_chars().is_in([0, sum(_NDC_SEGMENTS[:2])])
    plain = pl.when(whole).then(digits).otherwise(digits.str.zfill(sum(_NDC_SEGMENTS)))
    return pl.when(digits.str.contains("-", literal=True)).then(hyphenated).otherwise(plain)
