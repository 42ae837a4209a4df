"""Attrition: the ordered reasons with the persons and entries kept and removed; the counts always add up."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from cohort.errors import CohortError

SCHEMA = pl.Schema(
    {
        "step": pl.Int64(),
        "reason": pl.String(),
        "persons_kept": pl.Int64(),
        "persons_removed": pl.Int64(),
        "entries_kept": pl.Int64(),
        "entries_removed": pl.Int64(),
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule did: persons and entries (candidate index dates) that it kept and removed.

    Entries are ``None`` where there are none yet: nothing is kept before a record makes candidates, and the step
    that makes them removes none.
    """

    reason: str
    persons_kept: int
    persons_removed: int
    entries_kept: int | None
    entries_removed: int | None

    def __add__(self, other: Step) -> Step:
        """Add the same step of another bucket."""
        if self.reason != other.reason:
            raise CohortError(f"attrition steps of different rules cannot be added: {self.reason!r}, {other.reason!r}")
        return Step(
            self.reason,
            self.persons_kept + other.persons_kept,
            self.persons_removed + other.persons_removed,
            _add(self.entries_kept, other.entries_kept),
            _add(self.entries_removed, other.entries_removed),
        )


def _add(mine: int | None, theirs: int | None) -> int | None:
    return None if mine is None or theirs is None else mine + theirs


@dataclass(frozen=True, slots=True)
class Attrition:
    """The flow of a cohort, from everybody in the store to those at risk.

    ``steps[0]`` counts who was there to begin with and removes nobody. Conservation is asserted here, in production:
    what a step keeps and removes is what the step before it kept, in persons and, once there are any, in entries.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        """Assert conservation of persons and entries."""
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            persons = after.persons_kept + after.persons_removed == before.persons_kept
            entries = _add(after.entries_kept, after.entries_removed) in (None, before.entries_kept)
            if not (persons and entries):
                raise CohortError(f"attrition does not add up at {after.reason!r}; please report this as a bug")

    def __add__(self, other: Attrition) -> Attrition:
        """Add the attrition of another bucket of the same cohort."""
        return Attrition(tuple(mine + theirs for mine, theirs in zip(self.steps, other.steps, strict=True)))

    def to_polars(self) -> pl.DataFrame:
        """Return one row per step: step, reason, persons and entries kept and removed."""
        rows = [
            (number, s.reason, s.persons_kept, s.persons_removed, s.entries_kept, s.entries_removed)
            for number, s in enumerate(self.steps)
        ]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")
