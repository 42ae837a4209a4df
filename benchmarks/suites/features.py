"""Features of diagnosis rows: comorbidity flags and episodes, beside hand-written DuckDB for the same answer.

Rows are generated: sorted by person and date, in files of two million rows or so as a store's buckets are. Ours walks
the files one by one as the local engine does; DuckDB reads them all in one query with two threads, its input already
stripped to what the query needs.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from generated_store import generated_store
from harness import Case

import cohort as co
from cohort.codes.codelist import Codelist
from cohort.codes.match import matches
from cohort.engines.local import local
from cohort.features.comorbidity import flags, load_index
from cohort.features.covariates import Covariate
from cohort.features.episodes import bridge_episodes
from cohort.plan import codes_needed, run_bucket

ROWS_PER_FILE = 2_000_000
ROWS_PER_PERSON = 25
DAYS = 2000
CHARLSON = load_index("charlson")
HAS_PEER = importlib.util.find_spec("comorbidipy") is not None
"""Whether the package that scores the same index is installed; it is no dependency of ours."""


def _files(n: int, folder: Path) -> list[Path]:
    """Write ``n`` diagnosis rows once; the second contender finds the first one's."""
    stored = folder / "diagnosis"
    if not stored.exists():
        stored.mkdir()
        rng = np.random.default_rng(20261120)
        codes = _codes(rng)
        for number, start in enumerate(range(0, n, ROWS_PER_FILE)):
            _write(stored / f"{number:04}.parquet", min(ROWS_PER_FILE, n - start), number, codes, rng)
    return sorted(stored.iterdir())


def _codes(rng: np.random.Generator) -> pl.Series:
    """Return 4,000 codes, every fifth of a Charlson disease, one in two hundred of low back pain."""
    listed = Codelist.shipped(CHARLSON.codelist).rows.filter(pl.col("system") == "icd10cm")["code"].to_list()
    own = [code + str(digit) for code in rng.choice(listed, 800) for digit in rng.integers(0, 10, 1)]
    pain = ["M545", "M5450", "M5416"] * 7
    rest = [f"Z{number:04}" for number in range(4000 - len(own) - len(pain))]
    return pl.Series("code", own + pain + rest, dtype=pl.String)


