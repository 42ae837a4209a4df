"""Ingestion on a cluster: a task is one file, and after that one bucket; only the driver commits.

The task of a file does what a thread of one machine does: the guard's count of lines is held against what the parser
found, cells are typed, identifiers become pseudonyms and records are dealt into buckets, in a folder of the attempt's
own. A task of a bucket then reads its slice of every file. So rows meet on the storage that store and workers share;
the cluster carries paths and counts. Whatever is tried again or twice at a time leaves the same bytes or goes by
another name, and what counts is what the driver was answered.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa

from cohort.engines.tasks import Cluster
from cohort.errors import InputRefusedError
from cohort.ingest.chunks import Chunk, dealt, write_chunk
from cohort.ingest.engine import Connection, sandbox
from cohort.ingest.guard import file_state
from cohort.ingest.keying import keyed
from cohort.ingest.layouts import Layout
from cohort.ingest.pseudonyms import make_pseudonyms, make_witnesses, refuse_collisions
from cohort.ingest.staging import ROWS, Delivery, stage
from cohort.ingest.workers import Piece, Result, Workers
from cohort.store.files import exhaustion, private_umask
from cohort.store.manifest import InputFile
from cohort.store.tables import LANES

_WITNESSED = ("person_id", "witness")


@dataclass(frozen=True, slots=True)
class Site:
    """Where a worker works: what it may read, the run's private folder, its limit, and what an engine is given."""

    readable: list[Path]
    work: Path
    memory_limit: str | None
    prepare: Callable[[Connection], None]

    @contextmanager
    def engine(self) -> Iterator[Connection]:
        """Open an engine with a folder of its own, which is gone afterwards; it cannot outlive the run's folder."""
        folder = self.work / f"engine-{uuid4().hex}"
        folder.mkdir()
        try:
            with sandbox([*self.readable, self.work], folder, self.memory_limit, 1) as connection:
                self.prepare(connection)
                yield connection
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class OnCluster(Workers):
    """Workers of a cluster: every piece has an engine of its own, in another process, perhaps elsewhere."""

    def __init__(self, connection: Connection, cluster: Cluster, site: Site) -> None:
        super().__init__([connection])
        self.cluster, self.site = cluster, site

    def map(self, work: Callable[[Connection, Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
        """Yield the result of every piece, in the order of the pieces; ``work`` and pieces must pickle."""
        every = list(pieces)
        names = [getattr(piece, "name", f"bucket {piece}") for piece in every]
        yield from self.cluster.each(partial(_there, self.site, work), every, names)


@contextmanager
def on_cluster(cluster: Cluster, site: Site) -> Iterator[Workers]:
    """Lend the workers of a cluster, and an engine here for what the driver does itself."""
    with site.engine() as connection:
        yield OnCluster(connection, cluster, site)


def _there(site: Site, work: Callable[[Connection, Any], Any], piece: Any) -> Any:
    with exhaustion(), private_umask(), site.engine() as connection:
        return work(connection, piece)


@dataclass(frozen=True, slots=True)
class NumberedFile:
    """A file of the extract and its place among them."""

    number: int
    delivery: Delivery

    @property
    def name(self) -> str:
        """Return the file's base name."""
        return self.delivery.name


@dataclass(frozen=True, slots=True)
class StagedFile:
    """What a task made of a file: its account, records in buckets, who is in them, and the rejected ones, if any."""

    account: InputFile
    chunks: list[Chunk]
    persons: Chunk | None
    rejects: Path | None


def stage_files(
    workers: OnCluster, deliveries: Sequence[Delivery], layout: Layout, key: bytes, buckets: int, work: Path
) -> Iterator[StagedFile]:
    """Yield what becomes of every file, in order, records under pseudonyms and dealt into buckets."""
    files = [NumberedFile(number, delivery) for number, delivery in enumerate(deliveries)]
    return workers.map(partial(_stage_file, layout, key, buckets, work), files)


def _stage_file(
    layout: Layout, key: bytes, buckets: int, work: Path, connection: Connection, file: NumberedFile
) -> StagedFile:
    folder = work / f"staged-{file.number:06d}-{uuid4().hex}"
    folder.mkdir()
    delivery, alone = _as_seen_here(file.delivery), Workers([connection])
    shares = min(buckets, 1 + delivery.inspection.records // ROWS)
    account, chunks, rejects = stage(alone, delivery, layout, folder, shares)
    persons = _persons(connection, chunks, key, buckets, folder / "persons.arrow")
    (dealt_chunks,) = keyed(alone, {account.source: chunks}, key, shares, buckets).values()
    return StagedFile(account, dealt_chunks, persons, rejects)


def _as_seen_here(delivery: Delivery) -> Delivery:
    """Return the file as this machine names it: the number of a shared device is another one on every machine.

    Raises
    ------
    InputRefusedError
        If it is not the file that was inspected.
    """
    seen = delivery.inspection
    here = file_state(seen.path)
    if here[1:] != seen.state[1:]:
        raise InputRefusedError(f"{delivery.name} changed while it was read; wait until its delivery has ended")
    return replace(delivery, inspection=replace(seen, state=here))


def _persons(connection: Connection, chunks: list[Chunk], key: bytes, buckets: int, path: Path) -> Chunk | None:
    """Write the pseudonym of everybody in a file with its witness, dealt into buckets."""
    cells = [chunk.whole([chunk.person])[chunk.person].unique() for chunk in chunks if chunk.person]
    if not cells:
        return None
    connection.register("identifier", pa.table({"person": pa.chunked_array(cells, pa.string()).unique()}))
    make_pseudonyms(connection, key)
    make_witnesses(connection, key)
    found = connection.execute("from witness").fetchnumpy()
    connection.unregister("identifier")
    order, starts = dealt(np.asarray(found["person_id"], np.int64) % LANES % buckets, buckets)
    return write_chunk(path, {name: pa.array(found[name][order]) for name in _WITNESSED}, starts, "person_id")


def refuse_shared_pseudonyms(cluster: Cluster, persons: Sequence[Chunk], buckets: int) -> None:
    """Refuse the load if two identifiers, which may be in different files, share a pseudonym.

    Raises
    ------
    InputRefusedError
        With the number of such identifiers.
    """
    names = [f"bucket {bucket}" for bucket in range(buckets)]
    refuse_collisions(sum(cluster.each(partial(_collisions, persons), range(buckets), names)))


def _collisions(persons: Sequence[Chunk], bucket: int) -> int:
    """Return how many identifiers of a bucket have the pseudonym of another one."""
    parts = [chunk.part(bucket) for chunk in persons]
    both = np.column_stack([np.concatenate([part[name].to_numpy() for part in parts]) for name in _WITNESSED])
    distinct = np.unique(both, axis=0)[:, 0]  # sorted by pseudonym
    return int((distinct[1:] == distinct[:-1]).sum())
