"""The programs that the steps stand beside, as somebody would use them instead; only what is installed is timed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

ROWS = "rows.parquet"
"""The rows that the models are timed on, in the work folder."""


def rows_of(work: Path) -> pl.DataFrame:
    """Read the rows that the models are timed on."""
    import polars as pl

    return pl.read_parquet(work / ROWS)


def duckdb_copy(work: Path, persons: int) -> int:
    """Copy the claims to Parquet as text with DuckDB, without any check: the least that a loader could do."""
    import duckdb

    source, target = work / "extracts" / "medical_claim.csv", work / "copy.parquet"
    with duckdb.connect() as connection:
        connection.read_csv(str(source), all_varchar=True).write_parquet(str(target), compression="zstd")
        ((rows,),) = connection.read_parquet(str(target)).count("*").fetchall()
    target.unlink()
    return int(rows)


def lifelines_curves(work: Path, persons: int) -> int:
    """Do so with lifelines, but for the cumulative incidence, which moves tied times at random there."""
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import logrank_test

    rows = rows_of(work)
    groups = [part for _, part in rows.group_by("early_opioid")]
    for part in groups:
        KaplanMeierFitter().fit(part["time"].to_numpy(), part["event"].to_numpy(), entry=part["entry"].to_numpy())
    if len(groups) == 2:
        one, two = groups
        logrank_test(one["time"].to_numpy(), two["time"].to_numpy(), one["event"].to_numpy(), two["event"].to_numpy())
    return rows.height


def lifelines_cox(work: Path, persons: int) -> int:
    """Do so with lifelines."""
    import polars as pl
    from lifelines import CoxPHFitter

    rows = rows_of(work).with_columns(male=pl.col("sex") == "male")
    frame = rows.select("entry", "time", "event", "early_opioid", "age", "male", "charlson", "pain_sites").to_pandas()
    CoxPHFitter().fit(frame.astype(float), "time", "event", entry_col="entry")
    return rows.height
