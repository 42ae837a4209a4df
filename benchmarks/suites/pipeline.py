"""The pipeline of a study: cohort, attrition, index, exit, outcome, covariates and estimates from a store."""

from __future__ import annotations

from pathlib import Path

from harness import Case

import cohort as co
from cohort.engines.local import local
from cohort.plan import codes_needed, run_bucket

STUDY = Path(__file__).resolve().parents[2] / "examples" / "low_back_pain.toml"
READ = {"person": ["person_id", "death_date"], "enrolment": ["person_id", "start_date", "end_date"],
        "diagnosis": ["person_id", "date", "system", "code"]}  # fmt: skip


def _store(n: int, folder: Path) -> co.Store:
    """Return a store of ``n`` simulated persons; the second contender finds the first one's."""
    store = folder / "store"
    if not (store / "manifest").is_dir():
        co.simulate("low_back_pain", persons=n, seed=7, layout="tuva", out=folder / "extracts")
        co.ingest(folder / "extracts", "tuva", store)
    return co.Store.open(store)


def cohort_and_outcome(n: int, folder: Path):
    """Run every bucket: cohort, attrition, index, exit and default chronification."""
    store, study = _store(n, folder), co.Study.from_toml(STUDY)
    codes = codes_needed(study.cohort, study.outcome, ())

    def run():
        def bucket(tables):
            return run_bucket(tables, study.cohort, study.outcome, (), codes, store.data_end).rows.height

        return sum(local().map(store, bucket, "cohort"))

    return run


def read_columns(n: int, folder: Path):
    """Read the columns that the cohort needs, and nothing else."""
    store = _store(n, folder)

    def run():
        return sum(store.scan(table).select(columns).collect().height for table, columns in READ.items())

    return run


def whole_study(n: int, folder: Path):
    """Run the whole study, Table 1, curves, rates, Cox model and release gate included."""
    store, study = _store(n, folder), co.Study.from_toml(STUDY)
    return lambda: study.run(store).estimates.to_polars().height


CASES = [
    Case("cohort_and_chronification", cohort_and_outcome, read_columns, "polars read"),
    Case("whole_study", whole_study, read_columns, "polars read"),
]
