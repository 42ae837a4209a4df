"""What a follow-up row must look like before it is counted; everything else is refused, with counts only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, require_columns
from cohort.survival.exact import LARGEST_WEIGHT, SMALLEST_WEIGHT

LARGEST = {"time": 2.0**53, "entry": 2.0**53, "weight": LARGEST_WEIGHT}
"""Beyond 2**53 whole numbers are no longer exact."""
By = str | Sequence[str] | None
"""One grouping column, several, or none."""


@dataclass(frozen=True, slots=True)
class Observations:
    """Checked rows: ``time, cause``, where asked for ``entry, weight``, and the columns of ``by`` and ``strata``.

    ``causes`` are the event codes that were declared, None where any are taken.
    """

    rows: pl.DataFrame
    by: tuple[str, ...]
    strata: tuple[str, ...]
    causes: tuple[int, ...] | None

    @property
    def weighted(self) -> bool:
        """Whether rows carry weights."""
        return "weight" in self.rows.columns


def observe(
    frame: Any,
    time: str,
    cause: str,
    by: By = None,
    entry: str | None = None,
    weights: str | None = None,
    causes: Sequence[int] | None = None,
    strata: By = None,
) -> Observations:
    """Read the columns of a follow-up frame and refuse what cannot be counted.

    Parameters
    ----------
    frame
        Any frame that ``cohort.frames.as_lazy`` takes; one row per person (or per stretch of follow-up).
    time, entry
        Columns of whole days (or other non-negative times); a row is at risk in ``(entry, time]``.
    cause
        Column of event codes, 0 = censored; boolean, or whole numbers.
    causes
        The codes allowed besides 0; those found when not given.

    Raises
    ------
    InputRefusedError
        On missing, negative or infinite times and weights, ``entry`` after ``time`` or on the day of an event,
        undeclared codes, missing groups.
    """
    grouping = {f"by[{i}]": name for i, name in enumerate(_names(by))}
    layers = {f"strata[{i}]": name for i, name in enumerate(_names(strata))}
    lazy = as_lazy(frame)
    asked = {"time": time, "event or cause": cause, "entry": entry, "weights": weights}
    asked |= grouping | layers
    require_columns(lazy, {parameter: name for parameter, name in asked.items() if name is not None})
    columns = (
        {"time": time, "cause": cause} | ({"entry": entry} if entry else {}) | ({"weight": weights} if weights else {})
    )
    # columns take the name of their role, so that a grouping column called "time" does not collide with the clock
    rows = lazy.select(pl.col(name).alias(role) for role, name in (columns | grouping | layers).items()).collect()
    rows = rows.with_columns(pl.col(name).cast(pl.Float64) for name in columns if rows.schema[name].is_decimal())
    _require_types(rows, columns)
    _refuse(rows, columns, causes)
    rows = _whole_days(rows.with_columns(pl.col("cause").cast(pl.Int64) if rows["cause"].dtype.is_float() else []))
    declared = None if causes is None else tuple(sorted(int(code) for code in causes))
    return Observations(rows, tuple(grouping), tuple(layers), declared)


def _names(columns: By) -> tuple[str, ...]:
    return () if columns is None else (columns,) if isinstance(columns, str) else tuple(columns)


def _require_types(rows: pl.DataFrame, columns: dict[str, str]) -> None:
    for role, name in columns.items():
        dtype = rows.schema[role]
        if not (dtype.is_numeric() or (role == "cause" and dtype == pl.Boolean)):
            raise InputRefusedError(f"column {name!r} ({role}) is {dtype}; it must be a number")


def _refuse(rows: pl.DataFrame, columns: dict[str, str], causes: Sequence[int] | None) -> None:
    """Raise on the rows that cannot be counted; one scan for the rules that may be broken."""
    rules = {f"{role}: missing": pl.col(role).is_null() for role in rows.columns if rows[role].null_count()}
    for role in [name for name in ("time", "entry", "weight") if name in columns]:
        low, high = rows[role].min(), rows[role].max()  # without NaN, which the last rule finds
        if low is not None and low < 0:  # type: ignore[operator]  # numbers: checked before
            rules[f"{role}: negative"] = pl.col(role) < 0
        if high is not None and high > LARGEST[role]:  # type: ignore[operator]
            rules[f"{role}: above {LARGEST[role]:.0e}"] = pl.col(role) > LARGEST[role]
        if rows.schema[role].is_float():
            rules[f"{role}: not finite"] = ~pl.col(role).is_finite()
    if "entry" in columns:
        # a censored follow-up of 0 days counts in n; an event on the day of entry finds its own row not yet at risk
        rules["entry: after time"] = pl.col("entry") > pl.col("time")
        rules["entry: on the day of the event"] = (pl.col("entry") == pl.col("time")) & pl.col("cause").cast(pl.Boolean)
    if "weight" in columns:
        rules["weight: too small to square"] = (pl.col("weight") > 0) & (pl.col("weight") < SMALLEST_WEIGHT)
    if (undeclared := _undeclared(rows["cause"], causes)) is not None:
        rules["cause: undeclared code"] = undeclared
    found = rows.select(rule.sum().alias(name) for name, rule in rules.items()).rows(named=True)
    faults = [(name, n) for row in found for name, n in row.items() if n]
    if faults:
        named = [f"{columns.get(name.split(':')[0], name.split(':')[0])} ({name}): {n} rows" for name, n in faults]
        raise InputRefusedError("follow-up rows refused: " + "; ".join(named) + "; repair or exclude them first")


def _undeclared(cause: pl.Series, causes: Sequence[int] | None) -> pl.Expr | None:
    """Return the rule that finds codes other than 0 and the declared ones; None where there are none."""
    code, low, high = pl.col("cause"), cause.min(), cause.max()
    if cause.dtype == pl.Boolean:
        return code if causes is not None and 1 not in causes else None
    declared = sorted({0, *causes}) if causes is not None else None
    gapless = declared is None or declared == list(range(len(declared)))
    inside = low is None or (low >= 0 and (declared is None or high <= declared[-1]))  # type: ignore[operator]
    if cause.dtype.is_integer() and gapless and inside:
        return None
    if declared is not None:
        return ~code.cast(pl.Float64).is_in([float(known) for known in declared])
    return (code < 0) | (code.cast(pl.Float64) != code.cast(pl.Float64).floor())


def _whole_days(rows: pl.DataFrame) -> pl.DataFrame:
    """Return float times as Int64 when all of them are whole, so that ties are exact and the fast path applies."""
    clocks = [name for name in ("time", "entry") if name in rows.columns]
    floats = [name for name in clocks if rows.schema[name].is_float()]
    if not floats:
        return rows
    whole = rows.select(pl.all_horizontal((pl.col(name) == pl.col(name).floor()).all() for name in floats)).item()
    return rows.with_columns(pl.col(clocks).cast(pl.Int64 if whole else pl.Float64))
