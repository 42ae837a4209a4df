"""A store copied to an object store: files first, then the manifests, each created only if nobody has created it.

An object store has no rename and no lock. What it has is a conditional put: an object that is created only if its name
is free (``If-None-Match: *`` in S3). Files of a snapshot have names of their own and are never changed, so they may be
written in any order and more than once; a snapshot exists from the moment its manifest does. A push that is interrupted
leaves objects that no manifest names, and can be repeated. Nothing private goes along: neither key nor kept lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cohort.errors import InputRefusedError, LockedError, ResourceError, StudyError
from cohort.store import manifest as manifests
from cohort.store.files import sha256_of
from cohort.store.manifest import Manifest, StoredFile
from cohort.store.places import is_remote


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push has sent: snapshots, files and bytes that were not there yet."""

    snapshots: int
    files: int
    bytes: int


def push(store: Path, target: Path) -> Pushed:
    """Copy every snapshot of a store that the target does not have.

    Raises
    ------
    InputRefusedError
        If the store is none, or a file of it is not what was committed.
    LockedError
        If the target has a snapshot of the same number that is another one.
    ResourceError
        If the object store refuses or cannot be reached.
    """
    if is_remote(store) or not is_remote(target):
        raise StudyError(
            "push goes from a folder to a URL, such as s3://bucket/store; copy a folder to a folder yourself"
        )
    held = [manifests.read(store, number) for number in manifests.numbers(store)]
    if not held:
        raise InputRefusedError(f"{store} holds no store; make one with `cohort ingest`")
    total = Pushed(0, 0, 0)
    for manifest in held:
        new = _push_snapshot(store, target, manifest)
        total = Pushed(total.snapshots + new.snapshots, total.files + new.files, total.bytes + new.bytes)
    return total


def _push_snapshot(store: Path, target: Path, manifest: Manifest) -> Pushed:
    content = manifests.path_of(store, manifest.number).read_bytes()
    name = manifests.path_of(target, manifest.number)
    try:
        if _is_there(name, content, manifest.number):
            return Pushed(0, 0, 0)
        files = [file for table in manifest.tables.values() for file in table if not _has(target / file.path, file)]
        for file in files:
            _send(store / file.path, target / file.path, file)
        _create(name, content, manifest.number)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ResourceError(
            f"the object store refuses ({reason}); see its address and credentials, then push again"
        ) from None
    return Pushed(1, len(files), sum(file.bytes for file in files))


def _is_there(name: Path, content: bytes, number: int) -> bool:
    try:
        there = name.read_bytes()
    except FileNotFoundError:
        return False
    if there != content:
        raise LockedError(f"another store's snapshot {number} is at the target; push to a place of its own")
    return True


def _has(path: Path, file: StoredFile) -> bool:
    """Return whether an object of the right size is there; objects appear whole or not at all."""
    try:
        return path.stat().st_size == file.bytes
    except FileNotFoundError:
        return False


def _send(path: Path, target: Path, file: StoredFile) -> None:
    if sha256_of(path) != file.sha256:
        raise InputRefusedError(f"{file.path} is not what was committed; run `cohort verify` and restore it")
    remote: Any = target
    remote.fs.put_file(str(path), remote.path)


def _create(name: Path, content: bytes, number: int) -> None:
    """Create the manifest unless one is there: the commit."""
    remote: Any = name
    try:
        remote.fs.pipe_file(remote.path, content, mode="create")
    except FileExistsError:
        raise LockedError(f"another push has committed snapshot {number} at the target; push again") from None
