"""Dirt: defects planted into extract lines, each entered in a ledger by file and physical line.

A line carries at most one defect, so that a loader can be held to the sum: every line is loaded, a duplicate,
superseded, rejected, or loaded although it is wrong. The rates are free choices; ``--dirt`` scales them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

LEDGER = {
    "file": pl.String,
    "line": pl.Int64,
    "defect": pl.String,
    "column": pl.String,
    "original_line": pl.Int64,
    "expected": pl.String,
}
"""Columns of the ledger: file and physical line (the header is line 1), defect, the column that carries it, the line
that it copies or reverses, and what a loader owes it: duplicate, superseded, rejected, orphan, suspect or loaded."""

Ints = npt.NDArray[np.int64]
Fields = list[str]
Edit = Callable[[Fields, int, int], Fields]
Role = Literal["line", "date", "person", "amount", "quantity"]
Roles = Mapping[Role, str]
"""Which column of a file carries which kind of defect; the roles that a file lacks are not soiled in it."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One kind of defect.

    ``role`` says which column of a file carries it (``line`` = the line as a whole, in every file), ``rate`` is the
    share of lines at dirt 1, ``edit`` takes the fields, the place of the column and a random number; ``copies`` adds
    a line behind the original and ``moves`` sends the line behind all others of its block. ``breaks`` says that no
    typed cell can hold the result.
    """

    name: str
    role: Role
    rate: float
    expected: str
    edit: Edit
    copies: bool = False
    moves: bool = False
    breaks: bool = False


def _same(fields: Fields, _place: int, _pick: int) -> Fields:
    return fields


def _mistype(fields: Fields, place: int, pick: int) -> Fields:
    """Write a date that no calendar has: a 13th month, a 32nd day, or a letter among the digits."""
    year, month, day = fields[place].split("-")
    fields[place] = (f"{year}-13-{day}", f"{year}-{month}-32", f"{year[:1]}O{year[2:]}-{month}-{day}")[pick % 3]
    return fields


def _impossible(fields: Fields, place: int, pick: int) -> Fields:
    """Write a real date that cannot be: long before any birth or far in the future."""
    fields[place] = ("1850-01-01", "2999-12-31")[pick % 2]
    return fields


def _drop_separator(fields: Fields, place: int, _pick: int) -> Fields:
    return [*fields[:place], fields[place] + fields[place + 1], *fields[place + 2 :]]


def _add_separator(fields: Fields, place: int, _pick: int) -> Fields:
    return [*fields[:place], "", *fields[place:]]


def _orphan(fields: Fields, place: int, _pick: int) -> Fields:
    fields[place] = "X" + fields[place][1:]
    return fields


def _thousandfold(fields: Fields, place: int, _pick: int) -> Fields:
    fields[place] = fields[place] + "000"
    return fields


def _reverse(fields: Fields, place: int, _pick: int) -> Fields:
    fields[place] = "-" + fields[place]
    return fields


DEFECTS = (
    Defect("duplicate", "line", 0.02, "duplicate", _same, copies=True),
    Defect("reversal", "amount", 0.01, "superseded", _reverse, copies=True),
    Defect("late_line", "line", 0.02, "loaded", _same, moves=True),
    Defect("mistyped_date", "date", 0.002, "rejected", _mistype, breaks=True),
    Defect("missing_separator", "date", 0.001, "rejected", _drop_separator, breaks=True),
    Defect("extra_separator", "date", 0.001, "rejected", _add_separator, breaks=True),
    Defect("orphan_claim", "person", 0.002, "orphan", _orphan),
    Defect("impossible_date", "date", 0.002, "suspect", _impossible),
    Defect("unit_change", "quantity", 0.01, "suspect", _thousandfold),
)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The lines that get a defect: rows (ascending), places of their defects in ``kinds``, random numbers; Int64."""

    kinds: tuple[Defect, ...]
    rows: Ints
    kind: Ints
    picks: Ints

    def has(self, name: str) -> Ints:
        """Return 1 where the defect copies or moves its line."""
        return np.array([getattr(defect, name) for defect in self.kinds], dtype=np.int64)[self.kind]

    def texts(self, values: Sequence[str | None]) -> pl.Series:
        """Return the value of each line's kind."""
        return pl.Series(values, dtype=pl.String).gather(pl.Series(self.kind))


