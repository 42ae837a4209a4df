"""Judgement: counts against thresholds. Reads no store, so that other thresholds can be tried on counts once taken."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import polars as pl

from cohort.checks.counts import Count, Counts
from cohort.checks.rules import Rule, Rulebook, Severity
from cohort.errors import StudyError


class Status(StrEnum):
    """What became of a rule, the worst first."""

    NOT_RUN = "not run"
    FAILED = "failed"
    WARNED = "warned"
    OFF = "off"
    NOT_APPLICABLE = "not applicable"
    PASSED = "passed"


SCHEMA = pl.Schema(
    {
        "rule": pl.String(),
        "table": pl.String(),
        "severity": pl.String(),
        "status": pl.String(),
        "part": pl.String(),
        "offending": pl.Int64(),
        "examined": pl.Int64(),
        "ratio": pl.Float64(),
        "threshold": pl.String(),
        "parts_examined": pl.Int64(),
        "parts_broken": pl.Int64(),
        "what": pl.String(),
        "repair": pl.String(),
        "reason": pl.String(),
    }
)
"""Columns of a result as a table; the counts are those of the part that is worst."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one rule.

    Attributes
    ----------
    part, offending, examined
        The part (column, year, month, coding system) farthest beyond the threshold, and its counts; null if not run.
    parts_examined, parts_broken
        How many parts were examined and how many of them break the rule.
    reason
        Why the rule was not run or does not apply.
    """

    rule: Rule
    status: Status
    part: str | None = None
    offending: int | None = None
    examined: int | None = None
    parts_examined: int = 0
    parts_broken: int = 0
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Return offending / examined."""
        return self.offending / self.examined if self.examined and self.offending is not None else None

    def as_row(self) -> dict[str, Any]:
        """Return the judgement under the names of `SCHEMA`."""
        rule = self.rule
        return {
            "rule": rule.id,
            "table": rule.table,
            "severity": rule.severity.value,
            "status": self.status.value,
            "part": self.part,
            "offending": self.offending,
            "examined": self.examined,
            "ratio": self.ratio,
            "threshold": rule.threshold,
            "parts_examined": self.parts_examined,
            "parts_broken": self.parts_broken,
            "what": rule.what,
            "repair": rule.repair,
            "reason": self.reason or None,
        }


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What became of every rule, in the order of the rulebook; ``counts`` is what it was judged on."""

    counts: Counts
    judgements: tuple[Judgement, ...]

    @property
    def passed(self) -> bool:
        """Return whether no error-level rule is broken and every rule could run."""
        return not any(judged.status in (Status.NOT_RUN, Status.FAILED) for judged in self.judgements)

    @property
    def exit_code(self) -> int:
        """Return 0 if the store passes, warnings or not, and 3 if it is refused."""
        return 0 if self.passed else 3

    def having(self, *statuses: Status) -> tuple[Judgement, ...]:
        """Return the judgements of some statuses, the worst status first, then in the order of the rulebook."""
        return tuple(
            judged for status in Status if status in statuses for judged in self.judgements if judged.status is status
        )

    def to_polars(self) -> pl.DataFrame:
        """Return one row per rule, with the columns of `SCHEMA`."""
        return pl.DataFrame([judged.as_row() for judged in self.judgements], schema=SCHEMA)

    def to_json(self) -> str:
        """Return the result as JSON text; the same counts and thresholds give the same bytes."""
        content = {
            "passed": self.passed,
            "snapshot": self.counts.snapshot,
            "previous": self.counts.previous,
            "fingerprint": self.counts.fingerprint,
            "counted_by": self.counts.counted_by,
            "definitions": self.counts.definitions,
            "rules": [judged.as_row() for judged in self.judgements],
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        """Return the result in one line."""
        found = Counter(judged.status for judged in self.judgements)
        told = ", ".join(f"{found[status]} {status.value}" for status in Status if found[status])
        return f"snapshot {self.counts.snapshot}: {len(self.judgements)} rules: {told}"


def judge(counts: Counts, rulebook: Rulebook) -> CheckResult:
    """Hold counts against the thresholds of a rulebook.

    Raises
    ------
    StudyError
        If the rulebook changes a definition, which decides what is counted, or has other SQL: that needs the store.
    """
    changed = [name for name, value in rulebook.definitions.items() if counts.definitions.get(name) != str(value)]
    if changed:
        raise StudyError(
            f"the counts were taken with other definitions of {', '.join(changed)}; check the store itself, "
            "or change thresholds only"
        )
    if counts.counted_by != rulebook.counted_by:
        raise StudyError("the counts were taken by the rules of another version; check the store itself")
    by_rule: dict[str, list[Count]] = {}
    for row in counts.counts:
        by_rule.setdefault(row.rule, []).append(row)
    judged = tuple(_judge(rule, by_rule.get(rule.id, []), counts.failures.get(rule.id)) for rule in rulebook.rules)
    return CheckResult(counts, judged)


def _judge(rule: Rule, parts: list[Count], failure: str | None) -> Judgement:
    if rule.severity is Severity.OFF:
        return Judgement(rule, Status.OFF, reason="silenced by the thresholds file")
    if failure or not parts:
        return Judgement(
            rule, Status.NOT_RUN, reason=failure or "the counts do not hold this rule; check the store again"
        )
    examined = [row for row in parts if row.examined]
    if not examined:
        return Judgement(
            rule, Status.NOT_APPLICABLE, offending=0, examined=0, reason="nothing, or too little, to examine"
        )
    worst = max(examined, key=lambda row: (rule.excess(row.offending, row.examined), row.part or ""))
    broken = sum(not rule.allows(row.offending, row.examined) for row in examined)
    status = (Status.FAILED if rule.severity is Severity.ERROR else Status.WARNED) if broken else Status.PASSED
    return Judgement(rule, status, worst.part, worst.offending, worst.examined, len(examined), broken)
