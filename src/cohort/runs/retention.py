"""Retention: old snapshots and old runs removed on demand, never what a published report refers to or readers see."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cohort.errors import InputRefusedError, StudyError
from cohort.runs.folders import Run, newest, numbers
from cohort.runs.ledger import RunLedger, references, register, runs_of
from cohort.runs.publication import sweep
from cohort.store import manifest as manifests
from cohort.store.files import locked, make_folder, sync_folder
from cohort.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Removed:
    """What went, what stays because something refers to it, and how many bytes that gave."""

    what: str
    numbers: tuple[int, ...]
    held: tuple[int, ...]
    bytes: int

    def __str__(self) -> str:
        """Say it in a line."""
        gone = ", ".join(map(str, self.numbers)) or "none"
        held = f"; {', '.join(map(str, self.held))} kept, since published reports refer to them" if self.held else ""
        return f"{self.what} removed: {gone}; {self.bytes:,} bytes freed{held}"


def prune_store(store: Path, keep: int) -> Removed:
    """Remove all snapshots but the newest and those that a run with standing results refers to.

    A folder of results that cannot be seen just now, such as one that is not mounted, counts as standing.

    Raises
    ------
    LockedError
        If something is being ingested.
    InputRefusedError
        If a manifest is damaged: what it names is not known, so nothing is removed.
    """
    make_folder(runs_of(store))
    with locked(store), register(store):
        known = {number: manifests.read(store, number) for number in manifests.numbers(store)}
        if not known:
            raise InputRefusedError(f"{store} holds no store: there is no manifest in it")
        referred = {reference.snapshot for reference in references(store)}
        old = sorted(known)[:-keep]
        gone = [number for number in old if number not in referred]
        for number in gone:
            manifests.path_of(store, number).unlink()
        sync_folder(store / "manifest")
        freed = _remove_files(store, [known.pop(number) for number in gone], list(known.values()))
    return Removed("snapshots", tuple(gone), tuple(number for number in old if number in referred), freed)


def prune_results(out: Path, keep: int) -> Removed:
    """Remove all runs of a folder of results but the newest, and never the one that readers see.

    Who has a page open keeps it: the system removes a file when nobody holds it any more.

    Raises
    ------
    StudyError
        If the folder holds no run.
    LockedError
        If a run is writing there.
    """
    seen = newest(out)
    if seen is None:
        raise StudyError(f"{out} holds neither a store nor results of cohort run; give the folder of one")
    freed = 0
    with locked(out, ".lock"):
        sweep(out)
        gone = [number for number in numbers(out)[:-keep] if number != seen.number]
        for number in gone:
            run = Run(seen.out, number)
            freed += sum(path.stat().st_size for path in run.released.rglob("*") if path.is_file())
            facts = run.private_facts() if (run.private / "store.json").is_file() else {}
            shutil.rmtree(run.released)
            if "run_id" in facts:
                RunLedger(Path(facts["store"]), facts["run_id"]).forget(run)
            shutil.rmtree(run.private, ignore_errors=True)
    return Removed("runs", tuple(gone), (), freed)


def _remove_files(store: Path, gone: list[Manifest], staying: list[Manifest]) -> int:
    """Remove the files that only removed snapshots name, and folders left empty; return their bytes."""
    named = {file.path for manifest in staying for file in manifest.files}
    freed = 0
    for path, size in {file.path: file.bytes for manifest in gone for file in manifest.files}.items():
        if path not in named:
            (store / path).unlink(missing_ok=True)
            freed += size
            _remove_empty(store, (store / path).parent)
    return freed


def _remove_empty(store: Path, folder: Path) -> None:
    while folder != store and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
