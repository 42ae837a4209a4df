"""The link table: which identifier of the supplier a pseudonym stands for.

Written only when asked for, to a place of the caller's own that nobody else can read, and never into the store: who
holds a store alone can name nobody.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError, StudyError
from cohort.ingest.engine import Connection, literal, translated
from cohort.store.files import create_exclusively


def checked(place: str | Path | None, *elsewhere: Path) -> Path | None:
    """Return the path of the link table, None if none is wanted; others must not be able to read its folder.

    Raises
    ------
    StudyError
        If the folder is absent, not private (0700), or inside one of ``elsewhere``.
    """
    if place is None:
        return None
    path = Path(place)
    folder = path.parent.resolve()
    for other in elsewhere:
        if folder.is_relative_to(other.resolve()):
            raise StudyError(f"the link table {path} must not lie in {other}; give it a private folder of its own")
    if not folder.is_dir() or path.is_dir():
        raise StudyError(f"the link table {path} is no file in a folder that exists; make a private folder (0700)")
    if folder.stat().st_mode & 0o077:
        raise StudyError(f"the folder of the link table {path} can be read by others; run chmod 700 on it")
    return path


def prepare(connection: Connection, path: Path, target: Path) -> None:
    """Write every clean identifier in table ``pseudonym`` with its person into ``target``, by person.

    Raises
    ------
    InputRefusedError
        If the file at ``path`` holds anything else: a link table is never overwritten.
    """
    with translated("link table"):
        connection.execute(
            "copy (select person_id, person as identifier from pseudonym where unusable_identifier(person) is null "
            f"order by person_id) to {literal(target)} (format parquet, compression zstd)"
        )
    if path.exists() and not _same(path, target):
        raise InputRefusedError(f"{path} exists and says something else; move it away, or give another name")


def publish(prepared: Path, path: Path) -> None:
    """Give the caller the table, readable by him alone; one that says the same stays as it is."""
    for left in path.parent.glob(f".{path.name}.[0-9]*"):  # of a run that was killed here: it holds identifiers
        left.unlink()
    if not path.exists():
        create_exclusively(path, prepared.read_bytes())  # under umask 077


def _same(one: Path, other: Path) -> bool:
    try:
        return pl.read_parquet(one, glob=False).equals(pl.read_parquet(other, glob=False))
    except (OSError, pl.exceptions.PolarsError):
        return False
