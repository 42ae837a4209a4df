"""The simulator's codes: which code a concept has on a day, by coding system and yearly version."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
import numpy.typing as npt

from cohort.time import epoch_day

Ints = npt.NDArray[np.int64]
NORDIC = ("ICD10", "ATC")
"""Coding systems of the Nordic registers; the others are those of US claims."""
FOREVER = epoch_day(dt.date(9999, 12, 31))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Codes laid out for lookup by whole columns.

    Attributes
    ----------
    concepts
        Concept names; a concept's number is its place here.
    codes, systems
        Code texts and their coding systems, shape (codes,).
    boundaries
        Epoch days on which some code starts or stops being valid, ascending, shape (eras − 1,).
    first, count
        Where a concept's variants of an era start in ``codes`` and how many there are, shape (concepts, eras).
    """

    concepts: tuple[str, ...]
    codes: tuple[str, ...]
    systems: tuple[str, ...]
    boundaries: Ints
    first: Ints
    count: Ints

    def number(self, concept: str) -> int:
        """Return the number of a concept."""
        return self.concepts.index(concept)

    def numbers(self, concepts: Sequence[str]) -> Ints:
        """Return the numbers of several concepts."""
        return np.array([self.number(concept) for concept in concepts], dtype=np.int64)

    def lookup(self, concept: Ints, day: Ints, pick: Ints) -> Ints:
        """Return places in ``codes``; ``pick`` chooses among equal variants."""
        era = np.searchsorted(self.boundaries, day, side="right")
        first, count = self.first[concept, era], self.count[concept, era]
        return first + pick % np.maximum(count, 1)


def _rows() -> list[dict[str, str]]:
    text = (resources.files("cohort.simulate") / "codes.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def concepts() -> tuple[str, ...]:
    """Return the names of all concepts, in the order of the file."""
    return tuple(dict.fromkeys(row["concept"] for row in _rows()))


@cache
def vocabulary(coding: Literal["us", "nordic"] = "us") -> Vocabulary:
    """Return the shipped vocabulary (``codes.csv``): what US claims or Nordic registers write."""
    spans = [
        (row["concept"], (row["system"], row["code"]), *_valid(row))
        for row in _rows()
        if (row["system"] in NORDIC) == (coding == "nordic")
    ]
    boundaries = sorted(({start for *_, start, _ in spans} | {stop for *_, stop in spans}) - {-FOREVER, FOREVER})
    codes: list[tuple[str, str]] = []
    first = np.zeros((len(concepts()), len(boundaries) + 1), dtype=np.int64)
    count = np.zeros_like(first)
    for number, concept in enumerate(concepts()):
        for era, begin in enumerate([-FOREVER, *boundaries]):
            valid = [code for name, code, start, stop in spans if name == concept and start <= begin < stop]
            first[number, era], count[number, era] = len(codes), len(valid)
            codes.extend(valid)
    systems, texts = zip(*codes, strict=True)
    return Vocabulary(concepts(), texts, systems, np.array(boundaries, dtype=np.int64), first, count)


def _valid(row: dict[str, str]) -> tuple[int, int]:
    """Return the half-open span of epoch days on which a code is valid."""
    start = epoch_day(dt.date.fromisoformat(row["first_date"])) if row["first_date"] else -FOREVER
    stop = epoch_day(dt.date.fromisoformat(row["last_date"])) + 1 if row["last_date"] else FOREVER
    return start, stop
