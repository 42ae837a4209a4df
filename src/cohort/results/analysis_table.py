"""The analysis table: one row per entry with its risk interval, cause of exit and covariates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from cohort.codes.records import KEY
from cohort.features.covariates import VariableType


@dataclass(frozen=True, slots=True)
class AnalysisTable:
    """Rows of every bucket: person_id, index_date, entry, time, cause, exit_reason and the covariates.

    Risk sets are ``(entry, time]`` in days after index; ``cause`` is 0 for censored, 1 for the outcome, 2 for what
    competes with it. Rows are persons: for the data holder only, never part of a report.
    """

    parts: tuple[pl.DataFrame, ...]
    outcome: str
    competes: bool
    landmark: int
    variables: Mapping[str, VariableType]

    def lazy(self) -> pl.LazyFrame:
        """Return all rows in person order."""
        return pl.concat(self.parts, how="vertical").lazy().sort(KEY)

    @property
    def entry(self) -> str | None:
        """Return the column of entry days, or none when everybody is at risk from day 0.

        With an entry, survival functions want ``entry < time``; without one, an event on day 0 counts.
        """
        return "entry" if self.landmark > 0 else None
