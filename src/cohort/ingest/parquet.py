"""Parquet as a supplier delivers it: its footer says whether the file is whole, its columns are read as text.

From there on a Parquet file is one more delimited file: the same casts, the same reasons to reject a record, the same
account, with rows for lines and no header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError
from cohort.ingest.engine import literal, quoted
from cohort.ingest.guard import BLOCK, Inspection, file_state

_MAGIC = b"PAR1"
_EXACT_BELOW = {"float": 2**53, "single": 2**24}
"""Kinds of binary fractions, and the whole number below which every whole number is one of them."""


def is_parquet(path: Path) -> bool:
    """Return whether a file starts as Parquet does, whatever its name says."""
    with path.open("rb") as handle:
        return handle.read(len(_MAGIC)) == _MAGIC


def inspect_parquet(path: Path, progress: Callable[[int], None] | None = None) -> Inspection:
    """Read a file once, byte by byte, and say what its footer says.

    Raises
    ------
    InputRefusedError
        If the file does not end with a footer that can be read, or changes meanwhile.
    """
    state, digest, last = file_state(path), hashlib.sha256(), b""
    with path.open("rb") as handle:
        while block := handle.read(BLOCK):
            digest.update(block)
            last = (last + block)[-len(_MAGIC) :]
            if progress:
                progress(handle.tell())
    columns, kinds, rows = _footer(path) if last == _MAGIC else ((), (), None)
    if rows is None:
        raise InputRefusedError(f"{path.name} is Parquet without a whole footer, so it is truncated; fetch it again")
    if file_state(path) != state:
        raise InputRefusedError(f"{path.name} changed while it was read; wait until its delivery has ended")
    return Inspection(path, state[2], digest.hexdigest(), columns, rows, 0, 0, state, kinds)


def _footer(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], int | None]:
    """Return the names and kinds of the columns and the number of rows; None rows if the footer cannot be read."""
    try:
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        schema = table.collect_schema()
        rows = table.select(pl.len()).collect().item()
    except (OSError, pl.exceptions.PolarsError):
        return (), (), None
    return tuple(schema.names()), tuple(_kind(dtype) for dtype in schema.dtypes()), int(rows)


def _kind(dtype: pl.DataType) -> str:
    if dtype.is_float():
        return "float" if dtype == pl.Float64 else "single"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return "instant"
    if isinstance(dtype, pl.Date | pl.Datetime):
        return "day"
    plain = (
        dtype.is_integer() or dtype.is_decimal() or isinstance(dtype, pl.String | pl.Categorical | pl.Boolean | pl.Null)
    )
    return "plain" if plain else "other"


def read_parquet(inspection: Inspection, positions: set[int], date_format: str, person: int | None = None) -> str:
    """Return the query that reads columns as text, under the names ``c<position>``.

    A day is written as the layout writes days (a time of day is left off), a whole float without its point, so that
    123.0 and 123 are one identifier; NaN is empty. At position ``person`` so is a float too large to be exact: others
    may have been rounded to it, and two persons must not become one.

    Raises
    ------
    InputRefusedError
        If a column is nested or binary.
    """
    cells = []
    for at in sorted(positions):
        name, kind = inspection.columns[at], inspection.kinds[at]
        if kind == "other":
            raise InputRefusedError(
                f"{inspection.path.name}: column {name} is nested or binary; deliver it as plain text"
            )
        text = _text(quoted(name), kind, date_format)
        if at == person and kind in _EXACT_BELOW:
            text = f"case when abs({quoted(name)}) < {_EXACT_BELOW[kind]} then {text} end"
        cells.append(f"{text} as c{at}")
    source = inspection.rewritten or inspection.path
    return f"select {', '.join(cells) or '1 as c0'} from read_parquet({literal(source)})"


def _text(column: str, kind: str, date_format: str) -> str:
    if kind == "day":
        return f"strftime({column}::date, {literal(date_format)})"
    if kind == "instant":  # its day in UTC, whatever zone the machine is set to
        return f"strftime(make_timestamp(epoch_us({column}))::date, {literal(date_format)})"
    if kind in _EXACT_BELOW:
        whole = f"{column} = trunc({column}) and abs({column}) < {_EXACT_BELOW['float']}"
        return (
            f"case when isnan({column}) then null when {whole} then {column}::bigint::varchar "
            f"when abs({column}) between 1e-13 and 1e-4 then format('{{:.30f}}', {column}) else {column}::varchar end"
        )
    return f"{column}::varchar"
