"""A store of any size in seconds per million persons: rows drawn at random, written as ingestion would leave them.

Nothing here is plausible medicine. Per person there are 50 diagnoses, 5 procedures, 20 dispensings and two years and
more of enrolment, with codes of every list that the demo study's covariates read, at the shares of claims: most rows
belong to no list.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl

from cohort.codes.codelist import Codelist
from cohort.ingest.load import ROWS_PER_BUCKET
from cohort.ingest.tables import ROW_GROUP
from cohort.store import manifest as manifests
from cohort.store.manifest import FORMAT, Manifest, StoredFile
from cohort.store.store import Store
from cohort.store.tables import LANES, TABLES, bucket

DIAGNOSES, PROCEDURES, DISPENSINGS = 50, 5, 20
FIRST, DAYS = dt.date(2016, 1, 1), 1826
SETTINGS = np.array(["outpatient"] * 15 + ["emergency", "inpatient", "laboratory", "home", "facility"])
LISTED = {
    "diagnosis": (("icd10cm",), ("low_back_pain", "charlson_quan2005", "mood", "pain_regions", "sleep")),
    "procedure": (("cpt", "hcpcs"), ("treatment_modalities",)),
    "dispensing": (("ndc",), ("opioid", "benzodiazepine", "gabapentinoid")),
}
UNLISTED = {"diagnosis": ("icd10cm", "Z"), "procedure": ("cpt", "8"), "dispensing": ("ndc", "9999999")}


def generated_store(persons: int, folder: Path) -> Store:
    """Write a store of ``persons`` persons once; the second contender finds the first one's."""
    store = folder / "generated"
    if not (store / "manifest").is_dir():
        (store / "manifest").mkdir(parents=True)
        manifests.commit(store, _manifest(store, persons))
    return Store.open(store)


def _manifest(store: Path, persons: int) -> Manifest:
    buckets = 1
    while buckets < LANES and persons * (DIAGNOSES + PROCEDURES + DISPENSINGS) > buckets * ROWS_PER_BUCKET:
        buckets *= 2
    rng = np.random.default_rng(20261120)
    codes = {name: _codes(name, rng) for name in LISTED}
    numbers = pl.DataFrame({"person_id": np.arange(persons, dtype=np.int64)})
    files: dict[str, list[StoredFile]] = {name: [] for name in ("person", "enrolment", *LISTED)}
    for number in range(buckets):
        own = numbers.filter(bucket(pl.col("person_id"), buckets) == number)["person_id"].to_numpy()
        tables = {"person": _persons(own, rng), "enrolment": _enrolment(own, rng)}
        tables |= {name: _events(name, own, codes[name], rng) for name in LISTED}
        for name, table in tables.items():
            files[name].append(_written(store, name, number, table))
    return Manifest(
        format=FORMAT,
        number=1,
        created=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        layout="generated",
        layout_sha256="",
        fingerprint="generated",
        buckets=buckets,
        key_id="",
        data_end=FIRST + dt.timedelta(DAYS),
        unlisted_persons=0,
        tables={name: tuple(written) for name, written in files.items()},
        inputs=(),
        not_used=(),
        counts={},
    )


def _codes(table: str, rng: np.random.Generator) -> pl.DataFrame:
    """Return ``system, code`` of 4,000 codes, of which an eighth belongs to some list."""
    systems, names = LISTED[table]
    listed = pl.concat([Codelist.shipped(name).rows for name in names]).filter(pl.col("system").is_in(systems))
    listed = listed.select("system", "code").unique().sort("system", "code").sample(500, with_replacement=True, seed=1)
    system, first = UNLISTED[table]
    rest = [f"{first}{number:04}" for number in range(4000 - listed.height)]
    return pl.concat([listed, pl.DataFrame({"system": system, "code": rest})])


def _persons(own: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    n = len(own)
    died = np.where(rng.random(n) < 0.05, rng.integers(1200, DAYS, n), -1)
    days = pl.Series(died)
    return pl.DataFrame({"person_id": own}).with_columns(
        birth_date=pl.lit(FIRST) - pl.duration(days=pl.Series(rng.integers(7000, 32_000, n))),
        sex=pl.Series(np.array(["female", "male"])[rng.integers(0, 2, n)]),
        death_date=pl.when(days >= 0).then(pl.lit(FIRST) + pl.duration(days=days)),
        region=pl.Series(np.array(["north", "south"])[rng.integers(0, 2, n)]),
        deprivation=pl.lit(None, pl.String),
    )


def _enrolment(own: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    starts = pl.Series(np.where(rng.random(len(own)) < 0.7, 0, rng.integers(0, 900, len(own))))
    return pl.DataFrame({"person_id": own}).with_columns(
        start_date=pl.lit(FIRST) + pl.duration(days=starts), end_date=pl.lit(FIRST + dt.timedelta(DAYS))
    )


def _events(table: str, own: np.ndarray, codes: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    n = len(own) * {"diagnosis": DIAGNOSES, "procedure": PROCEDURES, "dispensing": DISPENSINGS}[table]
    day = pl.Series(rng.integers(0, DAYS, n))
    stay = pl.Series(np.where(rng.random(n) < 0.05, rng.integers(1, 20, n), 0))
    events = pl.DataFrame({"person_id": own[rng.integers(0, len(own), n)]}).with_columns(
        date=pl.lit(FIRST) + pl.duration(days=day),
        end_date=pl.lit(FIRST) + pl.duration(days=day + stay),
        setting=pl.Series(SETTINGS[rng.integers(0, len(SETTINGS), n)]),
        position=pl.lit(1),
        quantity=pl.lit(60.0),
        days_supply=pl.Series(np.array([10, 30, 30, 90])[rng.integers(0, 4, n)]),
    )
    return pl.concat([events, codes[rng.integers(0, codes.height, n)]], how="horizontal")


def _written(store: Path, table: str, number: int, rows: pl.DataFrame) -> StoredFile:
    path = store / "data" / table / f"{number:04}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    schema = TABLES[table].schema
    rows.select(pl.col(name).cast(dtype) for name, dtype in schema.items()).sort(TABLES[table].sort).write_parquet(
        path, row_group_size=ROW_GROUP
    )
    return StoredFile(
        path=str(path.relative_to(store)), bucket=number, rows=rows.height, bytes=path.stat().st_size, sha256=""
    )
