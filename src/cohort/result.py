"""What a run gives back: released results, the analysis table for the data holder, and the report."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cohort.errors import InputRefusedError, NotEstimableError
from cohort.features.covariate import MISSING
from cohort.population.attrition import Attrition
from cohort.protocol import codelists, definitions, protocol
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import Released
from cohort.results.estimates import NOT_ESTIMABLE, RATIOS, Estimates
from cohort.results.provenance import CodelistUsed, InputFile, Provenance, installed_code, installed_versions
from cohort.store.store import Store
from cohort.timeline import timeline

if TYPE_CHECKING:
    from markupsafe import Markup

    from cohort.checks.judge import CheckResult
    from cohort.multiverse import Specifications
    from cohort.report.bias import KnownTruth
    from cohort.report.document import ReportContent
    from cohort.study import Study
    from cohort.why import Why


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One run of a study.

    ``estimates`` and ``attrition`` have passed the release gate; ``table`` holds persons and stays with the data.
    """

    study: Study
    table: AnalysisTable
    released: Released
    provenance: Provenance
    store: Store

    @property
    def estimates(self) -> Estimates:
        """Return the released estimates."""
        return self.released.estimates

    @property
    def attrition(self) -> Attrition:
        """Return the released attrition."""
        return self.released.attrition

    def why(self, person: int) -> Why:
        """Replay the study on one person (a pseudonym of the store): for the data holder, never part of a report."""
        from cohort.why import why

        return why(self.study, self.store, person)

    def report(
        self,
        folder: str | Path,
        check: CheckResult | None = None,
        truth: KnownTruth | None = None,
        specifications: Specifications | None = None,
    ) -> Path:
        """Publish the report as a page, as Markdown and as data (`cohort.report.document`); return the page's path.

        Its files appear in one step in place of those of the run before, which stays in ``runs``. With ``check``, what
        `cohort.check` found of the same snapshot is a section of the page, under the same rule; with ``truth``
        (`cohort.truth.known_truth`), what immortal time does in simulated data; ``specifications``, what
        ``study.over(...).run(store)`` gave, adds the specification curve.

        Raises
        ------
        InputRefusedError
            If the check is of other data.
        LockedError
            If another run is writing to the folder.
        """
        from cohort.runs.publication import next_run
        from cohort.runs.receipt import publish_result
        from cohort.store.files import locked, make_folder

        section = self.quality(check)
        make_folder(folder := Path(folder))
        with locked(folder, ".lock"):
            table = None if specifications is None else specifications.table
            publish_result(self.knowing(truth), next_run(folder), section, specifications=table)
        return folder / "report.html"

    def knowing(self, truth: KnownTruth | None) -> Result:
        """Return the result with the truth of its simulated data as an option of the run."""
        if truth is None:
            return self
        options = {**self.provenance.options, **truth_option(truth)}
        return replace(self, provenance=replace(self.provenance, options=options))

    def publication_tables(self, folder: str | Path) -> list[Path]:
        """Write every table and the flow for a manuscript, as LaTeX and as HTML for a word processor; return the paths.

        Raises
        ------
        StudyError
            If the extra ``tables`` (great-tables) is not installed.
        """
        from cohort.report.document import compose
        from cohort.report.publication import write_publication

        return write_publication(compose(self.content()), Path(folder))

    def quality(self, check: CheckResult | None) -> Markup | None:
        """Return the section of data quality as it may leave, of a check of the same data; none without a check.

        Raises
        ------
        InputRefusedError
            If the check is of other data.
        """
        from cohort.checks.document import released_section

        if check is None:
            return None
        if check.counts.fingerprint != self.provenance.store_sha256:
            raise InputRefusedError("the check is of another snapshot than the study; check the one that it reads")
        return released_section(check, self.released.rule)

    def content(self, quality: Markup | None = None, specifications: pl.DataFrame | None = None) -> ReportContent:
        """Return all that a report of this run prints; ``specifications`` is the table of a multiverse."""
        options = {**self.provenance.options, **quality_option(quality), **_specified(specifications)}
        provenance = replace(self.provenance, options=options)
        return content_of(self.study, self.released, provenance, quality, specifications)

    def raise_if_not_estimable(self) -> None:
        """Raise if a model had no answer; the report stands and says so.

        Raises
        ------
        NotEstimableError
            Naming the analysis and the reason.
        """
        raise_if_not_estimable(self.estimates)


