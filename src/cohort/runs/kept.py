"""Finished buckets kept on disk, so that a run that was killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cohort.codes.records import Tables
from cohort.engines.engine import Engine, Progress
from cohort.plan import BucketPart
from cohort.population.attrition import Attrition, Step
from cohort.store.files import private_umask, publish
from cohort.store.store import Store

ANALYSES = "analyses"
"""The step whose rows are the entries."""

_STEPS = "attrition"


@dataclass(frozen=True, slots=True)
class Kept:
    """A folder with one Parquet file per finished bucket: its rows, and its attrition in the file's metadata."""

    folder: Path

    def numbers(self) -> set[int]:
        """Return the buckets that are finished."""
        return {int(path.stem) for path in self.folder.glob("[0-9]*.parquet")}

    def save(self, number: int, part: BucketPart) -> None:
        """Keep a bucket; the file is whole or absent."""
        steps = json.dumps([astuple(step) for step in part.attrition.steps])
        temporary = self.folder / f".{number:05d}.writing"
        with private_umask():
            part.rows.write_parquet(temporary, compression="zstd", metadata={_STEPS: steps})
            publish(temporary, self._path(number))

    def load_all(self) -> dict[int, BucketPart]:
        """Return the buckets that are finished and whole."""
        return {number: part for number in sorted(self.numbers()) if (part := self.load(number)) is not None}

    def load(self, number: int) -> BucketPart | None:
        """Return a bucket that was kept; none if the file is damaged, which is removed."""
        path = self._path(number)
        try:
            steps = json.loads(pl.read_parquet_metadata(path)[_STEPS])
            return BucketPart(pl.read_parquet(path), Attrition(tuple(Step(*step) for step in steps)))
        except (OSError, KeyError, ValueError, TypeError, pl.exceptions.PolarsError):
            path.unlink(missing_ok=True)
            return None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.parquet"


@dataclass(frozen=True, slots=True)
class Resuming:
    """An engine that asks another one only for the buckets that are not finished yet, and keeps what it gives.

    Without ``kept`` nothing is. ``rows`` is told how many entries there are, for the log.
    """

    engine: Engine
    kept: Kept | None
    rows: dict[str, int]
    name: str = "resuming"

    @property
    def memory(self) -> int | None:
        """The limit of the other engine, if it has one."""
        return getattr(self.engine, "memory", None)

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Any],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Any]:
        """Yield ``function`` of every bucket, a `BucketPart`, in bucket order; see `Engine`."""
        known = {} if self.kept is None else self.kept.load_all()
        self.rows[ANALYSES] = 0
        wanted = range(store.buckets) if buckets is None else buckets
        missing = [number for number in wanted if number not in known]
        finished = len(wanted) - len(missing)

        def told(name: str, done: int, total: int) -> None:
            if progress is not None and done < total:
                progress(name, done + finished, len(wanted))

        fresh = self.engine.map(store, function, step, told, missing)
        for number in wanted:
            part = known.pop(number, None)
            if part is None:
                part = next(fresh)
                if self.kept is not None:
                    self.kept.save(number, part)
            self.rows[ANALYSES] += part.rows.height
            yield part
        next(fresh, None)  # let the engine end what it began
        if progress is not None:
            progress(step, len(wanted), len(wanted))
