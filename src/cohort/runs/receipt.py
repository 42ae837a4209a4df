"""What a run leaves beside what it releases: enough to replay a person, verify every number, and compare two runs."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cohort.errors import StudyError
from cohort.results.estimates import SCHEMA, Estimates
from cohort.runs.folders import Run, find
from cohort.runs.ledger import open_ledger
from cohort.runs.publication import publish
from cohort.store.files import sha256_of
from cohort.store.places import absolute
from cohort.store.store import Store

if TYPE_CHECKING:
    import polars as pl
    from markupsafe import Markup

    from cohort.result import Result
    from cohort.study import Study


def publish_result(
    result: Result,
    run: Run,
    quality: Markup | None = None,
    history: Path | None = None,
    specifications: pl.DataFrame | None = None,
) -> Run:
    """Publish the report of a result as a run; the caller holds the lock of the folder of results.

    The store keeps who is in the run, and that the run refers to its snapshot, unless it cannot be written.
    """
    from cohort.report.document import write_report

    content = result.content(quality, specifications)
    if (ledger := open_ledger(result.store.path, content.provenance.run_id)) is not None:
        ledger.refer(run, result.store.manifest.number)
        ledger.keep_who(result.table.parts)
    remember = partial(_remember, result.study, result.store, content.provenance.run_id, history)
    return publish(run, lambda folder: write_report(content, folder), remember)


def _remember(study: Study, store: Store, run_id: str, history: Path | None, private: Path, released: Path) -> None:
    """Write the study, where the store and the history of releases are, and the hash of each released file."""
    study.to_toml(private / "study.toml", whole=True)
    files = {path.relative_to(released).as_posix(): sha256_of(path) for path in _files(released)}
    where = {
        "store": str(absolute(store.path)),
        "snapshot": store.manifest.number,
        "run_id": run_id,
        "history": None if history is None else str(history.resolve()),
        "files": files,
    }
    (private / "store.json").write_text(json.dumps(where, indent=1) + "\n", encoding="utf-8")


def changed_files(run: Run) -> list[str]:
    """Return what is not as it was released: one sentence per file."""
    wanted: dict[str, str] = run.private_facts()["files"]
    found = {path.relative_to(run.released).as_posix(): sha256_of(path) for path in _files(run.released)}
    said = dict.fromkeys(found, "was not released by this run")
    said |= {name: "was changed after its release" if name in found else "is missing" for name in wanted}
    return [f"{name} {said[name]}" for name in sorted(said) if found.get(name) != wanted.get(name)]


def estimates_of(run: Run) -> Estimates:
    """Return the released estimates of a run."""
    import polars as pl

    try:
        return Estimates(pl.read_parquet(run.released / "estimates.parquet", columns=SCHEMA.names()))
    except (OSError, pl.exceptions.PolarsError):
        raise StudyError(f"{run.released} lacks its estimates; run the study again") from None


def recall(path: Path) -> tuple[Study, Store]:
    """Return the study and the store of a run, held against the hashes that the run left.

    Raises
    ------
    StudyError
        If the folder holds no run, or another study or store than the run's.
    """
    from cohort.study import Study

    run = find(path)
    ran, where = run.released_facts(), run.private_facts()
    study = Study.from_toml(run.private / "study.toml")
    store = Store.open(where["store"], as_of=where["snapshot"])
    if study.sha256 != ran["study_sha256"] or store.manifest.fingerprint != ran["store_sha256"]:
        raise StudyError(f"{path}: the study or the store is not the one of run.json; run the study again")
    return study, store


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
