"""The border for other people's frames: anything tabular in, polars inside, the caller's kind of laziness out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl

from cohort.errors import InputRefusedError


def as_lazy(frame: Any) -> pl.LazyFrame:
    """Return any tabular object as a ``LazyFrame``.

    Parameters
    ----------
    frame
        polars frame (eager or lazy), DuckDB relation, pandas frame, mapping of columns, or any object with
        ``__arrow_c_stream__``.

    Raises
    ------
    InputRefusedError
        If the object is none of these, two of its columns share a name, or one has cells of several kinds.
    """
    if isinstance(frame, pl.LazyFrame):
        return frame
    if isinstance(frame, pl.DataFrame):
        return frame.lazy()
    if (
        type(frame).__name__ == "DuckDBPyRelation"
    ):  # its Arrow stream arrives as one struct column, so ask it for polars
        return as_lazy(frame.pl())
    if isinstance(frame, Mapping) or hasattr(frame, "__arrow_c_stream__"):
        require_distinct(frame)
        made = _converted(frame)
        # pandas calls a column without values and without a type a float
        return (made if made.height else made.cast({pl.Float64: pl.Null})).lazy()
    raise InputRefusedError(
        f"a {type(frame).__name__} is not a frame; pass a polars, pandas or Arrow table, a DuckDB relation, "
        "or a mapping of columns"
    )


def _converted(frame: Any) -> pl.DataFrame:
    try:
        return pl.DataFrame(frame)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):  # Arrow's own are of these
        raise InputRefusedError(
            "the frame cannot be read: a column holds values of several kinds, such as text and numbers, or columns "
            "differ in length; give every column one type and one value per row"
        ) from None


def require_distinct(frame: Any) -> None:
    """Refuse a pandas frame or Arrow table in which two columns share a name; other frames cannot have such."""
    names = list(frame.columns) if hasattr(frame, "iloc") else getattr(frame, "column_names", [])
    if doubled := sorted({str(name) for name in names if list(names).count(name) > 1}):
        raise InputRefusedError(f"more than one column is called {', '.join(doubled)}; rename or drop all but one")


def like(frame: Any, result: pl.LazyFrame) -> Any:
    """Return ``result`` lazy when the caller's frame was lazy, collected otherwise."""
    return result if isinstance(frame, pl.LazyFrame) else result.collect()


def in_order(frame: pl.LazyFrame, keys: Sequence[str]) -> pl.LazyFrame:
    """Return the rows sorted by ``keys``, as they are where they already lie in that order.

    A store's rows do, and looking is twenty times cheaper than sorting them; nobody's word is taken for it.
    """
    # a filter or a selection that moved below this could take the keys away, or be in no order itself
    return frame.map_batches(partial(_sorted, keys=keys), projection_pushdown=False, predicate_pushdown=False)


def _sorted(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    later, same = pl.lit(value=False), pl.lit(value=True)
    for key in keys:
        before, here = pl.col(key).slice(0, pl.len() - 1), pl.col(key).slice(1)
        later, same = later | (same & (here > before)), same & (here == before)
    rises = frame.height < 2 or frame.select((later | same).all(ignore_nulls=False)).item()
    return frame if rises else frame.sort(keys)  # a missing key makes the answer unknown: sort


def require_columns(frame: pl.LazyFrame, columns: Mapping[str, str]) -> None:
    """Refuse a frame that lacks a named column: ``columns`` maps the parameter's name to the column asked for."""
    present = frame.collect_schema().names()
    missing = {parameter: name for parameter, name in columns.items() if name not in present}
    if missing:
        asked = ", ".join(f"{parameter}={name!r}" for parameter, name in missing.items())
        raise InputRefusedError(f"the frame has no column for {asked}; its columns are {', '.join(present)}")


def require_kinds(frame: pl.LazyFrame, kinds: Mapping[str, tuple[str, str]]) -> None:
    """Refuse a frame that lacks a named column, or has it in another kind of value.

    Parameters
    ----------
    frame
        The caller's frame.
    kinds
        Parameter's name → the column asked for and its kind: ``any``, ``text``, ``date``, ``number`` or ``boolean``.

    Raises
    ------
    InputRefusedError
        With the parameters, the columns and how to repair them; never with a value of a cell.
    """
    require_columns(frame, {parameter: column for parameter, (column, _) in kinds.items()})
    schema = frame.collect_schema()
    for parameter, (column, kind) in kinds.items():
        allowed, repair = _KINDS[kind]
        if not (schema[column] == pl.Null or allowed(schema[column])):
            raise InputRefusedError(f"the column for {parameter}={column!r} is {schema[column]}; {repair}")


def whole(column: pl.Expr) -> pl.Expr:
    """Return a numeric column as Int64: pandas writes whole numbers with gaps as floats, NaN standing for null.

    Fractions are cut; what is not finite becomes null.
    """
    number = column.cast(pl.Float64)
    return pl.when(number.is_finite()).then(number).cast(pl.Int64)


_KINDS: dict[str, tuple[Callable[[pl.DataType], bool], str]] = {
    "any": (lambda dtype: True, ""),
    "text": (
        lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum),
        "codes and names are text: read the column as text, so that leading zeros survive",
    ),
    "date": (lambda dtype: dtype in (pl.Date, pl.Datetime), "parse it to dates first, in its declared format"),
    "number": (lambda dtype: dtype.is_numeric(), "convert it to numbers first"),
    "boolean": (lambda dtype: dtype == pl.Boolean, "make it true or false first"),
}
"""Kind of value → whether a dtype is of it, and the repair."""
