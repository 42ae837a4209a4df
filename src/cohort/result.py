"""What a run gives back: released results, the analysis table for the data holder, and the report."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
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
from cohort.results.provenance import CodelistUsed, InputFile, Provenance, installed_versions
from cohort.store.store import Store
from cohort.timeline import timeline

if TYPE_CHECKING:
    from cohort.checks.judge import CheckResult
    from cohort.report.bias import KnownTruth
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

    def report(self, folder: str | Path, check: CheckResult | None = None, truth: KnownTruth | None = None) -> Path:
        """Write report.html, estimates.csv, estimates.parquet, attrition.csv and run.json; return the page's path.

        With ``check``, what `cohort.check` found of the same snapshot is a section of the page, under the same rule;
        with ``truth`` (`cohort.truth.known_truth`), what immortal time does in simulated data.

        Raises
        ------
        InputRefusedError
            If the check is of other data.
        """
        from cohort.checks.document import released_section
        from cohort.report.document import Definition, ReportContent, write_report
        from cohort.report.labels import AnalysisTitle

        titles = [
            AnalysisTitle(number, analysis.title, analysis.contrast, landmark=self.table.landmark)
            for number, analysis in enumerate(self.study.analyses, start=1)
        ]
        content = ReportContent(
            title=self.study.title,
            protocol=protocol(self.study),
            released=self.released,
            provenance=self.provenance,
            definitions=tuple(Definition(*row) for row in definitions(self.study)),
            warnings=tuple(finding.message for finding in self.study.audit()),
            labels=_labels(self.study),
            analyses=(AnalysisTitle(0, "Who is in the cohort", self.study.grouping), *titles),
            timeline=timeline(self.study),
            quality=released_section(self._same_data(check), self.released.rule) if check else None,
            truth=truth,
        )
        return write_report(content, Path(folder))

    def _same_data(self, check: CheckResult) -> CheckResult:
        if check.counts.fingerprint != self.provenance.store_sha256:
            raise InputRefusedError("the check is of another snapshot than the study; check the one that it reads")
        return check

    def raise_if_not_estimable(self) -> None:
        """Raise if a model had no answer; the report stands and says so.

        Raises
        ------
        NotEstimableError
            Naming the analysis and the reason.
        """
        rows = self.estimates.frame.filter(pl.col("estimand").is_in(RATIOS))
        for number, status in rows.select("analysis", "status").unique().sort("analysis", "status").iter_rows():
            if status.startswith(NOT_ESTIMABLE):
                raise NotEstimableError(f"analysis {number}: {status.removeprefix(NOT_ESTIMABLE).lstrip(': ')}")


def _labels(study: Study) -> dict[str, str]:
    """Return what the page calls each covariate, and the reasons for which it is missing."""
    names = {column.name: column.label for column in study.measured}
    return names | {f"{name}{MISSING}": f"{label}: why missing" for name, label in names.items()}


def trace(study: Study, store: Store, started: dt.datetime) -> Provenance:
    """Return what the run was made from, and with what."""
    manifest = store.manifest
    return Provenance(
        study_sha256=study.sha256,
        store_sha256=manifest.fingerprint,
        inputs=tuple(InputFile(file.name, file.sha256, file.bytes) for file in manifest.inputs),
        codelists=codelists_used(study),
        versions=installed_versions(),
        unsealed={
            number: reason
            for number, analysis in enumerate(study.analyses, start=1)
            if (reason := getattr(analysis, "unsealed", None)) is not None
        },
        started=started,
        finished=dt.datetime.now(dt.UTC),
    )


def codelists_used(study: Study) -> tuple[CodelistUsed, ...]:
    """Return what provenance says of a study's codelists."""
    return tuple(
        CodelistUsed(c.name, c.version, c.rows.height, c.sha256, "; ".join(c.rows["source"].unique().sort()[:3]))
        for c in codelists(study)
    )
