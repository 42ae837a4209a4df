"""When a person joins: the candidate index dates that an occurrence and its washout give, in one arm or several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.population.occurrence import DrawnDay, EpisodeOf, Occurrence, with_article
from cohort.spec import Spec, Whole
from cohort.time import days_between

ARM = "arm"
"""The column of the analysis table that says by which arm a person entered; null on a tie."""


DRAWN, OTHER = "_drawn", "_other_arm"
"""Columns of the record days of arms: whether a day is drawn and no record, and the next day of another arm."""

_EVER = 1 << 30


class Arm(Spec):
    """One arm of a comparison: its name, and what a person enters it by."""

    name: Annotated[str, Field(min_length=1, description="name of the arm, as estimates show it")]
    record: Annotated[Occurrence, Field(description="what makes a candidate of this arm")]
    washout_days: Annotated[
        Whole | None, Field(ge=0, description="days without a record of any arm before it; absent = the entry's")
    ] = None


class Entry(Spec):
    """Entry at a person's first record with a clean washout, at the n-th, or at each, that passes every requirement.

    A record day is a *candidate* index date when none of the ``washout_days`` days before it holds a qualifying
    record (or a day of an episode); without a washout only a person's first record ever is a candidate, or with
    ``each`` every one. A person enters at the first candidate that every later requirement keeps, or at each of them,
    which is why attrition counts persons and entries. With ``overlap = "skip"`` an entry inside the follow-up of an
    earlier one, last day included, is left out.

    With ``arms`` the records of all arms make the candidates, and the washout is free of every arm's: new users of one
    treatment against new users of another. An arm may have a washout of its own length. A person belongs to the arm
    whose record the index date holds; a candidate that holds those of two arms belongs to neither and is removed.

    References
    ----------
    Ray WA. Evaluating medication effects outside of clinical trials: new-user designs. Am J Epidemiol
    2003;158:915-920. doi:10.1093/aje/kwg231.
    Lund JL, Richardson DB, Stürmer T. The active comparator, new user study design in pharmacoepidemiology. Curr
    Epidemiol Rep 2015;2:221-228. doi:10.1007/s40471-015-0053-5.
    """

    at: Annotated[Literal["first", "nth", "each"], Field(description="which record day may become the index date")] = (
        "first"
    )
    record: Annotated[Occurrence | None, Field(description="what makes a candidate")] = None
    arms: Annotated[tuple[Arm, ...], Field(description="instead of a record: two arms or more")] = ()
    washout_days: Annotated[
        Whole | None,
        Field(
            ge=0, description="days without such a record before it; 0 = every one counts; absent = none ever before"
        ),
    ] = None
    n: Annotated[Whole | None, Field(ge=1, description="the record day's number, counted from 1, for at = nth")] = None
    overlap: Annotated[
        Literal["skip", "allow"], Field(description="what an entry inside an earlier one's follow-up is, for at = each")
    ] = "skip"

    @model_validator(mode="after")
    def _says_one_thing(self) -> Entry:
        if (self.at == "nth") != (self.n is not None):
            raise ValueError("at = 'nth' needs n, and n needs at = 'nth'")
        if self.at == "nth" and self.washout_days is not None:
            raise ValueError("the n-th record has others before it, so it cannot have a washout")
        if self.at != "each" and self.overlap == "allow":
            raise ValueError("a person who enters once has nothing to overlap; overlap needs at = 'each'")
        return self

    @model_validator(mode="after")
    def _has_one_record_or_arms(self) -> Entry:
        if (self.record is None) == (not self.arms):
            raise ValueError("an entry needs a record, or arms with a record each, and not both")
        names = [arm.name for arm in self.arms]
        if len(names) == 1 or len(set(names)) < len(names):
            raise ValueError("a comparison needs two arms or more, each with a name of its own")
        if self.arms and self.at == "nth":
            raise ValueError("which of several arms' records is the n-th compares nothing; use first or each")
        return self

    @classmethod
    def by(cls, record: Any, **rule: Any) -> Entry:
        """Make an entry from an occurrence, or from one per arm's name, or one with its washout."""
        if isinstance(record, Mapping):
            pairs = {name: what if isinstance(what, tuple) else (what, None) for name, what in record.items()}
            arms = tuple({"name": n, "record": what, "washout_days": days} for n, (what, days) in pairs.items())
            return cls.of(arms=arms, **rule)
        return cls.of(record=record, **rule)

    @property
    def occurrences(self) -> tuple[Occurrence, ...]:
        """Return what makes a candidate, in the order of the arms."""
        return (self.record,) if self.record is not None else tuple(arm.record for arm in self.arms)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the coded records that it reads."""
        return tuple(record for occurrence in self.occurrences for record in occurrence.records)

    @property
    def repeats(self) -> bool:
        """Return whether a person may enter more than once."""
        return self.at == "each"

    @property
    def takes_any(self) -> bool:
        """Return whether every record is a candidate, whatever came before it."""
        return set(self.washouts) == {0}

    @property
    def washouts(self) -> tuple[int | None, ...]:
        """Return the days that must be free before each of `occurrences`; none = all ever before."""
        own = [arm.washout_days for arm in self.arms] or [None]
        days = [self.washout_days if washout is None else washout for washout in own]
        return tuple(0 if washout is None and self.at == "each" else washout for washout in days)

    def record_days(self, tables: Tables) -> pl.LazyFrame:
        """Return the distinct days with a qualifying record, of persons in the person table, sorted.

        An episode adds ``until``, its last day; arms add `ARM`, null where a day holds the records of two, and
        `OTHER`, the next day with a record of another.
        """
        persons = tables["person"].select("person_id")
        found = [self._days(tables, number) for number in range(len(self.occurrences))]
        days = (found[0] if len(found) == 1 else _together(found)).join(persons, on="person_id", how="semi")
        ordered = days.rename({"date": "index_date"}).sort(KEY)
        return ordered.with_columns(self._next_other().alias(OTHER)) if self.arms else ordered

    def _next_other(self) -> pl.Expr:
        """Return the next day of the person with a record of another arm, of record days sorted by key."""
        record = ~pl.col(DRAWN)
        for_arm = []
        for arm in self.arms:
            others = pl.when(record & pl.col(ARM).ne_missing(arm.name)).then("index_date")
            later = others.shift(-1).reverse().forward_fill().reverse().over("person_id")
            for_arm.append(pl.when(pl.col(ARM) == arm.name).then(later))
        return pl.coalesce(for_arm)

    def _days(self, tables: Tables, number: int) -> pl.LazyFrame:
        days = self.occurrences[number].days(tables)
        if self._lasts and "until" not in days.collect_schema().names():
            days = days.with_columns(until="date")
        if not self.arms:
            return days
        drawn = isinstance(self.occurrences[number], DrawnDay)
        return days.with_columns(pl.lit(self.arms[number].name).alias(ARM), pl.lit(drawn).alias(DRAWN))

    @property
    def _lasts(self) -> bool:
        """Return whether what makes a candidate can go on after its first day."""
        return any(isinstance(occurrence, EpisodeOf) for occurrence in self.occurrences)

    def candidates(self, days: pl.LazyFrame) -> pl.LazyFrame:
        """Keep the record days (sorted, distinct) whose washout is clean, or the n-th of each person, or all."""
        if self.n is not None:
            return days.filter(pl.col("index_date").cum_count().over("person_id") == self.n)
        if self.takes_any:
            return days
        if self.arms:
            return days.filter(self._clean_by_arm())
        clean = pl.col("person_id").ne_missing(pl.col("person_id").shift())
        if self.washout_days is not None:
            latest = pl.col("until").cum_max().over("person_id") if self._lasts else pl.col("index_date")
            clean = clean | (days_between(latest.shift(), pl.col("index_date")) > self.washout_days)
        return days.filter(clean)

    def _clean_by_arm(self) -> pl.Expr:
        """Return whether a day's washout holds no record of any arm; the longest, of a day of two arms."""
        last = pl.when(~pl.col(DRAWN)).then("until" if self._lasts else "index_date")
        before = last.cum_max().shift().forward_fill().over("person_id")
        # of an episode that goes on, the last day before is the day before: a washout of 0 days is always clean
        free = days_between(before, pl.col("index_date")).clip(lower_bound=1)
        lengths = [_EVER if days is None else days for days in self.washouts]
        washout = pl.coalesce(
            *(pl.when(pl.col(ARM) == arm.name).then(days) for arm, days in zip(self.arms, lengths, strict=True)),
            pl.lit(max(lengths)),
        )
        return before.is_null() | (free > washout)

    def candidate_text(self) -> str:
        """Return what makes a candidate, as the flow diagram prints it."""
        such = "record of any arm" if self.arms else "such record"
        if self.n is not None:
            return f"Record day number {self.n}"
        if self.takes_any:
            return f"Every {such}"
        if len(set(self.washouts)) > 1:
            said = [
                f"{'ever' if days is None else f'in the {days} days'} before ({arm.name})"
                for arm, days in zip(self.arms, self.washouts, strict=True)
            ]
            return f"No {such} {', '.join(said)}"
        days = self.washouts[0]
        return f"First {such} ever" if days is None else f"No {such} in the {days} days before"

    def record_text(self) -> str:
        """Return what makes a candidate, with the indefinite article."""
        return " or ".join(with_article(occurrence) for occurrence in self.occurrences)

    def index_text(self) -> str:
        """Return what the index date is, as the protocol says it."""
        names = " or ".join(str(occurrence) for occurrence in self.occurrences)
        passing = "that passes every requirement"
        if self.n is not None:
            return f"day number {self.n} with {self.record_text()}, if it passes every requirement"
        return f"every {names} {passing}" if self.at == "each" else f"first {names} {passing}"

    def arms_text(self) -> str:
        """Return the arms, as the protocol says them."""
        return "; ".join(f"{arm.name}: {arm.record}" for arm in self.arms)


