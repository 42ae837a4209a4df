"""What a cell says, and why it says nothing: the casts of a layout's column types, as SQL over distinct texts.

A cell is typed by ``try_cast`` and must say the same thing when written back, so that `` 2020-1-5``, ``12E3`` and
``20200101.0`` are not taken for what they are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cohort.ingest.cells import Column
from cohort.ingest.engine import Connection, literal
from cohort.ingest.layouts import Layout
from cohort.ingest.sources import SourceColumn

SQL_TYPES = {
    "person": "varchar",
    "text": "varchar",
    "file_name": "varchar",
    "record": "varchar",
    "date": "date",
    "integer": "bigint",
    "number": "double",
}
_INTEGER, _NUMBER = r"[+-]?\d{1,18}", r"[+-]?(\d{1,15}(\.\d*)?|\.\d+)"
_FIRST_DAY, _LAST_DAY = "date '0001-01-01'", "date '9999-12-31'"


@dataclass(frozen=True, slots=True)
class Cast:
    """A column typed: ``values`` of its distinct texts, and the place in ``reasons`` of what is wrong with each.

    Place 0 of ``reasons`` stands for nothing; ``faults`` is None if nothing is wrong with any.
    """

    values: pa.Array
    faults: npt.NDArray[np.int8] | None
    reasons: Sequence[str]


def cast(connection: Connection, name: str, column: SourceColumn, cells: Column, layout: Layout) -> Cast:
    """Return what the distinct texts of a column say."""
    tests = _tests(name, column, layout.date_formats, unusual=not _all_plain(cells.texts))
    fault = " ".join(f"when {test} then {place}" for place, test in enumerate(tests.values(), 1))
    typed = _typed("cell", column, layout.date_formats)
    connection.register("distinct_text", pa.table({"text": cells.texts}))
    found = connection.sql(
        f"select {typed} as value, {f'case {fault} else 0 end' if fault else '0'}::tinyint as fault "
        f"from (select {_trimmed('text', layout.missing)} as cell from distinct_text)"
    ).to_arrow_table()
    connection.unregister("distinct_text")
    values, faults = found["value"].combine_chunks(), found["fault"].to_numpy()
    if pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    return Cast(values, faults if faults.any() else None, ("", *tests))


def _all_plain(texts: pa.Array) -> bool:
    """Return whether texts are printable ASCII without a plus sign, as nearly all identifiers are: fast to say."""
    _, offsets, buffer = texts.buffers()
    if not len(texts) or offsets is None or buffer is None:
        return True
    ends = np.frombuffer(offsets, np.int32)
    start, end = int(ends[texts.offset]), int(ends[texts.offset + len(texts)])
    written = np.frombuffer(buffer, np.uint8)[start:end]
    return start == end or bool(
        written.min() >= ord(" ") and written.max() <= ord("~") and not (written == ord("+")).any()
    )


def _tests(name: str, column: SourceColumn, date_formats: Sequence[str], *, unusual: bool) -> dict[str, str]:
    """Return what can be wrong with a cell, first things first: the reason to reject its record, and the test."""
    header, tests = column.named or name, {}
    if column.filled or column.type in ("person", "record"):
        tests[f"missing:{header}"] = "cell is null"
    if column.type in ("person", "record"):
        written = f"{column.within}/{header}" if column.within else header
        tests["repeated_header"] = f"lower(cell) = {literal(written.lower())}"
        for reason in ("invisible_character", "rounded_number") if unusual else ():
            tests[f"{reason}:{header}"] = f"unusable_identifier(cell) = '{reason}'"
    if column.type in ("date", "integer", "number") or column.allowed:
        tests[f"unreadable:{header}"] = f"cell is not null and {_typed('cell', column, date_formats)} is null"
    return tests


def _trimmed(cell: str, missing: Sequence[str]) -> str:
    """Return the expression for a cell without blanks around it, null if nothing or a word for nothing is left."""
    nothing = ", ".join(literal(word) for word in ("", *missing))
    # trim costs more than parsing the cell, and few cells need it; without ' ' it takes blanks beyond ASCII, too
    bare = f"case when contains({cell}, ' ') then trim({cell}, ' ') else {cell} end"
    return f"case when {bare} not in ({nothing}) then {bare} end"


def _typed(cell: str, column: SourceColumn, date_formats: Sequence[str]) -> str:
    match column.type:
        case "person" | "record" | "text" | "file_name":
            if column.allowed:
                return f"case when {cell} in ({', '.join(literal(word) for word in column.allowed)}) then {cell} end"
            return cell
        case "date":
            return f"coalesce({', '.join(_date(cell, date_format) for date_format in date_formats)})"
        case "integer":
            return f"case when regexp_full_match({cell}, '{_INTEGER}') then try_cast({cell} as bigint) end"
        case "number":
            return f"case when regexp_full_match({cell}, '{_NUMBER}') then try_cast({cell} as double) end"


def _date(cell: str, date_format: str) -> str:
    """Return the expression for a day that is written so; DuckDB also takes ``infinity`` and years before Christ."""
    if date_format == "%Y-%m-%d":  # the cast is several times faster than the general parser
        parsed = f"try_cast({cell} as date)"
        return f"case when {parsed}::varchar = {cell} and length({cell}) = 10 then {parsed} end"
    text = literal(date_format)
    parsed = f"try_strptime({cell}, {text})"
    written, seen = f"strftime({parsed}, {text})", cell
    if "%b" in date_format:  # suppliers write 01-JAN-2015 and 01-Jan-2015
        written, seen = f"upper({written})", f"upper({seen})"
    day = f"{parsed}::date"
    return f"case when {written} = {seen} and {day} between {_FIRST_DAY} and {_LAST_DAY} then {day} end"
