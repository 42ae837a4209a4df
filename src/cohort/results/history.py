"""Earlier releases of a study: what the gate must remember, so that two reports cannot be subtracted.

The difference between a count of this month and the same count of last month is a count too: of the persons who came
or left. It is 0 or at least the minimum, or one of the two is withheld. The history holds exact counts, also of what
was withheld, so it lies beside the data, in the private part of the store, and never beside a report.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from cohort.errors import InputRefusedError, LockedError, ReleaseRefusedError
from cohort.results.cells import Ledger
from cohort.store.files import create_exclusively, make_folder, private_umask
from cohort.store.places import is_remote

NO_HISTORY = "no earlier release is remembered: give --history, or releases can be subtracted"
COUNTS = "counts"
"""Folder of a population's history for what `cohort counts` has let out (`cohort.federated.history`)."""
Curve = tuple[tuple[int, int, int, int], ...]
"""Days of an exact curve: day, persons at risk before it, events, censorings."""


@dataclass(frozen=True, slots=True)
class PastRelease:
    """What one release said, exactly, and what it withheld: for the data holder only.

    ``rule`` is what the disclosure rule said, ``counts`` maps a place in the study (`Ledger.places`) to its count and
    whether it was withheld, ``curves`` the key of each released curve to its exact days, ``steps`` the reason of each
    attrition step to persons and entries kept. ``analyses`` says what was asked at each position of the study, 0 being
    Table 1: positions are part of places, and change when an analysis is added.
    """

    rule: str
    counts: Mapping[str, tuple[int, bool]]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    steps: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    analyses: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> PastRelease:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        return cls(
            values["rule"],
            {place: (int(count), bool(withheld)) for place, (count, withheld) in values["counts"].items()},
            {key: tuple(tuple(day) for day in days) for key, days in values["curves"].items()},
            {reason: (persons, entries) for reason, (persons, entries) in values["steps"].items()},
            tuple(values["analyses"]),
        )

    def to_json(self) -> str:
        """Return the record; the same release is the same text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False) + "\n"


def history_folder(store: Path) -> Path:
    """Return where a store keeps what was released from it: with the data, for whoever may read those."""
    return store / "private" / "releases"


def writable_history(store: Path) -> Path | None:
    """Return where a store remembers releases; none if it is far away or cannot be written."""
    return None if is_remote(store) or not os.access(store, os.W_OK) else history_folder(store)


def earlier_releases(folder: Path, population: str) -> tuple[PastRelease, ...]:
    """Return what was released of a population, known by the hash of its definition, oldest first.

    Raises
    ------
    InputRefusedError
        If a record cannot be read: without it no one can say what may be subtracted.
    ReleaseRefusedError
        If counts of the population have left for other sites (`cohort counts`): their intervals are other ones.
    """
    kept = folder / population[:16]
    if (kept / COUNTS).is_dir():
        raise ReleaseRefusedError(
            "a file of `cohort counts` of this population has been made, and a report beside it could be subtracted "
            "from it; give out one of the two, or let the data custodian begin another --history"
        )
    try:
        records = sorted(kept.glob("[0-9]*.json")) if kept.is_dir() else []
        return tuple(PastRelease.from_json(path.read_text(encoding="utf-8")) for path in records)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputRefusedError(f"{kept}: a record of an earlier release cannot be read; restore it") from None


def record_release(folder: Path, population: str, release: PastRelease) -> None:
    """Keep what is about to be published, readable by the owner only; what says the same as an earlier adds nothing.

    Raises
    ------
    LockedError
        If another release of the population is being recorded.
    """
    earlier = earlier_releases(folder, population)
    if release in earlier:
        return
    kept = folder / population[:16]
    try:
        with private_umask():
            make_folder(kept)
            kept.chmod(0o700)
            create_exclusively(kept / f"{len(earlier) + 1:06d}.json", release.to_json().encode())
    except FileExistsError:
        raise LockedError(
            "another run is recording a release of this population; run again when it has ended"
        ) from None


def aligned(history: Sequence[PastRelease], analyses: Sequence[str]) -> tuple[PastRelease, ...]:
    """Return earlier releases with each place at the position that its analysis has now.

    What is no longer asked cannot be subtracted from anything, but the persons of all groups together can: of a Table 1
    by another variable that column stays.
    """
    return tuple(_aligned(past, analyses) for past in history)


def _aligned(past: PastRelease, analyses: Sequence[str]) -> PastRelease:
    now = {asked: str(position) for position, asked in enumerate(analyses)}
    position = {str(old): now[asked] for old, asked in enumerate(past.analyses) if asked in now}

    def moved(place: str) -> str | None:
        old, _, rest = place.partition("|")
        kept = old in position or (old == "0" and rest.endswith("|all"))
        return f"{position.get(old, old)}|{rest}" if kept or not past.analyses else None

    return replace(
        past,
        counts={to: count for place, count in past.counts.items() if (to := moved(place))},
        curves={to: curve for name, curve in past.curves.items() if (to := moved(name))},
        analyses=tuple(analyses),
    )


def until_the_same(history: Sequence[PastRelease], now: PastRelease) -> Sequence[PastRelease]:
    """Return the history before a release of the very same numbers under the same rule, which is then repeated.

    ``now`` holds the exact curves, whether they are shown or not. To publish an older report again tells nothing new.
    """
    exact = {place: count for place, (count, _) in now.counts.items()}
    for number, past in enumerate(history):
        same = (past.rule, dict(past.steps)) == (
            now.rule,
            dict(now.steps),
        ) and past.curves.items() <= now.curves.items()
        if same and exact == {place: count for place, (count, _) in past.counts.items()}:
            return history[:number]
    return history


def must_change(ledger: Ledger, history: Sequence[PastRelease], minimum: int) -> dict[str, int]:
    """Return the cells that earlier releases forbid to show, with what each must still be able to be (0: anything).

    A count that differs by a few from what it was is withheld, and must be able to differ by ``minimum`` or more. One
    that was withheld stays so while it is what it was: to show it would show what it hid.

    Raises
    ------
    ReleaseRefusedError
        If counts have changed since the last release, all by fewer than ``minimum``: it stands.
    """
    changed: dict[str, int] = {}
    for past in history:
        for place in past.counts.keys() & ledger.places.keys():
            (then, withheld), key = past.counts[place], ledger.places[place]
            if 0 < abs(ledger.values[key] - then) < minimum:
                changed[key] = max(changed.get(key, 0), then + minimum)
            elif withheld and ledger.values[key] == then:
                changed.setdefault(key, 0)
    if history and 0 < largest_change(ledger, history[-1]) < minimum:
        raise ReleaseRefusedError(
            f"no count differs by {minimum} or more from the last release of this population, which therefore stands; "
            "run again when more data have come, or look at the numbers with --disclosure none, not for release"
        )
    return changed


def largest_change(ledger: Ledger, past: PastRelease) -> int:
    """Return by how much the count differs that differs most from an earlier release."""
    places = past.counts.keys() & ledger.places.keys()
    return max((abs(ledger.values[ledger.places[place]] - past.counts[place][0]) for place in places), default=0)


def compatible(change: np.ndarray, fixed: Sequence[int], minimum: int) -> list[int]:
    """Return, in order, the rows between any two of which every change is 0 or at least ``minimum`` either way.

    Parameters
    ----------
    change
        Int64 of shape (rows, counts): running differences, which may go up and down.
    fixed
        Rows that are kept whatever the others are; of the others the earlier ones come first.
    """
    kept = list(fixed)
    for row in range(len(change)):
        apart = np.abs(change[kept] - change[row])
        if row not in kept and ((apart == 0) | (apart >= minimum)).all():
            kept.append(row)
    return sorted(kept)
