"""DuckDB, locked down: in memory, confined to the extract and one private folder, and silent about cell values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa

from cohort.errors import CohortError, InputRefusedError, ResourceError, StudyError
from cohort.store.files import FULL

Connection = duckdb.DuckDBPyConnection

_SQL_ONLY = (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException)
"""Errors raised before a row is read: their text quotes SQL, never data."""

_OUT_OF_MEMORY = "{where}: out of memory; allow more with --memory, or use more buckets"


def quoted(identifier: str) -> str:
    """Return an identifier as SQL."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return a text as an SQL literal, for the places where DuckDB takes no parameter."""
    return "'" + str(text).replace("'", "''") + "'"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Replace DuckDB's exceptions, which quote the offending cell, by ours, which do not."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise ResourceError(_OUT_OF_MEMORY.format(where=where)) from None
    except _SQL_ONLY as error:
        raise StudyError(f"{where}: {str(error).splitlines()[0]}") from None
    except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's own; Arrow raises some without number
            raise
        raise _refusal(where, error) from None


def _refusal(where: str, error: BaseException) -> CohortError:
    """Return what may be said of an error whose text quotes a cell."""
    text = str(error)
    if any(os.strerror(number) in text for number in FULL):
        return ResourceError(f"{where}: the disk is full; the store is as it was")
    if "Out of Memory" in text or "could not allocate" in text:
        return ResourceError(_OUT_OF_MEMORY.format(where=where))
    line = re.search(r"CSV Error on Line: (\d+)", text)
    at = f", line {line[1]}" if line else ""
    return InputRefusedError(
        f"{where}{at}: DuckDB cannot take it in ({type(error).__name__}); check the file against its layout"
    )


@contextmanager
def sandbox(
    readable: Sequence[Path], work: Path, memory_limit: str | None = None, threads: int | None = None
) -> Iterator[Connection]:
    """Open a connection that sees the given folders and ``work``, and nothing else of the machine.

    DuckDB does not tell reading from writing there; a layout cannot write because its SQL must be one select.

    Raises
    ------
    StudyError
        If the memory limit is not a size such as ``4GB``.
    """
    if memory_limit is not None and not re.fullmatch(r"\d+(\.\d+)?\s*[KMGT]i?B", memory_limit):
        raise StudyError(f"memory limit {memory_limit!r} is not a size; write it as 4GB or 500MB")
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
    }
    if memory_limit:
        config["memory_limit"] = memory_limit
    if threads:
        config["threads"] = threads
    connection = duckdb.connect(":memory:", config=config)
    try:
        folders = ", ".join(literal(folder) for folder in (*readable, work))
        for statement in (
            # of a join as written, the table on the right is the one that is held in memory
            "set disabled_optimizers = 'build_side_probe_side'",
            "set arrow_output_version = '1.4'",  # with string views: text reaches polars without a copy
            "set produce_arrow_string_view = true",
            "set enable_progress_bar = false",  # the caller reports progress; a bar would spoil a batch job's log
            f"set temp_directory = {literal(work / 'spill')}",
            f"set allowed_directories = [{folders}]",
            "set enable_external_access = false",
            "set lock_configuration = true",
        ):
            connection.execute(statement)
        yield connection
    except duckdb.Error as error:  # from statements of our own, such as a commit for which there is no memory
        raise _refusal("ingestion", error) from None
    finally:
        connection.close()
