"""Further extracts of one supplier: a store that keeps its typed lines can settle old and new ones together.

Claims that a later extract corrects, open spans and what a person is last known to be cannot be settled from the
store's tables alone. So an ingestion with ``add`` keeps the accepted lines, typed and under pseudonyms, below the
store's private folder; the next one reads them beside its own. The result is what one extract of all files would give.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cohort.errors import InputRefusedError
from cohort.ingest.chunks import Chunk, dealt, write_chunk
from cohort.ingest.engine import Connection, literal, translated
from cohort.ingest.layouts import Layout
from cohort.ingest.pseudonyms import refuse_collisions
from cohort.ingest.staging import ROWS, Delivery
from cohort.store.files import make_folder, publish, sha256_of
from cohort.store.manifest import InputFile, KeptFile, KeptLines, Manifest, key_id
from cohort.store.tables import LANES


def folder_of(store: Path) -> Path:
    """Return the folder of the kept lines of a store."""
    return store / "private" / "lines"


def same_key(store: Path, newest: Manifest | None, key: bytes) -> bytes:
    """Return the key if it is the store's: with another every person would become somebody else between snapshots.

    Raises
    ------
    InputRefusedError
        If it is not.
    """
    if newest and newest.key_id != key_id(key):
        raise InputRefusedError(
            f"{store} was made with another key, so no person would be found again; "
            "give the same one (--key-file, --keep-ids), or ingest into a new store"
        )
    return key


def addable(store: Path, newest: Manifest | None, layout: Layout) -> Manifest | None:
    """Return the snapshot to add to, None if the store is new.

    Raises
    ------
    InputRefusedError
        If its lines were not kept, are damaged, or were typed otherwise.
    """
    problem = None
    if newest is None:
        return None
    if not newest.lines:
        problem = "was made without --add and kept no lines to settle new ones with"
    elif newest.layout_sha256 != layout.sha256:
        problem = "was made with another layout, or another version of it"
    if problem:
        raise InputRefusedError(f"{store} {problem}; ingest all extracts with --add into a new store")
    for kept in (*newest.lines, *newest.persons):
        _check_whole(store / kept.path, kept.sha256)
    return newest


def not_held(deliveries: list[Delivery], before: Manifest | None) -> list[Delivery]:
    """Return the files whose content the store does not hold yet."""
    held = {(file.source, file.sha256, file.name) for file in held_files(before)}
    contents = {(source, sha256) for source, sha256, _ in held}

    def is_held(delivery: Delivery) -> bool:
        content = (delivery.source, delivery.inspection.sha256)
        return (*content, delivery.name) in held if delivery.declared.names_matter else content in contents

    return [delivery for delivery in deliveries if not is_held(delivery)]


def refuse_known_collisions(connection: Connection, store: Path, before: Manifest) -> None:
    """Refuse an identifier whose pseudonym another one had in an earlier extract: two persons would become one."""
    with translated("kept persons"):
        for kept in before.persons:
            ((collisions,),) = connection.execute(
                f"select count(*) from witness join read_parquet({literal((store / kept.path).resolve())}) as kept "
                "using (person_id) where kept.witness <> witness.witness"
            ).fetchall()
            refuse_collisions(collisions)


def keep_persons(connection: Connection, store: Path, work: Path, name: str) -> KeptFile:
    """Keep table ``witness`` below ``private/lines/<name>``."""
    written = work / "kept.parquet"
    with translated("kept persons"):
        connection.execute(
            f"copy (from witness order by person_id) to {literal(written)} (format parquet, compression zstd)"
        )
    return KeptFile(**_published(written, folder_of(store) / name / "persons.parquet", store))


def restore(store: Path, before: Manifest, layout: Layout, work: Path, buckets: int) -> dict[str, list[Chunk]]:
    """Return the kept lines of each source as staged records, dealt into buckets."""
    staged: dict[str, list[Chunk]] = {name: [] for name in layout.sources}
    for number, kept in enumerate(before.lines):
        person = layout.sources[kept.source].person
        with translated("kept lines"), pq.ParquetFile(store / kept.path) as file:
            for part, lines in enumerate(file.iter_batches(ROWS)):
                places, starts = np.arange(lines.num_rows), np.array([0, lines.num_rows])
                if person:
                    places, starts = dealt(lines[person].to_numpy() % LANES % buckets, buckets)
                columns = {name: lines[name].take(pa.array(places)) for name in lines.schema.names}
                path = work / f"kept-{number:06d}-{part:06d}.arrow"
                staged[kept.source].append(write_chunk(path, columns, starts, person))
    return staged


def keep(store: Path, staged: dict[str, list[Chunk]], work: Path, name: str) -> tuple[KeptLines, ...]:
    """Keep staged records, which are under pseudonyms, below ``private/lines/<name>``."""
    kept = []
    for source, chunks in staged.items():
        for number, chunk in enumerate(chunks):
            written = work / "kept.parquet"
            pq.write_table(chunk.whole(), written, compression="zstd")
            target = folder_of(store) / name / f"{source}-{number:06d}.parquet"
            kept.append(KeptLines(source=source, **_published(written, target, store)))
    return tuple(kept)


def held_files(before: Manifest | None) -> tuple[InputFile, ...]:
    """Return the account of the files that the store holds already."""
    return before.inputs if before else ()


def _published(written: Path, target: Path, store: Path) -> dict[str, Any]:
    """Give a file its name in the store; return what a manifest says of it."""
    make_folder(target.parent)
    facts = {"path": str(target.relative_to(store)), "bytes": written.stat().st_size, "sha256": sha256_of(written)}
    publish(written, target)
    return facts


def _check_whole(path: Path, sha256: str) -> None:
    try:
        whole = sha256_of(path) == sha256
    except OSError:
        whole = False
    if not whole:
        raise InputRefusedError(f"{path} is damaged or gone; restore it from a backup, or ingest all extracts again")
