"""Faults of time zero: what looks past the start of risk, and who enters after treatment began."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cohort.audit.finding import Finding
from cohort.audit.lookback import observed_before
from cohort.population.criteria import Enrolled
from cohort.population.occurrence import DrawnDay

if TYPE_CHECKING:
    from cohort.study import Study


def exposed_in_the_future(study: Study) -> Iterator[Finding]:
    """Find covariates that are known only after risk has started: whoever has them has survived until then."""
    landmark = study.outcome.landmark
    for number, covariate in enumerate(study.covariates, start=1):
        window = getattr(covariate, "window", None)
        if window is None or _ends_by(window.last, landmark):
            continue
        grouped = [str(n) for n, analysis in enumerate(study.analyses, start=1) if covariate.name in analysis.uses]
        used = f" (used by analyses[{', '.join(grouped)}])" if grouped else ""
        yield Finding(
            "error",
            "immortal_time",
            f"covariates[{number}].window: {covariate.name!r}{used} looks {_until(window.last)}, but risk starts after "
            f"day {landmark}: persons must stay at risk to have it. End the window by day {landmark}; or start risk "
            f"later, at a landmark (outcome.from_day or after_days above {_day(window.last)}); or declare it among the "
            "exposures and compare strategies by clone–censor–weight (kind = 'emulated_trial') or use 'exposure_cox'.",
        )


def required_in_the_future(study: Study) -> Iterator[Finding]:
    """Find requirements and exclusions that look beyond the start of risk: they select on what is to be explained."""
    landmark = study.outcome.landmark
    for number, rule in enumerate(study.cohort.rules, start=1):
        window = getattr(rule, "window", None)
        if window is None or _ends_by(window.last, landmark):
            continue
        instead = (
            "Require it up to index and let disenrolment censor (cohort.end.censor_at)"
            if isinstance(rule, Enrolled)
            else "Make it a censoring (cohort.end.censor_records), or let persons enter on the day they meet it"
        )
        yield Finding(
            "error",
            "future_requirement",
            f"cohort.rules[{number}].window: {rule.reason!r} looks {_until(window.last)}, but risk starts after day "
            f"{landmark}: who is in depends on what happens during follow-up, so survivors are selected. {instead}; or "
            f"end the window by day {landmark}.",
        )


def nobody_at_risk(study: Study) -> Iterator[Finding]:
    """Find a follow-up that is over before risk starts."""
    landmark, longest = study.outcome.landmark, study.cohort.end.max_days
    if longest is not None and longest <= landmark:
        yield Finding(
            "error",
            "no_time_at_risk",
            f"cohort.end.max_days: follow-up ends on day {longest}, but risk starts after day {landmark}, so nobody is "
            "ever at risk. Follow longer, or let the outcome count sooner.",
        )


def prevalent_users(study: Study) -> Iterator[Finding]:
    """Find a cohort of treated persons who may have been treated all along."""
    entry = study.entry
    treatments = [record for record in entry.records if record.table == "dispensing"]
    seen_before = any(entry.washouts) or bool(observed_before(study))
    any_record = entry.n not in (None, 1) or entry.takes_any
    if not treatments or (seen_before and not any_record):
        return
    instead = "for comparing drugs, take an active comparator as well (cohort.entry.arms)"
    yield Finding(
        "warning",
        "prevalent_users",
        f"cohort.entry: persons enter at a {treatments[0]} that need not be their first, so survivors of earlier "
        "treatment are taken for beginners. Set cohort.entry.washout_days and require enrolment over it (new users)"
        f"{'' if entry.arms else f'; {instead}'}.",
    )


def overlapping_follow_up(study: Study) -> Iterator[Finding]:
    """Find entries of one person that are followed over the same days."""
    if study.entry.overlap == "allow":
        yield Finding(
            "warning",
            "overlapping_follow_up",
            "cohort.entry.overlap: entries of one person may be followed over the same days, so one event can count "
            "for several of them, and person-time counts more than once. Skip such entries (overlap = 'skip'), or say "
            "in the report why each is a comparison of its own (a sequence of trials).",
        )


def comparators_block_cases(study: Study) -> Iterator[Finding]:
    """Find drawn comparators that keep a person from entering as a case later, or stay comparators when they do."""
    entry = study.entry
    if not any(isinstance(arm.record, DrawnDay) for arm in entry.arms):
        return
    if entry.at != "each" or entry.overlap == "skip":
        yield Finding(
            "error",
            "comparators_block_cases",
            "cohort.entry: whoever is drawn as a comparator does not enter by a later record, so those to whom it "
            "happens late are missing from their arm. Write at = 'each' and overlap = 'allow', and let comparators "
            "leave on the day that it happens (cohort.end.censor_at = ['disenrolment', 'other_arm']).",
        )
    elif "other_arm" not in study.cohort.end.censor_at:
        yield Finding(
            "warning",
            "comparators_become_cases",
            "cohort.end.censor_at: comparators stay comparators after they have entered another arm, which makes the "
            "arms alike. Add 'other_arm', or say in the report that arms are compared as they began.",
        )


def _ends_by(last: int | None, day: int) -> bool:
    """Return whether a window is over by a day."""
    return last is not None and last <= day


def _until(last: int | None) -> str:
    return "ahead without end" if last is None else f"ahead to day {last}"


def _day(last: int | None) -> str:
    return "its last day" if last is None else str(last)
