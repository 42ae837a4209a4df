"""From a frame with named roles (duration, event, entry, …) to the arrays of a Cox model; polars or pandas.

pandas is not imported: a pandas column is asked for its numpy values, or handed to polars.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import InputRefusedError, StudyError
from cohort.frames import require_distinct
from cohort.survival.cox_columns import Columns
from cohort.survival.cox_model import Follow
from cohort.survival.cox_newton import Penalty
from cohort.survival.cox_sums import workers
from cohort.survival.design import Term, design_matrix, parse_terms

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns of the frame play which part; None where the model has none."""

    duration: str
    event: str | None = None
    entry: str | None = None
    weights: str | None = None
    cluster: str | None = None
    offset: str | None = None
    identity: str | None = None
    strata: tuple[str, ...] = ()

    @property
    def named(self) -> set[str | None]:
        """Return every column that is not a covariate."""
        single = {self.duration, self.event, self.entry, self.weights, self.cluster, self.offset, self.identity}
        return single | set(self.strata)


@dataclass(frozen=True, slots=True)
class Regressors:
    """How covariates come out of a frame: columns by name, or terms with the levels seen in the training frame."""

    columns: tuple[str, ...]
    terms: tuple[Term, ...] | None
    levels: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, frame: Any, roles: Roles, formula: str | None) -> Regressors:
        """Take the formula's terms, or without one every column that has no other role.

        As in R and lifelines, products come after the single variables, and the levels of a categorical column in
        their declared order (of text: sorted), the first being the reference.
        """
        if formula is None:
            return cls(tuple(name for name in frame.columns if name not in roles.named), None, {})
        terms = tuple(sorted(parse_terms(formula), key=lambda term: len(term.variables)))
        columns = tuple(dict.fromkeys(name for term in terms for name in term.variables))
        if absent := [name for name in columns if name not in frame.columns]:
            raise StudyError(f"the formula names {', '.join(absent)}, which the frame does not have")
        levels = {name: declared for name in columns if (declared := _declared_levels(frame[name]))}
        return cls(columns, terms, design_matrix(as_polars(frame, columns), terms, levels=levels).levels)

    def matrix(self, frame: Any) -> tuple[Columns, tuple[str, ...]]:
        """Return covariates, shape (n, p), and their names."""
        if self.terms is None:
            return _stack(frame, self.columns), self.columns
        design = design_matrix(as_polars(frame, self.columns), self.terms, levels=self.levels)
        return Columns.of(design.matrix), design.names

    def term_of(self, frame: Any) -> Sequence[int] | None:
        """Return the index of the term each column belongs to, or None where each column is a term."""
        if self.terms is None:
            return None
        return design_matrix(as_polars(frame[:1], self.columns), self.terms, levels=self.levels).term_of


@dataclass(frozen=True, slots=True)
class Training:
    """A frame as arrays: covariates (n, p) and their names, follow-up, cluster codes (n,), and labels of strata."""

    x: Columns
    names: tuple[str, ...]
    follow: Follow
    cluster: NDArray[np.int64] | None
    strata: list[Hashable]

    @classmethod
    def of(cls, frame: Any, roles: Roles, regressors: Regressors) -> Training:
        """Read a frame; text, missing and infinite values where numbers belong are refused by count."""
        x, names = regressors.matrix(frame)
        stratum, labels = stratum_codes(frame, roles.strata)
        follow = Follow(
            time=numbers(frame, roles.duration),
            event=np.ones(len(frame)) if roles.event is None else numbers(frame, roles.event),
            entry=None if roles.entry is None else numbers(frame, roles.entry),
            stratum=stratum,
            weight=None if roles.weights is None else numbers(frame, roles.weights).astype(float),
            offset=None if roles.offset is None else numbers(frame, roles.offset).astype(float),
        )
        return cls(x, names, follow, None if roles.cluster is None else codes(frame, roles.cluster), labels)


