"""Ingestion from end to end: guard, pseudonyms, staging, tables, commit. Nothing is visible before the commit."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from cohort.engines.local import Local
from cohort.engines.tasks import Cluster
from cohort.errors import InputRefusedError, StudyError
from cohort.ingest import increments, links, pseudonyms
from cohort.ingest.chunks import Chunk
from cohort.ingest.cluster import OnCluster, Site, on_cluster, refuse_shared_pseudonyms, stage_files
from cohort.ingest.engine import Connection, quoted
from cohort.ingest.guard import Inspection, file_state, inspect
from cohort.ingest.keying import keyed
from cohort.ingest.layouts import Layout
from cohort.ingest.parquet import inspect_parquet, is_parquet
from cohort.ingest.refusals import refuse_full_disk, refuse_many_rejected_rows, refuse_many_rejects
from cohort.ingest.spelling import create_vocabulary
from cohort.ingest.staging import Delivery, collect_identifiers, stage
from cohort.ingest.statistical import inspect_statistical, is_statistical, rewrite
from cohort.ingest.workers import Workers, engaged
from cohort.ingest.writing import Task, unlisted_persons, write_tables
from cohort.store import manifest as manifests
from cohort.store.files import exhaustion, locked, make_folder, private_umask, publish, sweep_half_created
from cohort.store.manifest import FORMAT, InputFile, KeptFile, KeptLines, Manifest
from cohort.store.store import Store
from cohort.store.tables import LANES
from cohort.store.verify import sweep

Progress = Callable[[str, int, int], None]
Lend = Callable[[], AbstractContextManager[Workers]]
Staged = tuple[InputFile, list[Chunk], Path | None]
"""What became of a file: its account, its records, and the rejected ones, if any."""

ROWS_PER_BUCKET = 2_000_000
"""Long rows per bucket to aim for: about 350 MB to 1.3 GB of memory per worker that computes features."""

CELLS_PER_ROW = 8
"""Cells of a line that take as much memory in ingestion as a long row: a claim line may have a hundred."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What one ingestion will do, settled before the store is touched."""

    layout: Layout
    deliveries: list[Delivery]
    not_used: list[str]
    into: Path
    buckets: int
    key: bytes
    number: int
    max_reject_rate: float
    extracted_on: dt.date | None
    add: bool
    before: Manifest | None
    progress: Progress
    today: dt.date = field(default_factory=lambda: dt.datetime.now(dt.UTC).date())

    @property
    def last_day(self) -> dt.date:
        """Return the last day that the data can speak of."""
        return self.extracted_on or self.today

    @property
    def fingerprint(self) -> str:
        """Return a hash of what decides the content: files (names if a layout reads them), layout, key, buckets."""
        files = [(one.source, one.inspection.sha256, one.name) for one in self.deliveries]
        files += [(one.source, one.sha256, one.name) for one in increments.held_files(self.before)]
        contents = sorted(
            f"{source} {sha256}{name if self.layout.sources[source].names_matter else ''}"
            for source, sha256, name in files
        )
        cut = [str(self.extracted_on)] if self.extracted_on else []  # the same files tomorrow are the same content
        parts = [*cut, self.layout.sha256, manifests.key_id(self.key), str(self.buckets), *contents]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @property
    def rejects(self) -> Path:
        """Return the private folder for what this ingestion rejects."""
        return self.into / "private" / "rejects" / self.fingerprint[:12]

    @property
    def snapshot(self) -> str:
        """Return the folder of this snapshot's Parquet files, relative to the store."""
        return f"data/{self.number:06d}-{self.fingerprint[:8]}"


