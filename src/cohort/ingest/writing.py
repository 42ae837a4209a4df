"""Every table of every bucket: events first, because some tables need the last date of the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from cohort.ingest import claims
from cohort.ingest.chunks import Chunk
from cohort.ingest.engine import Connection, literal, translated
from cohort.ingest.layouts import Layout, shipped_sql
from cohort.ingest.tables import TableWriter, used_parameters
from cohort.ingest.views import Shown, same_in_all_buckets, show_bucket
from cohort.ingest.workers import Workers
from cohort.store.manifest import ClaimCount, StoredFile, TableCount
from cohort.store.tables import TABLES

_EVENTS = ("diagnosis", "procedure", "dispensing", "measurement")


@dataclass(frozen=True, slots=True)
class Task:
    """What is written: the staged records of a layout's sources, as tables of a store's snapshot."""

    layout: Layout
    staged: dict[str, list[Chunk]]
    store: Path
    snapshot: str
    work: Path
    last_day: dt.date


@dataclass(slots=True)
class Written:
    """What was written: files and counts of every table, counts of every claim view, and the last date of an event."""

    files: dict[str, list[StoredFile]]
    counts: dict[str, TableCount]
    claims: dict[str, ClaimCount]
    latest: dt.date | None = None

    @classmethod
    def nothing(cls, layout: Layout) -> Written:
        """Return the start of a sum."""
        tables = [name for name in TABLES if name in layout.tables]
        return cls(
            {name: [] for name in tables},
            {name: TableCount() for name in tables},
            {name: ClaimCount() for name in layout.claims},
        )

    def add(self, bucket: Written) -> None:
        """Add what was written of a further bucket."""
        for name, files in bucket.files.items():
            self.files[name] += files
        self.counts = {name: count + bucket.counts[name] for name, count in self.counts.items()}
        self.claims = {name: count + bucket.claims[name] for name, count in self.claims.items()}
        self.latest = max((one for one in (self.latest, bucket.latest) if one), default=None)


def write_tables(workers: Workers, task: Task, buckets: int, report: Callable[[int, int], None]) -> Written:
    """Write all tables, several buckets at a time; ``report(done, steps)`` is called as buckets are finished."""
    total = Written.nothing(task.layout)
    phases = _phases(task.layout)
    same = same_in_all_buckets(task.staged, task.layout)
    for phase, names in enumerate(phases):
        parameters = {"data_end": total.latest, "last_day": task.last_day}
        shown = Shown.by(task.layout, [task.layout.tables[name] for name in names], claims=phase == 0)
        write = partial(_write_bucket, task, shown, same, names, parameters)
        for bucket, written in enumerate(workers.map(write, range(buckets))):
            total.add(written)
            report(phase * buckets + bucket + 1, len(phases) * buckets)
    return total


def _phases(layout: Layout) -> list[list[str]]:
    """Return the tables that are written first, and those that must wait: they ask for the last date of an event."""
    first: list[str] = []
    later: list[str] = []
    for name in Written.nothing(layout).files:
        normalise = shipped_sql(f"ingest/normalise/{TABLES[name].loaded_as or name}.sql")
        asked = used_parameters(layout.tables[name]) | used_parameters(normalise)
        (later if "data_end" in asked and name not in _EVENTS else first).append(name)
    return [first, later] if later else [first]


def _write_bucket(
    task: Task,
    shown: Shown,
    same: dict[str, pa.Table],
    names: list[str],
    parameters: dict[str, Any],
    connection: Connection,
    bucket: int,
) -> Written:
    """Write some tables of one bucket, and count its claim lines if they are shown."""
    written = Written.nothing(task.layout)
    persons = show_bucket(connection, task.staged, task.layout, bucket, shown, same)
    if shown.claims:
        written.claims = claims.count_lines(connection, task.layout)
    for name in names:
        writer = TableWriter(connection, task.layout, TABLES[name], task.store, task.snapshot, task.work, parameters)
        file, written.counts[name], last = writer.write(bucket, persons)
        written.files[name] += [file] if file else []
        if name in _EVENTS:
            written.latest = max((one for one in (written.latest, last) if one), default=None)
    return written


def unlisted_persons(workers: Workers, store: Path, tables: dict[str, list[StoredFile]], buckets: int) -> int:
    """Return how many persons have an event or a span but no row in ``person``; 0 without that table."""
    if not tables.get("person"):
        return 0
    return sum(workers.map(partial(_unlisted, store, tables), range(buckets)))


def _unlisted(store: Path, tables: dict[str, list[StoredFile]], connection: Connection, bucket: int) -> int:
    paths: dict[bool, list[str]] = {True: [], False: []}
    for name, files in tables.items():
        paths[name == "person"] += [literal(store / file.path) for file in files if file.bucket == bucket]
    if not paths[False]:
        return 0
    listed, found = (
        f"(select distinct person_id from read_parquet([{', '.join(paths[of])}]))" if paths[of] else None
        for of in (True, False)
    )
    known = f" anti join {listed} using (person_id)" if listed else ""
    with translated("table person"):
        ((unlisted,),) = connection.execute(f"select count(*) from {found}{known}").fetchall()
    return int(unlisted)
