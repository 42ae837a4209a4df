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

    Risk sets are ``(entry, time]`` in days after index. ``cause`` is 0 for censored, else the position in ``causes``,
    counted from 1: the outcome, then what competes with it. Rows are persons: for the data holder only, never part of
    a report.
    """

    parts: tuple[pl.DataFrame, ...]
    causes: tuple[str, ...]
    landmark: int
    variables: Mapping[str, VariableType]

    def lazy(self) -> pl.LazyFrame:
        """Return all rows in person order."""
        return pl.concat(self.parts, how="vertical").lazy().sort(KEY)

    @property
    def outcome(self) -> str:
        """Return the outcome's name: cause 1."""
        return self.causes[0]

    @property
    def entry(self) -> str | None:
        """Return the column of entry days, or none when everybody is at risk from day 0.

        With an entry, survival functions want ``entry < time``; without one, an event on day 0 counts.
        """
        return "entry" if self.landmark > 0 else None
