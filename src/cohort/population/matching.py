"""Matching: comparators of an arm, or controls of cases from their risk sets, alike in sex, birth year, time and place.

Every bucket gives its candidates with the few columns that they are matched on; sets are made from that one small
table. Which of several candidates is taken is decided by a hash of the seed and the persons, so it does not depend on
the number of buckets or the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.population.entry import ARM
from cohort.population.hashing import Hashes, Ints, bits, mixed, of_persons
from cohort.spec import Spec, Whole

Flags = npt.NDArray[np.bool_]

On = Literal["sex", "birth_year", "region", "index_month"]
"""What members of a set have in common."""

WORDS: dict[On, str] = {
    "sex": "sex",
    "birth_year": "year of birth",
    "region": "region",
    "index_month": "month of index",
}

SET, CASE = "matched_set", "case"
"""Columns of the analysis table: the number of the set, and in risk sets whether the row is the case."""

SETS = pl.Schema({SET: pl.Int64(), "person_id": pl.Int64(), "index_date": pl.Date(), CASE: pl.Boolean()})
"""One row per member of a set; `CASE` marks the one that the others are matched to."""

_KEYS = {"sex": "_sex", "birth_year": "_birth_year", "region": "_region"}
"""The columns of candidates, by what they are matched on; the month is that of the index date."""


class _Matching(Spec):
    """What both kinds of matching say: on what, how many, and the seed. Who lacks a value matches nobody."""

    kind: str
    on: Annotated[tuple[On, ...], Field(min_length=1, description="what members of a set have in common")]
    birth_years_apart: Annotated[Whole, Field(ge=0, le=20, description="most years between years of birth")] = 0
    ratio: Annotated[Whole, Field(ge=1, le=50, description="most comparators or controls of a set")] = 1
    seed: Annotated[Whole, Field(ge=0, description="which of several candidates are taken")] = 1
    records: ClassVar[tuple[Record, ...]] = ()

    @model_validator(mode="after")
    def _apart_in_what(self) -> _Matching:
        if self.birth_years_apart and "birth_year" not in self.on:
            raise ValueError("birth_years_apart needs birth_year in `on`")
        if len(set(self.on)) < len(self.on):
            raise ValueError("`on` names something twice")
        return self

    @property
    def alike(self) -> str:
        """Return what members of a set have in common, in words."""
        within = f" (up to {self.birth_years_apart} apart)" if self.birth_years_apart else ""
        return ", ".join(WORDS[name] + (within if name == "birth_year" else "") for name in self.on)

    @property
    def columns(self) -> list[str]:
        """Return the columns that `column` adds."""
        return [_KEYS[name] for name in self.on if name in _KEYS]

    def column(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and the columns of the person table that are matched on."""
        person = tables["person"].select(
            "person_id", _sex="sex", _birth_year=pl.col("birth_date").dt.year().cast(pl.Int64), _region="region"
        )
        return entries.select(KEY).join(person, on="person_id", how="left").select(*KEY, *self.columns)

    def _pool(self, candidates: pl.DataFrame) -> _Pool:
        """Return the candidates that lack nothing, by stratum and year of birth."""
        month = {"index_month": pl.col("index_date").dt.year().cast(pl.Int64) * 12 + pl.col("index_date").dt.month()}
        exact = [_KEYS.get(name, name) for name in self.on if name != "birth_year"]
        stratum = pl.struct(exact).rank("dense").cast(pl.Int64) if exact else pl.lit(0, dtype=pl.Int64)
        year = pl.col("_birth_year") if "birth_year" in self.on else pl.lit(0, dtype=pl.Int64)
        known = candidates.with_columns(**month).drop_nulls(
            [*exact, *(["_birth_year"] if "birth_year" in self.on else [])]
        )
        placed = known.with_columns(_stratum=stratum, _year=year)
        return _Pool.of(placed.sort("_stratum", "_year", *KEY), self.seed, self.birth_years_apart)


