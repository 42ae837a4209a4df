"""Dirt: defects planted into extract lines, each entered in a ledger by file and physical line.

A line carries at most one defect, so that a loader can be held to the sum: every line is loaded, a duplicate,
superseded, rejected, or loaded although it is wrong. The rates are free choices; ``--dirt`` scales them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.simulate.streams import Block

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


@dataclass(frozen=True, slots=True)
class Defect:
    """One kind of defect.

    ``columns`` maps each file to the column that carries the defect (None = the line as a whole), ``rate`` is the share
    of lines at dirt 1, ``edit`` takes the fields, the place of the column and a random number; ``copies`` adds a line
    behind the original and ``moves`` sends the line behind all others of its block.
    """

    name: str
    columns: dict[str, str | None]
    rate: float
    expected: str
    edit: Edit
    copies: bool = False
    moves: bool = False


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


_LINE: dict[str, str | None] = {"eligibility.csv": None, "medical_claim.csv": None, "pharmacy_claim.csv": None}
_DATE: dict[str, str | None] = {
    "eligibility.csv": "enrollment_start_date",
    "medical_claim.csv": "claim_start_date",
    "pharmacy_claim.csv": "dispensing_date",
}
_PERSON: dict[str, str | None] = {"medical_claim.csv": "person_id", "pharmacy_claim.csv": "person_id"}
_AMOUNT: dict[str, str | None] = {"medical_claim.csv": "paid_amount", "pharmacy_claim.csv": "paid_amount"}
_QUANTITY: dict[str, str | None] = {"pharmacy_claim.csv": "quantity"}

DEFECTS = (
    Defect("duplicate", _LINE, 0.02, "duplicate", _same, copies=True),
    Defect("reversal", _AMOUNT, 0.01, "superseded", _reverse, copies=True),
    Defect("late_line", _LINE, 0.02, "loaded", _same, moves=True),
    Defect("mistyped_date", _DATE, 0.002, "rejected", _mistype),
    Defect("missing_separator", _DATE, 0.001, "rejected", _drop_separator),
    Defect("extra_separator", _DATE, 0.001, "rejected", _add_separator),
    Defect("orphan_claim", _PERSON, 0.002, "orphan", _orphan),
    Defect("impossible_date", _DATE, 0.002, "suspect", _impossible),
    Defect("unit_change", _QUANTITY, 0.01, "suspect", _thousandfold),
)


def soil(file: str, frame: pl.DataFrame, lines_before: int, block: Block, dirt: float) -> tuple[bytes, pl.DataFrame]:
    """Return the lines of one block of one file with defects planted, and their ledger.

    Parameters
    ----------
    file, frame
        File name, and its rows without defects.
    lines_before
        Physical lines of the file before these, the header included.
    block, dirt
        Where the random numbers come from, and 0 (nothing) to 1 (the rates of ``DEFECTS``).
    """
    lines = frame.write_csv(include_header=False).splitlines()
    random = block.stream(f"dirt_{file.removesuffix('.csv')}")
    kinds = [defect for defect in DEFECTS if file in defect.columns]
    chosen = _choose(kinds, len(lines), dirt, random)
    picks = random.integers(0, 6, len(lines))
    keys, planted = [float(row) for row in range(len(lines))], []
    for row in np.flatnonzero(chosen >= 0).tolist():
        defect = kinds[chosen[row]]
        changed = _edited(defect, lines[row], frame.columns, file, int(picks[row]))
        if defect.copies:
            planted.append(_Planted(defect, len(lines), row))
            lines.append(changed)
            keys.append(row + 0.5)  # right behind its original
        else:
            planted.append(_Planted(defect, row, None))
            lines[row] = changed
            keys[row] += frame.height if defect.moves else 0  # behind all others of the block
    order = np.argsort(np.array(keys), kind="stable")
    number = np.empty(len(order), dtype=np.int64)
    number[order] = lines_before + 1 + np.arange(len(order))
    content = "".join(f"{lines[row]}\n" for row in order.tolist()).encode()
    return content, _ledger(file, planted, number)


@dataclass(frozen=True, slots=True)
class _Planted:
    """A defect, the place of its line among the block's lines, and of the line that it copies."""

    defect: Defect
    row: int
    original: int | None


def _edited(defect: Defect, line: str, columns: Sequence[str], file: str, pick: int) -> str:
    column = defect.columns[file]
    place = columns.index(column) if column else 0
    return ",".join(defect.edit(line.split(","), place, pick))


def _choose(kinds: Sequence[Defect], rows: int, dirt: float, random: np.random.Generator) -> Ints:
    """Return the kind of defect of each row, −1 for none."""
    bounds = np.cumsum([defect.rate * dirt for defect in kinds])
    place = np.searchsorted(bounds, random.random(rows), side="right")
    return np.where(place < len(kinds), place, -1)


def _ledger(file: str, planted: Sequence[_Planted], number: Ints) -> pl.DataFrame:
    rows = [
        (
            file,
            int(number[entry.row]),
            entry.defect.name,
            entry.defect.columns[file],
            None if entry.original is None else int(number[entry.original]),
            entry.defect.expected,
        )
        for entry in planted
    ]
    return pl.DataFrame(rows, schema=LEDGER, orient="row").sort("line")
