"""Why persons left a cohort or came between two runs: one thing is changed at a time, and who is in is asked again.

From the first run to the second, in this order: enrolment and persons, then all other rows, then code lists, then the
rest of the definition. A person's cause is the last change that made the difference; so an order is a convention, as
in every decomposition of this kind, and this one asks the data before the definition.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from cohort.codes.records import Tables
from cohort.errors import StudyError
from cohort.plan import codes_needed, run_bucket
from cohort.store.store import Store
from cohort.store.tables import PHARMACY_BENEFIT, TABLES
from cohort.study import Study

ENROLMENT, CORRECTED, NEW, CODES, DEFINITION, MATCHING = CAUSES = (
    "enrolment update",
    "corrected claims",
    "new data",
    "code-list edit",
    "definition change",
    "matched differently",
)
"""`CORRECTED`: rows of the person are gone or replaced; `NEW`: rows were only added. `MATCHING`: sets were drawn anew,
because others changed."""

_OF_PERSONS = ("person", "enrolment")
_MAY_LACK = ("cost", PHARMACY_BENEFIT)
"""Tables that say something by not being there."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two runs: its study, the file that says it, and its store."""

    study: Study
    file: Path
    store: Store

    def tables(self, persons: pl.Series) -> Tables:
        """Return the rows of some persons, in memory."""
        known = [name for name in TABLES if name not in _MAY_LACK or self.store.manifest.tables.get(name)]
        wanted = pl.col("person_id").is_in(persons.implode())
        return {name: self.store.scan(name).filter(wanted).collect().lazy() for name in known}


def causes(before: Side, after: Side, persons: pl.DataFrame) -> pl.DataFrame:
    """Return the cause of each person who is in one of two runs only.

    Parameters
    ----------
    persons
        person_id, and ``came`` (Boolean): in the second run only.

    Returns
    -------
    polars.DataFrame
        person_id, came, cause.
    """
    old, new = (side.tables(persons["person_id"]) for side in (before, after))
    enrolled = {**old, **{name: new[name] for name in _OF_PERSONS}}
    end, later = before.store.data_end, after.store.data_end
    stages = [
        (MATCHING, _inside(before.study, old, end)),
        (ENROLMENT, _inside(before.study, enrolled, end)),
        (NEW, _inside(before.study, new, later)),
        (CODES, _inside(_with_codelists(before, after), new, later)),
        (DEFINITION, _inside(after.study, new, later)),
    ]
    corrected = _corrected(old, new)
    said = []
    for person, came in persons.select("person_id", "came").iter_rows():
        cause = _last_change([(name, person in inside) for name, inside in stages])
        said.append((person, came, CORRECTED if cause == NEW and person in corrected else cause))
    return pl.DataFrame(said, schema={"person_id": pl.Int64, "came": pl.Boolean, "cause": pl.String}, orient="row")


def _last_change(stages: list[tuple[str, bool]]) -> str:
    """Return the last stage that is not as the one before it; the first if all are alike."""
    changed = [name for (_, was), (name, now) in pairwise(stages) if was != now]
    return changed[-1] if changed else stages[0][0]


def _inside(study: Study, tables: Tables, data_end: Any) -> set[int]:
    """Return who is in the cohort of a study, before any matching."""
    cohort, outcome = study.cohort, study.outcome
    rows = run_bucket(tables, cohort, outcome, (), codes_needed(cohort, outcome, ()), data_end).rows
    return set(rows["person_id"].to_list())


def _corrected(old: Tables, new: Tables) -> set[int]:
    """Return persons of whom some row other than enrolment and benefit is not in the second store any more."""
    gone: set[int] = set()
    for name in old.keys() & new.keys() - {*_OF_PERSONS, PHARMACY_BENEFIT}:
        mine, theirs = old[name], new[name]
        columns = [column for column in TABLES[name].schema if column in mine.collect_schema()]
        lost = mine.join(theirs.select(columns), on=columns, how="anti", nulls_equal=True)
        gone |= set(lost.select("person_id").unique().collect()["person_id"].to_list())
    return gone


def _with_codelists(before: Side, after: Side) -> Study:
    """Return the first study with the second one's code lists of the same names."""
    mine, theirs = (tomllib.loads(side.file.read_text(encoding="utf-8")) for side in (before, after))
    lists = {_name(codes): codes for codes in _codelists(theirs)}
    try:
        return Study(**_replaced(mine, lists))
    except StudyError:  # a label that the first study asks for is gone: the rest of the definition had to change too
        return before.study


def _codelists(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key == "codes":
                yield value
            else:
                yield from _codelists(value)
    elif isinstance(part, list):
        for value in part:
            yield from _codelists(value)


def _replaced(part: Any, lists: Mapping[str, Any]) -> Any:
    if isinstance(part, Mapping):
        return {
            key: lists.get(_name(value), value) if key == "codes" else _replaced(value, lists)
            for key, value in part.items()
        }
    return [_replaced(value, lists) for value in part] if isinstance(part, list) else part


def _name(codes: Any) -> str:
    return str(codes.get("name")) if isinstance(codes, Mapping) else str(codes)