class MatchedArms(_Matching):
    """Comparators of a cohort with two arms: each entry of the first gets up to ``ratio`` entries of the second.

    Without replacement comparators are dealt in rounds, one to each entry of the first arm, both in an order that the
    seed decides: the next that is nearest in year of birth. An entry is then in one set at most. With replacement each
    entry has the nearest, and of those as near as each other the ones that a hash of the seed and both persons picks.
    Sets without a comparator, and comparators without a set, leave the cohort.

    References
    ----------
    Austin PC. A comparison of 12 algorithms for matching on the propensity score. Stat Med 2014;33:1057-1069.
    doi:10.1002/sim.6004.
    """

    kind: Literal["arms"] = "arms"
    replace: Annotated[bool, Field(strict=True, description="whether an entry may be in several sets")] = False

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        again = "with" if self.replace else "without"
        return f"up to {self.ratio} of the second arm to each of the first, {again} replacement, on {self.alike}"

    @property
    def reason(self) -> str:
        """Return the step as the flow diagram prints it."""
        return f"In a matched set ({self.alike})"

    def sets(self, candidates: pl.DataFrame, arms: tuple[str, ...]) -> pl.DataFrame:
        """Return the members of all sets (`SETS`), sorted.

        Parameters
        ----------
        candidates
            The key, `ARM` and the columns of `column`.
        arms
            Names of the two arms, the one that gets comparators first.
        """
        pool = self._pool(candidates)
        first = pool.frame[ARM].to_numpy() == arms[0]
        if self.replace:
            return pool.sets(
                [pair for leader in np.flatnonzero(first).tolist() for pair in self._drawn(pool, leader, ~first)]
            )
        order = np.flatnonzero(first)[np.argsort(pool.hashes[first], kind="stable")]
        return pool.sets(list(_dealt(pool, order, np.flatnonzero(~first), self.birth_years_apart, self.ratio)))

    def _drawn(self, pool: _Pool, leader: int, offered: Flags) -> Iterator[tuple[int, int]]:
        """Yield the comparators of one entry, the nearest first, whoever else has them."""
        near = pool.near(leader)
        near = near[offered[near] & (pool.persons[near] != pool.persons[leader])]
        away = np.abs(pool.years[near] - pool.years[leader])
        for member in near[np.lexsort((pool.priority(leader, near), away))[: self.ratio]]:
            yield leader, int(member)


