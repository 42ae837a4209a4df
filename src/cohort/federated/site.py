"""What one site sends: a file of cells with the study they are of, and nothing from which a person could be told."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w

from cohort.engines.engine import Engine, Progress
from cohort.errors import InputRefusedError, ReleaseRefusedError, StudyError
from cohort.federated.cells import protected
from cohort.federated.history import PastCounts, earlier_counts, remember_counts
from cohort.population.attrition import Attrition, Step
from cohort.results.attrition_steps import merge_steps
from cohort.results.history import PastRelease
from cohort.store.store import Store
from cohort.study import Study

FORMAT = "cohort site counts 1"


@dataclass(frozen=True, slots=True, eq=False)
class SiteCounts:
    """The cells of one site (see `cells`), their interval in days, and the site's flow, each step with its last rule.

    ``sha256`` is that of the file it was read from.
    """

    study: Study
    site: str
    width: int
    cells: pl.DataFrame = field(repr=False)
    flow: tuple[tuple[int, Step], ...]
    sha256: str = ""

    def write(self, path: str | Path) -> Path:
        """Write the file (Parquet) and return its path."""
        path = Path(path)
        head = {
            "format": FORMAT,
            "site": self.site,
            "width": self.width,
            "study": _text(self.study),
            "study_sha256": self.study.sha256,
            "flow": [[rule, asdict(step)] for rule, step in self.flow],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        self.cells.write_parquet(path, metadata={"cohort": json.dumps(head)})
        return path

    @classmethod
    def read(cls, path: str | Path) -> SiteCounts:
        """Read a site's file.

        Raises
        ------
        InputRefusedError
            If it is not one, or not whole.
        """
        path = Path(path)
        try:
            head: dict[str, Any] = json.loads(pl.read_parquet_metadata(path)["cohort"])
            cells, content = pl.read_parquet(path), path.read_bytes()
        except FileNotFoundError:
            raise InputRefusedError(f"{path}: no such file; give the files that `cohort counts` wrote") from None
        except (OSError, KeyError, ValueError, pl.exceptions.PolarsError):
            raise InputRefusedError(f"{path}: not a whole file of `cohort counts`; ask the site for it again") from None
        if head.get("format") != FORMAT:
            raise InputRefusedError(f"{path}: of another version of this package; write it again with the same one")
        study = Study(**tomllib.loads(head["study"]))
        if study.sha256 != head["study_sha256"]:
            raise InputRefusedError(f"{path}: its study is not the one it was counted for; ask the site for it again")
        if cells.height and int(cells["n"].min()) < max(1, study.disclosure.minimum):  # type: ignore[arg-type]
            raise InputRefusedError(f"{path}: holds cells smaller than its study allows; ask the site for it again")
        flow = tuple((int(rule), Step(**step)) for rule, step in head["flow"])
        return cls(study, head["site"], head["width"], cells, flow, hashlib.sha256(content).hexdigest())


def site_counts(
    study: Study,
    store: Store | str | Path,
    site: str,
    progress: Progress | None = None,
    *,
    engine: Engine | None = None,
    history: Path | None = None,
) -> SiteCounts:
    """Run a study's cohort on one site's store and return what may leave: cells of at least the rule's minimum.

    Parameters
    ----------
    history
        Where the site remembers what it let out: what would differ by a few persons from it is put into longer
        intervals, and what is made here is remembered there.

    Raises
    ------
    StudyError
        If the study cannot be put together from counts, or its design is at fault.
    ReleaseRefusedError
        If some cells stay small, or differ by a few from earlier ones (`cells.protected`), or other numbers of the
        population have been let out (`earlier_counts`).
    """
    check_federated(study)
    rule = study.disclosure
    remembered = None if rule.off else history
    earlier = () if remembered is None else earlier_counts(remembered, study)
    table, attrition = study.entries(store, progress, engine=engine)
    before = [(past.cells, past.width) for past in earlier]
    cells, width = protected(table, used(study), rule.minimum, rule.curve_days, before)
    steps = {step.reason: (step.persons_kept, step.entries_kept) for step in attrition.steps}
    if remembered is not None:
        remember_counts(remembered, study, PastCounts(study.sha256, width, cells, steps))
    return SiteCounts(study, site, width, cells, _flow(attrition, rule.minimum, earlier))


def used(study: Study) -> tuple[str, ...]:
    """Return the covariates that the study's analyses read, in the study's order."""
    named = {name for analysis in study.analyses for name in analysis.uses} | {study.grouping}
    return tuple(name for name in study.variables if name in named)


def check_federated(study: Study) -> None:
    """Refuse what counts cannot tell.

    Raises
    ------
    StudyError
        Naming it.
    """
    if study.cohort.matching is not None:
        raise StudyError("matched sets are made of persons of one store; they cannot be made from counts of several")
    if study.measured != study.covariates or study.negative_controls:
        raise StudyError(
            "exposures after index, care beyond the outcome and negative controls are told person by person; "
            "leave them out of a study of several sites"
        )
    if study.entry.repeats:
        raise StudyError("a person who enters more than once cannot be told from several; let persons enter once")
    if study.disclosure.minimum > 0 and not study.disclosure.show_zero:
        raise ReleaseRefusedError("a file of counts shows what is 0, which this study's disclosure rule forbids")


def _text(study: Study) -> str:
    """Return the study file with its codelists in it."""
    return tomli_w.dumps(study.model_dump(exclude_none=True, context={"folder": Path(), "whole": True}))


def _flow(attrition: Attrition, minimum: int, earlier: Sequence[PastCounts] = ()) -> tuple[tuple[int, Step], ...]:
    """Return the steps that may leave, each with the number of the last rule in it."""
    reasons = [step.reason for step in attrition.steps]
    before = [PastRelease(past.study_sha256, {}, steps=past.steps) for past in earlier]
    shown = merge_steps(attrition, minimum, history=before).steps if minimum else attrition.steps
    flow, done = [], 0
    for step in shown:
        last = next(n for n in range(done, len(reasons)) if "; ".join(reasons[done : n + 1]) == step.reason)
        flow.append((last, step))
        done = last + 1
    return tuple(flow)
