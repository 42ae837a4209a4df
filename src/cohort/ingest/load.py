"""Ingestion from end to end: guard, pseudonyms, staging, tables, commit. Nothing is visible before the commit."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest import claims, increments, pseudonyms
from cohort.ingest.engine import Connection, literal, quoted, sandbox, translated
from cohort.ingest.guard import inspect
from cohort.ingest.layouts import Layout, shipped_sql
from cohort.ingest.parquet import inspect_parquet, is_parquet
from cohort.ingest.staging import Delivery, collect_identifiers, create_views, stage, write_rejects
from cohort.ingest.tables import TableWriter
from cohort.store import manifest as manifests
from cohort.store.files import exhaustion, locked, make_folder, private_umask, publish
from cohort.store.manifest import FORMAT, ClaimCount, InputFile, KeptLines, Manifest, StoredFile, TableCount
from cohort.store.store import Store
from cohort.store.tables import LANES, TABLES
from cohort.store.verify import sweep

Progress = Callable[[str, int, int], None]

ROWS_PER_BUCKET = 2_000_000
"""Long rows per bucket to aim for: about 350 MB to 1.3 GB of memory per worker that computes features."""

_EVENTS = ("diagnosis", "procedure", "dispensing", "measurement")
_LATER = ("person", "enrolment", "cost")  # written last: they may ask for $data_end, and none moves it


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
        parts = [*cut, self.layout.sha256, pseudonyms.key_id(self.key), str(self.buckets), *contents]
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
    max_reject_rate: float = 0.001,
    extracted_on: dt.date | None = None,
    memory_limit: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Load an extract into a store and commit it as a new snapshot; the same content again changes nothing.

    Parameters
    ----------
    source, layout, into
        Folder of the extract; name of a shipped layout or folder of one's own; folder of the store.
    buckets, add
        1 to 256, fixed for the life of a store; settle these files with those added before, not in their place.
    key_file, keep_ids, extracted_on
        Secret for the pseudonyms (0600, at least 32 bytes), or the published key; last day that an event can have.
    max_reject_rate, memory_limit, threads, progress
        Share of a source's records that may be rejected before the load is refused; limits such as ``"4GB"``, 2; called
        as ``progress(step, done, total)``, in bytes or buckets.

    Raises
    ------
    InputRefusedError, StudyError, LockedError, ResourceError
        Nothing was committed and the store is as it was.
    """
    folder, store = Path(source), Path(into)
    _check_arguments(folder, store, buckets, max_reject_rate)
    report = progress or (lambda step, done, total: None)
    chosen = Layout.read(layout)
    deliveries, not_used = _inspect(folder, chosen, report)
    with exhaustion(), private_umask(), _opened(store) as work:
        newest, key = manifests.newest(store), pseudonyms.read_key(store, key_file, keep_ids)
        before = increments.addable(store, newest, chosen, pseudonyms.key_id(key)) if add else None
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
        if newest and newest.fingerprint == plan.fingerprint:
            return Store(store, newest)
        with sandbox(_readable(folder, store), work, memory_limit, threads) as connection:
            return _committed(plan, _load(connection, plan, work), newest)


def _readable(folder: Path, store: Path) -> list[Path]:
    return [one.resolve() for one in (folder, store / "data", increments.folder_of(store))]


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


def _check_arguments(folder: Path, store: Path, buckets: int | None, max_reject_rate: float) -> None:
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


def _inspect(folder: Path, layout: Layout, report: Progress) -> tuple[list[Delivery], list[str]]:
    """Run the guard over every file that the layout reads, and match the headers."""
    found, not_used = layout.find(folder)
    files = [(name, path) for name, paths in found.items() for path in paths]
    total, before, deliveries = sum(path.stat().st_size for _, path in files), 0, []
    for name, path in files:
        told = partial(_report_from, report, before, total)
        seen = inspect_parquet(path, told) if is_parquet(path) else inspect(path, layout.dialect, told)
        if seen.records == 0 and seen.header:  # a Parquet footer proves that there are none
            raise InputRefusedError(f"{path.name} has a header and no records; fetch it again")
        deliveries.append(Delivery.match(name, layout.sources[name], seen))
        before += seen.bytes
    return deliveries, not_used


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
    rows = sum(delivery.inspection.records * delivery.declared.rows_per_line for delivery in deliveries)
    buckets = 1
    while buckets < LANES and rows > buckets * ROWS_PER_BUCKET:
        buckets *= 2
    return buckets


