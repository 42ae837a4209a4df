"""Counts that add up, and which of them to hide so that no small one can be worked out.

A released set of counts is a set of cells and the sums that join them: levels add up to their group, groups to the
whole, events and non-events to persons. Whoever reads the shown cells can solve those sums for the hidden ones. So
after the small cells are hidden, the same calculation, as an integer program, finds the cheapest neighbours to hide
so that each small cell could be a large one.

References
----------
Fischetti & Salazar (2001), doi 10.1287/mnsc.47.7.1008.9805 (cell suppression with linked tables).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from cohort.errors import ReleaseRefusedError


@dataclass(frozen=True, slots=True)
class Sum:
    """One relation: the cell ``total`` is the sum of the cells ``parts``."""

    total: str
    parts: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells of the relation."""
        return (self.total, *self.parts)


@dataclass(slots=True)
class Ledger:
    """The counts of a result: their values, the sums between them, the rows that show or need them.

    ``prices`` says what hiding a cell costs besides its rows. A cell that no row shows, such as persons without the
    event, is still solved for and still protected. ``places`` says where in the study a count stands, in words that
    mean the same in another release (`cohort.results.history`).
    """

    values: dict[str, int] = field(default_factory=dict)
    sums: list[Sum] = field(default_factory=list)
    shown_in: dict[str, set[int]] = field(default_factory=dict)
    needed_by: dict[str, set[int]] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    _partitions: dict[tuple[str, tuple[tuple[str, int], ...]], dict[str, str]] = field(default_factory=dict)
    _named: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def cell(
        self, key: str, value: int, shown: Iterable[int] = (), needed: Iterable[int] = (), place: str | None = None
    ) -> str:
        """Enter a count, the rows that show it, the rows that go if it goes, and its place; return its key."""
        self.values[key] = value
        if place is not None:
            self.places[place] = key
        for register, rows in ((self.shown_in, set(shown)), (self.needed_by, set(needed))):
            if rows:
                register.setdefault(key, set()).update(rows)
        return key

    def rows_of(self, keys: Iterable[str]) -> set[int]:
        """Return the rows to withhold when these cells are hidden."""
        return {row for key in keys for rows in (self.shown_in, self.needed_by) for row in rows.get(key, ())}

    def add_up(self, total: str, parts: Iterable[str]) -> None:
        """Enter that the parts sum to the total."""
        relation = Sum(total, tuple(parts))
        if relation.parts and relation not in self.sums:
            self.sums.append(relation)

    def partition(self, kind: str, counts: Mapping[str, int]) -> dict[str, str]:
        """Enter disjoint groups of one total and return the key of each.

        A group with the same name and count is the same cell, and a total with the same count the same total, wherever
        they are shown: what is hidden in one table must not stand in the next, where some groups may be left out.
        """
        identity = (kind, tuple(sorted((name, count) for name, count in counts.items() if count)))
        if identity not in self._partitions:
            total = self.cell(f"{kind}|{sum(counts.values())}", sum(counts.values()))
            number = len(self._partitions)
            keys = {
                name: self.cell(self._named.setdefault((kind, name, count), f"{kind}|{number}|{name}"), count)
                for name, count in counts.items()
            }
            if set(counts) == {"all"}:
                keys = {"all": total}
            else:
                self.add_up(total, keys.values())
            self._partitions[identity] = keys
        keys = self._partitions[identity]
        return {name: keys.get(name) or self.cell(f"{kind}|none|{name}", 0) for name in counts}


