"""Whether every byte of a store is still what was committed, and which files belong to no commit."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from cohort.errors import InputRefusedError
from cohort.store import manifest as manifests
from cohort.store.files import sha256_of
from cohort.store.manifest import KeptFile, Manifest, StoredFile
from cohort.store.places import is_remote

ORPHAN_DAYS = 7
"""Age below which a folder that no snapshot names is left alone: its run may still be looked into."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong: one sentence per file that is damaged."""

    snapshots: int
    files: int
    bytes: int
    problems: tuple[str, ...]


def verify(store: Path) -> Verification:
    """Hold every file of every snapshot against its size and SHA-256, and every manifest against its checksum.

    Raises
    ------
    InputRefusedError
        If there is no manifest at all.
    """
    readable, problems = _manifests(store)
    if not readable and not problems:
        raise InputRefusedError(f"{store} holds no store: there is no manifest in it")
    sought = [file for manifest in readable for file in manifest.files]
    if is_remote(store):  # what is private stays where the store was made
        sought = [file for file in sought if not file.path.startswith("private/")]
    files = {file.path: file for file in sought}
    problems += [problem for _, file in sorted(files.items()) if (problem := _problem(store, file))]
    problems += _key_problem(store, readable)
    return Verification(len(readable), len(files), sum(file.bytes for file in files.values()), tuple(problems))


def sweep(store: Path, *, older_than_days: float = ORPHAN_DAYS) -> list[Path]:
    """Remove folders of data and of kept lines that no snapshot names and nobody has touched for days; return them.

    The caller holds the store's lock. As long as one manifest cannot be read nothing is removed: the folder may be its.
    """
    readable, problems = _manifests(store)
    if problems:
        return []
    named = {store / parent for manifest in readable for file in manifest.files for parent in Path(file.path).parents}
    oldest = time.time() - older_than_days * 86_400
    orphans = [
        folder
        for folder in sorted([*(store / "data").iterdir(), *(store / "private" / "lines").glob("*")])
        if folder.is_dir() and folder not in named and _last_touched(folder) < oldest
    ]
    for folder in orphans:
        shutil.rmtree(folder)
    return orphans


def _manifests(store: Path) -> tuple[list[Manifest], list[str]]:
    readable, problems = [], []
    for number in manifests.numbers(store):
        try:
            readable.append(manifests.read(store, number))
        except InputRefusedError as error:
            problems.append(str(error))
    return readable, problems


def _problem(store: Path, file: StoredFile | KeptFile) -> str | None:
    path = store / file.path
    try:
        size = path.stat().st_size
        if size == file.bytes and sha256_of(path) == file.sha256:
            return None
    except OSError as error:
        return f"{file.path} cannot be read ({error.strerror}); restore it from a backup, or ingest again"
    found = f"{size:,} bytes instead of {file.bytes:,}" if size != file.bytes else "other content than was committed"
    return f"{file.path} has {found}; restore it from a backup, or ingest again"


def _key_problem(store: Path, readable: list[Manifest]) -> list[str]:
    """Return what is wrong with the store's own key: pseudonyms made with a damaged one are other persons."""
    path = store / "private" / "key"
    try:
        own = manifests.key_id(path.read_bytes())
    except FileNotFoundError:
        return []  # its owner keeps it elsewhere, or identifiers were kept
    except OSError as error:
        return [f"private/key cannot be read ({error.strerror}); restore it from a backup"]
    if own in {manifest.key_id for manifest in readable} or not readable:
        return []
    return ["private/key is the key of no snapshot; restore it from a backup, or remove it if it was never used"]


def _last_touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
