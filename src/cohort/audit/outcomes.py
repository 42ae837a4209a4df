"""Faults of the outcome: what its rule cannot see, what it counts twice, and what competes with it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from cohort.audit.finding import Finding
from cohort.codes.codelist import EXCLUDED, Codelist
from cohort.codes.match import matches
from cohort.codes.records import Record

if TYPE_CHECKING:
    from cohort.study import Study


def outcome_outlasts_follow_up(study: Study) -> Iterator[Finding]:
    """Find an outcome whose rule reaches beyond the longest follow-up: its later part can never be met."""
    longest = study.cohort.end.max_days
    for part in getattr(study.outcome, "components", (study.outcome,)):
        for key, days in _reaches(part):
            if longest is not None and days > longest:
                yield Finding(
                    "warning",
                    "outcome_after_follow_up",
                    f"outcome.{key}: the rule of {part.name!r} reaches over {days} days, but follow-up ends on day "
                    f"{longest} (cohort.end.max_days): what would complete it later is not seen. Follow as long as the "
                    "definition, or end the definition with follow-up.",
                )


def outcome_repeats_entry(study: Study) -> Iterator[Finding]:
    """Find a first-record outcome that the record of entry also meets: the next visit of the same episode counts."""
    parts = getattr(study.outcome, "components", (study.outcome,))
    for part, entry in itertools.product(parts, study.entry.records):
        record = getattr(part, "record", None)
        if isinstance(record, Record) and _can_be_one_row(record, entry):
            yield Finding(
                "warning",
                "outcome_repeats_entry",
                f"outcome: the {record} shares codes with the {entry} by which persons enter, so a further visit for "
                "the index episode counts as the outcome. Take these codes out of the outcome, tell the two apart by "
                "setting, or use an outcome that is defined by persistence (chronification).",
            )


def death_censored(study: Study) -> Iterator[Finding]:
    """Find an analysis of a world without death."""
    if "death" not in study.outcome.competing:
        yield Finding(
            "warning",
            "death_censored",
            "outcome.competing: death is taken for a censoring, so risks are those of a world in which nobody dies and "
            "are too high in this one. Write competing = ['death'].",
        )


def _reaches(outcome: Any) -> Iterator[tuple[str, int]]:
    """Yield each setting that lets a rule look ahead, and over how many days."""
    for key in ("within_days", "longer_than_days", "gap_days"):
        days = getattr(outcome, key, None)
        judged = key != "gap_days" or outcome.judged_later  # a gap that only bridges is no rule that must be seen
        if isinstance(days, int) and judged:
            yield key, days
    if (target := getattr(outcome, "target_day", None)) is not None:
        yield "target_day", target + outcome.tolerance_days


def _can_be_one_row(one: Record, other: Record) -> bool:
    """Return whether one row of the store can qualify for both records."""
    same_setting = not one.settings or not other.settings or set(one.settings) & set(other.settings)
    codes = one.codes.codelist, other.codes.codelist
    return one.table == other.table and bool(same_setting) and (_covers(*codes) or _covers(*reversed(codes)))


def _covers(codelist: Codelist, other: Codelist) -> bool:
    """Return whether a list matches some code of another, by the rules that match rows."""
    wanted = other.rows.filter(pl.col("category") != EXCLUDED).lazy()
    return not matches(wanted, codelist).collect().is_empty()