def _together(found: list[pl.LazyFrame]) -> pl.LazyFrame:
    """Return one row per person and day with the records of several arms."""
    every = pl.concat(found, how="diagonal")
    recorded = (~pl.col(DRAWN)).any().over("person_id", "date")
    days = every.filter(~(pl.col(DRAWN) & recorded)).group_by("person_id", "date")
    lasting = [pl.col("until").max()] if "until" in found[0].collect_schema().names() else []
    only = pl.when(pl.col(ARM).n_unique() == 1).then(pl.col(ARM).first())
    return days.agg(only.alias(ARM), pl.col(DRAWN).all(), *lasting)


def apart(entries: pl.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which entries (sorted by key) do not lie in the follow-up of an earlier one that is kept, shape (n,).

    Parameters
    ----------
    entries
        The key and ``time`` (Int64, last day of follow-up relative to index), which belongs to follow-up.
    """
    persons = entries["person_id"].to_numpy()
    first = entries["index_date"].cast(pl.Int32).cast(pl.Int64).to_numpy()
    last = first + np.maximum(entries["time"].to_numpy(), 0)
    kept = np.zeros(persons.size, dtype=np.bool_)
    undecided = np.arange(persons.size)
    while undecided.size:  # as often as a person is followed anew
        person = persons[undecided]
        new = np.flatnonzero(np.append(True, person[1:] != person[:-1]))
        kept[undecided[new]] = True
        covered = np.repeat(last[undecided[new]], np.diff(np.append(new, undecided.size)))
        undecided = undecided[first[undecided] > covered]
    return kept
