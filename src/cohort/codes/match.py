"""Which rows of a table carry a codelist's labels: longest prefix, then join.

The rule, once for every feature:

* A row of the list matches codes of **its own coding system** only. A list that should hold in ICD-10 and in
  ICD-10-CM has rows for both; the systems swap meanings under the same code (K58.1), so neither stands in for the
  other. CPT and HCPCS are one system under two names and match each other.
* In the hierarchical systems (`PREFIX_SYSTEMS`) a row matches every code that begins with it; elsewhere only the code
  itself.
* Of several matching rows the **longest code** wins, with all its labels; shorter ones are refined by it. A code whose
  longest row is labelled ``excluded`` does not match. Lists whose labels do not exclude each other, such as
  comorbidity maps, first pass labels down with `Codelist.inherited`.
"""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import EXCLUDED, PREFIX_SYSTEMS, Codelist


def label(
    frame: pl.LazyFrame, codelist: Codelist, *, code: str = "code", system: str = "system", into: str = "category"
) -> pl.LazyFrame:
    """Return the rows whose code the list contains, once per label, with the label added.

    Parameters
    ----------
    frame
        Rows with normalised String columns ``code`` and ``system``; nulls match nothing.
    into
        Name of the label column, String.
    """
    labels = _labels(frame, codelist, code, system).select(system, code, pl.col("category").alias(into))
    return possible(frame, codelist, code=code).join(labels, on=[system, code])


def matches(frame: pl.LazyFrame, codelist: Codelist, *, code: str = "code", system: str = "system") -> pl.LazyFrame:
    """Return the rows whose code the list contains, each once however many labels it carries."""
    rows = possible(frame, codelist, code=code)
    return rows.join(_labels(frame, codelist, code, system), on=[system, code], how="semi")


def possible(frame: pl.LazyFrame, codelist: Codelist, *, code: str = "code") -> pl.LazyFrame:
    """Return the rows whose code begins like one of the list: all that can match, and some that do not.

    A Parquet reader decides this once per distinct code of a row group, so that the rest of the rows are not even
    decoded; matching what is left takes a fraction of the time.
    """
    codes = codelist.rows["code"]
    shortest = min(map(len, codes), default=0)
    return frame.filter(pl.col(code).str.head(shortest).is_in(codes.str.head(shortest).unique().implode()))


def decisions(frame: pl.LazyFrame, codelist: Codelist, *, code: str = "code", system: str = "system") -> pl.LazyFrame:
    """Return the distinct codes of a frame with the list's rows that decide about them, ``excluded`` included.

    Columns ``system, code, category``, and of the deciding row ``prefix``, its code, and ``listed``, its system. Codes
    repeat thousandfold, so the matching is done once per distinct code and joined back.
    """
    entries = codelist.entries.rename({"code": "prefix"})
    lengths = pl.DataFrame({"length": entries["prefix"].str.len_chars().unique().cast(pl.Int64)})
    whole = pl.col("length") == pl.col(code).str.len_chars()
    return (
        possible(frame, codelist, code=code)
        .select(system, code)
        .unique()
        .filter(pl.col(system).is_in(entries["system"].unique().implode()))
        .join(lengths.lazy(), how="cross")
        .filter(whole | ((pl.col("length") < pl.col(code).str.len_chars()) & pl.col(system).is_in(PREFIX_SYSTEMS)))
        .with_columns(prefix=pl.col(code).str.head(pl.col("length")))
        .join(entries.lazy(), left_on=[system, "prefix"], right_on=["system", "prefix"])
        .filter(pl.col("length") == pl.col("length").max().over(system, code))
        .select(system, code, "category", "prefix", "listed")
    )


def _labels(frame: pl.LazyFrame, codelist: Codelist, code: str, system: str) -> pl.LazyFrame:
    """Return the distinct codes that the list contains, once per label."""
    return decisions(frame, codelist, code=code, system=system).filter(pl.col("category") != EXCLUDED)
