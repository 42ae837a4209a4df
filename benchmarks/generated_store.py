"""A store of any size without extracts: written as the loader writes one, bucket by bucket, for timing studies.

Person ids are uniform 63-bit numbers, bucket files hold whole lanes sorted by the table's sort key, and a manifest
commits them, so a study cannot tell it from an ingested store. About 50 diagnosis rows a person over six years; one in
fifty is low back pain, gathered in a third of the persons, as in claims. With ``care`` there are 5 procedures and 20
dispensings a person as well, and codes of every list that covariates read, an eighth of all codes.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

import cohort as co
from cohort.codes.codelist import Codelist
from cohort.ingest.load import ROWS_PER_BUCKET
from cohort.ingest.tables import ROW_GROUP
from cohort.store import manifest as manifests
from cohort.store.files import sha256_of
from cohort.store.tables import LANES, TABLES

FIRST, DAYS = dt.date(2018, 1, 1), 2191  # to the end of 2023
DIAGNOSES = 50
PAIN_SHARE, IN_PAIN = 0.06, 1 / 3  # of the rows of those who ever have back pain, and how many those are
CARE = {"procedure": 5, "dispensing": 20}
LISTED = {
    "diagnosis": (("icd10cm",), ("low_back_pain", "charlson_quan2005", "mood", "pain_regions", "sleep")),
    "procedure": (("cpt", "hcpcs"), ("treatment_modalities",)),
    "dispensing": (("ndc",), ("opioid", "benzodiazepine", "gabapentinoid")),
}
UNLISTED = {"diagnosis": ("icd10cm", "Z"), "procedure": ("cpt", "8"), "dispensing": ("ndc", "9999999")}
SETTINGS = np.array(["outpatient"] * 15 + ["emergency", "inpatient", "laboratory", "home", "facility"])


def generated_store(persons: int, folder: Path, buckets: int | None = None, *, care: bool = False) -> co.Store:
    """Return the store of that many persons in the folder, made when it is not there yet."""
    path = folder / f"store-{persons}-{buckets}{'-care' * care}"
    if not (path / "manifest").is_dir():
        chosen = buckets or _buckets(persons)
        codes = _codes()
        events = {name: _listed(name) for name in CARE} if care else {}
        if care:
            codes = codes[0], pl.concat([codes[1], _listed("diagnosis")["code"]])
        files = [_write_bucket(path, number, chosen, persons, codes, events) for number in range(chosen)]
        tables = {name: tuple(file[name] for file in files if name in file) for name in TABLES}
        _commit(path, tables, chosen)
    return co.Store.open(path)


def _buckets(persons: int) -> int:
    buckets = 1
    while buckets < LANES and persons * DIAGNOSES > buckets * ROWS_PER_BUCKET:
        buckets *= 2
    return buckets


def _codes() -> tuple[pl.Series, pl.Series]:
    """Return codes of low back pain, and 4,000 others of which a few state chronic pain or cancer."""
    wanted = ("low_back_pain", "chronic_pain_explicit", "active_cancer")
    pain, chronic, cancer = (_icd10cm(name) for name in wanted)
    rest = [f"Z{number:04}" for number in range(3960)]
    return pl.Series(pain, dtype=pl.String), pl.Series([*rest, *chronic[:4], *cancer[:36]], dtype=pl.String)


def _icd10cm(name: str) -> list[str]:
    rows = Codelist.shipped(name).rows
    return rows.filter(pl.col("system") == "icd10cm")["code"].unique().sort().to_list()


def _listed(table: str) -> pl.DataFrame:
    """Return ``system, code`` of 4,000 codes of a table, an eighth of them on some list."""
    systems, names = LISTED[table]
    rows = pl.concat([Codelist.shipped(name).rows for name in names]).filter(pl.col("system").is_in(systems))
    listed = rows.select("system", "code").unique().sort("system", "code").sample(500, with_replacement=True, seed=1)
    system, first = UNLISTED[table]
    rest = [f"{first}{number:04}" for number in range(4000 - listed.height)]
    return pl.concat([listed, pl.DataFrame({"system": system, "code": rest})])


def _write_bucket(
    path: Path,
    number: int,
    buckets: int,
    persons: int,
    codes: tuple[pl.Series, pl.Series],
    events: dict[str, pl.DataFrame],
) -> dict:
    rng = np.random.default_rng([20261120, buckets, number])
    n = persons // buckets + (number < persons % buckets)
    lane = rng.integers(0, LANES // buckets, n) * buckets + number
    ids = np.unique(rng.integers(0, 2**54, n, dtype=np.int64) * LANES + lane)
    frames = {
        "person": _persons(ids, rng),
        "enrolment": _enrolment(ids, rng),
        "diagnosis": _diagnoses(ids, rng, *codes),
    } | {name: _events(ids, rng, found, CARE[name]) for name, found in events.items()}
    return {name: _store(path, name, number, frame) for name, frame in frames.items()}


def _persons(ids: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    n = len(ids)
    dies = np.where(rng.random(n) < 0.05, rng.integers(0, DAYS, n), -1)
    return pl.DataFrame({"person_id": ids, "born": rng.integers(-25_000, 6_000, n), "dies": dies}).select(
        "person_id",
        birth_date=pl.col("born").cast(pl.Int32).cast(pl.Date),
        sex=pl.Series(np.where(rng.random(n) < 0.52, "female", "male")),
        death_date=pl.when(pl.col("dies") >= 0).then(_date(pl.col("dies"))),
        region=pl.lit("north"),
    )


def _enrolment(ids: np.ndarray, rng: np.random.Generator) -> pl.DataFrame:
    """Return one span a person, and a second one for every fifth."""
    n = len(ids)
    start = rng.integers(0, DAYS // 3, n)
    end = np.minimum(start + rng.integers(400, 2 * DAYS, n), DAYS - 1)
    again = (rng.random(n) < 0.2) & (end + 120 < DAYS)
    spans = [(ids, start, end), (ids[again], end[again] + 60, np.full(again.sum(), DAYS - 1))]
    frame = pl.concat([pl.DataFrame({"person_id": i, "from": s, "to": e}) for i, s, e in spans])
    return frame.select("person_id", start_date=_date(pl.col("from")), end_date=_date(pl.col("to")))


def _diagnoses(ids: np.ndarray, rng: np.random.Generator, pain: pl.Series, others: pl.Series) -> pl.DataFrame:
    n = len(ids) * DIAGNOSES
    person = rng.integers(0, len(ids), n)
    hurts = (ids[person] // LANES % 1000 < 1000 * IN_PAIN) & (rng.random(n) < PAIN_SHARE)
    code = pl.select(
        pl.when(pl.Series(hurts))
        .then(pain.gather(rng.integers(0, len(pain), n)))
        .otherwise(others.gather(rng.integers(0, len(others), n)))
    ).to_series()
    stay = np.where(rng.random(n) < 0.03, rng.integers(1, 20, n), 0)
    frame = pl.DataFrame({"person_id": ids[person], "day": rng.integers(0, DAYS, n), "stay": stay, "code": code})
    return frame.select(
        "person_id",
        date=_date(pl.col("day")),
        end_date=_date(pl.col("day") + pl.col("stay")),
        system=pl.lit("icd10cm"),
        code="code",
        setting=pl.when(pl.col("stay") > 0).then(pl.lit("inpatient")).otherwise(pl.lit("outpatient")),
        position=pl.lit(1, dtype=pl.Int16),
    ).unique()


def _events(ids: np.ndarray, rng: np.random.Generator, codes: pl.DataFrame, each: int) -> pl.DataFrame:
    """Return so many procedures or dispensings a person; a table takes the columns that it has."""
    n = len(ids) * each
    events = pl.DataFrame({"person_id": ids[rng.integers(0, len(ids), n)], "day": rng.integers(0, DAYS, n)}).select(
        "person_id",
        date=_date(pl.col("day")),
        setting=pl.Series(SETTINGS[rng.integers(0, len(SETTINGS), n)]),
        quantity=pl.lit(60.0),
        days_supply=pl.Series(np.array([10, 30, 30, 90])[rng.integers(0, 4, n)]),
    )
    return pl.concat([events, codes[rng.integers(0, codes.height, n)]], how="horizontal")


def _date(day: pl.Expr) -> pl.Expr:
    return (pl.lit(FIRST) + pl.duration(days=day)).cast(pl.Date)


def _store(path: Path, table: str, bucket: int, frame: pl.DataFrame) -> manifests.StoredFile:
    file = path / table / f"{bucket:04d}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    schema = TABLES[table].schema  # what a population does not have is missing
    absent = frame.with_columns(pl.lit(None).alias(name) for name in schema.names() if name not in frame.columns)
    rows = absent.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    arrow = rows.sort(TABLES[table].sort).with_columns(pl.col(pl.String).cast(pl.Categorical)).to_arrow()
    pq.write_table(arrow, file, row_group_size=ROW_GROUP, compression="zstd", store_schema=False)
    return manifests.StoredFile(
        path=f"{table}/{file.name}", bucket=bucket, rows=rows.height, bytes=file.stat().st_size, sha256=sha256_of(file)
    )


def _commit(path: Path, tables: dict[str, tuple[manifests.StoredFile, ...]], buckets: int) -> None:
    manifest = manifests.Manifest(
        format=manifests.FORMAT,
        number=1,
        created=dt.datetime(2026, 11, 20, tzinfo=dt.UTC),
        layout="generated",
        layout_sha256="",
        fingerprint="",
        buckets=buckets,
        key_id="",
        data_end=FIRST + dt.timedelta(days=DAYS - 1),
        unlisted_persons=0,
        tables=tables,
        inputs=(),
        not_used=(),
        counts={},
    )
    manifests.commit(path, manifest)
