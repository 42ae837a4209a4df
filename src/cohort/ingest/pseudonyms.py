"""Pseudonyms: supplier's identifiers become keyed 63-bit numbers at the door and go no further.

``person_id`` is the first 63 bits of HMAC-SHA-256 (RFC 2104) of the identifier, trimmed of blanks, in UTF-8: the same
in every increment and on every engine as long as the key is the same.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cohort.errors import InputRefusedError
from cohort.ingest.engine import Connection, translated
from cohort.ingest.layouts import shipped_sql
from cohort.store import manifest as manifests
from cohort.store.files import create_exclusively

KEEP_IDS_KEY = b"cohort: identifiers are already pseudonyms (--keep-ids)"
"""The published key of ``--keep-ids``: it spreads identifiers over buckets and protects nothing."""

SHORTEST_KEY = 32
_BLOCK = 64  # of SHA-256, in bytes


def read_key(store: Path, key_file: str | Path | None, keep_ids: bool) -> bytes:
    """Return the key: the published one, the one in ``key_file``, or the store's own, made on first use.

    Raises
    ------
    InputRefusedError
        If the key file is absent, readable by others, or shorter than 32 bytes.
    """
    if keep_ids and key_file is not None:
        raise InputRefusedError("--keep-ids and --key-file exclude each other; give one")
    if keep_ids:
        return KEEP_IDS_KEY
    if key_file is not None:
        return _checked(Path(key_file))
    own = store / "private" / "key"
    if not own.exists():
        create_exclusively(own, secrets.token_bytes(SHORTEST_KEY))
    return _checked(own)


def pseudonyms(connection: Connection, identifiers: pa.Array, key: bytes) -> npt.NDArray[np.int64]:
    """Return the pseudonym of each of some identifiers, trimmed and not null."""
    connection.register("identifier", pa.table({"person": identifiers}))
    with translated("pseudonyms"):
        found = connection.execute(
            f"select person_id from ({shipped_sql('ingest/pseudonym.sql')})", _pads(key)
        ).fetchnumpy()["person_id"]
    connection.unregister("identifier")
    return np.asarray(found, np.int64)


def key_of(store: Path, made_with: str, key_file: Path | None, keep_ids: bool) -> bytes:
    """Return the key that a store was made with; ``made_with`` is its ``key_id``.

    Raises
    ------
    InputRefusedError
        If the key is not that one, or none is given and the store has none of its own.
    """
    own = store / "private" / "key"
    if not (keep_ids or key_file or own.exists()):
        raise InputRefusedError(
            f"{store} has no key of its own; give --key-file, or --keep-ids, as it was ingested with"
        )
    key = read_key(store, key_file, keep_ids)
    if manifests.key_id(key) != made_with:
        raise InputRefusedError(f"{store} was ingested with another key; give that one (--key-file or --keep-ids)")
    return key


def pseudonym_of(key: bytes, identifier: str) -> int:
    """Return the pseudonym of one identifier, as `make_pseudonyms` makes those of all."""
    digest = hmac.digest(key, identifier.strip().encode(), "sha256")
    return int.from_bytes(digest[:8], "big") >> 1


def make_pseudonyms(connection: Connection, key: bytes) -> None:
    """Create table ``pseudonym`` (person, person_id) from the identifiers in ``identifier``.

    Raises
    ------
    InputRefusedError
        If two identifiers share a pseudonym.
    """
    with translated("pseudonyms"):
        connection.execute("create table pseudonym as " + shipped_sql("ingest/pseudonym.sql"), _pads(key))
        ((collisions,),) = connection.execute("select count(*) - count(distinct person_id) from pseudonym").fetchall()
    refuse_collisions(collisions)


def make_witnesses(connection: Connection, key: bytes) -> None:
    """Create table ``witness`` (person_id, witness) from table ``pseudonym``."""
    with translated("pseudonyms"):
        connection.execute("create table witness as " + shipped_sql("ingest/witness.sql"), _pads(key))


def _pads(key: bytes) -> dict[str, bytes]:
    """Return the key with the inner and the outer pad of RFC 2104."""
    block = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    return {"inner": bytes(byte ^ 0x36 for byte in block), "outer": bytes(byte ^ 0x5C for byte in block)}


def refuse_collisions(collisions: int) -> None:
    """Refuse to let two persons become one."""
    if collisions:
        raise InputRefusedError(
            f"{collisions} identifiers share a pseudonym with another one; ingest with another key (--key-file)"
        )


def _checked(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InputRefusedError(f"the key file {path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o177:
            raise InputRefusedError(f"the key file {path} must be a file of mode 0600; run chmod 600 on it")
        key = file.read(4096)
    if len(key) < SHORTEST_KEY:
        raise InputRefusedError(f"the key in {path} has fewer than {SHORTEST_KEY} bytes; make one with a random source")
    return key
