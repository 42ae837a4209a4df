"""What every outcome is: an event with a name, a day on which it can first happen, and what competes with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import KEY, Record, Tables, relative_days
from cohort.codes.reference import Codes
from cohort.spec import Spec

Competing = tuple[Literal["death"], ...]


class Event(Spec):
    """The base of every outcome; each kind is a definition and says in its docstring what it is.

    ``days`` dates the event. It may add ``known_day``, the day on which the rule can first be seen to be met (null =
    never), where that is later than the day the event is dated at; `cohort.outcomes.dating` then censors entries whose
    follow-up ends in between.
    """

    kind: Annotated[str, Field(description="the definition")]
    label: Annotated[
        str | None, Field(min_length=1, description="the outcome's name in estimates; absent = the definition's")
    ] = None
    competing: Annotated[Competing, Field(description="events after which the outcome cannot happen")] = ("death",)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Return the outcome's name in estimates."""
        return self.label or self.kind

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: risk sets are (landmark, exit]."""
        return 0

    @property
    def judged_later(self) -> bool:
        """Return whether an entry can be lost because follow-up ends before the rule can be judged."""
        return False

    @property
    def prevalent_text(self) -> str:
        """Return what the flow diagram says of the entries that `prevalent` removes."""
        return f"No {self.name.replace('_', ' ')} on the index date"

    @property
    def text(self) -> str:
        """Return what the protocol table says: the definition in one sentence, with its settings."""
        raise NotImplementedError

    def __str__(self) -> str:
        """Name the outcome as protocol tables do."""
        return self.name

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` (Int64, relative to index) on which the definition is met, of any entry.

        ``entries`` may carry ``censor_day``, ``death_day`` and ``stop``, the last day of follow-up.
        """
        raise NotImplementedError

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame | None:
        """Return the entries that cannot have the event after index; none for most outcomes."""
        return None

    def seen_free(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame | None:
        """Return the key and every ``day`` on which an entry was seen to be free of the outcome.

        Only for outcomes that are seen at visits: the event then lies between the last such day and its own.
        """
        return None


class PersonEvent(Event):
    """The base of definitions that hold of a person, wherever the index date lies.

    Whoever meets the definition on or before the index date is a prevalent case; the event is the first day after it.
    """

    def dates(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and every ``date`` on which the definition is met."""
        raise NotImplementedError

    @property
    def prevalent_text(self) -> str:
        """Return what the flow diagram says of the entries that `prevalent` removes."""
        return f"No {self.name.replace('_', ' ')} on or before the index date"

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` after index on which the definition is met, of any entry."""
        return relative_days(self.dates(tables), entries).filter(pl.col("day") > 0).select(*KEY, "day")

    def prevalent(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries that meet the definition on or before the index date."""
        return relative_days(self.dates(tables), entries).filter(pl.col("day") <= 0).select(KEY).unique()


def shipped(name: str) -> Callable[[], Codes]:
    """Return what makes the reference to a shipped codelist: a default that is read only when it is needed."""

    def make() -> Codes:
        return Codes.model_validate(name)

    return make


def in_follow_up(rows: pl.LazyFrame, entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return each entry's rows (any with ``date``) with the key and the ``day``, none after its follow-up.

    What happens after follow-up must not decide what is known at its end.
    """
    followed = "stop" in entries.collect_schema().names()
    key = entries.select(*KEY, *(["stop"] if followed else []))
    day = (pl.col("date") - pl.col("index_date")).dt.total_days().cast(pl.Int64)
    dated = key.join(rows, on="person_id").with_columns(day=day)
    return dated.filter(pl.col("day") <= pl.col("stop")).drop("stop") if followed else dated
