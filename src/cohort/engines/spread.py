"""A table that stays where its buckets were worked on: a Parquet file a bucket, of which only sums travel.

The files lie in a private folder of storage that all workers share, and go with the table. Counts are taken by the
workers and added by the cluster, a group of neighbouring buckets at a time; float sums of Cox steps come as nodes of
one fixed tree over lanes, so that their digits do not depend on who adds them where.
"""

from __future__ import annotations

import operator
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, overload
from uuid import uuid4

import polars as pl

from cohort.engines.tasks import Cluster, Result


class Folder:
    """A private folder inside a given one, which is removed when nobody has it any more."""

    def __init__(self, inside: Path) -> None:
        self.path = Path(mkdtemp(prefix="cohort-table-", dir=inside))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True, slots=True, eq=False)
class Spread(Sequence[pl.DataFrame]):
    """The parts of a table, in bucket order; each is read when it is asked for."""

    cluster: Cluster
    paths: tuple[Path, ...]
    folder: Folder | None = field(default=None, repr=False)

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.paths)

    @overload
    def __getitem__(self, at: int) -> pl.DataFrame: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[pl.DataFrame]: ...
    def __getitem__(self, at: int | slice) -> pl.DataFrame | Sequence[pl.DataFrame]:
        """Read one part, or choose some."""
        if isinstance(at, slice):
            return Spread(self.cluster, self.paths[at], self.folder)
        return _read(self.paths[at])

    def lazy(self) -> pl.LazyFrame:
        """Return all rows, bucket after bucket."""
        return pl.scan_parquet(list(self.paths), glob=False, hive_partitioning=False)

    def total(
        self, count: Callable[[pl.DataFrame], Result], add: Callable[[Result, Result], Result] = operator.add
    ) -> Result:
        """Return the sum of a picklable count over all parts, counted and added on the cluster in bucket order."""
        return self.cluster.total(partial(_counted, count), self.paths, self._names, add)

    def ask(self, function: Callable[[pl.DataFrame], Any], merge: Callable[[Any], Any]) -> Iterator[Any]:
        """Yield a function's answers; of neighbouring parts those that are mappings, of nodes of a tree, merged."""
        yield from self.cluster.total(partial(_asked, function), self.paths, self._names, partial(_joined, merge))

    @property
    def _names(self) -> list[str]:
        return [f"bucket {number}" for number in range(len(self.paths))]


def leave(rows: pl.DataFrame, folder: Path) -> Path:
    """Write a bucket's rows into the folder of a table, under a name of this attempt; return the path."""
    path = folder / f"{uuid4().hex}.parquet"
    rows.write_parquet(path, compression="lz4")
    return path


def _read(path: Path) -> pl.DataFrame:
    return pl.read_parquet(path, glob=False, hive_partitioning=False)


def _counted(count: Callable[[pl.DataFrame], Result], path: Path) -> Result:
    return count(_read(path))


def _asked(function: Callable[[pl.DataFrame], Any], path: Path) -> list[Any]:
    return [function(_read(path))]


def _joined(merge: Callable[[Any], Any], one: list[Any], other: list[Any]) -> list[Any]:
    """Return the answers of both, the two mappings that meet as one."""
    if isinstance(one[-1], dict) and isinstance(other[0], dict):
        return [*one[:-1], merge({**one[-1], **other[0]}), *other[1:]]
    return [*one, *other]