def _write(path: Path, n: int, number: int, codes: pl.Series, rng: np.random.Generator) -> None:
    persons = np.sort(rng.integers(0, max(1, ROWS_PER_FILE // ROWS_PER_PERSON), n)) + number * ROWS_PER_FILE
    day = pl.Series(rng.integers(17_000, 17_000 + DAYS, n).astype(np.int32)).cast(pl.Date)
    stay = pl.duration(days=pl.Series(np.where(rng.random(n) < 0.05, rng.integers(1, 20, n), 0)))
    frame = pl.DataFrame({"person_id": persons, "date": day}).with_columns(
        end_date=pl.col("date") + stay,
        system=pl.lit("icd10cm"),
        code=codes.gather(rng.integers(0, len(codes), n)),
        setting=pl.lit("outpatient"),
    )
    frame.sort("person_id", "date").write_parquet(path, row_group_size=122_880)


def _scans(n: int, folder: Path) -> list[pl.LazyFrame]:
    return [pl.scan_parquet(file) for file in _files(n, folder)]


def _duckdb(folder: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 2, "temp_directory": str(folder / "spill")})
    connection.execute(f"create view diagnosis as select * from read_parquet('{folder}/diagnosis/*.parquet')")
    return connection


def charlson(n: int, folder: Path):
    """Flag the Charlson categories of every person, file by file."""
    scans = _scans(n, folder)
    columns = ("person_id", "system", "code")
    return lambda: pl.concat(flags(scan.select(columns), CHARLSON).collect() for scan in scans)


def charlson_duckdb(n: int, folder: Path):
    """The same flags in one query: distinct code to bit mask, join, bitwise or, hierarchy."""
    _files(n, folder)
    connection = _duckdb(folder)
    rows = Codelist.shipped(CHARLSON.codelist).inherited().rows
    bits = pl.DataFrame({"category": CHARLSON.categories, "bit": [1 << k for k in range(len(CHARLSON.categories))]})
    connection.register("listed", rows.join(bits, on="category").select("system", "code", "bit").to_arrow())
    place = {name: 1 << k for k, name in enumerate(CHARLSON.categories)}
    severe = {mild: place[one] for one, mild in CHARLSON.drops}
    columns = ", ".join(
        f"(mask & {bit} <> 0 and mask & {severe.get(name, 0)} = 0)::tinyint as {name}" for name, bit in place.items()
    )
    query = f"""
        with hits as (
            select d.system, d.code, l.bit, length(l.code) as width,
                   max(length(l.code)) over (partition by d.system, d.code) as longest
            from (select distinct system, code from diagnosis) d
            join listed l on l.system = d.system and starts_with(d.code, l.code)
        ),
        masks as (select system, code, bit_or(bit) as mask from hits where width = longest group by all),
        persons as (
            select person_id, bit_or(coalesce(mask, 0)) as mask
            from diagnosis left join masks using (system, code) group by person_id
        )
        select person_id, {columns} from persons
    """
    return lambda: connection.sql(query).pl()


def same_flags(ours: pl.DataFrame, theirs: pl.DataFrame) -> bool:
    """Compare person by person."""
    return ours.sort("person_id").equals(theirs.select(ours.columns).sort("person_id"))


def _in_memory(n: int, folder: Path) -> pl.DataFrame:
    return pl.concat(scan.select("person_id", "code") for scan in _scans(n, folder)).collect()


def charlson_in_memory(n: int, folder: Path):
    """Score a frame in memory, every code spelled first: what a caller with a frame of his own pays."""
    frame = _in_memory(n, folder)
    return lambda: co.comorbidity(frame, person="person_id", system="icd10").select("person", "score_1987")


def charlson_comorbidipy(n: int, folder: Path):
    """The same scores by comorbidipy; its 0.5.0 looks for a name that pandas has moved since."""
    common = importlib.import_module("pandas.core.common")
    common.SettingWithCopyWarning = importlib.import_module("pandas.errors").SettingWithCopyWarning
    peer, frame = importlib.import_module("comorbidipy"), _in_memory(n, folder).to_pandas()
    return lambda: peer.comorbidity(frame, id="person_id", code="code", age=None, weighting="charlson")


def same_scores(ours: pl.DataFrame, theirs: Any) -> bool:
    """Compare person by person; comorbidipy leaves out persons without any category."""
    scored = pl.from_pandas(theirs[["person_id", "comorbidity_score"]]).sort("person_id")
    mine = ours.join(scored, left_on="person", right_on="person_id", how="left").sort("person")
    return mine["score_1987"].equals(mine["comorbidity_score"].fill_null(0).cast(pl.Int64), null_equal=True)


def episodes_all(n: int, folder: Path):
    """Join all encounters of each person into episodes, file by file."""
    scans = _scans(n, folder)

    def run():
        parts = [bridge_episodes(scan, gap_days=30).select(_checks()).collect() for scan in scans]
        return tuple(pl.concat(parts).sum().row(0))

    return run


def episodes_few(n: int, folder: Path):
    """Join the encounters for low back pain, one row in two hundred, into episodes."""
    scans, codes = _scans(n, folder), Codelist.shipped("low_back_pain")

    def run():
        parts = [bridge_episodes(matches(scan, codes), gap_days=90).select(_checks()).collect() for scan in scans]
        return tuple(pl.concat(parts).sum().row(0))

    return run


def _checks() -> list[pl.Expr]:
    return [pl.len().cast(pl.Int64), pl.col("days").sum(), pl.col("encounters").sum()]


def _episodes_duckdb(n: int, folder: Path, where: str, gap_days: int):
    _files(n, folder)
    connection = _duckdb(folder)
    # one row per person-day first, so that the window functions meet no ties
    query = f"""
        with days as (
            select person_id, date, max(end_date) as end_date from diagnosis where {where} group by all
        ),
        reached as (
            select *, max(end_date) over (
                partition by person_id order by date rows between unbounded preceding and 1 preceding) as latest
            from days
        ),
        numbered as (
            select *, sum((latest is null or date - latest > {gap_days})::int) over (
                partition by person_id order by date rows unbounded preceding) as episode
            from reached
        ),
        joined as (
            select max(end_date) - min(date) + 1 as days, count(*) as encounters
            from numbered group by person_id, episode
        )
        select count(*)::bigint, sum(days)::bigint, sum(encounters)::bigint from joined
    """
    return lambda: connection.execute(query).fetchone()


def episodes_all_duckdb(n: int, folder: Path):
    """The same episodes in one query."""
    return _episodes_duckdb(n, folder, "true", 30)


def episodes_few_duckdb(n: int, folder: Path):
    """The same episodes in one query."""
    return _episodes_duckdb(n, folder, "starts_with(code, 'M545') or starts_with(code, 'M5416')", 90)


def demo_builders(n: int, folder: Path):
    """Run every bucket of the demo study: cohort, outcome and all its covariates, each table read once."""
    return _study_with(n, folder, None)


def every_kind(n: int, folder: Path):
    """The same with one covariate of nearly every kind in place of the study's own."""
    year, pain = co.Window(-365, -1), "low_back_pain"
    person = [co.age(), co.age_group(), co.sex(), co.region(), co.index_year(), co.index_season()]
    disease = [co.charlson(year), co.elixhauser(year), co.comorbid("diab", year)]
    sites = [co.pain_sites(year), co.widespread_pain(year), co.pain_mechanism("neuropathic", year)]
    course = [co.previous_episodes(pain, year), co.visit_intensity(pain, year), co.unpredictability(pain, year)]
    course += [co.amplification(pain, year), co.care_flares(pain, year)]
    signs = [co.symptom("sleep", year), co.overlapping_conditions(year), co.sensitization_index(year)]
    care = [co.encounter_days(year), co.admissions(year), co.treated("therapy_based", year)]
    drugs = [co.exposed("opioid", year, name="opioid"), co.percent_covered("opioid", year), co.opioid_dose(year)]
    drugs += [co.new_use("opioid", co.Window(-90, -1)), co.concurrent_days("opioid", "benzodiazepine", year)]
    return _study_with(n, folder, (*person, *disease, *sites, *course, *signs, *care, *drugs))


def _study_with(n: int, folder: Path, covariates: tuple[Covariate, ...] | None):
    pipeline = importlib.import_module("suites.pipeline")
    store, study = generated_store(n, folder, care=True), co.Study.from_toml(pipeline.STUDY)
    chosen = study.covariates if covariates is None else covariates
    codes = codes_needed(study.cohort, study.outcome, chosen)

    def run():
        def bucket(tables):
            return run_bucket(tables, study.cohort, study.outcome, chosen, codes, store.data_end).rows.height

        return sum(local().map(store, bucket, "covariates"))

    return run


def demo_read(n: int, folder: Path):
    """Read the columns that the demo study needs, and nothing else."""
    pipeline = importlib.import_module("suites.pipeline")
    store = generated_store(n, folder, care=True)
    columns = pipeline.READ | {"dispensing": ["person_id", "date", "system", "code"]}
    return lambda: sum(store.scan(table).select(names).collect().height for table, names in columns.items())


CASES = [
    Case("charlson", charlson, charlson_duckdb, "DuckDB by hand", same_flags),
    *([Case("charlson_in_memory", charlson_in_memory, charlson_comorbidipy, "comorbidipy", same_scores)] * HAS_PEER),
    Case("episodes_all_rows", episodes_all, episodes_all_duckdb, "DuckDB by hand", lambda a, b: tuple(a) == tuple(b)),
    Case("episodes_few_codes", episodes_few, episodes_few_duckdb, "DuckDB by hand", lambda a, b: tuple(a) == tuple(b)),
    Case("demo_study_builders", demo_builders, demo_read, "polars read"),
    Case("every_kind_of_covariate", every_kind, demo_read, "polars read"),
]
