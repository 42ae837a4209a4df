"""When a person is observed: enrolment spans with short gaps bridged."""

from __future__ import annotations

import polars as pl

from cohort.codes.bucket_tables import remembered
from cohort.codes.records import Tables
from cohort.features.intervals import union


def spans(tables: Tables, bridge_days: int) -> pl.LazyFrame:
    """Return person_id, start_date, end_date of observed spans, gaps of up to ``bridge_days`` days bridged."""
    return remembered(tables, ("spans", bridge_days), None, lambda: union(tables["enrolment"], bridge_days=bridge_days))
