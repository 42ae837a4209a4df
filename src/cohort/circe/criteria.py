"""Circe's criteria as records, windows and rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cohort.circe.concepts import SAID
from cohort.circe.node import Node
from cohort.codes.codelist import Codelist
from cohort.codes.records import Record, Setting
from cohort.population.criteria import Exclude, IndexBetween, Present, Rule, SexIs
from cohort.time import Window

DOMAINS = {"ConditionOccurrence": "diagnosis", "ProcedureOccurrence": "procedure", "DrugExposure": "dispensing"}
"""Circe's domain → the store's table."""

TYPE_FLAGS = {
    "ConditionOccurrence": "ConditionType",
    "ProcedureOccurrence": "ProcedureType",
    "DrugExposure": "DrugType",
}

VISITS: dict[int, Setting] = {9201: "inpatient", 9202: "outpatient", 9203: "emergency"}
SEXES = {8507: "male", 8532: "female"}
FOREVER = dt.date(1800, 1, 1), dt.date(9999, 12, 31)


@dataclass(frozen=True, slots=True)
class Criterion:
    """A record, and what else a criterion asks of it."""

    record: Record
    first: bool
    rules: tuple[Rule, ...]


def criterion(node: Node, sets: Mapping[int, Codelist | None]) -> Criterion | None:
    """Read one criterion ``{domain: {…}}``; what cannot be said is refused, and nothing is returned."""
    for domain in node.sole_key():
        body = node.child(domain)
        if domain not in DOMAINS:
            body.refuse(f"the domain {domain} has no table in the store, or is derived from others")
            return None
        codes = _codes(body, sets)
        first = body.take("First", bool, default=False)
        rules = (*_dates(body), *_sex(body))
        settings = _settings(body, domain)
        type_flag = f"{TYPE_FLAGS[domain]}Exclude"
        body.must_be(type_flag, False, because="excludes types of record, which the store does not keep")
        body.must_be("Age", because=AGE)
        if first and settings:
            body.refuse(
                "the first record wherever it was, if it was there; here the first of that setting", "VisitType"
            )
        body.close()
        if codes is None:
            return None
        return Criterion(Record.of(table=DOMAINS[domain], codes=codes, settings=settings), first, rules)
    return None


AGE = "Circe's age is the difference of two calendar years; leave it out and require_age, in completed years"


def _codes(body: Node, sets: Mapping[int, Codelist | None]) -> Codelist | None:
    number = body.take("CodesetId", int)
    if number is None:
        body.refuse("any code at all: name a concept set", "CodesetId")
    elif number not in sets:
        body.refuse(f"there is no concept set {number}", "CodesetId")
    return sets.get(number) if number is not None else None


def _settings(body: Node, domain: str) -> tuple[Setting, ...]:
    visits = _concepts(body, "VisitType")
    if not set(visits) <= set(VISITS) or (visits and domain == "DrugExposure"):
        body.refuse("a kind of visit that is no setting of the store's rows", "VisitType")
        return ()
    return tuple(VISITS[visit] for visit in visits)


def _concepts(body: Node, key: str) -> list[int]:
    """Return the numbers of a list of concepts; 0 for one without."""
    found = []
    for concept in body.children(key):
        found.append(int(concept.take("CONCEPT_ID", int, 0)))
        concept.ignore(*SAID)
        concept.close()
    return found


def _sex(body: Node) -> tuple[Rule, ...]:
    found = _concepts(body, "Gender")
    if not found:
        return ()
    if len(found) > 1 or found[0] not in SEXES:
        body.refuse("one sex, 8507 or 8532, can be required", "Gender")
        return ()
    return (SexIs.of(sex=SEXES[found[0]]),)


def _dates(body: Node) -> tuple[Rule, ...]:
    """Return the calendar period in which an index date must lie."""
    node = body.child("OccurrenceStartDate")
    if not node.value:
        return ()
    operator, value, extent = node.take("Op", str, ""), _day(node, "Value"), _day(node, "Extent")
    node.close()
    one = dt.timedelta(days=1)
    if value is None or (operator == "bt") != (extent is not None):
        node.refuse("a period needs a Value, and 'bt' an Extent")
        return ()
    periods = {
        "bt": (value, extent or value),
        "gte": (value, FOREVER[1]),
        "gt": (value + one, FOREVER[1]),
        "lte": (FOREVER[0], value),
        "lt": (FOREVER[0], value - one),
        "eq": (value, value),
    }
    if operator not in periods:
        node.refuse(f"the operator {operator!r} is no period", "Op")
        return ()
    return (IndexBetween.of(start=periods[operator][0], end=periods[operator][1]),)


def _day(node: Node, key: str) -> dt.date | None:
    text = node.take(key, str)
    try:
        return None if text is None else dt.date.fromisoformat(text[:10])
    except ValueError:
        node.refuse("not a date", key)
        return None


def group_rules(group: Node, sets: Mapping[int, Codelist | None], name: str, observed: Window) -> list[Rule]:
    """Return the rules of a group of criteria, all of which must hold.

    Parameters
    ----------
    observed
        The days around the index date that entry requires to be observed.
    """
    correlated, people = group.children("CriteriaList"), group.children("DemographicCriteriaList")
    kind, count = group.take("Type", str, "ALL"), group.take("Count", int)
    groups = group.children("Groups")
    group.close()
    members = len(correlated) + len(people) + len(groups)
    alike = members == 1 and (kind == "ANY" or (kind == "AT_LEAST" and count == 1))
    if kind != "ALL" and not alike:
        group.refuse(f"{kind} of several criteria: the rules of a cohort must all hold", "Type")
    rules = [rule for node in correlated for rule in _correlated(node, sets, name, observed)]
    rules += [rule for node in people for rule in _demographic(node)]
    return rules + [rule for nested in groups for rule in group_rules(nested, sets, name, observed)]


def _demographic(node: Node) -> tuple[Rule, ...]:
    node.must_be("Age", because=AGE)
    rules = (*_sex(node), *_dates(node))
    node.close(("OccurrenceEndDate", "Race", "Ethnicity"))
    return rules


def _correlated(node: Node, sets: Mapping[int, Codelist | None], name: str, observed: Window) -> list[Rule]:
    found = criterion(node.child("Criteria"), sets)
    window = _window(node.child("StartWindow"))
    node.must_be("RestrictVisit", False, because="records of the same visit only")
    everywhere = node.take("IgnoreObservationPeriod", bool, default=False)
    count = _count(node.child("Occurrence"))
    node.close(("EndWindow",))
    if found is None or window is None or count is None:
        return []
    if found.first or found.rules:
        node.refuse("a criterion of a criterion: the first record, a sex or a date", "Criteria")
    if not everywhere and not _inside(window, observed):
        node.refuse(
            f"only records while observed count, and {window} is not all required to be observed "
            f"({observed}); ask for more days, or for IgnoreObservationPeriod",
            "IgnoreObservationPeriod",
        )
    least, most = count
    if most == 0:
        return [Exclude.of(record=found.record, window=window, because=name)]
    return [Present.of(record=found.record, window=window, because=name, at_least=max(least, 1), at_most=most)]


def _inside(window: Window, observed: Window) -> bool:
    assert observed.first is not None and observed.last is not None  # noqa: S101 -- made of two numbers
    first, last = window.first, window.last
    return first is not None and last is not None and first >= observed.first and last <= observed.last


def _count(node: Node) -> tuple[int, int | None] | None:
    """Return the least and the most distinct days: what Circe counts is rows, so one or none is the same."""
    kind, count = node.take("Type", int, 2), node.take("Count", int, 1)
    column, distinct = node.take("CountColumn", str), node.take("IsDistinct", bool, default=False)
    node.close()
    days = distinct and column == "START_DATE"
    if distinct and not days:
        node.refuse("distinct concepts are not counted here, only distinct days", "IsDistinct")
    elif kind == 2 and (count == 1 or (days and count > 0)):
        return count, None
    elif kind in (0, 1) and count == 0:
        return 0, 0
    elif kind == 0 and days:
        return count, count
    else:
        node.refuse("rows are counted; here it is distinct days (IsDistinct with CountColumn START_DATE)", "Count")
    return None


def _window(node: Node) -> Window | None:
    node.must_be("UseIndexEnd", False, because="days from the end of the index event")
    node.must_be("UseEventEnd", False, because="days to the end of a record")
    first, last = _end(node.child("Start"), -1), _end(node.child("End"), 1)
    node.close()
    if first is False or last is False:
        return None
    if first is not None and last is not None and first > last:
        node.refuse("a window that ends before it starts")
        return None
    return Window(first, last)


def _end(node: Node, openly: int) -> Any:
    """Return a day relative to index, none for an open end, False if it cannot be said."""
    days, side = node.take("Days", int), node.take("Coeff", int)
    node.close(("TimeUnit",))
    if side not in (-1, 1) or (days is None and side != openly):
        node.refuse("a window opens to the past at its start and to the future at its end")
        return False
    return None if days is None else days * side