def _load(connection: Connection, plan: _Plan, work: Path) -> Manifest:
    connection.execute("create schema extract")
    connection.execute(shipped_sql("ingest/spelled_code.sql"))
    _create_code_tables(connection, plan.layout)
    collect_identifiers(connection, plan.deliveries, plan.layout)
    pseudonyms.make_pseudonyms(connection, plan.key, plan.buckets)
    if plan.before:
        increments.add_known_persons(connection, plan.into, plan.before, plan.layout, plan.buckets)
    inputs, staged = _stage(connection, plan, work)
    _refuse_many_rejects(connection, plan, inputs, work)
    lines = _settle_with_kept(connection, plan, staged, work) if plan.add else ()
    claim_counts = _count_claims(connection, plan, staged)
    tables, counts, data_end = _write_tables(connection, plan, staged, work)
    _refuse_many_rejected_rows(plan, counts, work)
    return Manifest(
        format=FORMAT,
        number=plan.number,
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        layout=plan.layout.name,
        layout_sha256=plan.layout.sha256,
        fingerprint=plan.fingerprint,
        buckets=plan.buckets,
        key_id=pseudonyms.key_id(plan.key),
        data_end=data_end,
        last_day=plan.last_day,
        unlisted_persons=_unlisted_persons(connection, plan, tables),
        tables=tables,
        inputs=(*increments.held_files(plan.before), *inputs),
        lines=lines,
        not_used=tuple(plan.not_used),
        counts=counts,
        claims=claim_counts,
    )


def _settle_with_kept(
    connection: Connection, plan: _Plan, staged: dict[str, list[Path]], work: Path
) -> tuple[KeptLines, ...]:
    """Keep the new lines, and stage those kept by earlier ingestions beside them; return what is kept by now."""
    new = increments.keep(connection, plan.into, staged, plan.layout, work, plan.fingerprint[:12])
    if not plan.before:
        return new
    for source, files in increments.restore(connection, plan.into, plan.before, plan.layout, work).items():
        staged[source] += files
    return (*plan.before.lines, *new)


def _create_code_tables(connection: Connection, layout: Layout) -> None:
    connection.execute("create schema codes")
    for name, (header, *rows) in layout.codes.items():
        columns = ", ".join(f"{quoted(column)} varchar" for column in header)
        connection.execute(f"create table codes.{quoted(name)} ({columns})")
        if rows:
            slots = ", ".join("?" for _ in header)
            connection.executemany(f"insert into codes.{quoted(name)} values ({slots})", rows)


def _stage(connection: Connection, plan: _Plan, work: Path) -> tuple[list[InputFile], dict[str, list[Path]]]:
    """Stage every file; return the account of each and the staged files of each source."""
    total, done = sum(delivery.inspection.bytes for delivery in plan.deliveries), 0
    inputs: list[InputFile] = []
    staged: dict[str, list[Path]] = {name: [] for name in plan.layout.sources}
    for number, delivery in enumerate(plan.deliveries):
        plan.progress("read", done, total)
        folder = work / f"staged-{number:06d}"
        folder.mkdir()
        account, files = stage(connection, delivery, plan.layout, folder)
        inputs.append(account)
        staged[delivery.source] += files
        done += delivery.inspection.bytes
    plan.progress("read", total, total)
    return inputs, staged


def _refuse_many_rejects(connection: Connection, plan: _Plan, inputs: list[InputFile], work: Path) -> None:
    """Write what was rejected below ``private/``; refuse the load if it is more than the caller allows."""
    folder = plan.rejects
    for delivery, account in zip(plan.deliveries, inputs, strict=True):
        if account.rejected:
            make_folder(folder)
            write_rejects(connection, delivery, plan.layout, work / "rejects.parquet")
            publish(work / "rejects.parquet", folder / f"{account.source}-{account.sha256[:12]}.parquet")
    for source in plan.layout.sources:
        files = [account for account in inputs if account.source == source]
        rejected = sum(account.rejected for account in files)
        records = rejected + sum(account.loaded for account in files)
        if rejected > plan.max_reject_rate * records:
            reasons: dict[str, int] = {}
            for reason, count in (item for account in files for item in account.reasons.items()):
                reasons[reason] = reasons.get(reason, 0) + count
            counted = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
            raise InputRefusedError(
                f"{source}: {rejected:,} of {records:,} records rejected ({counted}), more than the share of "
                f"{plan.max_reject_rate:g} that --max-reject-rate allows; nothing was loaded. "
                f"Records and line numbers are in {folder}"
            )


