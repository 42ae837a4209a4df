"""The border for other people's frames: anything tabular in, polars inside, the caller's kind of laziness out."""

from __future__ import annotations

from collections.abc import Mapping
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
        If the object is none of these.
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
        return pl.DataFrame(frame).lazy()
    raise InputRefusedError(
        f"a {type(frame).__name__} is not a frame; pass a polars, pandas or Arrow table, a DuckDB relation, "
        "or a mapping of columns"
    )


def like(frame: Any, result: pl.LazyFrame) -> Any:
    """Return ``result`` lazy when the caller's frame was lazy, collected otherwise."""
    return result if isinstance(frame, pl.LazyFrame) else result.collect()


def require_columns(frame: pl.LazyFrame, columns: Mapping[str, str]) -> None:
    """Refuse a frame that lacks a named column: ``columns`` maps the parameter's name to the column asked for."""
    present = frame.collect_schema().names()
    missing = {parameter: name for parameter, name in columns.items() if name not in present}
    if missing:
        asked = ", ".join(f"{parameter}={name!r}" for parameter, name in missing.items())
        raise InputRefusedError(f"the frame has no column for {asked}; its columns are {', '.join(present)}")