def cells_to_hide(
    ledger: Ledger, minimum: int, show_zero: bool, changed: Mapping[str, int] = MappingProxyType({})
) -> set[str]:
    """Return the cells to hide: the small ones, and the neighbours without which they could be worked out.

    ``changed`` are cells to hide because of earlier releases, with what each must still be able to be; 0 asks nothing.
    One pass is enough: hiding more cells never makes a hidden one easier to find.
    """
    zeros = set() if show_zero else {key for key in ledger.shown_in if ledger.values[key] == 0}
    small = zeros | {key for key, value in ledger.values.items() if 0 < value < minimum}
    hidden = small | set(changed)
    rise_to = {**dict.fromkeys(small, minimum), **{key: most for key, most in changed.items() if most}}
    for target in sorted(rise_to, key=lambda key: (ledger.values[key], key)):
        hidden |= neighbours_to_hide(ledger, hidden, target, rise_to[target], show_zero=show_zero)
    return hidden


def neighbours_to_hide(ledger: Ledger, hidden: set[str], target: str, minimum: int, *, show_zero: bool) -> set[str]:
    """Return the shown cells to hide so that ``target`` could be ``minimum`` or more; none if it already could.

    An integer program looks for other counts that satisfy every sum and make the target large, at the least cost: a
    cell that keeps its value, is hidden already or was never shown costs nothing, any other the rows that go with
    it and still stand. Hidden counts stay 1 or more, since a reader knows that a 0 would have been shown.

    Raises
    ------
    ReleaseRefusedError
        If no choice protects the count.
    """
    most = max(ledger.values.values())
    for reach in (2 * minimum, 20 * minimum, most + minimum, most * minimum):
        chosen = _cheapest_change(ledger, hidden, target, rise_to=minimum, least=int(show_zero), reach=reach)
        if chosen is not None:
            return chosen
    if ledger.values[target] == 0:  # nothing but 0 is possible: it follows from a definition, not from persons
        return set()
    raise ReleaseRefusedError("a small count cannot be protected; leave out the table it is in, or use coarser groups")


def _cheapest_change(
    ledger: Ledger, hidden: set[str], target: str, *, rise_to: int, least: int, reach: int
) -> set[str] | None:
    """Solve the integer program with changes of at most ``reach``; None if it has no solution."""
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import lil_array

    keys = sorted(ledger.values)
    place = {key: number for number, key in enumerate(keys)}
    values = np.array([ledger.values[key] for key in keys])
    open_keys = [key for key in keys if key in ledger.shown_in and key not in hidden]
    fixed = np.array([key in ledger.shown_in and key not in hidden and ledger.values[key] < least for key in keys])
    shown = np.array([key in ledger.shown_in for key in keys])
    low = np.where(fixed, 0, np.maximum(-reach, np.where(shown, least, 0) - values))
    high = np.where(fixed, 0, reach)
    low[place[target]] = rise_to - values[place[target]]
    sums = lil_array((len(ledger.sums), len(keys) + len(open_keys)))
    for row, relation in enumerate(ledger.sums):
        sums[row, place[relation.total]] += 1
        for part in relation.parts:
            sums[row, place[part]] -= 1
    moves = lil_array((2 * len(open_keys), len(keys) + len(open_keys)))
    for number, key in enumerate(open_keys):
        for row, sign in ((2 * number, 1), (2 * number + 1, -1)):
            moves[row, place[key]], moves[row, len(keys) + number] = sign, -reach
    gone = ledger.rows_of(hidden)
    cost = [
        len(ledger.rows_of([key]) - gone) + ledger.prices.get(key, 0) + ledger.values[key] / (values.max() + 1)
        for key in open_keys
    ]
    answer = milp(
        np.concatenate([np.zeros(len(keys)), cost]),
        integrality=np.ones(len(keys) + len(open_keys)),
        bounds=Bounds(np.concatenate([low, np.zeros(len(open_keys))]), np.concatenate([high, np.ones(len(open_keys))])),
        options={"presolve": False},  # HiGHS writes debugging lines to stdout when it undoes its presolve
        constraints=[LinearConstraint(sums.tocsr(), 0, 0), LinearConstraint(moves.tocsr(), -np.inf, 0)],
    )
    if answer.x is None:
        return None
    return {key for number, key in enumerate(open_keys) if answer.x[len(keys) + number] > 0.5}
