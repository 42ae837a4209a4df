"""The analysis table: one row per entry with its risk interval, cause of exit and covariates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.codes.records import KEY
from cohort.features.covariate import KNOWN, MISSING, VariableType
from cohort.features.exposure import Exposure
from cohort.features.time_varying import TimeVarying
from cohort.population.matching import SET


@dataclass(frozen=True, slots=True)
class AnalysisTable:
    """Rows of every bucket: person_id, index_date, entry, time, cause, exit_reason and the covariates.

    A comparison adds the ``arm``. Beside a covariate that may be missing, ``<name>_missing`` says why it is null.

    Risk sets are ``(entry, time]`` in days after index. ``cause`` is 0 for censored, else the position in ``causes``,
    counted from 1: the outcome, then what competes with it. Rows are persons: for the data holder only, never part of
    a report.
    """

    parts: tuple[pl.DataFrame, ...] = field(repr=False)  # a repr ends up in logs, and rows are persons
    causes: tuple[str, ...]
    landmark: int
    variables: Mapping[str, VariableType]
    delayed: bool = False
    """Whether entries join the risk sets on different days."""
    repeats: bool = False
    """Whether a person may have several entries, which are not independent."""
    arms: tuple[str, ...] = ()
    """The arms of a comparison, in the study's order: values of ``arm``."""
    controls: tuple[str, ...] = ()
    """The study's negative-control outcomes: ``negative_control_1.time`` and so on are follow-up until them."""
    time_varying: tuple[TimeVarying, ...] = ()
    """The covariates that change after index: columns of days, which only analyses that weight by them read."""
    exposures: tuple[Exposure, ...] = ()
    """The treatments that may start after index: columns of days."""
    strata: str | None = None
    """The column that models are stratified by: ``matched_set`` of matched sets, the site of several."""

    def lazy(self) -> pl.LazyFrame:
        """Return all rows in person order."""
        return pl.concat(self.parts, how="vertical").lazy().sort(*KEY, *([SET] if self.strata == SET else []))

    def described(self, grouping: str | None) -> dict[str, VariableType]:
        """Return the variables of Table 1: each covariate and, where some value is missing, the reason beside it."""
        described: dict[str, VariableType] = {}
        for name, kind in self.variables.items():
            if name != grouping:
                described[name] = kind
                if any(part[f"{name}{MISSING}"].count() for part in self.parts if f"{name}{MISSING}" in part.columns):
                    described[f"{name}{MISSING}"] = "categorical"
        return described

    def with_reasons(self, part: pl.DataFrame) -> pl.LazyFrame:
        """Return rows in which a value that is not missing gives ``known`` as its reason: a level like the others."""
        reasons = [f"{name}{MISSING}" for name in self.variables if f"{name}{MISSING}" in part.columns]
        return part.lazy().with_columns(pl.col(reasons).fill_null(KNOWN))

    @property
    def most_rows(self) -> int:
        """Return the most rows that one person has, 1 of an empty table."""
        return max((_longest_run(part["person_id"].to_numpy()) for part in self.parts if part.height), default=1)

    @property
    def outcome(self) -> str:
        """Return the outcome's name: cause 1."""
        return self.causes[0]

    @property
    def entry(self) -> str | None:
        """Return the column of entry days, or none when everybody is at risk from day 0.

        With an entry, survival functions want ``entry < time``; without one, an event on day 0 counts.
        """
        return "entry" if self.landmark > 0 or self.delayed else None


FOLLOW_UP = ("entry", "time", "cause", "exit_reason")
"""What is known of the follow-up until an outcome."""


def control_column(number: int, name: str) -> str:
    """Return what the analysis table calls ``entry``, ``time`` or ``cause`` of a negative control, counted from 1."""
    return f"negative_control_{number}.{name}"


def _longest_run(values: npt.NDArray[np.int64]) -> int:
    """Return how often the commonest of some values, shape (n,) with n > 0, occurs; quick where they are sorted."""
    ordered = values if (values[1:] >= values[:-1]).all() else np.sort(values)
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return int(np.diff(np.append(starts, ordered.size)).max())
