"""Composite outcomes: the first of several components, each of which is an outcome itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.records import KEY, Record, Tables
from cohort.outcomes.base import Event
from cohort.outcomes.dose import DoseEscalation
from cohort.outcomes.first_record import FirstRecord
from cohort.outcomes.treatment import AddOn, Discontinuation, Switch

Component = Annotated[Discontinuation | Switch | AddOn | DoseEscalation | FirstRecord, Field(discriminator="kind")]
"""What a composite can be made of: outcomes that any entry may have."""


class FirstOf(Event):
    """The first of several components, such as discontinuation, switch, add-on, invasive step-up and explant.

    Dated as its component is, and the exit reason names the component: of two on one day, the one listed first. A
    composite says nothing of its parts, so report them too. Once a component can no longer be judged (follow-up ends
    inside a gap without supply) the entry is censored, though another component may come later: only those who have
    one would stay at risk.

    References
    ----------
    Freemantle N et al. Composite outcomes in randomized trials: greater precision but with greater uncertainty? JAMA
    2003;289:2554-2559. doi:10.1001/jama.289.19.2554.
    """

    kind: Literal["first_of"] = "first_of"
    components: Annotated[tuple[Component, ...], Field(min_length=2, description="the outcomes, in order")]

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> FirstOf:
        names = [part.name for part in self.components]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two components are called {', '.join(sorted(repeated))}; give each its own label")
        late = [part.name for part in self.components if isinstance(part, FirstRecord) and part.from_day > 1]
        if late:
            raise ValueError(f"component {late[0]} must count from day 1, as the others do; leave out from_day")
        return self

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return "the first of " + ", ".join(part.name.replace("_", " ") for part in self.components)

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return tuple(record for part in self.components for record in part.records)

    @property
    def landmark(self) -> int:
        """Return the day after which risk starts: that of the component that can happen first."""
        return min(part.landmark for part in self.components)

    @property
    def judged_later(self) -> bool:
        """Return whether an entry can be lost because follow-up ends before the rule can be judged."""
        return any(part.judged_later for part in self.components)

    def days(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key, ``day``, ``known_day``, ``reason`` and ``position`` of every component, of any entry."""
        return pl.concat(
            [_named(part, position, part.days(tables, entries)) for position, part in enumerate(self.components)]
        )


def _named(part: Any, position: int, days: pl.LazyFrame) -> pl.LazyFrame:
    known = "known_day" if "known_day" in days.collect_schema().names() else "day"
    return days.select(
        *KEY,
        "day",
        known_day=pl.col(known),
        reason=pl.lit(part.name),
        position=pl.lit(position, dtype=pl.Int64),
    )
