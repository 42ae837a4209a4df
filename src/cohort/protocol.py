"""The study in words: the protocol table, its definitions with their sources, and its codelists.

Everything is printed from the study object, so the report cannot say anything else than what was run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel

from cohort.codes.codelist import Codelist
from cohort.results.nested import NestedTrials
from cohort.results.trial import EmulatedTrial

if TYPE_CHECKING:
    from cohort.outcomes.outcome import Outcome
    from cohort.study import Study

Row = tuple[str, str, str]
"""Section, item, text."""

REPEATS = {
    "skip": "outside the follow-up of an earlier entry; a person's entries are not independent",
    "allow": "also inside the follow-up of an earlier entry, so that days count more than once",
}
"""What the protocol says of persons who enter more than once, by how overlap is dealt with."""


def protocol(study: Study) -> tuple[Row, ...]:
    """Return the protocol table: every choice of the study that decides a number."""
    return (
        *_population(study),
        *(("Follow-up", item, text) for item, text in _follow_up(study)),
        *(("Outcome", item, text) for item, text in _outcome(study)),
        *(("Covariates", covariate.label, covariate.text) for covariate in study.covariates),
        *(("Exposures", exposure.label, exposure.text) for exposure in study.exposures),
        *(("Covariates", f"{covariate.label} (changes)", covariate.text) for covariate in study.time_varying),
        *(("Negative controls", name_of(control), control.text) for control in study.negative_controls),
        *(("Analyses", f"{n}. {a.title}", a.text) for n, a in enumerate(study.analyses, start=1)),
        *_trials(study),
        ("Release", "disclosure rule", study.disclosure.text),
    )


def definitions(study: Study) -> Iterator[tuple[str, str, str]]:
    """Yield name, text and sources of every definition the study uses, from the docstrings that document the code."""
    outcomes = (study.outcome, *_components(study))
    parts = {type(part): part for part in reversed([*outcomes, *study.measured, *study.analyses])}
    for kind, part in reversed(parts.items()):
        text, _, sources = inspect.cleandoc(kind.__doc__ or "").partition("References\n----------\n")
        name = getattr(kind, "title", None) or re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).capitalize()
        yield name, _plain(_with_settings(text, part)), _plain(sources)


def codelists(study: Study) -> tuple[Codelist, ...]:
    """Return every codelist that the study reads, each once, by name."""
    parts = (*study.cohort.parts, study.outcome, *study.measured, *study.negative_controls)
    lists = {record.codes.codelist for part in parts for record in part.records}
    return tuple(sorted(lists, key=lambda codelist: (codelist.name, codelist.sha256)))


def _population(study: Study) -> Iterator[Row]:
    entry = study.entry
    yield "Population", "name", study.cohort.name
    yield "Population", "index date", entry.index_text()
    yield "Population", "candidates", entry.candidate_text()
    if entry.arms:
        yield "Population", "arms", f"{entry.arms_text()}; a day with the records of two arms is no index date"
    if entry.repeats:
        yield "Population", "further entries", REPEATS[entry.overlap]
    for number, rule in enumerate(study.cohort.rules, start=1):
        yield "Population", f"requirement {number}", rule.reason
    if (matching := study.cohort.matching) is not None:
        yield "Population", "matching", f"{matching.text}; seed {matching.seed}"


def _trials(study: Study) -> Iterator[Row]:
    """Yield the protocol of each target trial and how it is emulated, component by component."""
    for number, analysis in enumerate(study.analyses, start=1):
        if isinstance(analysis, EmulatedTrial):
            yield from ((f"Target trial {number}", item, text) for item, text in _components_of(analysis, study))
        if isinstance(analysis, NestedTrials):
            yield from (
                (f"Target trials {number}", item, text) for item, text in _components_of_nested(analysis, study)
            )


def _components_of(trial: EmulatedTrial, study: Study) -> Iterator[tuple[str, str]]:
    exposure = next(known for known in study.exposures if known.name == trial.exposure)
    start, abstain = trial.strategies
    landmark, day = study.outcome.landmark, trial.horizon_days
    reached = f", who were still at risk on day {landmark}" if landmark else ""
    yield "eligibility", f"the persons of the cohort{reached}, each once, as they were on the index date"
    yield "strategies", f"{start} of index, or {abstain} of it; {exposure.label} {exposure.text}"
    yield (
        "assignment",
        "at random in the trial; here everybody is a clone in both arms, and taken to be as if randomised given "
        f"{trial.adjust_for}",
    )
    yield "time zero", "the index date: eligibility, assignment and follow-up begin together"
    yield "follow-up", f"to day {day}; a clone is censored on the day its person departs"
    yield "outcome", study.outcome.text
    yield (
        "intercurrent events",
        f"starting after day {trial.grace_days} departs from starting and keeps to not starting; stopping later keeps "
        f"to either; death {'competes' if 'death' in study.outcome.competing else 'censors'}; {_leaving(trial)}",
    )
    yield "estimand", f"per-protocol effect in all who are eligible: risks, days lost by day {day}, hazard ratio"


def _components_of_nested(trials: NestedTrials, study: Study) -> Iterator[tuple[str, str]]:
    exposures = {known.name: known for known in study.exposures}
    taken = [exposures[name] for name in (trials.exposure, trials.against) if name is not None]
    day, every = trials.horizon_days, trials.begin == "every_period"
    yield (
        "eligibility",
        "the persons of the cohort at risk when a period begins, who had never been exposed when the one before began"
        if every
        else "the persons of the cohort on the index date, each once"
        + ("" if len(taken) < 2 else ", on one of the two"),
    )
    yield "strategies", " or ".join(trials.strategies) + "; " + "; ".join(f"{x.label} {x.text}" for x in taken)
    yield "assignment", f"at random in the trials; here taken to be as if randomised given {trials.adjust_for}"
    last = "" if trials.until_day is None else f", to day {trials.until_day}"
    zero = (
        f"each day {trials.period_days}, {2 * trials.period_days}, … after index{last}" if every else "the index date"
    )
    yield "time zero", f"{zero}: eligibility and assignment are settled by then, and follow-up begins"
    kept = trials.protocol == "per_protocol"
    ends = "; a person's part ends with the period in which the exposure departs, and who remains is weighted"
    yield "follow-up", f"to day {day} of each trial{ends if kept else ', whatever becomes of the exposure'}"
    yield "outcome", study.outcome.text
    yield (
        "intercurrent events",
        f"starting or stopping later {'departs' if kept else 'is part of the strategy'}; death "
        f"{'competes' if 'death' in study.outcome.competing else 'censors'}; {_leaving(trials)}",
    )
    effect = "per-protocol effect" if kept else "intention-to-treat effect"
    yield "estimand", f"{effect} in all trials that are begun, pooled: risks, days lost by day {day}, hazard ratio"


def _leaving(trial: EmulatedTrial | NestedTrials) -> str:
    """Say what the other ends of follow-up do."""
    if trial.natural_censoring is None:
        return "other ends of follow-up censor, taken as random"
    return f"other ends of follow-up censor, of which {trial.natural_censoring.text}, are weighted for"


def _follow_up(study: Study) -> Iterator[tuple[str, str]]:
    end = study.cohort.end
    starts = [study.cohort.start.text] if study.cohort.start.delayed or not study.outcome.landmark else []
    starts += [f"after day {study.outcome.landmark}"] if study.outcome.landmark else []
    yield "starts", ", and ".join(starts)
    ends = ["the outcome", "death", "the end of the data"]
    if "disenrolment" in end.censor_at:
        ends.append(f"the end of enrolment, gaps of up to {end.bridge_days} days bridged")
    if "other_arm" in end.censor_at:
        ends.append("the first record of another arm after index")
    ends.extend(f"the first {record} after index" for record in end.censor_records)
    if end.until:
        ends.append(str(end.until))
    if end.max_days:
        ends.append(f"day {end.max_days}")
    yield "ends at the earliest of", "; ".join(ends)


def _outcome(study: Study) -> Iterator[tuple[str, str]]:
    for outcome in (study.outcome, *_components(study)):
        yield name_of(outcome), outcome.text
    yield "competes with it", ", ".join(study.outcome.competing) or "nothing"


def name_of(outcome: Outcome) -> str:
    """Return an outcome's name as it is printed."""
    return outcome.name.replace("_", " ")


def _components(study: Study) -> tuple[Outcome, ...]:
    """Return the outcomes that a composite outcome is made of."""
    return getattr(study.outcome, "components", ())


def _with_settings(text: str, part: BaseModel) -> str:
    """Return a docstring with the names of settings replaced by what this study sets them to."""

    def setting(match: re.Match[str]) -> str:
        value = getattr(part, match[1], None)
        if isinstance(value, bool):
            return f"{match[1].replace('_', ' ')} (here {'on' if value else 'off'})"
        return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else match[1]

    return re.sub(r"``(\w+)``", setting, text)


def _plain(text: str) -> str:
    """Return a docstring's prose without line breaks and marks."""
    return " ".join(re.sub(r"[`*]", "", text).split())
