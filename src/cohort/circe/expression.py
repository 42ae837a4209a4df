"""A Circe cohort expression as a `Cohort`: who enters when, and when follow-up stops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cohort.circe.concepts import Descendants, codelists, read_descendants
from cohort.circe.criteria import Criterion, criterion, group_rules
from cohort.circe.node import Node, Refusals
from cohort.codes.codelist import Codelist
from cohort.errors import StudyError
from cohort.population.cohort import Cohort
from cohort.population.criteria import Enrolled, Rule
from cohort.time import Window

Sets = Mapping[int, Codelist | None]
"""Concept sets by number; none for one that cannot be said."""


def from_circe(
    path: str | Path, *, name: str | None = None, descendants: str | Path | None = None, entry_only: bool = False
) -> Cohort:
    """Read an OHDSI cohort definition (Circe expression, JSON) as a `Cohort`.

    Entries are the expression's to the day. Whatever it says that a cohort cannot, and every unknown key, is refused.
    Follow-up also ends with death and with the data, as everywhere here.

    Parameters
    ----------
    name
        Name of the cohort; the file's if absent.
    descendants
        CSV with header system, code, descendant: what lies below the concepts of systems without hierarchical codes.
    entry_only
        Read who enters and when, and leave it to `Cohort.follow_up` when follow-up stops.

    Raises
    ------
    StudyError
        Naming every path in the JSON that cannot be said, and why.

    References
    ----------
    OHDSI. Circe-be: cohort expression compiler. github.com/OHDSI/circe-be.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: {error.strerror or 'cannot be read'}; give the path of a Circe expression") from None
    except ValueError:
        raise StudyError(f"{path}: not JSON in UTF-8; export the cohort definition again") from None
    refusals = Refusals()
    known = read_descendants(descendants)
    cohort = _cohort(Node(document, "", refusals), name or path.stem, known, entry_only=entry_only)
    if refusals.lines or cohort is None:
        raise StudyError("\n".join(f"{path}: {line}" for line in refusals.lines))
    return cohort


def _cohort(node: Node, name: str, descendants: Descendants, *, entry_only: bool) -> Cohort | None:
    node.ignore("cdmVersionRange", "Title")
    sets = codelists(node, descendants)
    primary = node.child("PrimaryCriteria")
    entry = _entry(primary, sets)
    observed = _observed(primary.child("ObservationWindow"))
    additional = group_rules(node.child("AdditionalCriteria"), sets, "additional criteria", observed)
    included = _inclusion_rules(node, sets, observed)
    limits = [_limit(primary, "PrimaryCriteriaLimit"), _limit(node, "QualifiedLimit"), _limit(node, "ExpressionLimit")]
    primary.close()
    ends = _ends(node, entry_only=entry_only)
    node.close()
    if entry is None or not entry.first:
        _check_limits(node, limits, [bool(additional or included), bool(included)])
    if entry is None:
        return None
    cohort = Cohort(name).enter_at_first(entry.record, washout_days=None if entry.first else 0)
    rules: tuple[Rule, ...] = (Enrolled.of(window=observed, bridge_days=0), *entry.rules, *additional, *included)
    return cohort.model_copy(update={"rules": rules}).follow_up(**ends)


def _entry(primary: Node, sets: Sets) -> Criterion | None:
    """Return the criterion by which persons enter; more or fewer than one are refused."""
    nodes = primary.children("CriteriaList")
    found = [criterion(node, sets) for node in nodes]
    if len(nodes) != 1:
        primary.refuse(f"{len(nodes)} criteria: persons enter by one, so put the codes into one set", "CriteriaList")
        return None
    return found[0]


def _observed(node: Node) -> Window:
    before, after = node.take("PriorDays", int, 0), node.take("PostDays", int, 0)
    node.close()
    return Window(-before, after)


def _inclusion_rules(node: Node, sets: Sets, observed: Window) -> list[Rule]:
    rules: list[Rule] = []
    for number, rule in enumerate(node.children("InclusionRules"), start=1):
        name = rule.take("name", str) or f"inclusion rule {number}"
        rule.ignore("description")
        rules += group_rules(rule.child("expression"), sets, name, observed)
        rule.close()
    return rules


def _limit(node: Node, key: str) -> str:
    limit = node.child(key)
    kind = str(limit.take("Type", str, "All"))
    limit.close()
    if kind not in ("First", "All"):
        limit.refuse(f"{kind!r}: a person enters at the first such event", "Type")
    return kind


def _check_limits(node: Node, limits: list[str], later: list[bool]) -> None:
    """Refuse what is not "the first event that passes everything".

    Parameters
    ----------
    later
        Whether rules follow the limit of primary criteria, and that of qualified events.
    """
    for kind, follow, key in zip(
        limits, later, ("PrimaryCriteria.PrimaryCriteriaLimit", "QualifiedLimit"), strict=False
    ):
        if kind == "First" and follow:
            node.refuse("only the first event is judged by the rules; here the first that passes them enters", key)
    if "First" not in limits:
        node.refuse(
            "every event enters, and overlapping entries become eras; here a person enters once", "ExpressionLimit"
        )


def _ends(node: Node, *, entry_only: bool) -> dict[str, Any]:
    """Return what `Cohort.follow_up` is told."""
    strategy, eras, window = node.child("EndStrategy"), node.child("CollapseSettings"), node.child("CensorWindow")
    censors = node.children("CensoringCriteria")
    eras.must_be("CollapseType", "ERA", because="eras are the only way to join entries")
    eras.ignore("EraPad")  # joins entries of one person; each enters once
    eras.close()
    if entry_only:
        strategy.ignore("DateOffset", "CustomEra")
        window.ignore("StartDate", "EndDate")
    else:
        for censor in censors:
            censor.refuse("a record on the very day of entry ends the cohort too; here only later ones do")
    days = None if entry_only else _offset(strategy)
    strategy.close()
    window.close()
    return {"max_days": days or None, "censor_at": ["disenrolment"], "bridge_days": 0}


def _offset(strategy: Node) -> int | None:
    if strategy.take("CustomEra", dict) is not None:
        strategy.refuse("follow-up that ends with an era of a drug", "CustomEra")
    if strategy.take("DateOffset", dict) is None:
        return None
    offset = strategy.child("DateOffset")
    days, field = offset.take("Offset", int, 0), offset.take("DateField", str, "StartDate")
    offset.close()
    if field != "StartDate":
        offset.refuse(
            "follow-up is counted from the index date; the store keeps the end of an encounter, which is not that of a "
            "condition or an exposure (--entry-only leaves follow-up to you)",
            "DateField",
        )
    if days < 1:
        offset.refuse("follow-up of no day", "Offset")
    return int(days)