def raise_if_not_estimable(estimates: Estimates) -> None:
    """Raise if a model among released estimates had no answer.

    Raises
    ------
    NotEstimableError
        Naming the analysis and the reason.
    """
    rows = estimates.frame.filter(pl.col("estimand").is_in(RATIOS))
    for number, status in rows.select("analysis", "status").unique().sort("analysis", "status").iter_rows():
        if status.startswith(NOT_ESTIMABLE):
            raise NotEstimableError(f"analysis {number}: {status.removeprefix(NOT_ESTIMABLE).lstrip(': ')}")


def content_of(
    study: Study,
    released: Released,
    provenance: Provenance,
    quality: Markup | None = None,
    specifications: pl.DataFrame | None = None,
) -> ReportContent:
    """Return all that a report of released results prints."""
    from cohort.report.bias import KnownTruth
    from cohort.report.document import Definition, ReportContent
    from cohort.report.labels import AnalysisTitle

    titles = [
        AnalysisTitle(number, analysis.title, analysis.contrast, landmark=study.outcome.landmark)
        for number, analysis in enumerate(study.analyses, start=1)
    ]
    return ReportContent(
        title=study.title,
        protocol=protocol(study),
        released=released,
        provenance=provenance,
        definitions=tuple(Definition(*row) for row in definitions(study)),
        warnings=tuple(finding.message for finding in study.audit()),
        labels=_labels(study),
        analyses=(AnalysisTitle(0, "Who is in the cohort", study.grouping), *titles),
        timeline=timeline(study),
        quality=quality,
        codes=_codes(study),
        specifications=specifications,
        truth=KnownTruth.from_json(told) if (told := provenance.options.get(TRUTH)) else None,
    )


def quality_option(section: Markup | None) -> dict[str, str]:
    """Return the section of data quality as an option of the run: it decides bytes of the page."""
    return {} if section is None else {"quality_sha256": hashlib.sha256(section.encode()).hexdigest()}


def _specified(table: pl.DataFrame | None) -> dict[str, str]:
    """Return the specification curve as an option of the run, as it decides bytes of the page too."""
    return {} if table is None else {"specifications_sha256": hashlib.sha256(table.write_csv().encode()).hexdigest()}


TRUTH = "known_truth"
"""The option of a run that holds the truth of its simulated data."""


def truth_option(truth: KnownTruth | None) -> dict[str, str]:
    """Return the truth of simulated data as an option of the run, so that the page can be written again from it."""
    return {} if truth is None else {TRUTH: truth.to_json()}


def _labels(study: Study) -> dict[str, str]:
    """Return what the page calls each covariate, and the reasons for which it is missing."""
    names = {column.name: column.label for column in (*study.covariates, *study.exposures, *study.time_varying)}
    return names | {f"{name}{MISSING}": f"{label}: why missing" for name, label in names.items()}


def _codes(study: Study) -> pl.DataFrame | None:
    """Return every row of the study's codelists, which a reader needs to do the study again."""
    named = [pl.lit(used.name).alias("codelist") for used in codelists(study)]
    rows = [used.rows.select(name, pl.all()) for name, used in zip(named, codelists(study), strict=True)]
    return pl.concat(rows) if rows else None


def trace(study: Study, store: Store, started: dt.datetime) -> Provenance:
    """Return what the run was made from, and with what."""
    manifest = store.manifest
    return Provenance(
        study_sha256=study.sha256,
        store_sha256=manifest.fingerprint,
        inputs=tuple(InputFile(file.name, file.sha256, file.bytes) for file in manifest.inputs),
        codelists=codelists_used(study),
        versions=installed_versions(),
        code_sha256=installed_code(),
        unsealed={
            number: reason
            for number, analysis in enumerate(study.analyses, start=1)
            if (reason := getattr(analysis, "unsealed", None)) is not None
        },
        disclosure=study.disclosure.model_dump(),
        started=started,
        finished=max(started, dt.datetime.now(dt.UTC)),  # a clock may be set back meanwhile
    )


def codelists_used(study: Study) -> tuple[CodelistUsed, ...]:
    """Return what provenance says of a study's codelists."""
    return tuple(
        CodelistUsed(c.name, c.version, c.rows.height, c.sha256, "; ".join(c.rows["source"].unique().sort()[:3]))
        for c in codelists(study)
    )
