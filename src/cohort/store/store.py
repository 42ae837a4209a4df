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

    def _scan(self, table: str, bucket: int | None) -> pl.LazyFrame:
        files = [file for file in self.manifest.tables.get(table, ()) if bucket is None or file.bucket == bucket]
        if not files:
            return pl.LazyFrame(schema=TABLES[table].schema)
        paths = [self.path / file.path for file in files]
        sources = [str(path) for path in paths] if is_remote(self.path) else paths
        return pl.scan_parquet(sources, hive_partitioning=False, glob=False)
