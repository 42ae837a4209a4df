"""Faults of effects: who is treated already, what happens before risk starts, how many negative controls there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cohort.audit.finding import Finding
from cohort.effects.calibration import FEWEST
from cohort.population.criteria import Exclude
from cohort.results.treatment import TreatmentEffect
from cohort.results.trial import EmulatedTrial

if TYPE_CHECKING:
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


def few_negative_controls(study: Study) -> Iterator[Finding]:
    """Find a treatment effect with fewer negative controls than its gate can ever be opened by."""
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, TreatmentEffect | EmulatedTrial):
            given = len(study.negative_controls) + len(analysis.negative_exposures)
            if 0 < given < FEWEST:
                yield Finding(
                    "warning",
                    "few_negative_controls",
                    f"analyses[{number}]: {given} negative controls are given, but at least {FEWEST} are needed to "
                    "know how much their errors vary, so the effect stays sealed. Add negative_controls or "
                    "negative_exposures, or leave them out and say why none can be had.",
                )


def _trials(study: Study) -> Iterator[tuple[int, EmulatedTrial]]:
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, EmulatedTrial):
            yield number, analysis


def _excluded(study: Study, exposure: Exposure) -> bool:
    """Return whether a rule excludes records like those of the exposure up to the day before index."""
    codes = exposure.record.codes.codelist.sha256
    return any(
        record.table == exposure.record.table and record.codes.codelist.sha256 == codes
        for rule in study.cohort.rules
        if isinstance(rule, Exclude)
        and rule.window.last is not None
        and -1 <= rule.window.last <= study.outcome.landmark
        for record in rule.records
    )
