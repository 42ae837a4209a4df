"""The possible entries of one bucket, and what is known of each: asked once, whichever studies ask.

Whether a rule keeps an entry, when its follow-up ends and when the outcome happens do not depend on which other
entries there are. So every answer stands in a column beside the entries, and a study is a choice of rows. Entries are
numbered in the order of their key; choices are ascending numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from cohort.codes.records import KEY
from cohort.errors import CohortError

Rows: TypeAlias = npt.NDArray[np.int64]
"""Numbers of entries, ascending."""

Flags: TypeAlias = npt.NDArray[np.bool_]

ROW = "_row"
"""The column with an entry's number; whatever keeps some entries keeps it too."""

Ask = Callable[[pl.DataFrame], pl.LazyFrame | pl.DataFrame]
"""From some entries (sorted by key) to the answer of each, one row per entry, or to those of them that are kept."""

SMALL: Literal["in-memory"] = "in-memory"
"""The engine for what is small already: a bucket's candidates and their records. Streaming costs more than it saves."""


@dataclass(slots=True)
class _Verdict:
    part: Any
    asked: Flags
    kept: Flags


@dataclass(slots=True)
class _Answers:
    part: Any
    frame: pl.DataFrame
    place: Rows  # of each entry in the frame; -1 = not asked yet


@dataclass(slots=True)
class Possible:
    """All record days of a bucket, each a possible entry.

    Parts of studies are told apart by identity: variants of a study share what does not vary (`cohort.variants`).

    Attributes
    ----------
    days
        ``person_id, index_date``, `ROW` and what else the entry knows of a day, sorted by key.
    persons
        Number of the person of each entry, (n,), ascending.
    """

    days: pl.DataFrame
    persons: Rows
    _expected: Flags
    _verdicts: dict[Any, _Verdict] = field(default_factory=dict)
    _answers: dict[Any, _Answers] = field(default_factory=dict)

    @classmethod
    def of(cls, days: pl.DataFrame) -> Possible:
        """Return the possible entries of some record days (distinct, sorted by key)."""
        persons = (pl.col("person_id") != pl.col("person_id").shift()).fill_null(value=False).cast(pl.Int64).cum_sum()
        numbers: Rows = days.select(persons).to_series().to_numpy()
        numbered = days.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias(ROW))
        return cls(numbered, numbers, np.zeros(days.height, dtype=np.bool_))

    @classmethod
    def together(cls, buckets: Sequence[Possible]) -> Possible:
        """Put the entries of several buckets, and what is known of them, after one another; all were asked the same."""
        first = np.cumsum([0, *(int(bucket.persons[-1]) + 1 if bucket.persons.size else 0 for bucket in buckets)])
        persons = [bucket.persons + start for bucket, start in zip(buckets, first, strict=False)]
        days = pl.concat([bucket.days for bucket in buckets])
        whole = cls(days, np.concatenate(persons), np.zeros(days.height, dtype=np.bool_))
        for key in buckets[0]._answers:
            known = [bucket._answers[key] for bucket in buckets]
            starts = np.cumsum([0, *(answers.frame.height for answers in known)])
            place = [answers.place + start for answers, start in zip(known, starts, strict=False)]
            frame = pl.concat([answers.frame for answers in known], rechunk=True)
            whole._answers[key] = _Answers(known[0].part, frame, np.concatenate(place))
        return whole

    @property
    def everything(self) -> Rows:
        """Return the numbers of all entries."""
        return np.arange(self.days.height, dtype=np.int64)

    def count_persons(self, rows: Rows) -> int:
        """Return how many persons have some entries."""
        return int(np.count_nonzero(self._is_first(rows)))

    def first_per_person(self, rows: Rows) -> Flags:
        """Return which of some entries are their person's earliest among them."""
        return self._is_first(rows)

    def expect(self, choices: Iterable[Rows]) -> None:
        """Say which entries will be asked about, so that the first who asks has all answered in one go."""
        self._expected[:] = False
        for rows in choices:
            self._expected[rows] = True

    def kept(self, key: Any, part: Any, rows: Rows, ask: Ask) -> Flags:
        """Return which of some entries a part of a study keeps."""
        blank = np.zeros(self.days.height, dtype=np.bool_)
        known = self._verdicts.setdefault(key, _Verdict(part, blank, blank.copy()))
        new = self._new(rows, known.asked)
        if new.size:
            known.kept[ask(self.days[new]).lazy().select(ROW).collect(engine=SMALL)[ROW].to_numpy()] = True
            known.asked[new] = True
        return known.kept[rows]

    def ask(self, key: Any, part: Any, rows: Rows, ask: Ask) -> None:
        """Have a part of a study answer for some entries, one row each, unless it has.

        Raises
        ------
        CohortError
            If the part does not answer for each entry.
        """
        known = self._answers.get(key)
        place = np.full(self.days.height, -1, dtype=np.int64) if known is None else known.place
        new = self._new(rows, place >= 0)
        if known is None or new.size:
            asked = self.days[new]
            frame = ask(asked).lazy().collect(engine=SMALL)
            if not all(frame[name].equals(asked[name]) for name in KEY):  # far cheaper to see than to sort
                frame = frame.sort(KEY)
            if frame.height != new.size:
                raise CohortError("an entry has no answer, or two; please report this as a bug")
            start = 0 if known is None else known.frame.height
            place[new] = np.arange(start, start + new.size)
            self._answers[key] = _Answers(part, frame if known is None else pl.concat([known.frame, frame]), place)

    def answers(self, key: Any, rows: Rows) -> pl.DataFrame:
        """Return what a part of a study has answered for some entries, in their order."""
        known = self._answers[key]
        place = known.place[rows]
        whole = place.size == known.frame.height and bool((np.diff(place) == 1).all())
        return known.frame if whole else known.frame[place]

    def answer(self, key: Any, column: str, rows: Rows) -> npt.NDArray[Any]:
        """Return one column, without nulls, of what a part of a study has answered for some entries."""
        known = self._answers[key]
        return known.frame[column].to_numpy()[known.place[rows]]

    def persons_of(self, rows: Rows) -> Flags:
        """Return which entries are of persons who have some entries, or expected ones."""
        mine = np.zeros(self.persons[-1] + 1 if self.persons.size else 0, dtype=np.bool_)
        mine[self.persons[rows]] = True
        mine[self.persons[self._expected]] = True
        return mine[self.persons]

    def _new(self, rows: Rows, asked: Flags) -> Rows:
        """Return the entries to ask about: none if all of ``rows`` are known, else those that are expected too."""
        if asked[rows].all():
            return rows[:0]
        wanted = self._expected.copy()
        wanted[rows] = True
        return np.flatnonzero(wanted & ~asked)

    def _is_first(self, rows: Rows) -> Flags:
        persons = self.persons[rows]
        first = np.ones(rows.size, dtype=np.bool_)
        first[1:] = persons[1:] != persons[:-1]
        return first
