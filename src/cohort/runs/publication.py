"""Publication: all files of a run become visible in one step, so that readers see one run or another, never two.

The files are written into a hidden folder beside their place, made durable, and given their number; then the link
``latest`` is replaced by one rename. Whenever the process dies, ``latest`` names the old run or the new one, whole.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cohort.runs.folders import LATEST, PRIVATE, RUNS, Run, newest, numbers
from cohort.store.files import make_folder, private_umask, sync_file, sync_folder

Write = Callable[[Path], object]
"""Writes files into an empty folder."""

_UNFINISHED = ".writing-"


def next_run(out: Path) -> Run:
    """Return the run that the next publication makes; the number comes from the folder, never from the clock."""
    return Run(out.resolve(), max(numbers(out), default=0) + 1)


def publish(run: Run, write: Write, write_private: Callable[[Path, Path], object]) -> Run:
    """Write a run and let readers see it; the caller holds the folder's lock.

    Parameters
    ----------
    run
        What `next_run` gave.
    write
        Writes what is released: files only.
    write_private
        Writes what only the owner may read; it is given the private folder and the one just released.
    """
    sweep(run.out)
    make_folder(run.out / RUNS)
    _make_private(run.out / PRIVATE)
    staged = run.out / RUNS / f"{_UNFINISHED}{run.name}"
    staged.mkdir()
    write(staged)
    _sync_tree(staged)
    with private_umask():
        run.private.mkdir(mode=0o700)
        write_private(run.private, staged)
    _sync_tree(run.private)
    staged.rename(run.released)
    sync_folder(run.released.parent)
    _show(run)
    return run


def sweep(out: Path) -> None:
    """Remove what a publication that was killed has left; the caller holds the folder's lock."""
    for left in [*(out / RUNS).glob(f"{_UNFINISHED}*"), *out.glob(f"{_UNFINISHED}*")]:
        left.unlink() if left.is_symlink() else shutil.rmtree(left)
    for folder in (out / PRIVATE).glob("[0-9]*"):
        if not (out / RUNS / folder.name).is_dir():
            shutil.rmtree(folder)


def _show(run: Run) -> None:
    """Make the run the one that readers see: one rename does it, for all files at once."""
    before = newest(run.out)
    names = sorted(path.name for path in run.released.iterdir())
    for name in names:
        if not os.path.lexists(run.out / name):  # on a first publication it leads nowhere until the next line but one
            _link(run.out / name, Path(LATEST) / name)
    _link(run.out / LATEST, Path(RUNS) / run.name)
    for name in names:
        if not (run.out / name).is_symlink():  # a file of a version that wrote results here
            _link(run.out / name, Path(LATEST) / name)
    gone = set() if before is None else {path.name for path in before.released.iterdir()} - set(names)
    for name in gone:
        (run.out / name).unlink(missing_ok=True)
    sync_folder(run.out)


def _link(path: Path, target: Path) -> None:
    """Let a name lead to a relative target, replacing what had the name in one step."""
    temporary = path.with_name(f"{_UNFINISHED}{path.name}")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
    sync_folder(path.parent)


def _make_private(folder: Path) -> None:
    make_folder(folder)
    folder.chmod(0o700)


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        sync_file(path)
    sync_folder(folder)
