"""The pipeline of a study: cohort, attrition, index, exit, outcome, covariates and estimates from a store.

The cohort is timed on a generated store (50 diagnosis rows a person, about one in fifty of low back pain), the whole
study on a simulated one, which has dispensings and a truth.
"""

from __future__ import annotations

from pathlib import Path

from generated_store import generated_store
from harness import Case

import cohort as co
from cohort.engines.local import local
from cohort.plan import codes_needed, run_bucket

STUDY = Path(__file__).resolve().parents[2] / "examples" / "low_back_pain.toml"
READ = {"person": ["person_id", "death_date"], "enrolment": ["person_id", "start_date", "end_date"],
        "diagnosis": ["person_id", "date", "system", "code"]}  # fmt: skip


FEW, MANY = 32, 256
"""Bucket counts of the same persons: memory is that of a bucket, so more buckets must not take more."""


def _simulated(n: int, folder: Path) -> co.Store:
    """Return a store of ``n`` simulated persons; the second contender finds the first one's."""
    store = folder / "store"
    if not (store / "manifest").is_dir():
        co.simulate("low_back_pain", persons=n, seed=7, layout="tuva", out=folder / "extracts")
        co.ingest(folder / "extracts", "tuva", store)
    return co.Store.open(store)


def _cohort(store: co.Store):
    study = co.Study.from_toml(STUDY)
    codes = codes_needed(study.cohort, study.outcome, ())

    def run():
        def bucket(tables):
            return run_bucket(tables, study.cohort, study.outcome, (), codes, store.data_end).rows.height

        return sum(local().map(store, bucket, "cohort"))

    return run


def cohort_and_outcome(n: int, folder: Path):
    """Run every bucket: cohort, attrition, index, exit and default chronification."""
    return _cohort(generated_store(n, folder))


def cohort_in_few_buckets(n: int, folder: Path):
    """The same persons in few buckets."""
    return _cohort(generated_store(n, folder, FEW))


def cohort_in_many_buckets(n: int, folder: Path):
    """The same number of persons in many buckets."""
    return _cohort(generated_store(n, folder, MANY))


def read_generated(n: int, folder: Path):
    """Read the columns that the cohort needs, and nothing else."""
    return _read(generated_store(n, folder))


def read_simulated(n: int, folder: Path):
    """Read the columns that the cohort needs, and nothing else."""
    return _read(_simulated(n, folder))


def _read(store: co.Store):
    def run():
        return sum(store.scan(table).select(columns).collect().height for table, columns in READ.items())

    return run


def _definitions() -> dict[str, list]:
    """Return five washouts and twenty outcomes: four definitions of chronic pain with their distances and gaps."""
    pain = "low_back_pain"
    second = [
        co.chronification(pain, after_days=after, within_days=within)
        for after in (90, 120)
        for within in (180, 270, 365, 455)
    ]
    lasting = [
        co.chronification(pain, definition="icd11_episode", gap_days=gap, longer_than_days=longer)
        for gap in (30, 60, 90, 180)
        for longer in (90, 120)
    ]
    pairs = [co.chronification(pain, definition="ci_nyc", within_days=within) for within in (182, 365)]
    further = [co.chronification(pain, definition="medicare_new_onset", further=days) for days in (1, 2)]
    return {"outcome": [*second, *lasting, *pairs, *further], "washout_days": [90, 120, 180, 270, 365]}


def _over(store: co.Store, axes: dict[str, list]):
    study = co.Study.from_toml(STUDY)
    curve = study.model_copy(update={"analyses": (co.cumulative_incidence(),), "covariates": ()})
    return lambda: curve.over(axes, pick={"time": 300}).run(store).table.height


def hundred_definitions(n: int, folder: Path):
    """Estimate a curve under a hundred definitions, from one reading of the store, gate and specification curve."""
    return _over(generated_store(n, folder), _definitions())


def one_definition(n: int, folder: Path):
    """Estimate the same curve under one of them, in the same way."""
    return _over(generated_store(n, folder), {})


def whole_study(n: int, folder: Path):
    """Run the whole study, Table 1, curves, rates, Cox model and release gate included."""
    store, study = _simulated(n, folder), co.Study.from_toml(STUDY)
    return lambda: study.run(store).estimates.to_polars().height


CASES = [
    Case("cohort_and_chronification", cohort_and_outcome, read_generated, "polars read"),
    Case("hundred_definitions", hundred_definitions, one_definition, "one definition"),
    Case("many_buckets", cohort_in_many_buckets, cohort_in_few_buckets, "few buckets"),
    Case("whole_study", whole_study, read_simulated, "polars read"),
]
