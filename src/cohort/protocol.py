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
        *(("Analyses", f"{n}. {a.title}", a.text) for n, a in enumerate(study.analyses, start=1)),
        ("Release", "disclosure rule", study.disclosure.text),
    )


def definitions(study: Study) -> Iterator[tuple[str, str, str]]:
    """Yield name, text and sources of every definition the study uses, from the docstrings that document the code."""
    outcomes = (study.outcome, *_components(study))
    parts = {type(part): part for part in reversed([*outcomes, *study.covariates, *study.analyses])}
    for kind, part in reversed(parts.items()):
        text, _, sources = inspect.cleandoc(kind.__doc__ or "").partition("References\n----------\n")
        name = re.sub(r"(?<!^)(?=[A-Z])", " ", kind.__name__).capitalize()
        yield name, _plain(_with_settings(text, part)), _plain(sources)


def codelists(study: Study) -> tuple[Codelist, ...]:
    """Return every codelist that the study reads, each once, by name."""
    parts = (*study.cohort.parts, study.outcome, *study.measured)
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
        yield outcome.name.replace("_", " "), outcome.text
    yield "competes with it", ", ".join(study.outcome.competing) or "nothing"


def _components(study: Study) -> tuple[Outcome, ...]:
    """Return the outcomes that a composite outcome is made of."""
    return getattr(study.outcome, "components", ())


def _with_settings(text: str, part: BaseModel) -> str:
    """Return a docstring with the names of settings replaced by what this study sets them to."""

    def setting(match: re.Match[str]) -> str:
        value = getattr(part, match[1], None)
        return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int | str) else match[1]

    return re.sub(r"``(\w+)``", setting, text)


def _plain(text: str) -> str:
    """Return a docstring's prose without line breaks and marks."""
    return " ".join(re.sub(r"[`*]", "", text).split())
