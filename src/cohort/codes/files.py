"""Codelist files: read CSV, bring rows into canonical form, and say where a file is wrong."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import PurePath

import polars as pl

from cohort.codes.normalise import normalise_by
from cohort.errors import StudyError
from cohort.store.tables import SYSTEMS

COLUMNS = ("system", "code", "term", "category", "source")
"""Columns of a codelist, all text: coding system, code or prefix, its meaning, its label, where that is said."""

SUFFIXES = (".csv", ".csv.gz")
"""Endings of a codelist file."""

_VERSION = "# version:"


def stem(file: str) -> str:
    """Return the name of a codelist from the name of its file."""
    return PurePath(file).name.removesuffix(".gz").removesuffix(".csv")


def parse(content: bytes, where: str) -> tuple[str, pl.DataFrame]:
    """Return version and rows of a codelist file.

    Raises
    ------
    StudyError
        With ``where``, the line and the repair, if the file is not UTF-8, its header is another one, or a row has
        the wrong number of fields, an unknown system or no code.
    """
    raw = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise StudyError(f"{where}: the file is not UTF-8; save it as UTF-8") from None
    versioned = bool(lines) and lines[0].lower().startswith(_VERSION)
    version = lines[0][len(_VERSION) :].strip() if versioned else ""
    return version, _rows(lines[versioned:], where, first_line=1 + versioned)


def canonical(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows in canonical form: all of `COLUMNS`, no nulls, normalised codes, unique, sorted.

    Raises
    ------
    StudyError
        If a column is missing, or if rows have no code or an unknown system (counted).
    """
    missing = {"system", "code"} - set(frame.columns)
    if missing:
        raise StudyError(f"codelist {name!r} has no column {', '.join(sorted(missing))}; it needs {', '.join(COLUMNS)}")
    absent = [pl.lit("").alias(column) for column in COLUMNS if column not in frame.columns]
    rows = (
        frame.with_columns(absent)
        .select(pl.col(COLUMNS).cast(pl.String).fill_null("").str.strip_chars())
        .with_columns(code=normalise_by(pl.col("code"), pl.col("system")))
        .with_columns(category=pl.when(pl.col("category") == "").then(pl.lit(name)).otherwise("category"))
    )
    if bad := rows["code"].null_count():
        raise StudyError(
            f"codelist {name!r}: {bad} rows have no code or a system that is not one of {', '.join(SYSTEMS)}"
        )
    return rows.unique().sort(COLUMNS)


def _rows(lines: list[str], where: str, first_line: int) -> pl.DataFrame:
    reader = csv.reader(io.StringIO("\n".join(lines)), strict=True)
    records: list[list[str]] = []
    try:
        for record in reader:
            line = f"{where}, line {first_line - 1 + reader.line_num}"
            if not records and tuple(record) != COLUMNS:
                raise StudyError(f"{line}: the header must read {','.join(COLUMNS)}")
            if record:
                records.append(_checked(record, line, header=not records))
    except csv.Error:
        raise StudyError(f"{where}, line {first_line - 1 + reader.line_num}: a quote is misplaced or open") from None
    if not records:
        raise StudyError(f"{where}, line {first_line}: the header must read {','.join(COLUMNS)}")
    return pl.DataFrame(records[1:], schema=dict.fromkeys(COLUMNS, pl.String), orient="row")


def _checked(record: list[str], line: str, *, header: bool) -> list[str]:
    if len(record) != len(COLUMNS):
        raise StudyError(f"{line}: {len(record)} fields where {len(COLUMNS)} belong; quote a field that holds a comma")
    system, code = (field.strip() for field in record[:2])
    if not header and system not in SYSTEMS:
        raise StudyError(f"{line}: unknown coding system; use one of {', '.join(SYSTEMS)}")
    if not code:
        raise StudyError(f"{line}: the code is empty; write it or delete the row")
    return record
