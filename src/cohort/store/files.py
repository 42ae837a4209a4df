"""Files that are either whole or absent: private modes, temporary names, fsync, rename, and a lock per store."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cohort.errors import LockedError, ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says when a file cannot grow: no space, no quota, or beyond the size that a process may write."""

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)

NO_THREAD = "can't start new thread"
"""What Python says when the system has no thread left to give, in an error of no class of its own."""

_CHUNK = 1 << 20


@contextmanager
def private_umask() -> Iterator[None]:
    """Let nobody but the owner read what is written inside (umask 077)."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def exhaustion() -> Iterator[None]:
    """Say that disk, memory or threads ran out, or that the system denies a file, whichever call noticed it.

    Raises
    ------
    ResourceError
        In place of the system's or Python's own error.
    """
    try:
        yield
    except MemoryError:
        raise ResourceError("out of memory; the store is as it was. Allow more, or use more buckets") from None
    except RuntimeError as error:
        if NO_THREAD not in str(error):
            raise
        raise ResourceError(
            "the system starts no further thread; the store is as it was. Raise the limit (ulimit -u), or end other "
            "programs"
        ) from None
    except OSError as error:
        if error.errno in _DENIED:
            raise ResourceError(
                f"{error.filename or 'a file'}: {error.strerror}; the store is as it was. Let the user who runs this "
                "read the extract and write the store"
            ) from None
        if error.errno not in FULL:
            raise
        raise ResourceError("the disk is full; the store is as it was. Free space and run again") from None


@contextmanager
def locked(folder: Path, name: str = "lock", *, wait: bool = False) -> Iterator[None]:
    """Hold the write lock of a store or of a result folder; the kernel drops it when the process ends, however it ends.

    With ``wait`` another holder is waited for: only for locks that are held for moments.

    Raises
    ------
    LockedError
        If another process is writing there.
    """
    handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise LockedError(f"another run is writing to {folder}; wait for it to end and run again") from None
        except OSError as error:  # some network file systems
            raise ResourceError(
                f"{folder} lies on a file system without locks ({error.strerror}), where two runs could write at once; "
                "put it on another"
            ) from None
        yield
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each name made durable in the folder above it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name: the bytes are durable before the name is, and the name before we return."""
    sync_file(temporary)
    temporary.rename(final)
    sync_folder(final.parent)


def create_exclusively(path: Path, content: bytes) -> None:
    """Write a file that must not exist yet; it appears whole or not at all.

    Raises
    ------
    FileExistsError
        If the name is taken.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    try:
        # a hard link is refused when the name exists; a rename would silently replace it
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync_folder(path.parent)


def sweep_half_created(folder: Path) -> None:
    """Remove what `create_exclusively` leaves in a folder when it is killed; the caller holds the folder's lock."""
    for left in folder.glob(".*.[0-9]*"):
        left.unlink()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
