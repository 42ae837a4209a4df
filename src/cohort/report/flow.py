"""The flow diagram: boxes of the released attrition, drawn by the page's own style."""

from __future__ import annotations

from dataclasses import dataclass

from cohort.population.attrition import Attrition
from cohort.report.numbers import count


@dataclass(frozen=True, slots=True)
class Box:
    """One step of the flow: what was asked, what it kept and what it removed, as printed."""

    reason: str
    kept: str
    removed: str
    kept_entries: str
    removed_entries: str
    share: str


def flow(attrition: Attrition) -> list[Box]:
    """Return the boxes in order; entries are shown only where they differ from persons."""
    steps = attrition.steps
    entries = any(step.entries_kept != step.persons_kept for step in steps)
    start = steps[0].persons_kept if steps else 0
    return [
        Box(
            step.reason,
            count(step.persons_kept),
            count(step.persons_removed),
            count(step.entries_kept) if entries else "",
            count(step.entries_removed) if entries else "",
            f"{100 * step.persons_kept / start:.2f}" if start else "0",
        )
        for step in steps
    ]
