"""The steps that are timed, each in a process of its own: ``python -m cohort.bench.steps STEP WORK PERSONS``.

A step finds what the step before it left in the work folder and returns how many rows it went through. The models are
timed on as many rows as there are persons, drawn with a fixed seed from the entries of the demo study, so that their
cost can be read against n. What is timed excludes the start of Python.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cohort.bench import peers
from cohort.bench.peers import ROWS, rows_of
from cohort.shipped import shipped

if TYPE_CHECKING:
    from cohort.store.store import Store
    from cohort.study import Study

SEED = 1
TERMS = "early_opioid + age + sex + charlson + pain_sites"


def _study() -> Study:
    from cohort.study import Study

    return Study.from_toml(shipped("examples") / "low_back_pain.toml")


def simulate(work: Path, persons: int) -> int:
    """Write the extracts of the demo population."""
    from cohort.simulate.run import simulate as write

    return sum(write("low_back_pain", persons=persons, out=work / "extracts").rows.values())


def ingest(work: Path, persons: int) -> int:
    """Load the extracts into a store; rows are lines of the extracts."""
    from cohort.ingest.load import ingest as load

    store = load(work / "extracts", "tuva", work / "store")
    return sum(file.lines for file in store.account.files)


def cohort(work: Path, persons: int) -> int:
    """Find who is in, from when until when, and the outcome; rows are the store's diagnoses."""
    from cohort.store.store import Store

    store = Store.open(work / "store")
    _study().model_copy(update={"covariates": (), "analyses": ()}).entries(store)
    return _diagnoses(store)


def features(work: Path, persons: int) -> int:
    """Add the covariates of the demo study; leave the rows that the models are timed on."""
    import polars as pl

    from cohort.store.store import Store

    store = Store.open(work / "store")
    entries = _study().entries(store)[0].lazy().drop_nulls([*_study().variables]).collect()
    if entries.height:
        drawn = entries.sample(persons, with_replacement=True, seed=SEED)
        drawn.with_columns(event=pl.col("cause") == 1, cause=pl.col("cause").cast(pl.Int64)).write_parquet(work / ROWS)
    return _diagnoses(store)


def curves(work: Path, persons: int) -> int:
    """Estimate survival, cumulative incidence and the log-rank test by group."""
    from cohort import survival as sv

    rows = rows_of(work)
    sv.kaplan_meier(rows, "time", "event", by="early_opioid", entry="entry")
    sv.cumulative_incidence(rows, "time", "cause", by="early_opioid", entry="entry")
    sv.logrank(rows, "time", "event", by="early_opioid", entry="entry")
    return rows.height


def cox(work: Path, persons: int) -> int:
    """Fit the Cox model of the demo study."""
    from cohort.survival.cox import fit_cox

    rows = rows_of(work)
    fit_cox(rows, "time", "event", "entry", terms=TERMS)
    return rows.height


def report(work: Path, persons: int) -> int:
    """Run the demo study and write its report; rows are the store's diagnoses."""
    from cohort.store.store import Store

    store = Store.open(work / "store")
    _study().run(store).report(work / "report")
    return _diagnoses(store)


def _diagnoses(store: Store) -> int:
    return store.account.tables["diagnosis"].stored


@dataclass(frozen=True, slots=True)
class Step:
    """What is timed: its work, the step of the pipeline that it is or stands beside, whether it is run once before."""

    work: Callable[[Path, int], int]
    beside: str
    warm: bool = False


STEPS = {
    "simulate": Step(simulate, "simulate"),
    "ingest": Step(ingest, "ingest"),
    "DuckDB copy": Step(peers.duckdb_copy, "ingest"),
    "cohort": Step(cohort, "cohort"),
    "features": Step(features, "features"),
    "curves": Step(curves, "curves", warm=True),
    "lifelines curves": Step(peers.lifelines_curves, "curves", warm=True),
    "Cox": Step(cox, "Cox", warm=True),
    "lifelines Cox": Step(peers.lifelines_cox, "Cox", warm=True),
    "report": Step(report, "report"),
}
"""By contender, in the order in which they can be run; models run once before, for compiling is not their cost."""


def main() -> None:
    """Run one step and print what it cost."""
    _, name, work, persons = sys.argv
    step = STEPS[name]
    if step.warm:
        step.work(Path(work), int(persons))
    start = time.perf_counter()
    rows = step.work(Path(work), int(persons))
    seconds = time.perf_counter() - start
    # of children too: the simulator makes its blocks in processes of their own
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"seconds": seconds, "rows": rows, "peak_mb": peak}))


if __name__ == "__main__":
    main()