def _refuse_many_rejected_rows(plan: _Plan, counts: dict[str, TableCount], work: Path) -> None:
    """Keep rejected rows below ``private/``; refuse the load if they are more than the caller allows."""
    for path in sorted(work.glob("rejected-*.parquet")):
        make_folder(plan.rejects)
        publish(path, plan.rejects / path.name.removeprefix("rejected-"))
    for table, count in counts.items():
        rejected = sum(count.rejected.values())
        if rejected > plan.max_reject_rate * count.supplied:
            reasons = ", ".join(f"{reason} {rows:,}" for reason, rows in count.rejected.items())
            raise InputRefusedError(
                f"{table}: {rejected:,} of {count.supplied:,} rows rejected ({reasons}), more than the share of "
                f"{plan.max_reject_rate:g} that --max-reject-rate allows; nothing was loaded. future_date means later "
                f"than {plan.last_day} (--extracted-on); implausible, outside the range of its instrument. The rows "
                f"are in {plan.rejects}"
            )


def _count_claims(connection: Connection, plan: _Plan, staged: dict[str, list[Path]]) -> dict[str, ClaimCount]:
    """Return what became of the lines of every claim view, over all buckets."""
    counts = {name: ClaimCount() for name in plan.layout.claims}
    for bucket in range(plan.buckets if counts else 0):
        create_views(connection, staged, plan.layout, bucket)
        counts = {name: counts[name] + more for name, more in claims.count_lines(connection, plan.layout).items()}
    return counts


def _write_tables(
    connection: Connection, plan: _Plan, staged: dict[str, list[Path]], work: Path
) -> tuple[dict[str, tuple[StoredFile, ...]], dict[str, TableCount], dt.date | None]:
    """Write every table of every bucket: events first, because the other tables may need the last date of the data."""
    files: dict[str, list[StoredFile]] = {name: [] for name in TABLES if name in plan.layout.tables}
    counts = {name: TableCount() for name in files}
    latest: list[dt.date] = []
    steps = 2 * plan.buckets
    for phase, names in enumerate((_EVENTS, _LATER)):
        parameters = {"data_end": max(latest, default=None), "last_day": plan.last_day}
        writers = [
            TableWriter(connection, plan.layout, TABLES[name], plan.into.resolve(), plan.snapshot, work, parameters)
            for name in names
            if name in files
        ]
        for bucket in range(plan.buckets):
            plan.progress("write", phase * plan.buckets + bucket, steps)
            create_views(connection, staged, plan.layout, bucket)
            persons = pseudonyms.Persons.of_bucket(connection, bucket)
            for writer in writers:
                file, count, last = writer.write(bucket, persons)
                files[writer.table.name] += [file] if file else []
                counts[writer.table.name] += count
                latest += [last] if last and phase == 0 else []
    plan.progress("write", steps, steps)
    return {name: tuple(written) for name, written in files.items()}, counts, max(latest, default=None)


def _unlisted_persons(connection: Connection, plan: _Plan, tables: dict[str, tuple[StoredFile, ...]]) -> int:
    """Return how many persons have an event or a span but no row in ``person``."""
    if not tables.get("person"):
        return 0

    def persons(names: list[str]) -> str:
        paths = [literal(plan.into.resolve() / file.path) for name in names for file in tables[name]]
        return f"select distinct person_id from read_parquet([{', '.join(paths)}])"

    others = [name for name in tables if name != "person" and tables[name]]
    if not others:
        return 0
    with translated("table person"):
        row = connection.execute(
            f"select count(*) from ({persons(others)}) anti join ({persons(['person'])}) using (person_id)"
        ).fetchone()
    return int(row[0]) if row else 0