def ingest(
    source: str | Path,
    layout: str | Path,
    into: str | Path,
    *,
    buckets: int | None = None,
    add: bool = False,
    key_file: str | Path | None = None,
    keep_ids: bool = False,
    link_table: str | Path | None = None,
    max_reject_rate: float = 0.001,
    extracted_on: dt.date | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    engine: Cluster | Local | None = None,
    progress: Progress | None = None,
) -> Store:
    """Load an extract into a store and commit it as a new snapshot; the same content again changes nothing.

    Parameters
    ----------
    source, layout, into
        Folder of the extract; name of a shipped layout or folder of one's own; folder of the store.
    buckets, add
        1 to 256, fixed for the life of a store; settle these files with those added before, not in their place.
    key_file, keep_ids, link_table, extracted_on
        Secret for the pseudonyms (0600, at least 32 bytes), or the published key; Parquet file outside the store for
        the identifier of each pseudonym; last day that an event can have.
    max_reject_rate, progress
        Share of a source's records that may be rejected before the load is refused; ``progress(step, done, total)``.
    memory_limit, threads, engine
        Limits such as ``"4GB"``, 2; ``co.engines.spark(…)``, ``dask(…)``: workers that see both under the same paths.

    Raises
    ------
    InputRefusedError, StudyError, LockedError, ResourceError
        Nothing was committed and the store is as it was.
    """
    folder, store = _checked_folders(source, into, buckets, max_reject_rate)
    link, chosen, report = links.checked(link_table, folder, store), Layout.read(layout), progress or _untold
    cluster = None if isinstance(engine, Local) else engine  # threads here are what happens anyway
    deliveries, not_used = _inspect(folder, chosen, report, cluster)
    with exhaustion(), private_umask(), _opened(store) as work:
        newest, key, before = _standing(store, chosen, key_file, keep_ids=keep_ids, add=add)
        plan = _Plan(
            layout=chosen,
            deliveries=increments.not_held(deliveries, before),
            not_used=not_used,
            into=store,
            buckets=_bucket_count(buckets, newest, deliveries),
            key=key,
            number=max(manifests.numbers(store), default=0) + 1,
            max_reject_rate=max_reject_rate,
            extracted_on=extracted_on,
            add=add,
            before=before,
            progress=report,
        )
        site = Site(_readable(folder, store), work, memory_limit, partial(_prepare, chosen))
        return _stored_and_linked(plan, newest, work, _lender(site, threads, cluster), link, deliveries)


def _standing(
    store: Path, layout: Layout, key_file: str | Path | None, *, keep_ids: bool, add: bool
) -> tuple[Manifest | None, bytes, Manifest | None]:
    """Return the newest snapshot, the key, which must be that one's, and the snapshot to add to."""
    newest = manifests.newest(store)
    key = increments.same_key(store, newest, pseudonyms.read_key(store, key_file, keep_ids))
    return newest, key, increments.addable(store, newest, layout) if add else None


def _lender(site: Site, threads: int | None, cluster: Cluster | None) -> Lend:
    """Return what lends workers: threads of this machine, or a cluster's."""
    if cluster is not None:
        return partial(on_cluster, cluster, site)
    return partial(engaged, site.readable, site.work, site.memory_limit, threads, site.prepare)


def _untold(step: str, done: int, total: int) -> None:
    """Report no progress."""


def _stored_and_linked(
    plan: _Plan, newest: Manifest | None, work: Path, lent: Lend, link: Path | None, delivered: list[Delivery]
) -> Store:
    """Settle what the link table says before anything is committed, and publish it after that."""
    if link is None:
        return _stored(plan, newest, work, lent)
    with lent() as workers:
        _prepare_links(workers.connections[0], replace(plan, deliveries=delivered), link, work)
    stored = _stored(plan, newest, work, lent)
    links.publish(work / "links.parquet", link)
    return stored


def _stored(plan: _Plan, newest: Manifest | None, work: Path, lent: Lend) -> Store:
    """Load and commit, unless the newest snapshot was made of the same content."""
    if newest and newest.fingerprint == plan.fingerprint:
        return Store(plan.into, newest)
    refuse_full_disk(plan.into, plan.deliveries)
    with lent() as workers:
        return _committed(plan, _load(workers, plan, work), newest)