def _dealt(pool: _Pool, order: Ints, offered: Ints, apart: int, ratio: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of a leader and its comparator, one for each leader in turn, ``ratio`` times."""
    stacks: dict[int, list[int]] = {}
    for member in offered[np.argsort(pool.hashes[offered], kind="stable")[::-1]]:
        stacks.setdefault(int(pool.places[member]), []).append(int(member))
    for leader in np.tile(order, ratio):
        for distance in range(apart + 1):
            places = {int(pool.places[leader]) + step for step in (-distance, distance)}
            tops = [
                (pool.hashes[stacks[place][at]], place, at)
                for place in places
                if (at := _highest_other(pool, stacks.get(place, []), leader)) is not None
            ]
            if tops:
                _, place, at = min(tops)
                yield int(leader), stacks[place].pop(at)
                break


def _highest_other(pool: _Pool, stack: list[int], leader: int) -> int | None:
    """Return where the next comparator lies in a stack; a leader's own further entries on top are passed over."""
    own = pool.persons[leader]
    return next((at for at in range(len(stack) - 1, -1, -1) if pool.persons[stack[at]] != own), None)


class RiskSets(_Matching):
    """A nested case–control study: each case gets up to ``ratio`` controls from those at risk on the day of its event.

    At risk on a day since index are entries that joined before it and are followed until it or longer, those with an
    event later or on it among them: a control may become a case, and may serve in several sets. Which are drawn is
    decided by a hash of the seed and both persons, so every such entry is as likely as another. The odds ratio of a
    set-conditional model estimates the hazard ratio. Covariates are those of the index date.

    References
    ----------
    Goldstein L, Langholz B. Asymptotic theory for nested case-control sampling in the Cox regression model. Ann Stat
    1992;20:1903-1928. doi:10.1214/aos/1176348895.
    Lubin JH, Gail MH. Biased selection of controls for case-control analyses of cohort studies. Biometrics
    1984;40:63-75. doi:10.2307/2530744.
    """

    kind: Literal["risk_set"] = "risk_set"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"up to {self.ratio} controls at risk on the day of each case's event, on {self.alike}"

    @property
    def reason(self) -> str:
        """Return the step as the flow diagram prints it."""
        return f"Case or sampled control ({self.alike})"

    def sets(self, candidates: pl.DataFrame, arms: tuple[str, ...] = ()) -> pl.DataFrame:
        """Return the members of all sets (`SETS`), sorted.

        Parameters
        ----------
        candidates
            The key, ``entry``, ``time``, ``cause`` (1 = the outcome) and the columns of `column`.
        """
        pool = self._pool(candidates)
        joined, left = (pool.frame[name].to_numpy() for name in ("entry", "time"))
        found: list[tuple[int, int]] = []
        for case in np.flatnonzero(pool.frame["cause"].to_numpy() == 1).tolist():
            near = pool.near(case)
            at_risk = near[(joined[near] < left[case]) & (left[near] >= left[case])]
            at_risk = at_risk[pool.persons[at_risk] != pool.persons[case]]
            drawn = at_risk[np.argsort(pool.priority(case, at_risk), kind="stable")[: self.ratio]]
            found.extend((case, control) for control in drawn.tolist())
        return pool.sets(found)


Matching = Annotated[MatchedArms | RiskSets, Field(discriminator="kind")]
"""Any matching of a cohort."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """Candidates sorted by stratum and year of birth; arrays have one entry per candidate, shape (n,)."""

    frame: pl.DataFrame
    persons: Ints
    years: Ints
    hashes: Hashes
    places: Ints  # stratum and year as one number
    first: Ints  # of those that are alike: the first candidate, and the one after the last
    stop: Ints

    @classmethod
    def of(cls, frame: pl.DataFrame, seed: int, apart: int) -> _Pool:
        """Find, for each candidate, who is alike: a stretch of the table."""
        stratum, years = frame["_stratum"].to_numpy(), frame["_year"].to_numpy()
        place = stratum * 10_000 + years  # of the calendar, so four digits
        persons, days = frame["person_id"].to_numpy(), frame["index_date"].cast(pl.Int32).cast(pl.Int64).to_numpy()
        hashes = mixed(of_persons(persons, seed) ^ bits(days))
        return cls(
            frame,
            persons,
            years,
            hashes,
            place,
            np.searchsorted(place, place - apart, side="left"),
            np.searchsorted(place, place + apart, side="right"),
        )

    def near(self, leader: int) -> Ints:
        """Return the candidates that are alike, the leader among them."""
        return np.arange(self.first[leader], self.stop[leader])

    def priority(self, leader: int, others: Ints) -> Hashes:
        """Return a number for each of some others, as good as random and always the same; the lowest is taken."""
        return mixed(self.hashes[leader] ^ mixed(self.hashes[others]))

    def sets(self, found: list[tuple[int, int]]) -> pl.DataFrame:
        """Return the members of sets from pairs of leader and member, numbered in the order of the leaders' key."""
        pairs = np.array(found, dtype=np.int64).reshape(-1, 2)
        leaders = np.unique(pairs[:, 0])
        key = self.frame.select(KEY)
        numbers = key[leaders].select(pl.struct(KEY).rank("dense").cast(pl.Int64)).to_series().to_numpy()
        members = [
            key[leaders].with_columns(pl.Series(SET, numbers, pl.Int64), pl.lit(True).alias(CASE)),
            key[pairs[:, 1]].with_columns(
                pl.Series(SET, numbers[np.searchsorted(leaders, pairs[:, 0])], pl.Int64), pl.lit(False).alias(CASE)
            ),
        ]
        return pl.concat(members).select(SETS.names()).sort(SET, pl.col(CASE).not_(), *KEY)
