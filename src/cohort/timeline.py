"""The study on a time axis: every window relative to the index date, for the design diagram.

Read from the study object, as the protocol table is, so the diagram cannot show another design than the one that runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cohort.population.criteria import Enrolled, Exclude
from cohort.report.spans import TITLES, Span
from cohort.results.trial import EmulatedTrial
from cohort.time import Window

if TYPE_CHECKING:
    from cohort.study import Study

INDEX = Window(0, 0)


def timeline(study: Study) -> tuple[Span, ...]:
    """Return the rows of the design diagram, from the past to the end of follow-up.

    References
    ----------
    Schneeweiss S et al. Graphical depiction of longitudinal study designs in health care databases. Ann Intern Med
    2019;170:398-406. doi:10.7326/M18-3079.
    """
    spans = [*_entry(study), *_rules(study), *_covariates(study), *_grace_periods(study), *_follow_up(study)]
    order = list(TITLES)
    return tuple(sorted(spans, key=lambda span: order.index(span.part)))


def _entry(study: Study) -> Iterator[Span]:
    entry = study.entry
    yield Span("index", entry.index_text(), INDEX)
    if entry.n is None and not entry.takes_any:
        recorded = [str(what) for what in entry.occurrences if what.table != "drawn"]
        for days in dict.fromkeys(entry.washouts):
            own = [arm.name for arm, washout in zip(entry.arms, entry.washouts, strict=False) if washout == days]
            who = f" (to enter {' or '.join(own)})" if len(set(entry.washouts)) > 1 else ""
            if days != 0:
                yield Span("washout", f"no {' or '.join(recorded)}{who}", Window(None if days is None else -days, -1))


def _rules(study: Study) -> Iterator[Span]:
    rules = study.cohort.rules
    if at_index := [rule.reason for rule in rules if not hasattr(rule, "window")]:
        yield Span("requirement", _listed(at_index), INDEX)
    for rule in rules:
        if isinstance(rule, Enrolled):
            yield Span("enrolment", f"gaps of up to {rule.bridge_days} days bridged", rule.window)
        elif isinstance(rule, Exclude):
            yield Span("exclusion", rule.because, rule.window)
        elif (window := getattr(rule, "window", None)) is not None:
            yield Span("requirement", getattr(rule, "because", rule.reason), window)


def _covariates(study: Study) -> Iterator[Span]:
    """Yield one row per window, with the covariates that share it."""
    groups: dict[Window, list[str]] = {}
    for covariate in study.covariates:
        groups.setdefault(getattr(covariate, "window", INDEX), []).append(covariate.label)
    for window, labels in groups.items():
        later = window.last is None or window.last > 0
        yield Span("exposure" if later else "covariates", _listed(labels), window)


def _grace_periods(study: Study) -> Iterator[Span]:
    """Yield the days on which a start of each emulated trial is in time."""
    labels = {exposure.name: exposure.label for exposure in study.exposures}
    for analysis in study.analyses:
        if isinstance(analysis, EmulatedTrial):
            grace = Window(0, analysis.grace_days)
            yield Span("exposure", f"{labels[analysis.exposure]}: starts in time (cloned, censored, weighted)", grace)


def _follow_up(study: Study) -> Iterator[Span]:
    landmark, name = study.outcome.landmark, study.outcome.name.replace("_", " ")
    if study.cohort.start.delayed:
        yield Span(
            "late", f"at risk {study.cohort.start.text}; losses by then are counted in the flow", Window(0, None)
        )
    if landmark > 0:
        yield Span("wait", "not yet at risk; losses by then are counted in the flow", Window(0, landmark))
    last: Any = study.cohort.end.max_days
    if last is None or last > landmark:
        yield Span("risk", f"outcome: {name}", Window(landmark + 1, last))


def _listed(words: Iterable[str]) -> str:
    """Return names in one line, only the first with a capital."""
    first, *rest = words
    return "; ".join([first, *(word[0].lower() + word[1:] for word in rest)])
