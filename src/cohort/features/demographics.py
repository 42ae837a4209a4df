"""Who a person is at index: age and sex."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from cohort.time import completed_years


def age_at(tables: Mapping[str, pl.LazyFrame], entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return person_id, index_date and ``age`` (Int64, completed years at index; null without a birth date)."""
    persons = tables["person"].select("person_id", "birth_date")
    joined = entries.select("person_id", "index_date").join(persons, on="person_id", how="left")
    return joined.select("person_id", "index_date", age=completed_years(pl.col("birth_date"), pl.col("index_date")))


def sex_at(tables: Mapping[str, pl.LazyFrame], entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return person_id, index_date and ``sex`` (null when the supplier does not say)."""
    persons = tables["person"].select("person_id", "sex")
    return entries.select("person_id", "index_date").join(persons, on="person_id", how="left")
