"""Identifiers into pseudonyms, share by share; then records into buckets, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cohort.ingest.chunks import Chunk, redealt
from cohort.ingest.engine import Connection
from cohort.ingest.pseudonyms import pseudonyms, refuse_collisions
from cohort.ingest.workers import Workers
from cohort.store.tables import LANES

Ids = npt.NDArray[np.int64]


def keyed(
    workers: Workers, staged: dict[str, list[Chunk]], key: bytes, shares: int, buckets: int
) -> dict[str, list[Chunk]]:
    """Return staged chunks with pseudonyms in the place of identifiers, dealt into buckets.

    Raises
    ------
    InputRefusedError
        If two identifiers share a pseudonym.
    """
    chunks = [chunk for found in staged.values() for chunk in found if chunk.person]
    for chunk in chunks:
        with _ids_of(chunk).open("wb") as file:
            file.truncate(8 * int(chunk.starts[-1]))
    distinct = list(workers.map(partial(_key_share, chunks, key), range(shares)))
    refuse_collisions(_repeats(distinct))
    done = dict(zip((chunk.path for chunk in chunks), workers.map(partial(_deal, buckets), chunks), strict=True))
    return {source: [done.get(chunk.path, chunk) for chunk in found] for source, found in staged.items()}


def _key_share(chunks: Sequence[Chunk], key: bytes, connection: Connection, share: int) -> Ids:
    """Write the pseudonym of every record of a share beside its chunk; return the share's distinct pseudonyms."""
    parts = [chunk.part(share, [str(chunk.person)])[0] for chunk in chunks]
    cells = pa.chunked_array([one for part in parts for one in part.chunks], pa.string()).combine_chunks()
    distinct = cells.dictionary_encode()
    person_id = pseudonyms(connection, distinct.dictionary, key)
    of_records = person_id[distinct.indices.to_numpy()]
    done = 0
    for chunk, part in zip(chunks, parts, strict=True):
        with _ids_of(chunk).open("r+b") as file:
            file.seek(8 * int(chunk.starts[share]))
            file.write(of_records[done : done + len(part)].tobytes())
        done += len(part)
    return person_id


def _deal(buckets: int, _: Connection, chunk: Chunk) -> Chunk:
    person_id = np.fromfile(_ids_of(chunk), np.int64)
    _ids_of(chunk).unlink()
    path = chunk.path.with_suffix(".dealt")
    return redealt(chunk, person_id, person_id % LANES % buckets, buckets, path)


def _ids_of(chunk: Chunk) -> Path:
    return chunk.path.with_suffix(".ids")


def _repeats(distinct: Sequence[Ids]) -> int:
    """Return how many pseudonyms stand for more than one identifier; of a share each stands for another."""
    ids = np.sort(np.concatenate(distinct)) if distinct else np.array([], np.int64)
    return int((ids[1:] == ids[:-1]).sum())
