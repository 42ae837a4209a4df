"""Files of SAS, Stata and SPSS, read by pyreadstat (extra ``readers``) in chunks.

A cell is what is stored, not what a display format or a value label makes of it: leading zeros that a format would
print are not there, and a code of 1 that is labelled "male" is 1. Days and points in time become days, as the layout
writes them; missing values of every kind are empty. Such a file is rewritten once as Parquet in the private work
folder, and from there on is one more Parquet file: same casts, same reasons to reject a record, same account.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from cohort.errors import InputRefusedError
from cohort.ingest.guard import BLOCK, Inspection, file_state, sidecar_count

CELLS = 4_000_000
"""Cells that are read at a time: some 400 MB, because pyreadstat makes a Python object of every text."""

_FORMATS = {
    "sas7bdat": (0, bytes.fromhex("000000000000000000000000c2ea8160b31411cfbd92080009c7318c181f1011")),
    "xport": (0, b"HEADER RECORD*******LIB"),
    "sav": (0, b"$FL"),
    "por": (456, b"SPSSPORT"),
}
_STATA = re.compile(rb"<stata_dta>|[\x69-\x73][\x01\x02]\x01\x00")
_MEMBER = re.compile(rb"HEADER RECORD\*{7}MEM(BER|BV8) ")
_OBSERVATIONS = re.compile(rb"HEADER RECORD\*{7}OBS(V8)? .{60}", re.DOTALL)
_RECORD = 80  # bytes, of a transport file

_SAS_DAY = re.compile(
    r"(WEEK(DATE|DATX|DAY)|WORDDAT[EX]|NLDATE\w*|EURDF\w*|(MM|DD|YY)(MM|DD|YY)?(MM|DD|YY)?[BCDNPS]?|DATE|DAY|DOWNAME|"
    r"JULDAY|JULIAN|MON(NAME|TH|YY)|YYMON|QTRR?|YYQR?[BCDNPS]?|YEAR|[BE]8601DA|IS8601DA)\d*\.?\d*"
)
_SAS_INSTANT = re.compile(
    r"(DATETIME|DATEAMPM|MDYAMPM|NLDATM\w*|DT(DATE|MONYY|WKDATX|YEAR|YYQC)|[BE]8601D[TN]|IS8601DT)[\d.]*"
)
_SPSS_INSTANT = re.compile(r"(A|E|J|S)?DATE\d*|DATETIME[\d.]*|YMDHMS[\d.]*|(QYR|MOYR|WKYR)\d*")
_SAS_ORIGIN, _SPSS_ORIGIN = pl.date(1960, 1, 1), pl.date(1582, 10, 14)
_FAR = 3_000_000  # days: beyond the calendar of any engine here, so that a number stands for no day


@dataclass(frozen=True, slots=True)
class _Opened:
    """What a file's own head says: its reader, columns, their kinds and formats, and rows if it counts them."""

    path: Path
    kind: str
    read: Callable[..., tuple[Any, Any]]
    columns: tuple[str, ...]
    types: dict[str, str]
    formats: dict[str, str | None]
    rows: int | None
    width: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the kind of every column, in the words of `cohort.ingest.parquet`."""
        return tuple(self._kind(name) for name in self.columns)

    def _kind(self, name: str) -> str:
        if self.is_text(name) or self.day_unit(name):
            return "plain"
        return "single" if self.types[name] == "float" else "float"

    def is_text(self, name: str) -> bool:
        """Return whether a column holds text."""
        return self.types[name].startswith("string")

    def day_unit(self, name: str) -> int | None:
        """Return how many of the stored units make a day, None if a column holds no days."""
        written = self.formats[name] or ""
        if self.kind == "dta":
            return 1 if written.startswith(("%td", "%d")) else 86_400_000 if written.startswith("%tc") else None
        if self.kind in ("sav", "por"):
            return 86_400 if _SPSS_INSTANT.fullmatch(written) else None
        return 86_400 if _SAS_INSTANT.fullmatch(written) else 1 if _SAS_DAY.fullmatch(written) else None

    def chunks(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        """Yield the rows of some columns as they are stored, missing values null."""
        size = max(CELLS // len(columns), 1)
        offset = 0
        while self.rows is None or offset < self.rows:
            with _translated(self.path):
                frame, _ = self.read(
                    self.path,
                    usecols=columns,
                    row_offset=offset,
                    row_limit=size,
                    disable_datetime_conversion=True,
                    output_format="polars",
                )
            yield frame
            offset += frame.height
            if frame.height < size:
                return


def is_statistical(path: Path) -> bool:
    """Return whether a file is one of SAS, Stata or SPSS, by its first bytes, whatever its name says."""
    return _kind_of(path) is not None


def inspect_statistical(path: Path, encoding: str, progress: Callable[[int], None] | None = None) -> Inspection:
    """Read a file once, byte by byte, and say what its head says.

    Parameters
    ----------
    path
        A regular file.
    encoding
        What the layout declares; only a transport file, which says nothing of its own, is read by it.
    progress
        Called with the number of bytes read so far.

    Raises
    ------
    InputRefusedError
        If pyreadstat is not installed or cannot read the file, if it is truncated or holds several tables, or if it
        changes meanwhile.
    """
    state, digest, members, end = file_state(path), hashlib.sha256(), 0, b""
    with path.open("rb") as handle:
        while block := handle.read(BLOCK // _RECORD * _RECORD):
            digest.update(block)
            members += sum(found.start() % _RECORD == 0 for found in _MEMBER.finditer(block))
            end = (end + block)[-4096:]
            if progress:
                progress(handle.tell())
    opened = _open(path, encoding)
    rows = _rows(opened, members, end)
    if file_state(path) != state:
        raise InputRefusedError(f"{path.name} changed while it was read; wait until its delivery has ended")
    return Inspection(path, state[2], digest.hexdigest(), opened.columns, rows, 0, 0, state, opened.kinds)


def rewrite(inspection: Inspection, positions: set[int], encoding: str, date_format: str, target: Path) -> Inspection:
    """Write some columns of a file as Parquet, days as text; return the inspection, which now is read from there.

    Raises
    ------
    InputRefusedError
        If the file does not have the rows that it had before.
    """
    opened = _open(inspection.path, encoding)
    columns = [name for at, name in enumerate(opened.columns) if at in positions] or [opened.columns[0]]
    kept = [_cell(opened, name, date_format) for name in columns]
    writer, rows = None, 0
    try:
        for chunk in opened.chunks(columns):
            table = chunk.select(kept).to_arrow()
            writer = writer or pq.ParquetWriter(target, table.schema, compression="snappy")
            writer.write_table(table)
            rows += chunk.height
    finally:
        if writer:
            writer.close()
    if rows != inspection.lines:
        raise InputRefusedError(f"{inspection.path.name} has {rows:,} rows where it had {inspection.lines:,} before")
    return replace(inspection, rewritten=target)


def _cell(opened: _Opened, name: str, date_format: str) -> pl.Expr:
    """Return a column as it is written down: text, a number, or a day as text (a number that is no day stays one)."""
    if opened.is_text(name):
        return pl.col(name).cast(pl.String)
    number = pl.col(name).cast(pl.Float64).fill_nan(None)
    if unit := opened.day_unit(name):
        days = (number / unit).floor()
        origin = _SPSS_ORIGIN if opened.kind in ("sav", "por") else _SAS_ORIGIN
        near = days.is_between(-_FAR, _FAR)
        day = origin + pl.duration(days=pl.when(near).then(days).cast(pl.Int64))
        return pl.when(near).then(day.dt.strftime(date_format)).otherwise(number.cast(pl.String)).alias(name)
    return number.cast(pl.Float32) if opened.types[name] == "float" else number


def _start(path: Path, size: int) -> bytes:
    with path.open("rb") as handle:
        return handle.read(size)


def _kind_of(path: Path) -> str | None:
    start = _start(path, 600)
    if _STATA.match(start):
        return "dta"
    written = start.translate(None, b"\r\n")  # a portable file has lines of 80
    return next((kind for kind, (at, magic) in _FORMATS.items() if written[at:].startswith(magic)), None)


def _open(path: Path, encoding: str) -> _Opened:
    try:
        import pyreadstat
    except ImportError:
        raise InputRefusedError(
            f"{path.name} is a file of SAS, Stata or SPSS, which pyreadstat reads; install cohort with its extra "
            "`readers` (pip install '.[readers]' in the checkout), or deliver delimited text or Parquet"
        ) from None
    kind = str(_kind_of(path))
    read: Callable[..., tuple[Any, Any]] = getattr(pyreadstat, f"read_{kind}")
    if kind == "xport":
        read = partial(read, encoding={"utf-8": "UTF-8", "latin-1": "LATIN1"}[encoding])
    with _translated(path):
        _, head = read(path, metadataonly=True, output_format="polars")
    if not head.column_names:
        raise InputRefusedError(f"{path.name} has no columns; fetch it again")
    return _Opened(
        path=path,
        kind=kind,
        read=read,
        columns=tuple(head.column_names),
        types=head.readstat_variable_types,
        formats=head.original_variable_types,
        rows=head.number_rows,
        width=sum(head.variable_storage_width.values()),
    )


def _rows(opened: _Opened, members: int, end: bytes) -> int:
    """Return the number of rows of a file that is shown to be whole."""
    path, declared = opened.path, sidecar_count(opened.path)
    if members > 1:
        raise InputRefusedError(f"{path.name} holds {members} tables; deliver each in a file of its own")
    rows = opened.rows
    if rows is None:
        rows = sum(chunk.height for chunk in opened.chunks([opened.columns[0]]))
    if declared is not None and declared != rows:
        raise InputRefusedError(f"{path.name} has {rows:,} records, its count file says {declared:,}")
    if declared is None and not _ends_whole(opened, rows, end):
        raise InputRefusedError(
            f"{path.name} does not show that it is whole, so it may be truncated; fetch it again, "
            f"or put the number of its records into {path.name}.count"
        )
    if rows == 0:
        raise InputRefusedError(f"{path.name} has no records; fetch it again")
    return rows


def _ends_whole(opened: _Opened, rows: int, end: bytes) -> bool:
    """Return whether a file's end, or its count of rows, proves it whole.

    Readers refuse other kinds of file when they are cut; a transport file has neither count nor trailer, but its last
    record is filled up with blanks behind the last whole row.
    """
    if opened.kind == "xport":
        size = opened.path.stat().st_size
        found = _OBSERVATIONS.search(_start(opened.path, BLOCK))
        filled = size - found.end() - rows * opened.width if found else -1
        return size % _RECORD == 0 and 0 <= filled < _RECORD and not end[len(end) - filled :].strip(b" ")
    if opened.kind == "dta" and _start(opened.path, 1) == b"<":
        return end.endswith(b"</stata_dta>")
    return opened.kind == "por" or opened.rows is not None


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Replace pyreadstat's exceptions, which may quote a cell, by ours."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 -- its classes, Unicode, overflow, narwhals: all mean the same to us
        raise InputRefusedError(
            f"{path.name} cannot be read as the file of SAS, Stata or SPSS that it says it is "
            f"({type(error).__name__}); it may be damaged or truncated: fetch it again, or deliver Parquet"
        ) from None
