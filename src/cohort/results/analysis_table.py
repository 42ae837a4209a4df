"""The analysis table: one row per entry with its risk interval, cause of exit and covariates."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.codes.records import KEY
from cohort.features.covariate import KNOWN, MISSING, VariableType
from cohort.features.exposure import Exposure
from cohort.features.time_varying import TimeVarying
from cohort.population.matching import SET

T = TypeVar("T")


@runtime_checkable
class Elsewhere(Protocol):
    """Parts of a table that stay on a cluster (`cohort.engines.spread`): functions go there, sums come back."""

    def lazy(self) -> pl.LazyFrame:
        """Return all rows."""

    def total(self, count: Callable[[pl.DataFrame], T], add: Callable[[T, T], T]) -> T:
        """Return the sum of a picklable count of every part."""

    def ask(self, function: Callable[[pl.DataFrame], Any], merge: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield the answers of a picklable function, mappings merged."""


@dataclass(frozen=True, slots=True)
class AnalysisTable:
    """Rows of every bucket: person_id, index_date, entry, time, cause, exit_reason and the covariates.

    A comparison adds the ``arm``. Beside a covariate that may be missing, ``<name>_missing`` says why it is null.

    Risk sets are ``(entry, time]`` in days after index. ``cause`` is 0 for censored, else the position in ``causes``,
    counted from 1: the outcome, then what competes with it. Rows are persons: for the data holder only, never part of
    a report.
    """

    parts: Sequence[pl.DataFrame] = field(repr=False)  # a repr ends up in logs, and rows are persons
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

    @property
    def elsewhere(self) -> Elsewhere | None:
        """Return the parts if they stay on a cluster."""
        return self.parts if isinstance(self.parts, Elsewhere) else None

    def lazy(self) -> pl.LazyFrame:
        """Return all rows in person order."""
        there = self.elsewhere
        rows = pl.concat(self.parts, how="vertical").lazy() if there is None else there.lazy()
        return rows.sort(*KEY, *([SET] if self.strata == SET else []))

    def total(self, count: Callable[[pl.DataFrame], T], add: Callable[[T, T], T] = operator.add) -> T:
        """Return the sum of a count of every part, taken where the parts are."""
        there = self.elsewhere
        return functools.reduce(add, map(count, self.parts)) if there is None else there.total(count, add)

    def ask(self, function: Callable[[pl.DataFrame], Any]) -> Iterator[Any]:
        """Yield a picklable function of every part, which has a Boolean ``event`` too, taken where the parts are.

        It is the ``map_buckets`` of `cohort.survival.fit_cox_buckets`: lanes of neighbouring parts come added up.
        """
        from cohort.survival.cox_lanes import merge

        told, there = functools.partial(_with_event, function), self.elsewhere
        if there is None:
            yield from map(told, self.parts)
        else:
            yield from there.ask(told, functools.partial(merge, close=False))

    def described(self, grouping: str | None) -> dict[str, VariableType]:
        """Return the variables of Table 1: each covariate and, where some value is missing, the reason beside it."""
        names = [f"{name}{MISSING}" for name in self.variables]
        missing = self.total(functools.partial(count_known, names))
        described: dict[str, VariableType] = {}
        for name, kind in self.variables.items():
            if name != grouping:
                described[name] = kind
                if missing[f"{name}{MISSING}"]:
                    described[f"{name}{MISSING}"] = "categorical"
        return described

    def with_reasons(self, part: pl.DataFrame) -> pl.LazyFrame:
        """Return rows in which a value that is not missing gives ``known`` as its reason: a level like the others."""
        return with_reasons(part, self.variables)

    @property
    def most_rows(self) -> int:
        """Return the most rows that one person has, 1 of an empty table."""
        return self.total(_most_rows, max)

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


def count_known(names: Sequence[str], part: pl.DataFrame) -> Counter[str]:
    """Return how many rows have a value in each of some columns, as far as there are such."""
    return Counter({name: part[name].count() for name in names if name in part.columns})


def with_reasons(part: pl.DataFrame, variables: Iterable[str]) -> pl.LazyFrame:
    """Return the rows as Table 1 counts them; see `AnalysisTable.with_reasons`."""
    reasons = [f"{name}{MISSING}" for name in variables if f"{name}{MISSING}" in part.columns]
    return part.lazy().with_columns(pl.col(reasons).fill_null(KNOWN))


def _with_event(function: Callable[[pl.DataFrame], Any], part: pl.DataFrame) -> Any:
    return function(part.with_columns(event=pl.col("cause") == 1))


def _most_rows(part: pl.DataFrame) -> int:
    return _longest_run(part["person_id"].to_numpy()) if part.height else 1


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