def _readable(folder: Path, store: Path) -> list[Path]:
    return [one.resolve() for one in (folder, store / "data", increments.folder_of(store))]


def _prepare_links(connection: Connection, plan: _Plan, link: Path, work: Path) -> None:
    """Write the link table of all files, those that the store holds already included, into the work folder."""
    collect_identifiers(connection, _rewritten(plan.deliveries, plan.layout, work), plan.layout)
    pseudonyms.make_pseudonyms(connection, plan.key)
    links.prepare(connection, link, work / "links.parquet")


def _committed(plan: _Plan, manifest: Manifest, newest: Manifest | None) -> Store:
    """Make what was written a snapshot, or take it away again if it holds the rows of the newest one.

    With ``add`` it is a snapshot in any case: lines that change no row today, such as a reversal before its original,
    count later.
    """
    if newest and not plan.add and manifest.holds_same_rows(newest):
        shutil.rmtree(plan.into / plan.snapshot)  # written by this run and in no manifest
        return Store(plan.into, newest)
    manifests.commit(plan.into, manifest)
    sweep(plan.into)
    return Store(plan.into, manifest)


def _checked_folders(
    source: str | Path, into: str | Path, buckets: int | None, max_reject_rate: float
) -> tuple[Path, Path]:
    folder, store = Path(source), Path(into)
    if buckets is not None and not 1 <= buckets <= LANES:
        raise StudyError(f"buckets is {buckets}; give 1 to {LANES}")
    if not 0 <= max_reject_rate <= 1:
        raise StudyError(f"max_reject_rate is {max_reject_rate}; give a share between 0 and 1")
    inside, outside = store.resolve(), folder.resolve()
    if inside.is_relative_to(outside) or outside.is_relative_to(inside):
        raise StudyError(f"the extract {folder} and the store {store} must not lie inside one another")
    if store.exists() and not store.is_dir():
        raise StudyError(f"{store} is not a folder; give a folder for the store")
    if store.is_dir() and any(store.iterdir()) and not (store / "private").is_dir():
        raise StudyError(f"{store} holds something else than a store; give an empty or new folder")
    return folder, store


@exhaustion()
def _inspect(
    folder: Path, layout: Layout, report: Progress, cluster: Cluster | None
) -> tuple[list[Delivery], list[str]]:
    """Run the guard over every file that the layout reads, and match the headers."""
    found, not_used = layout.find(folder if cluster is None else folder.resolve())
    files = [(name, path) for name, paths in found.items() for path in paths]
    deliveries = []
    for (name, path), seen in zip(
        files, _inspections([path for _, path in files], layout, report, cluster), strict=True
    ):
        if seen.records == 0 and seen.header:  # a Parquet footer proves that there are none
            raise InputRefusedError(f"{path.name} has a header and no records; fetch it again")
        deliveries.append(Delivery.match(name, layout.sources[name], seen))
    return deliveries, not_used


def _inspections(paths: list[Path], layout: Layout, report: Progress, cluster: Cluster | None) -> Iterator[Inspection]:
    """Yield what the guard sees in every file, in order."""
    total, before = sum(path.stat().st_size for path in paths), 0
    if cluster is not None:
        report("check", 0, total)
        yield from cluster.each(partial(_inspect_file, layout=layout), paths, [path.name for path in paths])
        return
    for path in paths:
        yield (seen := _inspect_file(path, layout, partial(_report_from, report, before, total)))
        before += seen.bytes


def _inspect_file(path: Path, layout: Layout, report: Callable[[int], None] | None = None) -> Inspection:
    file_state(path)  # before anything opens it: a pipe would never answer
    if is_parquet(path):
        return inspect_parquet(path, report)
    if is_statistical(path):
        return inspect_statistical(path, layout.dialect.encoding, report)
    return inspect(path, layout.dialect, report)


