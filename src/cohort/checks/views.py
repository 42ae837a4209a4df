"""A snapshot as the rules' SQL sees it: one view per table, and those of the snapshot before in ``previous``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from cohort.errors import InputRefusedError
from cohort.ingest.engine import Connection, literal, quoted, sandbox
from cohort.store import manifest as manifests
from cohort.store.files import private_umask
from cohort.store.store import Store
from cohort.store.tables import TABLES

_DAY = 86_400


@contextmanager
def opened(
    store: Store, memory_limit: str | None = None, threads: int | None = None
) -> Iterator[tuple[Connection, list[str], int | None]]:
    """Lend a locked-down connection with the views, the tables that cannot be read, and the previous snapshot's number.

    A table that the manifest does not hold is an empty view: nothing to examine. A table that it does hold and that
    cannot be opened is no view at all, so that every rule that reads it fails.
    """
    with _work_folder(store) as work, sandbox([(store.path / "data").resolve()], work, memory_limit, threads) as lent:
        lent.execute("create schema previous")
        broken = _create_views(lent, store, "main", work)
        number = None
        try:
            before = previous(store)
        except InputRefusedError:
            broken.append("previous (its manifest is damaged)")
        else:
            number = before.manifest.number if before else None
            broken += _create_views(lent, before, "previous", work)
        yield lent, broken, number


def previous(store: Store) -> Store | None:
    """Return the snapshot before, or None if this is the first.

    Raises
    ------
    InputRefusedError
        If there is one and its manifest is damaged.
    """
    earlier = [number for number in manifests.numbers(store.path) if number < store.manifest.number]
    return Store.open(store.path, as_of=earlier[-1]) if earlier else None


def _create_views(connection: Connection, store: Store | None, schema: str, work: Path) -> list[str]:
    broken = []
    held = store.manifest.tables if store else {}
    for table in dict.fromkeys([*TABLES, *held]):
        paths = [store.path.resolve() / file.path for file in held.get(table, ())] if store else []
        files = ", ".join(literal(path) for path in paths or [_empty(table, work)])
        try:
            connection.execute(
                f"create view {schema}.{quoted(table)} as "  # noqa: S608 -- names of the dictionary, our own paths
                f"select * from read_parquet([{files}], hive_partitioning = false)"
            )
        except duckdb.Error:
            broken.append(f"{schema}.{table}")
    return broken


def _empty(table: str, work: Path) -> Path:
    """Return a Parquet file of a table without rows: the dictionary's dtypes, spelled out by polars."""
    path = work / f"empty-{table}.parquet"
    pl.DataFrame(schema=TABLES[table].schema if table in TABLES else {"person_id": pl.Int64()}).write_parquet(path)
    return path


@contextmanager
def _work_folder(store: Store) -> Iterator[Path]:
    """Lend a private folder for what DuckDB spills: in the store, where persons' data may lie, if it can be written.

    What a killed run has left is swept by age, because another check may be running.
    """
    private = store.path.resolve() / "private"
    for left in private.glob("check-*"):
        with suppress(OSError):  # another check may have swept it just now
            if time.time() - left.stat().st_mtime > _DAY:
                shutil.rmtree(left)
    with private_umask():
        try:
            folder = TemporaryDirectory(prefix="check-", dir=private)
        except OSError:  # a store that is read-only here, or has no such folder
            folder = TemporaryDirectory(prefix="cohort-check-")
        with folder as name:
            yield Path(name).resolve()
