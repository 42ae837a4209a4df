"""Attrition that may leave: steps merged until no printed count is small."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from cohort.population.attrition import Attrition, Step
from cohort.results.history import PastRelease, compatible


def merge_steps(
    attrition: Attrition, minimum: int, withheld: Collection[int] = (), history: Sequence[PastRelease] = ()
) -> Attrition:
    """Merge attrition steps with their neighbours until no count is small.

    Of every printed step the persons and entries removed and kept, and the entries beyond one a person, are 0 or at
    least ``minimum``. Trailing steps that keep a few persons, or a number in ``withheld``, are left off. A step whose
    counts differ by a few from those of an earlier release is merged with the next, or left off at the end.
    """
    printable = list(attrition.steps)
    same = _unlike_none(printable, history, minimum)
    while printable and (
        0 < printable[-1].persons_kept < minimum
        or len(printable) - 1 not in same
        or {printable[-1].persons_kept, printable[-1].entries_kept} & set(withheld)
    ):
        printable.pop()
    steps: list[list[Step]] = []
    pending: list[Step] = []
    for number, step in enumerate(printable):
        pending.append(step)
        if number in same and _may_show(pending, minimum, first=not steps):
            steps.append(pending)
            pending = []
    while pending and steps:
        pending = steps.pop() + pending
        if _may_show(pending, minimum, first=not steps):
            steps.append(pending)
            pending = []
    return Attrition(tuple(_merged(part, first=number == 0) for number, part in enumerate(steps)))


def _unlike_none(steps: Sequence[Step], history: Sequence[PastRelease], minimum: int) -> set[int]:
    """Return the steps between any two of which nothing changed by a few since any earlier release."""
    rows = [(0,) * (2 * len(history))]  # before the flow begins there is nobody
    for step in steps:
        row: list[int] = []
        for past in history:
            persons, entries = past.steps.get(step.reason, (step.persons_kept, step.entries_kept))
            row += [step.persons_kept - persons, (step.entries_kept or 0) - (entries or 0)]
        rows.append(tuple(row))
    change = np.array(rows, dtype=np.int64).reshape(len(rows), -1)
    return {row - 1 for row in compatible(change, [0], minimum) if row}


def round_steps(attrition: Attrition, base: int) -> Attrition:
    """Return the flow with what is kept to the nearest multiple of a base, and what is removed as the difference."""

    def rounded(count: int | None) -> int | None:
        return None if count is None else (count + base // 2) // base * base

    steps: list[Step] = []
    for step in attrition.steps:
        persons, entries = rounded(step.persons_kept) or 0, rounded(step.entries_kept)
        before = steps[-1] if steps else Step("", persons, 0, entries, 0)
        known = None not in (step.entries_removed, before.entries_kept, entries)
        lost = (before.entries_kept or 0) - (entries or 0) if known else step.entries_removed
        steps.append(Step(step.reason, persons, before.persons_kept - persons, entries, lost))
    return Attrition(tuple(steps))


def _merged(steps: list[Step], *, first: bool) -> Step:
    """Return several steps as one: what all removed and the last kept. The first step of a flow removes nobody."""
    last = steps[-1]
    persons = 0 if first else sum(step.persons_removed for step in steps)
    removed = [step.entries_removed for step in steps]
    entries = None if None in removed else 0 if first else sum(count for count in removed if count is not None)
    return Step("; ".join(step.reason for step in steps), last.persons_kept, persons, last.entries_kept, entries)


def _may_show(steps: list[Step], minimum: int, *, first: bool) -> bool:
    """Return whether no count is small, nor the difference between entries and persons where both are printed."""
    step = _merged(steps, first=first)
    counts = [step.persons_kept, step.persons_removed]
    for persons, entries in ((step.persons_kept, step.entries_kept), (step.persons_removed, step.entries_removed)):
        counts += [] if entries is None else [entries, abs(entries - persons)]
    return all(count == 0 or count >= minimum for count in counts)