def _rewritten(deliveries: list[Delivery], layout: Layout, work: Path) -> list[Delivery]:
    """Have the files of SAS, Stata and SPSS among the deliveries read from Parquet in the work folder."""
    encoding, day = layout.dialect.encoding, layout.date_formats[0]
    return [
        replace(one, inspection=rewrite(one.inspection, one.used, encoding, day, work / f"rewritten-{at:06d}.parquet"))
        if is_statistical(one.inspection.path)
        else one
        for at, one in enumerate(deliveries)
    ]


def _report_from(report: Progress, before: int, total: int, done: int) -> None:
    report("check", before + done, total)


@contextmanager
def _opened(store: Path) -> Iterator[Path]:
    """Make the store's folders, take its lock, and lend an empty private work folder."""
    for folder in (store, store / "private", store / "data", store / "manifest"):
        make_folder(folder)
    (store / "private").chmod(0o700)
    with locked(store):
        for left in (store / "private").glob("work-*"):  # we hold the lock, so its run is dead
            shutil.rmtree(left)
        for holder in (store / "private", store / "manifest"):
            sweep_half_created(holder)
        work = (store / "private" / f"work-{os.getpid()}").resolve()
        work.mkdir()
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _bucket_count(asked: int | None, newest: Manifest | None, deliveries: list[Delivery]) -> int:
    """Return the store's bucket count, or the smallest power of two that keeps buckets near their size."""
    if newest:
        if asked not in (None, newest.buckets):
            raise StudyError(f"the store has {newest.buckets} buckets, fixed for its life; leave the number out")
        return newest.buckets
    if asked:
        return asked
    rows = sum(delivery.inspection.records * _weight(delivery) for delivery in deliveries)
    buckets = 1
    while buckets < LANES and rows > buckets * ROWS_PER_BUCKET:
        buckets *= 2
    return buckets


def _weight(delivery: Delivery) -> float:
    """Return how many long rows a line counts for: those that become of it, or as much memory as it takes itself."""
    source, cells = delivery.declared, len(delivery.declared.expanded) - len(delivery.lacking)
    return max(source.rows_per_line, cells / CELLS_PER_ROW) if source.person else 0.0


def _load(workers: Workers, plan: _Plan, work: Path) -> Manifest:
    plan = replace(plan, deliveries=_rewritten(plan.deliveries, plan.layout, work))
    connection = workers.connections[0]
    if plan.add:
        _witness(connection, plan)
    inputs, staged = _records(workers, plan, work)
    lines, persons = _settle_with_kept(connection, plan, staged, work) if plan.add else ((), ())
    task = Task(plan.layout, staged, plan.into.resolve(), plan.snapshot, work, plan.last_day)
    written = write_tables(workers, task, plan.buckets, partial(plan.progress, "write"))
    for left in (task.store / plan.snapshot).rglob(".*.writing"):  # of a worker that was lost, or was not the first
        left.unlink(missing_ok=True)
    refuse_many_rejected_rows(written.counts, plan.max_reject_rate, plan.last_day, work, plan.rejects)
    return Manifest(
        format=FORMAT,
        number=plan.number,
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        layout=plan.layout.name,
        layout_sha256=plan.layout.sha256,
        fingerprint=plan.fingerprint,
        buckets=plan.buckets,
        key_id=manifests.key_id(plan.key),
        data_end=written.latest,
        last_day=plan.last_day,
        unlisted_persons=unlisted_persons(workers, task.store, written.files, plan.buckets),
        tables={name: tuple(files) for name, files in written.files.items()},
        inputs=(*increments.held_files(plan.before), *inputs),
        lines=lines,
        persons=persons,
        not_used=tuple(plan.not_used),
        counts=written.counts,
        claims=written.claims,
    )


def _prepare(layout: Layout, connection: Connection) -> None:
    """Give an engine what the layout's SQL and ours rest on."""
    connection.execute("create schema extract; create schema kept")
    create_vocabulary(connection)
    _create_code_tables(connection, layout)


