"""Faults of effects: who is treated already, what happens before risk starts, how many negative controls there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cohort.audit.finding import Finding
from cohort.effects.calibration import FEWEST
from cohort.population.criteria import Exclude
from cohort.results.nested import NestedTrials
from cohort.results.structural import StructuralCox
from cohort.results.treatment import TreatmentEffect
from cohort.results.trial import EmulatedTrial

if TYPE_CHECKING:
    from cohort.codes.records import Record
    from cohort.features.exposure import Exposure
    from cohort.study import Study


def treated_before_index(study: Study) -> Iterator[Finding]:
    """Find a trial in which persons may be treated already: they neither start nor keep from starting."""
    exposures = {exposure.name: exposure for exposure in study.exposures}
    for number, trial in _trials(study):
        if not _excluded(study, exposures[trial.exposure]):
            yield Finding(
                "warning",
                "treated_before_index",
                f"analyses[{number}].exposure: no rule excludes who had {trial.exposure!r} before index, so survivors "
                "of earlier treatment are taken for starters, and persons under treatment for untreated. Exclude its "
                "record in a window that ends on day -1 (rule = 'exclude'), as long as its effect may last.",
            )


def trial_after_landmark(study: Study) -> Iterator[Finding]:
    """Find a trial whose outcome cannot happen at once: who is lost before risk starts is in neither arm."""
    landmark = study.outcome.landmark
    for number, _ in _trials(study):
        if landmark > 0:
            yield Finding(
                "warning",
                "trial_after_landmark",
                f"analyses[{number}]: risk starts after day {landmark}, so the trial compares persons who were still "
                "at risk then. Where the treatment changes who dies or leaves before, they are no longer alike; say "
                "in the report why it does not, or use an outcome that can happen from index on.",
            )


def leaving_before_risk(study: Study) -> Iterator[Finding]:
    """Find weights for leaving that begin where those who left early are gone already."""
    for number, analysis in enumerate(study.analyses, start=1):
        if getattr(analysis, "natural_censoring", None) is not None and study.outcome.landmark > 0:
            yield Finding(
                "warning",
                "leaving_before_risk",
                f"analyses[{number}].natural_censoring: risk starts after day {study.outcome.landmark}, so whoever "
                "leaves before is in no row, and nobody is weighted for them. Let risk start at index (of a "
                "chronification, risk_from = 'index').",
            )


def treatment_foretells_itself(study: Study) -> Iterator[Finding]:
    """Find a time-varying covariate made of the records of the exposure that it is to foretell."""
    exposures = {exposure.name: exposure.record for exposure in study.exposures}
    changing = {covariate.name: (n, covariate.record) for n, covariate in enumerate(study.time_varying, start=1)}
    for number, analysis in enumerate(study.analyses, start=1):
        record = exposures.get(getattr(analysis, "exposure", ""))
        for name in analysis.uses:
            if record is not None and name in changing and _alike(changing[name][1], record):
                yield Finding(
                    "error",
                    "treatment_foretells_itself",
                    f"time_varying[{changing[name][0]}]: {name!r} is made of the records that start "
                    f"{analysis.contrast!r}, and analyses[{number}] would weight by it: nobody could be compared. "
                    "Leave it out of the terms, or give it other codes.",
                )


def few_negative_controls(study: Study) -> Iterator[Finding]:
    """Find a treatment effect with fewer negative controls than its gate can ever be opened by."""
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, TreatmentEffect | EmulatedTrial | NestedTrials):
            given = len(study.negative_controls) + len(getattr(analysis, "negative_exposures", ()))
            if 0 < given < FEWEST:
                yield Finding(
                    "warning",
                    "few_negative_controls",
                    f"analyses[{number}]: {given} negative controls are given, but at least {FEWEST} are needed to "
                    "know how much their errors vary, so the effect stays sealed. Add negative_controls or "
                    "negative_exposures, or leave them out and say why none can be had.",
                )


def _trials(study: Study) -> Iterator[tuple[int, EmulatedTrial | NestedTrials | StructuralCox]]:
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, EmulatedTrial | NestedTrials | StructuralCox):
            yield number, analysis


def _excluded(study: Study, exposure: Exposure) -> bool:
    """Return whether a rule excludes records like those of the exposure up to the day before index."""
    return any(
        _alike(record, exposure.record)
        for rule in study.cohort.rules
        if isinstance(rule, Exclude)
        and rule.window.last is not None
        and -1 <= rule.window.last <= study.outcome.landmark
        for record in rule.records
    )


def _alike(one: Record, other: Record) -> bool:
    """Return whether two records are of one table and one codelist."""
    return one.table == other.table and one.codes.codelist.sha256 == other.codes.codelist.sha256
