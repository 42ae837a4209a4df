"""The store as its readers see it: immutable Parquet, scanned whole or one bucket at a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError
from cohort.store import manifest as manifests
from cohort.store.manifest import Account, Manifest
from cohort.store.places import is_remote, place
from cohort.store.tables import TABLES, Supplied

FEWEST = 8
"""Buckets that a store is not brought below, so that there is something to do at the same time."""

ROWS_TOGETHER = 4_000_000
"""Rows of all tables up to which small buckets are worked on together."""


@dataclass(frozen=True, slots=True)
class Store:
    """One snapshot of a store.

    Parameters
    ----------
    path
        The store's folder, or its prefix in an object store (`cohort.store.places`).
    manifest
        The commit that this object reads; later commits do not change it.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path, as_of: int | None = None) -> Store:
        """Open the newest snapshot, or snapshot number ``as_of``.

        Raises
        ------
        InputRefusedError
            If there is no store, no such snapshot, or no whole manifest.
        """
        folder = place(path)
        manifest = manifests.newest(folder) if as_of is None else manifests.read(folder, as_of)
        if manifest is None:
            raise InputRefusedError(
                f"{folder} holds no store; make one with `cohort ingest EXTRACT --layout NAME --store {folder}`"
            )
        return cls(folder, manifest)

    @property
    def buckets(self) -> int:
        """Return the number of buckets, fixed for the life of the store."""
        return self.manifest.buckets

    @property
    def data_end(self) -> dt.date:
        """Return the latest date of a diagnosis, procedure or dispensing.

        Raises
        ------
        InputRefusedError
            If the store holds none.
        """
        if self.manifest.data_end is None:
            raise InputRefusedError(f"{self.path} holds no diagnosis, procedure or dispensing, so its data have no end")
        return self.manifest.data_end

    @property
    def account(self) -> Account:
        """Return where every line and row of the ingestion went."""
        return self.manifest.account

    def scan(self, table: str) -> pl.LazyFrame:
        """Return all rows of a table; no rows if the layout did not supply it."""
        return self._scan(table, None)

    def bucket(self, number: int) -> Supplied:
        """Return every table's rows of the persons in one bucket, sorted by the table's sort key.

        Without the tables of which the supplier gave nothing; who asks for one of them gets no rows.
        """
        if not 0 <= number < self.buckets:
            raise ValueError(f"bucket {number} does not exist: the store has buckets 0 to {self.buckets - 1}")
        return Supplied({table: self._scan(table, number) for table in TABLES if self.manifest.tables.get(table)})

    def in_larger_buckets(self) -> Store:
        """Return the same snapshot in fewer buckets, neighbours together as long as they stay small and many.

        A bucket is planned anew, which costs as much for few rows as for many. What comes of it is the same: larger
        buckets are buckets too, in which a table's rows are sorted within each of the old ones.
        """
        together = self.buckets // FEWEST
        rows = sum(file.rows for files in self.manifest.tables.values() for file in files)
        together = min(together, ROWS_TOGETHER * self.buckets // max(rows, 1))
        if together < 2:
            return self
        tables = {
            name: tuple(file.model_copy(update={"bucket": file.bucket // together}) for file in files)
            for name, files in self.manifest.tables.items()
        }
        buckets = -(-self.buckets // together)
        return Store(self.path, self.manifest.model_copy(update={"buckets": buckets, "tables": tables}))

    def _scan(self, table: str, bucket: int | None) -> pl.LazyFrame:
        files = [file for file in self.manifest.tables.get(table, ()) if bucket is None or file.bucket == bucket]
        if not files:
            return pl.LazyFrame(schema=TABLES[table].schema)
        paths = [self.path / file.path for file in files]
        sources = [str(path) for path in paths] if is_remote(self.path) else paths
        return pl.scan_parquet(sources, hive_partitioning=False, glob=False)
