"""What a site has let out of a population, so that no two files of counts, nor a file and a report, are subtracted."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError, LockedError, ReleaseRefusedError
from cohort.results.history import COUNTS
from cohort.store.files import create_exclusively, make_folder, private_umask
from cohort.study import Study


@dataclass(frozen=True, slots=True, eq=False)
class PastCounts:
    """One file of counts as it left: its study, cells, their width in days, and the exact flow behind it."""

    study_sha256: str
    width: int
    cells: pl.DataFrame
    steps: Mapping[str, tuple[int, int | None]]

    def to_bytes(self) -> bytes:
        """Return the record; the same counts are the same bytes."""
        head = {"study_sha256": self.study_sha256, "width": self.width, "steps": self.steps}
        buffer = io.BytesIO()
        self.cells.write_parquet(buffer, metadata={"cohort": json.dumps(head)})
        return buffer.getvalue()

    @classmethod
    def read(cls, path: Path) -> PastCounts:
        """Read a record."""
        head = json.loads(pl.read_parquet_metadata(path)["cohort"])
        steps = {reason: (persons, entries) for reason, (persons, entries) in head["steps"].items()}
        return cls(head["study_sha256"], head["width"], pl.read_parquet(path), steps)


def earlier_counts(folder: Path, study: Study) -> tuple[PastCounts, ...]:
    """Return the counts of a study that a site has let out, oldest first.

    Raises
    ------
    ReleaseRefusedError
        If a report of the population was published, or counts of it by another study: intervals and covariates are
        other ones, and one could be subtracted from the other.
    InputRefusedError
        If a record cannot be read.
    """
    kept = folder / study.population_sha256[:16]
    reports = kept.is_dir() and any(kept.glob("[0-9]*.json"))
    try:
        found = tuple(PastCounts.read(path) for path in sorted((kept / COUNTS).glob("[0-9]*.parquet")))
    except (OSError, ValueError, KeyError, pl.exceptions.PolarsError):
        raise InputRefusedError(f"{kept}: a record of earlier counts cannot be read; restore it") from None
    if reports or any(past.study_sha256 != study.sha256 for past in found):
        raise ReleaseRefusedError(
            f"{'a report' if reports else 'counts by another study'} of this population left before, and these counts "
            "could be subtracted; give out one of the two, or let the data custodian begin another --history"
        )
    return found


def remember_counts(folder: Path, study: Study, counts: PastCounts) -> None:
    """Keep what is about to be let out, readable by the owner only; what says the same as an earlier adds nothing.

    Raises
    ------
    LockedError
        If other counts of the population are being recorded.
    """
    earlier = earlier_counts(folder, study)
    content = counts.to_bytes()
    if any(past.to_bytes() == content for past in earlier):
        return
    kept = folder / study.population_sha256[:16]
    try:
        with private_umask():
            make_folder(kept / COUNTS)
            kept.chmod(0o700)
            create_exclusively(kept / COUNTS / f"{len(earlier) + 1:06d}.parquet", content)
    except FileExistsError:
        raise LockedError("other counts of this population are being recorded; run again when that has ended") from None
