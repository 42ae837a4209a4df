"""Drafts: files that are written bit by bit and get their names together at the end.

A run that fails or is killed leaves no extract under its final name, so half a population is never taken for a whole.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import polars as pl
import pyarrow.parquet as pq


class Drafts:
    """Files below one folder, by their path relative to it; named on a clean exit, removed otherwise."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it is made when the first file is."""
        self._folder = folder
        self._bytes: dict[str, BinaryIO] = {}
        self._parquet: dict[str, pq.ParquetWriter] = {}

    def __enter__(self) -> Drafts:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all files, then give them their names, or remove them after a fault."""
        for writer in (*self._bytes.values(), *self._parquet.values()):
            writer.close()
        for name in (*self._bytes, *self._parquet):
            if kind is None:
                self._draft(name).replace(self._folder / name)
            else:
                self._draft(name).unlink(missing_ok=True)

    def append_bytes(self, name: str, content: bytes | Path) -> None:
        """Append bytes to a file; those of another file are moved over."""
        if isinstance(content, bytes):
            self._open(name).write(content)
            return
        with content.open("rb") as source:
            shutil.copyfileobj(source, self._open(name), 1 << 20)
        content.unlink()

    def append_parquet(self, name: str, frame: pl.DataFrame) -> None:
        """Append rows to a Parquet file, as one row group."""
        table = frame.to_arrow()
        if name not in self._parquet:
            self._parquet[name] = pq.ParquetWriter(self._made(name), table.schema)
        self._parquet[name].write_table(table)

    def _open(self, name: str) -> BinaryIO:
        if name not in self._bytes:
            self._bytes[name] = self._made(name).open("wb")
        return self._bytes[name]

    def _made(self, name: str) -> Path:
        path = self._draft(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _draft(self, name: str) -> Path:
        return (self._folder / name).with_name(f"{Path(name).name}.part")
