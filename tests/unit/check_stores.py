"""Stores to check: a clean one with an earlier snapshot, made once, and copies of it with something wrong."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

import polars as pl

import cohort as co
from cohort.shipped import shipped
from cohort.store import manifest as manifests
from cohort.store.files import make_folder
from cohort.store.manifest import FORMAT, Manifest, StoredFile, TableCount
from cohort.store.store import Store
from cohort.store.tables import TABLES, bucket

BUCKETS = 2
PERSONS = 1500  # enough for every month to count
SECOND = dt.date(2019, 7, 1)  # what happened from here on is only in the second snapshot

# every coding system, each with codes of its own form: what the simulated codes do not have
MORE_DIAGNOSES = {"snomed": "279039007", "icd10": "M545", "icd11": "ME842Z"}
MORE_DISPENSINGS = {"atc": "N02AA05", "rxnorm": "1049221", "cip": "3400936404649", "ucd": "9245621"}
MORE_PROCEDURES = {"cpt": "97110", "icd10pcs": "0SB20ZZ", "icd9proc": "8051", "ccam": "LHRP001"}
CHANGE = dt.date(2015, 10, 1)


def simulated(folder: Path) -> dict[str, pl.DataFrame]:
    """Return the tables of a simulated population of 2012 to 2019: both ICD editions and the change between them."""
    scenario = Path(str(shipped("sql"))).parent / "src/cohort/simulate/scenarios/low_back_pain.toml"
    text = scenario.read_text().replace("2016-01-01", "2012-01-01").replace("2024-12-31", "2019-12-31")
    (folder / "scenario.toml").write_text(text)
    co.simulate(folder / "scenario.toml", persons=PERSONS, seed=7, out=folder / "extract")
    store = co.ingest(folder / "extract", "tuva", folder / "ingested", keep_ids=True)
    return {table: store.scan(table).collect() for table in TABLES}


def completed(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the tables with enough dispensings, and with some rows of every coding system."""
    visits = tables["diagnosis"].filter(position=1, setting="outpatient")
    visits = visits.unique(["person_id", "date"], maintain_order=True).with_row_index()
    number = (40_000_000_000 + pl.col("index") % 40).cast(pl.String)
    dispensing = visits.select(
        "person_id", "date", system=pl.lit("ndc"), code=number, quantity=pl.lit(30.0), days_supply=pl.lit(15, pl.Int32)
    )
    few = visits.filter(pl.col("index") % 8 == 0)
    old = pl.col("date") < CHANGE
    parts = {
        "diagnosis": [
            few.select("person_id", "date", "end_date", pl.lit(system).alias("system"), pl.lit(code).alias("code"),
                       "setting", pl.lit(1, pl.Int16).alias("position"))
            for system, code in MORE_DIAGNOSES.items()
        ],
        "dispensing": [
            dispensing.filter(pl.int_range(pl.len()) % 8 == 0).with_columns(system=pl.lit(system), code=pl.lit(code))
            for system, code in MORE_DISPENSINGS.items()
        ],
        "procedure": [
            few.filter({"icd9proc": old, "icd10pcs": ~old}.get(system, pl.lit(True))).select(
                "person_id", "date", pl.lit(system).alias("system"), pl.lit(code).alias("code"), "setting")
            for system, code in MORE_PROCEDURES.items()
        ],
    }  # fmt: skip
    measurement = visits.select(
        "person_id",
        "date",
        instrument=pl.lit("NRS"),
        value=(pl.col("index") % 11).cast(pl.Float64),
        unit=pl.lit("points"),
    )
    base = tables | {"dispensing": dispensing, "measurement": measurement}
    return base | {table: pl.concat([base[table], *more]) for table, more in parts.items()}


def earlier(tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the snapshot before: the same persons, without the latest events and deaths."""
    cut = {
        table: frame.filter(pl.col("date") < SECOND) if "date" in frame.columns else frame
        for table, frame in tables.items()
    }
    not_yet = pl.when(pl.col("death_date") < SECOND).then("death_date").alias("death_date")
    return cut | {"person": tables["person"].with_columns(not_yet)}


def write_tables(tables: dict[str, pl.DataFrame], store: Path, snapshot: int) -> dict[str, tuple[StoredFile, ...]]:
    """Write tables as a snapshot's Parquet files and return them as a manifest lists them."""
    written: dict[str, list[StoredFile]] = {table: [] for table in tables}
    for table, frame in tables.items():
        for number in range(BUCKETS):
            rows = frame.filter((bucket(pl.col("person_id"), BUCKETS) == number).fill_null(number == 0))
            relative = f"data/{snapshot:06d}/{table}/{number:04d}.parquet"
            make_folder((store / relative).parent)
            (store / relative).unlink(missing_ok=True)  # never write through a hard link
            rows.write_parquet(store / relative)
            written[table].append(StoredFile(path=relative, bucket=number, rows=rows.height, bytes=1, sha256=""))
    return {table: tuple(files) for table, files in written.items()}


def commit(store: Path, number: int, files: dict[str, tuple[StoredFile, ...]], data_end: dt.date) -> None:
    """Commit files as snapshot ``number``, made on 2 January 2020."""
    manifest = Manifest(
        format=FORMAT, number=number, created=dt.datetime(2020, 1, 2, tzinfo=dt.UTC), layout="tuva", layout_sha256="",
        fingerprint=f"{number:064d}", buckets=BUCKETS, key_id="", data_end=data_end, unlisted_persons=0, tables=files,
        inputs=(), not_used=(), counts={table: TableCount() for table in files},
    )  # fmt: skip
    manifests.commit(store, manifest)


def write_store(store: Path, tables: dict[str, pl.DataFrame], before: dict[str, pl.DataFrame] | None = None) -> Path:
    """Write a store of one snapshot, or of two."""
    for folder in ("private", "data", "manifest"):
        make_folder(store / folder)
    for number, content in enumerate([part for part in (before, tables) if part is not None], start=1):
        events = [frame["date"] for frame in content.values() if "date" in frame.columns]
        last = pl.concat(events).max()
        commit(store, number, write_tables(content, store, number), last)
    return store


def with_changes(clean: Path, changed: dict[str, pl.DataFrame], into: Path) -> Store:
    """Return a copy of a store whose newest snapshot has other rows in some tables."""
    shutil.copytree(clean, into, copy_function=os.link)
    write_tables(changed, into, Store.open(into).manifest.number)
    return Store.open(into)
