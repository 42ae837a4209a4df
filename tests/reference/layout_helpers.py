"""What the tests of the layouts share: pseudonyms computed without the package, and loads of real fixtures."""

from __future__ import annotations

import csv
import hashlib
import hmac
import shutil
from collections import Counter
from pathlib import Path

import duckdb
import polars as pl

from cohort.ingest.load import ingest
from cohort.store.store import Store

PUBLISHED_KEY = b"cohort: identifiers are already pseudonyms (--keep-ids)"


def person_id(identifier: object) -> int:
    """Return the pseudonym of an identifier under the published key: RFC 2104, first 63 bits."""
    digest = hmac.new(PUBLISHED_KEY, str(identifier).encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) >> 1


def load(extract: Path, layout: str | Path, store: Path, buckets: int = 2, **options: object) -> Store:
    """Ingest with the published key into two buckets, so that nothing hangs on a person's bucket."""
    return ingest(extract, layout, store, keep_ids=True, buckets=buckets, **options)


def stored(store: Store, table: str) -> list[tuple[object, ...]]:
    """Return all rows of a table, sorted; of persons without deprivation, which none of these suppliers knows."""
    rows = store.scan(table).collect()
    if table == "person":
        assert rows["deprivation"].null_count() == rows.height
        rows = rows.drop("deprivation")
    return ordered(rows.rows())


def keyed(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Replace the identifier in the first place by its pseudonym; sort."""
    return ordered([(person_id(row[0]), *row[1:]) for row in rows])


def ordered(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Sort rows that may hold nulls."""
    return sorted(rows, key=lambda row: [(cell is None, str(cell)) for cell in row])


def fates(store: Store) -> dict[str, tuple[int, int]]:
    """Return file name → (records loaded, records rejected), after checking that every file's books balance."""
    assert all(file.adds_up for file in store.account.files)
    assert all(count.adds_up for count in store.account.tables.values())
    return {file.name: (file.loaded, file.rejected) for file in store.account.files}


def records_of(*paths: Path, delimiter: str = ",", encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    """Return the records of delimited files by the standard library's reader, cells trimmed."""
    found = []
    for path in paths:
        with path.open(encoding=encoding, newline="") as handle:
            for record in csv.DictReader(handle, delimiter=delimiter):
                found.append({name: (value or "").strip() for name, value in record.items()})
    return found


def copy_extract(folder: Path, target: Path, *, encoding: str = "utf-8-sig") -> Path:
    """Copy an extract; files that lack the final line end get the sidecar count that proves them whole."""
    shutil.copytree(folder, target, dirs_exist_ok=True)
    for path in [*target.rglob("*"), target]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in sorted(target.rglob("*.csv")):
        if not path.read_bytes().endswith(b"\n"):
            path.with_name(path.name + ".count").write_text(str(len(records_of(path, encoding=encoding))))
    return target


def run_sql(root: Path, layout: str, name: str, tables: dict[str, pl.DataFrame], **parameters: object):
    """Run one SQL file of a shipped layout as a DuckDB shell would, its source tables given as frames."""
    connection = duckdb.connect()
    connection.execute("create schema extract")
    connection.execute("create schema codes")
    for path in [*(root / "sql" / "codes").glob("*.csv"), *(root / "sql" / "layouts" / layout).glob("*.csv")]:
        connection.execute(f"create table codes.{path.stem} as from read_csv('{path}', all_varchar = true)")
    for table, records in tables.items():
        connection.register("given", records)
        connection.execute(f"create table extract.{table} as from given")
    sql = (root / "sql" / "layouts" / layout / f"{name}.sql").read_text(encoding="utf-8")
    return ordered(connection.execute(sql, parameters or None).fetchall())


def repeats(rows: list[tuple[object, ...]]) -> int:
    """Return how many rows repeat another one exactly."""
    return sum(Counter(rows).values()) - len(set(rows))
