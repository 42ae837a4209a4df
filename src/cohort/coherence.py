"""What a study may not say at once: checked when it is made, before anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cohort.population.entry import ARM
from cohort.population.matching import MatchedArms, RiskSets
from cohort.results.courses import CareFreeDays, MeanCumulativeCount, ResponseShares
from cohort.results.standardised import AGE
from cohort.results.terms import variables_of
from cohort.spec import nearest

if TYPE_CHECKING:
    from cohort.study import Study


ROBUST = ("kaplan_meier", "cumulative_incidence", "incidence_rate", "cox", "exposure_cox")
"""The analyses that allow for delayed entry and for several entries of a person."""


def check_coherence(study: Study) -> None:
    """Refuse parts of a study that contradict each other.

    Raises
    ------
    ValueError
        With the key and the repair; pydantic reports it as the study's.
    """
    if study.cohort.entry is None:
        raise ValueError("nobody can enter the cohort; add an entry (enter_at_first)")
    checks: tuple[Callable[[Study], None], ...] = (
        _names,
        _uses,
        _exposures,
        _natural_censoring,
        _structural,
        _negative_controls,
        _groups,
        _kinds_of_use,
        _descriptions,
        _rows_of_persons,
        _treated_arm,
        _matched_arms,
        _other_arm,
        _risk_sets,
        _courses,
    )
    for check in checks:
        check(study)


def _names(study: Study) -> None:
    names = [*([ARM] if study.entry.arms else []), *(column.name for column in study.measured)]
    if repeated := {name for name in names if names.count(name) > 1}:
        further = study.exposures or study.time_varying
        what = "two covariates, exposures or analyses" if further else "two covariates or analyses"
        raise ValueError(f"{what} are named {', '.join(sorted(repeated))}; give each its own name")


def _uses(study: Study) -> None:
    for number, analysis in enumerate(study.analyses, start=1):
        changing = {covariate.name for covariate in study.time_varying}
        known = {*study.variables, *(changing if getattr(analysis, "weighs_time_varying", False) else ())}
        for name in analysis.uses:
            if name in changing and name not in known:
                raise ValueError(
                    f"analyses[{number}] uses {name!r}, which changes after index; only analyses that weight by it may "
                    "read it (emulated_trial, nested_trials, structural_cox)"
                )
            if name not in known:
                near = nearest(name, known)
                raise ValueError(f"analyses[{number}] uses {name!r}, which is no covariate; {near}")


def _exposures(study: Study) -> None:
    known = [exposure.name for exposure in study.exposures]
    for number, analysis in enumerate(study.analyses, start=1):
        for key in ("exposure", "against"):
            name = getattr(analysis, key, None)
            if name is not None and name not in known:
                near = nearest(name, known) if known else "the study has no exposures; add [[exposures]]"
                raise ValueError(f"analyses[{number}].{key}: {name!r} is no exposure; {near}")


def _natural_censoring(study: Study) -> None:
    """Refuse weights for ends of follow-up that the study does not have."""
    ends = study.cohort.end
    known = {*ends.censor_at, *(["records"] if ends.censor_records else [])}
    for number, analysis in enumerate(study.analyses, start=1):
        natural = getattr(analysis, "natural_censoring", None)
        for name in () if natural is None else natural.reasons:
            if name not in known:
                key = "censor_records" if name == "records" else "censor_at"
                raise ValueError(
                    f"analyses[{number}].natural_censoring.reasons: {name!r} ends nobody's follow-up here; add it to "
                    f"cohort.end.{key}, or leave it out"
                )


def _structural(study: Study) -> None:
    """Refuse what changes as a term of index or of starting alone, and what does not as one that varies."""
    changing = {covariate.name for covariate in study.time_varying}
    for number, analysis in enumerate(study.analyses, start=1):
        if getattr(analysis, "departing", "each") == "starting" and (found := sorted(changing & set(analysis.uses))):
            raise ValueError(
                f"analyses[{number}].departing: 'starting' goes with covariates at index alone, and {found[0]!r} "
                "changes; leave out one of the two"
            )
        if analysis.kind == "structural_cox":
            for name in variables_of(analysis.terms):
                if name in changing:
                    raise ValueError(f"analyses[{number}].terms: {name!r} changes after index; name it in varying")
            if fixed := sorted(set(variables_of(analysis.varying)) - changing):
                raise ValueError(
                    f"analyses[{number}].varying: {fixed[0]!r} does not change after index; name it in terms"
                )


def _negative_controls(study: Study) -> None:
    names = [study.outcome.name, *(control.name for control in study.negative_controls)]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two outcomes are named {', '.join(sorted(repeated))}; give each negative control a label")
    for number, analysis in enumerate(study.analyses, start=1):
        for name in getattr(analysis, "negative_exposures", ()):
            after_index = hasattr(analysis, "exposure")
            known = {exposure.name for exposure in study.exposures} if after_index else _booleans(study)
            if name not in known:
                what = "exposure" if after_index else "yes/no covariate"
                raise ValueError(f"analyses[{number}].negative_exposures: {name!r} is no {what} of the study")


def _booleans(study: Study) -> set[str]:
    return {name for name, kind in study.variables.items() if kind == "boolean"}


def _groups(study: Study) -> None:
    for number, analysis in enumerate(study.analyses, start=1):
        if analysis.by is not None and study.variables.get(analysis.by) == "integer":
            raise ValueError(
                f"analyses[{number}] groups by {analysis.by!r}, which is a whole number; group by a yes/no covariate"
            )


def _kinds_of_use(study: Study) -> None:
    """Refuse a prevalence of what is no yes/no covariate, and an age that is no number of years."""
    for number, analysis in enumerate(study.analyses, start=1):
        counted = analysis.covariate if analysis.kind == "prevalence" else None
        if counted is not None and study.variables.get(counted) != "boolean":
            raise ValueError(f"analyses[{number}]: {counted!r} is no yes/no covariate, so it has no prevalence")
        if getattr(analysis, "is_standardised", False) and study.variables.get(AGE) != "integer":
            raise ValueError(f"analyses[{number}] is standardised by age; add the covariate kind = {AGE!r}")


def _descriptions(study: Study) -> None:
    """Refuse analyses of what came after index, pathways apart, and pathways of what has no levels."""
    describing = {covariate.name for covariate in study.covariates if getattr(covariate, "describes", False)}
    for number, analysis in enumerate(study.analyses, start=1):
        if analysis.kind != "pathways" and (future := sorted(describing.intersection(analysis.uses))):
            raise ValueError(
                f"analyses[{number}] uses {future[0]!r}, which is known only later; use it in pathways only"
            )
        if analysis.kind == "pathways" and (bad := [n for n in analysis.uses if study.variables[n] == "integer"]):
            raise ValueError(f"analyses[{number}]: {bad[0]!r} is a whole number; pathways go from level to level")


def _rows_of_persons(study: Study) -> None:
    """Refuse analyses that need one row per person, all at risk from one day on, where that is not so."""
    different_days, one_day = "entries are at risk from different days (cohort.start)", "everybody from one day on"
    reasons = {
        f"has risk sets that need {one_day}, but {different_days}": study.cohort.start.delayed,
        "takes rows for independent, but persons may enter more than once (cohort.entry)": study.entry.repeats,
    }
    for number, analysis in enumerate(study.analyses, start=1):
        for reason in (text for text, holds in reasons.items() if holds and analysis.kind not in ROBUST):
            name = analysis.title[0].lower() + analysis.title[1:]
            raise ValueError(f"analyses[{number}] ({name}) {reason}; use one of {', '.join(ROBUST)}")


def _treated_arm(study: Study) -> None:
    for number, analysis in enumerate(study.analyses, start=1):
        if getattr(analysis, "treatment", None) == ARM and len(study.entry.arms) > 2:
            raise ValueError(f"analyses[{number}] compares two arms; the cohort has {len(study.entry.arms)}")


def _matched_arms(study: Study) -> None:
    arms = study.entry.arms
    if isinstance(study.cohort.matching, MatchedArms) and len(arms) != 2:
        raise ValueError(f"cohort.matching: matching needs an entry with two arms; this one has {len(arms) or 'none'}")


def _other_arm(study: Study) -> None:
    if "other_arm" in study.cohort.end.censor_at and not study.entry.arms:
        raise ValueError("cohort.end.censor_at: 'other_arm' needs an entry with arms (cohort.entry.arms)")


def _risk_sets(study: Study) -> None:
    if not isinstance(study.cohort.matching, RiskSets):
        return
    for number, analysis in enumerate(study.analyses, start=1):
        if analysis.kind != "cox":
            raise ValueError(
                f"analyses[{number}]: cases and sampled controls (cohort.matching) are not everybody, so they have no "
                "curves and rates; use cox, which compares within risk sets, or leave the matching out"
            )


def _courses(study: Study) -> None:
    """Refuse analyses of a whole follow-up where it is too short, or where not everybody is in it from its start."""
    longest, landmark = study.cohort.end.max_days, study.outcome.landmark
    counted: list[tuple[Any, Any]] = []
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, MeanCumulativeCount | CareFreeDays):
            if longest is not None and analysis.horizon_days > longest:
                raise ValueError(
                    f"analyses[{number}]: horizon_days is {analysis.horizon_days}, follow-up ends on day {longest} "
                    "(cohort.end.max_days); shorten the one or lengthen the other"
                )
            if (alike := (analysis.kind, analysis.record)) in counted:
                raise ValueError(
                    f"analyses[{number}] counts what another does: two horizons of the same care would show the few "
                    "persons in between; keep one"
                )
            counted.append(alike)
        first = analysis.response.landmark if isinstance(analysis, ResponseShares) else 0
        if isinstance(analysis, CareFreeDays | ResponseShares) and landmark > first:
            raise ValueError(
                f"analyses[{number}] is of all from day {first} on, but the analysis "
                f"table of {study.outcome.name!r} holds nobody who is lost by day {landmark}; give it a study whose "
                "outcome can happen from index on"
            )