def _witness(connection: Connection, plan: _Plan) -> None:
    """Note by what a collision with a person of an earlier or a later extract is seen."""
    collect_identifiers(connection, plan.deliveries, plan.layout)
    pseudonyms.make_pseudonyms(connection, plan.key)
    pseudonyms.make_witnesses(connection, plan.key)
    connection.execute("drop table identifier")  # the name of each share's identifiers
    if plan.before:
        increments.refuse_known_collisions(connection, plan.into, plan.before)


def _settle_with_kept(
    connection: Connection, plan: _Plan, staged: dict[str, list[Chunk]], work: Path
) -> tuple[tuple[KeptLines, ...], tuple[KeptFile, ...]]:
    """Keep the new lines, and stage those kept by earlier ingestions beside them; return what is kept by now."""
    name = plan.fingerprint[:12]
    new = increments.keep(plan.into, staged, work, name)
    persons = (increments.keep_persons(connection, plan.into, work, name),)
    if not plan.before:
        return new, persons
    for source, chunks in increments.restore(plan.into, plan.before, plan.layout, work, plan.buckets).items():
        staged[source] += chunks
    return (*plan.before.lines, *new), (*plan.before.persons, *persons)


def _create_code_tables(connection: Connection, layout: Layout) -> None:
    connection.execute("create schema codes")
    for name, (header, *rows) in layout.codes.items():
        columns = ", ".join(f"{quoted(column)} varchar" for column in header)
        connection.execute(f"create table codes.{quoted(name)} ({columns})")
        if rows:
            slots = ", ".join("?" for _ in header)
            connection.executemany(f"insert into codes.{quoted(name)} values ({slots})", rows)


def _records(workers: Workers, plan: _Plan, work: Path) -> tuple[list[InputFile], dict[str, list[Chunk]]]:
    """Return the account of every file, and each source's records under pseudonyms, dealt into buckets.

    A cluster does both in the task of a file; of several files it is then seen that no two persons became one.
    """
    if not isinstance(workers, OnCluster):
        inputs, staged = _taken_in(plan, _staged(workers, plan, work))
        return inputs, keyed(workers, staged, plan.key, plan.buckets, plan.buckets)
    files = list(stage_files(workers, plan.deliveries, plan.layout, plan.key, plan.buckets, work))
    inputs, staged = _taken_in(plan, ((one.account, one.chunks, one.rejects) for one in files))
    refuse_shared_pseudonyms(workers.cluster, [one.persons for one in files if one.persons], plan.buckets)
    return inputs, staged


def _staged(workers: Workers, plan: _Plan, work: Path) -> Iterator[Staged]:
    for number, delivery in enumerate(plan.deliveries):
        folder = work / f"staged-{number:06d}"
        folder.mkdir()
        yield stage(workers, delivery, plan.layout, folder, plan.buckets)


def _taken_in(plan: _Plan, files: Iterator[Staged]) -> tuple[list[InputFile], dict[str, list[Chunk]]]:
    """Take in every staged file, publish what is rejected, and refuse too much of it; return account and records."""
    total, done = sum(delivery.inspection.bytes for delivery in plan.deliveries), 0
    inputs: list[InputFile] = []
    staged: dict[str, list[Chunk]] = {name: [] for name in plan.layout.sources}
    for delivery in plan.deliveries:
        plan.progress("read", done, total)
        account, chunks, rejects = next(files)
        if rejects:
            make_folder(plan.rejects)
            publish(rejects, plan.rejects / f"{account.source}-{account.sha256[:12]}.parquet")
        inputs.append(account)
        staged[delivery.source] += chunks
        done += delivery.inspection.bytes
    plan.progress("read", total, total)
    refuse_many_rejects(plan.layout, inputs, plan.max_reject_rate, plan.rejects)
    return inputs, staged
