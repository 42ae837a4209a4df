"""Manifests: one numbered JSON file per commit says which Parquet files are the store, and accounts for every line.

A commit is the exclusive creation of the next number, so two writers cannot both make it; readers take the newest
manifest whose checksum holds.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections import Counter
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cohort.errors import InputRefusedError, LockedError
from cohort.store.files import create_exclusively, make_folder

FORMAT = 1
"""Version of the store's layout on disk; a reader refuses a number that it does not know."""

_log = logging.getLogger(__name__)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputFile(_Record):
    """One extract file and where each of its physical lines went; ``reasons`` breaks ``rejected`` down."""

    source: str
    name: str
    bytes: int
    sha256: str
    lines: int
    header: int
    blank: int
    continuation: int
    loaded: int
    rejected: int
    reasons: dict[str, int]

    @property
    def adds_up(self) -> bool:
        """Return whether every physical line has exactly one fate."""
        parts = (self.header, self.blank, self.continuation, self.loaded, self.rejected)
        return self.lines == sum(parts) and self.rejected == sum(self.reasons.values())


class TableCount(_Record):
    """One table and where each row that the layout supplied went; ``repaired`` counts rows with a mended cell.

    ``rejected`` gives per reason code the rows that hold a value which cannot be, such as ``implausible:NRS``.
    """

    supplied: int = 0
    stored: int = 0
    duplicates: int = 0
    superseded: int = 0
    incomplete: int = 0
    rejected: dict[str, int] = {}
    repaired: int = 0

    @property
    def adds_up(self) -> bool:
        """Return whether every supplied row has exactly one fate."""
        parts = (self.stored, self.duplicates, self.superseded, self.incomplete, *self.rejected.values())
        return self.supplied == sum(parts)

    def __add__(self, other: TableCount) -> TableCount:
        """Add the counts of two buckets."""
        numbers = {
            name: getattr(self, name) + getattr(other, name) for name in TableCount.model_fields if name != "rejected"
        }
        rejected = Counter(self.rejected) + Counter(other.rejected)
        return TableCount(**numbers, rejected=dict(sorted(rejected.items())))


class ClaimCount(_Record):
    """The lines of one claim view and what became of them; ``superseded`` gives the lines per reason, as `replaced`."""

    lines: int = 0
    standing: int = 0
    superseded: dict[str, int] = {}

    @property
    def adds_up(self) -> bool:
        """Return whether every line has exactly one fate."""
        return self.lines == self.standing + sum(self.superseded.values())

    def __add__(self, other: ClaimCount) -> ClaimCount:
        """Add the counts of two buckets."""
        superseded = Counter(self.superseded) + Counter(other.superseded)
        return ClaimCount(
            lines=self.lines + other.lines,
            standing=self.standing + other.standing,
            superseded=dict(sorted(superseded.items())),
        )


class StoredFile(_Record):
    """One immutable Parquet file: its path below the store, its bucket, rows, bytes and SHA-256."""

    path: str
    bucket: int
    rows: int
    bytes: int
    sha256: str


class KeptFile(_Record):
    """One file that is kept for further extracts; the path is in the store."""

    path: str
    bytes: int
    sha256: str


class KeptLines(KeptFile):
    """Accepted lines of one source, typed and under pseudonyms."""

    source: str


class Account(_Record):
    """The books of one ingestion: lines per file, lines per claim view, and rows per table."""

    files: tuple[InputFile, ...]
    tables: dict[str, TableCount]
    claims: dict[str, ClaimCount] = {}

    def __str__(self) -> str:
        """Print the identities that were asserted, one line per file and table."""
        lines = [
            f"{file.name}: {file.lines:,} lines = {file.header} header + {file.blank:,} blank + "
            f"{file.continuation:,} continuation + {file.loaded:,} loaded + {file.rejected:,} rejected"
            for file in self.files
        ]
        lines += [
            f"{name}: {count.lines:,} claim lines = {count.standing:,} standing"
            + "".join(f" + {rows:,} {reason}" for reason, rows in count.superseded.items())
            for name, count in self.claims.items()
        ]
        lines += [
            f"{name}: {count.supplied:,} rows = {count.stored:,} stored + {count.duplicates:,} duplicates + "
            f"{count.superseded:,} superseded + {count.incomplete:,} incomplete"
            + "".join(f" + {rows:,} {reason}" for reason, rows in count.rejected.items())
            + f"; {count.repaired:,} repaired"
            for name, count in self.tables.items()
        ]
        return "\n".join(lines)