def lifelines_penalty(x: Columns, penalizer: float | Floats, l1_ratio: float) -> Penalty | None:
    """Return lifelines' penalty, which is on coefficients of standardised covariates and grows with n.

    ``n * penalizer * ((1 - l1_ratio) / 2 b² + l1_ratio |b|)``, where b is per standard deviation of its column.
    """
    strength = np.broadcast_to(np.asarray(penalizer, dtype=float), (x.shape[1],))
    if (strength < 0).any() or not np.isfinite(strength).all():
        raise StudyError("penalizer must be a number, or one number for each covariate, that is not negative")
    if not strength.any():
        return None
    spread = x.each(lambda column: float(column.std(ddof=1)))
    return Penalty(x.shape[0] * strength * (1 - l1_ratio) * spread**2, x.shape[0] * strength * l1_ratio * spread)


def numbers(frame: Any, name: str) -> NDArray[np.generic]:
    """Return a numeric or Boolean column as an array; missing values become NaN."""
    values = np.asarray(_column(frame, name).to_numpy())
    if values.dtype.kind in "biuf":
        return values
    column = as_polars(frame, (name,))[name]  # nullable columns of pandas with a missing value arrive as objects
    numeric = column.dtype.is_numeric() or column.dtype == pl.Boolean
    if not (numeric or column.null_count() == len(column)):
        raise InputRefusedError(f"column {name} is {column.dtype}; it must be a number or Boolean (or be in a formula)")
    return cast("NDArray[np.generic]", column.cast(pl.Float64).to_numpy())


def codes(frame: Any, name: str) -> NDArray[np.int64]:
    """Return a column of identifiers as whole numbers, its own or codes; missing identifiers are refused."""
    values = np.asarray(_column(frame, name).to_numpy())
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    return stratum_codes(frame, (name,))[0]  # type: ignore[return-value]  # None only without names


def stratum_codes(frame: Any, names: tuple[str, ...]) -> tuple[NDArray[np.int64] | None, list[Hashable]]:
    """Return each row's stratum 0 … S - 1 in sorted order, and the labels: a value, or a tuple of several columns'."""
    if not names:
        return None, []
    for name in names:
        _column(frame, name)
    table = as_polars(frame, names)
    if missing := table.height - table.drop_nulls().height:
        raise InputRefusedError(f"column {', '.join(names)} is missing in {missing} rows")
    distinct = table.unique().sort(names).with_row_index("_code")
    found = table.join(distinct, on=names, how="left", maintain_order="left")["_code"]
    labels = distinct.drop("_code").rows()
    return found.cast(pl.Int64).to_numpy(), [row[0] if len(names) == 1 else row for row in labels]


def as_polars(frame: Any, columns: Sequence[str]) -> pl.DataFrame:
    """Return some columns of a polars or pandas frame as polars; NaN of pandas becomes null."""
    if isinstance(frame, pl.DataFrame):
        return frame.select(columns)
    return cast("pl.DataFrame", pl.from_pandas(frame[list(columns)]))


def _declared_levels(column: Any) -> tuple[str, ...]:
    """Return the levels of a categorical of pandas or an Enum of polars that occur, in the order declared."""
    if isinstance(column, pl.Series) and not isinstance(column.dtype, pl.Enum):
        return ()
    seen = {str(value) for value in column.unique()}
    return tuple(level for level in map(str, getattr(column.dtype, "categories", ())) if level in seen)


def eager(frame: Any) -> Any:
    """Return a polars or pandas frame that is in memory."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if not (isinstance(frame, pl.DataFrame) or hasattr(frame, "iloc")):
        raise InputRefusedError(f"a {type(frame).__name__} is not a frame; pass polars or pandas")
    require_distinct(frame)
    return frame


def _column(frame: Any, name: str) -> Any:
    if name not in frame.columns:
        raise InputRefusedError(f"the frame has no column {name}; its columns are {', '.join(map(str, frame.columns))}")
    return frame[name]


def _stack(frame: Any, columns: tuple[str, ...]) -> Columns:
    """Return columns as float64, refusing text, missing and infinite values by count.

    Those of polars that are float64 stay where they are: polars never writes into a column that somebody reads.
    """

    def take(name: str) -> Floats:
        column = numbers(frame, name).astype(np.float64, copy=not isinstance(frame, pl.DataFrame))
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(column.sum())  # one look; a sum may overflow, so the second decides
        if not finite and (wrong := int((~np.isfinite(column)).sum())):
            raise InputRefusedError(f"column {name} is missing or infinite in {wrong} rows; fill or drop them")
        return column

    with workers() as pool:
        return Columns(tuple(pool.map(take, columns)), len(frame))
