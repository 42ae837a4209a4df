"""What several sites add up to: the study's analyses over the persons that their cells stand for."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import polars as pl

from cohort.errors import InputRefusedError
from cohort.federated.cells import rows_of, widened
from cohort.federated.site import SiteCounts, used
from cohort.population.attrition import Attrition, Step
from cohort.result import codelists_used, content_of, raise_if_not_estimable
from cohort.results.analysis_table import AnalysisTable
from cohort.results.disclosure import Released, release
from cohort.results.provenance import InputFile, Provenance, installed_versions
from cohort.study import Study

SITE = "site of the row"
"""Column of the site's number, in the order of the sites' names; no covariate can have this name."""


@dataclass(frozen=True, slots=True, eq=False)
class Pooled:
    """One study over several sites: released results, and the table of persons that the cells stand for."""

    study: Study
    table: AnalysisTable
    released: Released
    provenance: Provenance
    width: int
    """Days of the intervals that the sites' days are on; with 1, every day, all is as from the persons themselves."""

    def report(self, folder: str | Path) -> Path:
        """Publish the report of the sites together, as that of a run is, and return the page's path.

        Raises
        ------
        LockedError
            If another run is writing to the folder.
        """
        from cohort.report.document import write_report
        from cohort.runs.publication import next_run, publish
        from cohort.store.files import locked, make_folder

        content = content_of(self.study, self.released, self.provenance)
        make_folder(folder := Path(folder))
        with locked(folder, ".lock"):
            publish(next_run(folder), lambda staged: write_report(content, staged), self._remember)
        return folder / "report.html"

    def _remember(self, private: Path, _released: Path) -> None:
        self.study.to_toml(private / "study.toml", whole=True)

    def raise_if_not_estimable(self) -> None:
        """Raise if a model had no answer; the report stands and says so.

        Raises
        ------
        NotEstimableError
            Naming the analysis and the reason.
        """
        raise_if_not_estimable(self.released.estimates)


def combine(paths: Sequence[str | Path], *, one_baseline: bool = False) -> Pooled:
    """Return the study's estimates over the persons of several sites.

    With days as they were (a study whose disclosure rule is off), everything equals what the pooled data give. With
    days in intervals, persons stand at the mean of their cell: numbers, events and person-time are exact, curves right
    to the interval.

    Parameters
    ----------
    paths
        Files of `cohort counts`, one a site.
    one_baseline
        Models are stratified by site, for sites have baseline hazards of their own; this takes one for all.

    Raises
    ------
    InputRefusedError
        If the files are not of one study, or one is given twice.
    """
    sites = sorted((SiteCounts.read(path) for path in paths), key=lambda site: site.site)
    study = _one_study(sites)
    width = max(site.width for site in sites)
    table = _table(study, sites, width, stratified=not one_baseline)
    estimates = study.estimates(table)
    attrition = _flow(sites)
    released = release(estimates, attrition, study.disclosure)
    return Pooled(study, table, released, _provenance(study, sites, paths), width)


def _one_study(sites: Sequence[SiteCounts]) -> Study:
    if not sites:
        raise InputRefusedError("no file of counts; give those that `cohort counts` wrote, one a site")
    studies = {site.study.sha256 for site in sites}
    if len(studies) > 1:
        raise InputRefusedError(f"the files are of {len(studies)} different studies; every site must count the same")
    for what, values in (("file", [site.sha256 for site in sites]), ("site", [site.site for site in sites])):
        if len(set(values)) < len(values):
            raise InputRefusedError(f"one {what} is given twice; give each site's file once, under a name of its own")
    return sites[0].study


def _table(study: Study, sites: Sequence[SiteCounts], width: int, *, stratified: bool) -> AnalysisTable:
    parts, first = [], 0
    for number, site in enumerate(sites):
        rows = rows_of(site.cells if site.width == width else widened(site.cells, width))
        person = pl.int_range(first, first + rows.height, dtype=pl.Int64, eager=True).alias("person_id")
        first += rows.height
        day = pl.lit(None, pl.Date).alias("index_date")
        parts.append(rows.select(person, day, pl.all(), pl.lit(number).alias(SITE)))
    together = pl.concat(parts, how="diagonal_relaxed")
    names = used(study)
    return AnalysisTable(
        tuple(together.filter(pl.col(SITE) == number) for number in range(len(sites))),
        (study.outcome.name, *study.outcome.competing),
        study.outcome.landmark,
        {name: kind for name, kind in study.variables.items() if name in names},
        delayed=study.cohort.start.delayed,
        arms=tuple(arm.name for arm in study.entry.arms),
        strata=SITE if stratified else None,
    )


def _flow(sites: Sequence[SiteCounts]) -> Attrition:
    """Return the sum of the flows: what some site cannot show is merged for all."""
    flows = [dict(site.flow) for site in sites]
    shared = sorted(set.intersection(*(set(flow) for flow in flows)))
    reasons: dict[int, list[str]] = {rule: [] for rule in shared}
    for number, step in flows[0].items():
        after = [rule for rule in shared if rule >= number]
        if after:
            reasons[after[0]].append(step.reason)
    kept = {rule: [flow[rule] for flow in flows] for rule in shared}
    steps = [_summed("; ".join(reasons[rule]), kept[rule], None) for rule in shared[:1]]
    steps += [_summed("; ".join(reasons[rule]), kept[rule], kept[before]) for before, rule in pairwise(shared)]
    return Attrition(tuple(steps))


def _summed(reason: str, kept: list[Step], before: list[Step] | None) -> Step:
    """Return what all sites kept at a step, and what they had removed since the step before."""
    persons, had = (sum(step.persons_kept for step in steps) for steps in (kept, before or kept))
    entries, held = ([step.entries_kept for step in steps] for steps in (kept, before or kept))
    now = None if None in entries else sum(count for count in entries if count is not None)
    gone = None if now is None or None in held else sum(count for count in held if count is not None) - now
    return Step(reason, persons, had - persons, now, gone)


def _provenance(study: Study, sites: Sequence[SiteCounts], paths: Sequence[str | Path]) -> Provenance:
    whole = hashlib.sha256("".join(sorted(site.sha256 for site in sites)).encode()).hexdigest()
    return Provenance(
        study_sha256=study.sha256,
        store_sha256=whole,
        inputs=tuple(InputFile.of(Path(path)) for path in paths),
        codelists=codelists_used(study),
        versions=installed_versions(),
    )
