"""What a store keeps of the runs on it: who was in each, finished buckets of those under way, and what they refer to.

    store/private/runs/<run id>/who.parquet        person_id and index_date of every entry
    store/private/runs/<run id>/buckets/           finished buckets; gone once the run is published
    store/private/runs/<run id>/ref-….json         one folder of results, run and snapshot that refer to each other
    store/private/runs/<hash of the study>.lock    one run per study and store at a time

Persons stay where they are protected: nothing of this is ever in a folder of results.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import LockedError, StudyError
from cohort.runs.folders import Run
from cohort.store.files import create_exclusively, locked, make_folder, private_umask, publish, sync_folder
from cohort.store.places import is_remote
from cohort.store.store import Store

WHO = ("person_id", "index_date")
_REGISTER = "references"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class Reference:
    """A run that reads or has read a snapshot: while its results are there, the snapshot stays."""

    out: Path
    number: int
    snapshot: int

    @property
    def stands(self) -> bool:
        """Return whether the run's results are there, or may be: a folder that is not mounted is not gone."""
        return Run(self.out, self.number).released.is_dir() or not self.out.is_dir()


@dataclass(frozen=True, slots=True)
class RunLedger:
    """What one store keeps of one run id."""

    store: Path
    run_id: str

    @property
    def folder(self) -> Path:
        """Return the run's folder."""
        return runs_of(self.store) / self.run_id

    @property
    def buckets(self) -> Path:
        """Return the folder of finished buckets."""
        return self.folder / "buckets"

    def keep_who(self, parts: Sequence[pl.DataFrame]) -> None:
        """Write who is in the run, by what day they entered."""
        temporary = self.folder / ".who.writing"
        with private_umask():
            pl.concat([part.select(WHO) for part in parts]).unique().sort(WHO).write_parquet(temporary)
            publish(temporary, self.folder / "who.parquet")

    def who(self) -> pl.DataFrame:
        """Return who was in the run.

        Raises
        ------
        StudyError
            If the store does not know.
        """
        try:
            return pl.read_parquet(self.folder / "who.parquet")
        except (OSError, pl.exceptions.PolarsError):
            raise StudyError(f"{self.store} does not know who was in run {self.run_id}; run the study again") from None

    def refer(self, run: Run, snapshot: int) -> None:
        """Say that a run of results reads a snapshot; the snapshot is there from now on.

        Raises
        ------
        InputRefusedError
            If it was removed a moment ago.
        """
        place = hashlib.sha256(str(run.out).encode()).hexdigest()[:12]
        content = json.dumps({"out": str(run.out), "number": run.number, "snapshot": snapshot}) + "\n"
        path = self.folder / f"ref-{place}-{run.name}.json"
        with register(self.store), private_umask():
            path.unlink(missing_ok=True)
            create_exclusively(path, content.encode())
            Store.open(self.store, as_of=snapshot)

    def forget(self, run: Run) -> None:
        """Drop the reference of a run whose results are removed, and everything else with the last one."""
        with register(self.store):
            for path, reference in _references(self.folder):
                if (reference.out, reference.number) == (run.out, run.number):
                    path.unlink()
            if not list(_references(self.folder)):
                shutil.rmtree(self.folder, ignore_errors=True)

    def make_buckets(self, study_sha256: str) -> Path:
        """Return the folder for finished buckets, made, with those of other runs of the study removed.

        Nobody can resume those. The caller holds the study's lock.
        """
        for path in runs_of(self.store).glob("*/buckets/study"):
            if path.parent != self.buckets and path.read_text(encoding="utf-8") == study_sha256:
                shutil.rmtree(path.parent, ignore_errors=True)
        with private_umask():
            make_folder(self.buckets)
            (self.buckets / "study").write_text(study_sha256, encoding="utf-8")
        return self.buckets

    def clear(self) -> None:
        """Remove the finished buckets."""
        shutil.rmtree(self.buckets, ignore_errors=True)


def runs_of(store: Path) -> Path:
    """Return the folder in which a store keeps what is known of its runs."""
    return store / "private" / "runs"


@contextmanager
def only_run(store: Path, study_sha256: str) -> Iterator[bool]:
    """Hold the lock of a study on a store; false if the store keeps nothing of its runs: read-only, or an object store.

    Raises
    ------
    LockedError
        If the study is running on the store already.
    """
    if is_remote(store):
        yield False
        return
    try:
        with private_umask():
            make_folder(runs_of(store))
        held = locked(runs_of(store), f"{study_sha256[:16]}.lock")
        held.__enter__()
    except LockedError:
        raise LockedError(f"this study is running on {store} already; wait for it to end and run again") from None
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        yield False
        return
    try:
        yield True
    finally:
        held.__exit__(None, None, None)


@contextmanager
def register(store: Path) -> Iterator[None]:
    """Hold the register of references: for moments, so others wait."""
    with locked(runs_of(store), _REGISTER, wait=True):
        yield


def open_ledger(store: Path, run_id: str) -> RunLedger | None:
    """Return what a store keeps of a run id, its folder made; none if the store cannot be written or is far away."""
    if is_remote(store):
        return None
    ledger = RunLedger(store.resolve(), run_id)
    try:
        with private_umask():
            make_folder(ledger.folder)
    except OSError as error:
        if error.errno in _READ_ONLY:
            return None
        raise
    return ledger


def references(store: Path) -> list[Reference]:
    """Return the runs that refer to snapshots of a store; the caller holds the `register`.

    References of runs that came to nothing are removed on the way.
    """
    found = []
    for folder in sorted(runs_of(store).glob("*/")):
        for path, reference in _references(folder):
            if reference.stands:
                found.append(reference)
            else:
                path.unlink()
        sync_folder(folder)
    return found


def _references(folder: Path) -> Iterator[tuple[Path, Reference]]:
    for path in sorted(folder.glob("ref-*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        yield path, Reference(Path(said["out"]), said["number"], said["snapshot"])
