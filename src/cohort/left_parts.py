"""What the buckets of a study give back: here with their rows, or with the rows left on the cluster's storage."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import polars as pl

from cohort.codes.records import Tables
from cohort.engines.engine import Engine, Progress
from cohort.engines.spread import Folder, Spread, leave
from cohort.engines.tasks import Cluster
from cohort.plan import BucketPart
from cohort.population.attrition import Attrition
from cohort.store.store import Store


@runtime_checkable
class Scratched(Engine, Cluster, Protocol):
    """An engine that can leave rows where its workers are."""

    @property
    def scratch(self) -> Path | None:
        """The folder for them, which all workers see; none = rows come here."""


@dataclass(frozen=True, slots=True)
class LeftParts:
    """Buckets' rows on the storage of the workers, and their attrition."""

    rows: Spread
    attrition: Attrition

    @classmethod
    def made(
        cls,
        engine: Scratched,
        inside: Path,
        store: Store,
        function: Callable[[Tables], BucketPart],
        progress: Progress | None,
    ) -> LeftParts:
        """Work on all buckets; rows are persons, so their folder is its owner's alone."""
        folder = Folder(inside)
        work = functools.partial(_left, function=function, folder=folder.path)
        left = list(engine.map(store, work, "cohort", progress))
        rows = Spread(engine, tuple(path for path, _ in left), folder)
        return cls(rows, functools.reduce(operator.add, (attrition for _, attrition in left)))


Parts = tuple[BucketPart, ...] | LeftParts


def rows_of(parts: Parts) -> Sequence[pl.DataFrame]:
    """Return every bucket's rows of the analysis table."""
    return parts.rows if isinstance(parts, LeftParts) else tuple(part.rows for part in parts)


def attrition_of(parts: Parts) -> Attrition:
    """Return the attrition of all buckets."""
    if isinstance(parts, LeftParts):
        return parts.attrition
    return functools.reduce(operator.add, (part.attrition for part in parts))


def _left(tables: Tables, function: Callable[[Tables], BucketPart], folder: Path) -> tuple[Path, Attrition]:
    part = function(tables)
    return leave(part.rows, folder), part.attrition