class Manifest(_Record):
    """One commit of a store."""

    format: int
    number: int
    created: dt.datetime
    layout: str
    layout_sha256: str
    fingerprint: str
    buckets: int
    key_id: str
    data_end: dt.date | None
    unlisted_persons: int
    tables: dict[str, tuple[StoredFile, ...]]
    inputs: tuple[InputFile, ...]
    not_used: tuple[str, ...]
    counts: dict[str, TableCount]
    claims: dict[str, ClaimCount] = {}
    last_day: dt.date | None = None  # of the extract; absent in manifests of the version before
    lines: tuple[KeptLines, ...] = ()
    persons: tuple[KeptFile, ...] = ()  # who is in the lines, and by which a collision of pseudonyms is seen

    @property
    def account(self) -> Account:
        """Return the account of the ingestion that made this commit."""
        return Account(files=self.inputs, tables=self.counts, claims=self.claims)

    @property
    def files(self) -> list[StoredFile | KeptFile]:
        """Return every file that the commit names."""
        return [*(file for files in self.tables.values() for file in files), *self.lines, *self.persons]

    def holds_same_rows(self, other: Manifest) -> bool:
        """Return whether the two commits hold the same bytes, table for table and bucket for bucket."""
        return self.buckets == other.buckets and _content(self) == _content(other)


def _content(manifest: Manifest) -> dict[str, list[tuple[int, str]]]:
    return {name: [(file.bucket, file.sha256) for file in files] for name, files in manifest.tables.items()}


def key_id(key: bytes) -> str:
    """Return a name for the key of the pseudonyms that does not give it away."""
    return hashlib.sha256(b"cohort key id\0" + key).hexdigest()[:16]


def path_of(store: Path, number: int) -> Path:
    """Return the path of a manifest."""
    return store / "manifest" / f"{number:06d}.json"


def numbers(store: Path) -> list[int]:
    """Return the numbers of all manifests of a store, ascending."""
    return sorted(int(path.stem) for path in (store / "manifest").glob("*.json") if path.stem.isdigit())


def commit(store: Path, manifest: Manifest) -> None:
    """Make the manifest's files the store's content.

    Raises
    ------
    LockedError
        If another writer has committed this number first.
    """
    body = manifest.model_dump(mode="json")
    content = json.dumps({"checksum": _checksum(body), "manifest": body}, indent=1)
    path = path_of(store, manifest.number)
    make_folder(path.parent)
    try:
        create_exclusively(path, content.encode())
    except FileExistsError:
        raise LockedError(f"another run has committed snapshot {manifest.number} of {store}; run again") from None


def read(store: Path, number: int) -> Manifest:
    """Return one manifest.

    Raises
    ------
    InputRefusedError
        If it is absent, damaged, or of a format that this version does not know.
    """
    path = path_of(store, number)
    try:
        document = json.loads(path.read_bytes())
        body = document["manifest"]
        if body["format"] != FORMAT:
            raise InputRefusedError(
                f"{path} has store format {body['format']}, this version reads {FORMAT}; upgrade cohort or ingest again"
            )
        manifest = Manifest.model_validate(body)
        whole = document["checksum"] == _checksum(body)
    except FileNotFoundError:
        raise InputRefusedError(f"{store} has no snapshot {number}; it has {numbers(store)}") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        whole = False
    if not whole:
        raise InputRefusedError(f"{path} is damaged; open an older snapshot with as_of, or ingest again")
    return manifest


def newest(store: Path) -> Manifest | None:
    """Return the newest whole manifest, or None if there is none; damaged newer ones are named in the log."""
    for number in reversed(numbers(store)):
        try:
            return read(store, number)
        except InputRefusedError as error:
            _log.warning("%s", error)
    return None


def _checksum(body: dict[str, object]) -> str:
    """Return the SHA-256 of a manifest as it was written, so that a field added later does not change it."""
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
