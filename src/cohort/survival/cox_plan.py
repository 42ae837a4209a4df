"""What a Cox model reads of one bucket's frame, in which order, and what is known of all buckets before the fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, require_columns
from cohort.survival.cox import model_columns
from cohort.survival.cox_lanes import LANES
from cohort.survival.cox_risk import check_follow_up
from cohort.survival.design import Missing, Term, design_columns, seen_levels

Floats = NDArray[np.float64]
Label = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The columns of a bucket's frame that the model reads, and what to do with missing values in its terms."""

    person: str
    time: str
    event: str
    entry: str | None
    weights: str | None
    strata: tuple[str, ...]
    terms: tuple[Term, ...]
    missing: Missing

    @property
    def roles(self) -> dict[str, str]:
        """Return the numeric columns that are not covariates, by role."""
        named = {"person": self.person, "time": self.time, "event": self.event}
        optional = {"entry": self.entry, "weights": self.weights}
        return named | {role: name for role, name in optional.items() if name is not None}

    @property
    def _variables(self) -> list[str]:
        return list(dict.fromkeys(name for term in self.terms for name in term.variables))

    def read(self, frame: Any) -> pl.DataFrame:
        """Return the columns that the model reads."""
        columns = dict.fromkeys([*self.roles.values(), *self.strata, *self._variables])
        return as_lazy(frame).select(list(columns)).collect()

    def lanes(self, table: pl.DataFrame) -> list[int]:
        """Return the lanes whose persons a bucket holds, sorted."""
        lanes: list[int] = np.flatnonzero(np.bincount(_lane(table[self.person]))).tolist()
        return lanes

    def by_lane(self, table: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
        """Return the lanes of a bucket with their rows, which are not copied if they rise by lane.

        Raises
        ------
        InputRefusedError
            If the column of persons is not whole numbers from 0.
        """
        self._require_persons(table)
        if not table.height:
            return [(0, table)]
        lane = _lane(table[self.person])
        if (lane[1:] < lane[:-1]).any():
            order = np.argsort(lane, kind="stable")
            table, lane = table[order], lane[order]
        first = [0, *(np.flatnonzero(lane[1:] != lane[:-1]) + 1).tolist()]
        return [(int(lane[a]), table[a:b]) for a, b in pairwise([*first, table.height])]

    def survey(self, frame: Any) -> Survey:
        """Check a bucket and say what all buckets have to know of it."""
        table = self._checked(frame)
        kept, levels = seen_levels(table, self.terms, self.missing)
        complete = table.filter(pl.Series(kept))
        rows = _counted(complete, self.weights)
        time, event = rows[self.time].to_numpy(), rows[self.event].cast(pl.Float64).to_numpy()
        entry = rows[self.entry].to_numpy() if self.entry else None
        check_follow_up(time, event, entry)
        for name, values in ((self.time, time), (self.entry, entry)):
            if values is not None and (broken := int((values != np.floor(values)).sum())):
                raise InputRefusedError(f"column {name} is not in whole days in {broken} rows")
        died = rows.filter(pl.Series(event == 1)).select(*self._labels(rows), pl.col(self.time).cast(pl.Int64))
        deaths = {row[:-1]: row[-1] for row in died.group_by(died.columns).len().rows()}
        n_missing = table.height - complete.height
        return Survey(rows.height, n_missing, table.height, tuple(self.lanes(table)), levels, deaths)

    def rows(self, frame: Any, survey: Survey) -> BucketRows:
        """Return the rows of a bucket that was surveyed, by lane, then person, then time and everything else."""
        table = self.read(frame)
        if survey.n < survey.n_read:
            kept, _ = seen_levels(table, self.terms, self.missing)
            table = _counted(table.filter(pl.Series(kept)), self.weights)
        table = self._in_order(table)
        names, _, matrix = design_columns(table.select(self._variables), self.terms, survey.levels)
        return BucketRows(
            names=names,
            x=matrix,
            person=table[self.person].to_numpy().astype(np.int64),
            time=table[self.time].to_numpy(),
            event=table[self.event].cast(pl.Float64).to_numpy() == 1,
            entry=table[self.entry].to_numpy() if self.entry else None,
            weight=table[self.weights].cast(pl.Float64).to_numpy() if self.weights else np.empty(0),
            stratum=self._stratum(table, survey.strata) if self.strata else None,
        )

    def _checked(self, frame: Any) -> pl.DataFrame:
        require_columns(as_lazy(frame), {f"strata {name}": name for name in self.strata})
        table = model_columns(frame, self.roles, self.terms, also=self.strata)
        self._require_persons(table)
        for name in self.strata:
            if gone := table[name].null_count():
                raise InputRefusedError(f"column {name} (strata) is missing in {gone} rows")
        if self.weights:
            weight = table[self.weights].cast(pl.Float64).to_numpy()
            if wrong := int((~(np.isfinite(weight) & (weight >= 0))).sum()):
                raise InputRefusedError(f"the weight is negative or not a finite number in {wrong} rows")
        return table

    def _require_persons(self, table: pl.DataFrame) -> None:
        person = table[self.person]
        if not person.dtype.is_integer() or person.has_nulls() or (person < 0).any():
            raise InputRefusedError(f"column {self.person} must hold whole numbers from 0: they place persons in lanes")

    def _in_order(self, table: pl.DataFrame) -> pl.DataFrame:
        person = table[self.person].to_numpy()
        keys = [person % LANES, person, table[self.time].to_numpy()]
        if _rises(keys):
            return table
        order = np.lexsort(keys[::-1])
        if _rises([key[order] for key in keys]):
            return table[order]
        # a person has two rows that end on one day: everything else has to fix their order
        return table.sort(table.columns, nulls_last=True).sort(pl.col(self.person) % LANES, maintain_order=True)

    def _labels(self, table: pl.DataFrame) -> list[pl.Expr]:
        return [
            pl.col(name) if table.schema[name].is_integer() else pl.col(name).cast(pl.String) for name in self.strata
        ]

    def _stratum(self, table: pl.DataFrame, labels: Sequence[Label]) -> NDArray[np.int64]:
        """Return each row's position among the strata with an event, -1 for none of them."""
        own = table.select(self._labels(table))
        known = pl.DataFrame(list(labels), schema=own.schema, orient="row").with_row_index("_code")
        found = own.join(known, on=own.columns, how="left", maintain_order="left")["_code"]
        return found.cast(pl.Int64).fill_null(-1).to_numpy()


@dataclass(frozen=True, slots=True)
class BucketRows:
    """A bucket as arrays: covariates ``x`` (n, p) and their names; the others have shape (n,) as in ``Follow``."""

    names: tuple[str, ...]
    x: Floats
    person: NDArray[np.int64]
    time: NDArray[np.generic]
    event: NDArray[np.bool_]
    entry: NDArray[np.generic] | None
    weight: Floats
    stratum: NDArray[np.int64] | None

    def lanes(self) -> tuple[list[int], list[int]]:
        """Return the lanes in order, and where their rows begin, with the end."""
        lane = self.person % LANES
        first = np.flatnonzero(np.diff(lane, prepend=-1))
        return lane[first].tolist(), [*first.tolist(), self.person.size]


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of buckets before the first step: rows, lanes, levels, and events by day; surveys add up.

    ``n`` counts the rows used, ``n_missing`` those without a value, ``n_read`` all; ``deaths`` the events by stratum
    and day, the day last.
    """

    n: int = 0
    n_missing: int = 0
    n_read: int = 0
    lanes: tuple[int, ...] = ()
    levels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    deaths: dict[Label, int] = field(default_factory=dict)

    def __add__(self, other: Survey) -> Survey:
        """Return the survey of both; a lane in two buckets is refused."""
        refuse_shared_lanes([*self.lanes, *other.lanes])
        levels = {
            name: tuple(sorted({*self.levels.get(name, ()), *other.levels.get(name, ())}))
            for name in {**self.levels, **other.levels}
        }
        deaths = dict(self.deaths)
        for cell, count in other.deaths.items():
            deaths[cell] = deaths.get(cell, 0) + count
        n, n_missing, n_read = self.n + other.n, self.n_missing + other.n_missing, self.n_read + other.n_read
        return Survey(n, n_missing, n_read, (*self.lanes, *other.lanes), levels, deaths)

    @property
    def strata(self) -> list[Label]:
        """Return the strata that have an event, sorted."""
        return sorted({cell[:-1] for cell in self.deaths})


def refuse_shared_lanes(lanes: Sequence[int]) -> None:
    """Refuse lanes, those of one bucket after those of another, of which two are the same."""
    if shared := len(lanes) - len(set(lanes)):
        raise InputRefusedError(
            f"{shared} lanes (person % {LANES}) lie in more than one bucket; bucket by the lane, so that sums do not "
            "depend on the number of buckets"
        )


def _counted(table: pl.DataFrame, weights: str | None) -> pl.DataFrame:
    return table.filter(pl.col(weights) > 0) if weights else table


def _lane(person: pl.Series) -> NDArray[np.uint8]:
    """Return each row's lane, (n,), in a byte, which sorts in no time."""
    return (person.to_numpy() % LANES).astype(np.uint8)


def _rises(keys: list[NDArray[Any]]) -> bool:
    """Return whether rows rise strictly by the first key, then the second, and so on."""
    later, same = np.zeros(keys[0][1:].shape, dtype=bool), np.ones(keys[0][1:].shape, dtype=bool)
    for key in keys:
        later |= same & (key[1:] > key[:-1])
        same &= key[1:] == key[:-1]
    return bool(later.all())