def soil(
    content: bytes,
    columns: Sequence[str],
    roles: Roles,
    dirt: float,
    random: np.random.Generator,
    *,
    typed: bool = False,
) -> tuple[bytes, pl.DataFrame]:
    """Return the lines of one block of one file with defects planted, and their ledger without the file's name.

    Parameters
    ----------
    content
        Lines without header, fields without quotes.
    columns, roles
        Names of the columns, and those that carry defects.
    dirt
        0 (nothing) to 1 (the rates of ``DEFECTS``).
    typed
        Plant only what the cells of a Parquet file can hold.
    """
    ends = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord("\n")) + 1
    chosen = _choose(roles, len(ends), dirt, random, typed)
    starts = np.r_[0, ends[:-1]][: len(ends)]
    soiled = _spliced(content, chosen, starts[chosen.rows].tolist(), ends[chosen.rows].tolist(), (columns, roles))
    return soiled, _ledger(chosen, roles, len(ends))


def _choose(roles: Roles, rows: int, dirt: float, random: np.random.Generator, typed: bool) -> _Chosen:
    carried = {"line", *roles}
    kinds = tuple(defect for defect in DEFECTS if defect.role in carried and not (typed and defect.breaks))
    bounds = np.cumsum([defect.rate * dirt for defect in kinds])
    draw = random.random(rows)
    chosen = np.flatnonzero(draw < bounds[-1])
    kind = np.searchsorted(bounds, draw[chosen], side="right")
    return _Chosen(kinds, chosen, kind, random.integers(0, 6, len(chosen)))


def _spliced(
    content: bytes, chosen: _Chosen, starts: list[int], ends: list[int], where: tuple[Sequence[str], Roles]
) -> bytes:
    """Return the content with the chosen lines edited: only they are looked at one by one."""
    columns, roles = where
    places = {role: list(columns).index(column) for role, column in roles.items()} | {"line": 0}
    view, done = memoryview(content), 0
    pieces: list[bytes | memoryview] = []
    tail: list[bytes] = []
    edits = [(defect, places[defect.role]) for defect in chosen.kinds]
    for kind, pick, start, end in zip(chosen.kind.tolist(), chosen.picks.tolist(), starts, ends, strict=True):
        defect, place = edits[kind]
        line = bytes(view[start:end])
        if defect.edit is not _same:
            line = (",".join(defect.edit(line[:-1].decode().split(","), place, pick)) + "\n").encode()
        pieces.append(view[done : end if defect.copies else start])  # a copy stands right behind its original
        (tail if defect.moves else pieces).append(line)
        done = end
    return b"".join([*pieces, view[done:], *tail])


def _ledger(chosen: _Chosen, roles: Roles, rows: int) -> pl.DataFrame:
    """Return the ledger of the chosen lines; line 1 is the first of the block."""
    copies, moves = chosen.has("copies"), chosen.has("moves")
    earlier_copies, earlier_moves = np.cumsum(copies) - copies, np.cumsum(moves) - moves
    stays = chosen.rows + 1 + earlier_copies - earlier_moves
    line = np.where(moves == 1, rows + copies.sum() - moves.sum() + 1 + earlier_moves, stays + copies)
    return pl.DataFrame(
        {
            "line": line,
            "defect": chosen.texts([defect.name for defect in chosen.kinds]),
            "column": chosen.texts([roles.get(defect.role) for defect in chosen.kinds]),
            "original_line": pl.Series(stays).set(pl.Series(copies == 0), None),
            "expected": chosen.texts([defect.expected for defect in chosen.kinds]),
        },
        schema={name: dtype for name, dtype in LEDGER.items() if name != "file"},
    ).sort("line")
