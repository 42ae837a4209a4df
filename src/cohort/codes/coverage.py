"""What a codelist does on given rows: which of its rows decide, which codes it misses, what a new version changes."""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.match import decisions, matches


def coverage(frame: pl.LazyFrame, codelist: Codelist) -> pl.LazyFrame:
    """Return, for each row of the list, what it decides; zeros point to codes that the data never use.

    Parameters
    ----------
    frame
        Normalised String columns ``system`` and ``code``; one row per record, or per code with Int64 ``rows``.

    Returns
    -------
    LazyFrame
        ``system, code, category`` of the list, ``codes`` (distinct codes for which it is the longest row) and ``rows``
        (their rows in the frame), Int64; rows labelled ``excluded`` are shown too; sorted.
    """
    decided = decisions(frame, codelist)
    used = frame.group_by("system", "code").agg(rows=_rows(frame))
    counted = (
        decided.join(used, on=["system", "code"])
        .group_by("category", system="listed", code="prefix")
        .agg(codes=pl.len().cast(pl.Int64), rows=pl.col("rows").sum())
    )
    listed = codelist.rows.lazy().select("system", "code", "category").unique()
    return (
        listed.join(counted, on=["system", "code", "category"], how="left")
        .with_columns(pl.col("codes", "rows").fill_null(0))
        .sort("system", "code", "category")
    )


def orphans(frame: pl.LazyFrame, codelist: Codelist, like: Codelist) -> pl.LazyFrame:
    """Return the codes that a broader list contains and this one does not, most frequent first.

    Codes that this list excludes on purpose are no orphans.

    Parameters
    ----------
    frame
        As for `coverage`.
    like
        What counts as akin, such as the shipped ``pain_conditions`` for a list of one kind of pain.

    Returns
    -------
    LazyFrame
        ``system, code, rows`` (Int64).
    """
    decided = decisions(frame, codelist).select("system", "code")
    return (
        matches(frame, like)
        .join(decided, on=["system", "code"], how="anti")
        .group_by("system", "code")
        .agg(rows=_rows(frame))
        .sort("rows", "system", "code", descending=[True, False, False])
    )


def _rows(frame: pl.LazyFrame) -> pl.Expr:
    counted = "rows" in frame.collect_schema().names()
    return (pl.col("rows").sum() if counted else pl.len()).cast(pl.Int64)


def compare(old: Codelist, new: Codelist) -> pl.DataFrame:
    """Return what a new version of a list changes: ``change`` (added, removed), ``system, code, category``; sorted.

    A code that changed its label is both removed and added. Terms and sources may change without a row here.
    """
    key = ["system", "code", "category"]
    before, after = (version.rows.select(key).unique() for version in (old, new))
    return pl.concat(
        [
            after.join(before, on=key, how="anti").select(pl.lit("added").alias("change"), *key),
            before.join(after, on=key, how="anti").select(pl.lit("removed").alias("change"), *key),
        ]
    ).sort("system", "code", "category", "change")
