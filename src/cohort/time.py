"""Windows and integer-day arithmetic: the one place that knows what a year is.

Conventions that decide numbers (`docs/architecture.md`): intervals are stored ``[start, end]`` with both ends
included, risk sets are ``(start, stop]``, every calculation is in whole days, and months or years appear only when
something is printed.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

DAYS_PER_YEAR = 365.25
"""Mean length of a Julian year in days; the only conversion between days and years in the package."""


WINDOW_IN_FILES = """Days relative to the index date, both ends included: `[-365, -1]` is the year before index.

`"any"` leaves an end open: `["any", 0]` is all history up to and including the index date."""
"""What the reference of the study file says of a window."""


class Window(BaseModel):
    """Days relative to the index date, both ends included: ``Window(-365, -1)`` is the year before index.

    ``None`` leaves an end open: ``Window(None, 0)`` is all history up to and including the index date.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    first: Annotated[int | None, Field(description="first day, relative to index; none = since ever")]
    last: Annotated[int | None, Field(description="last day, relative to index; none = without end")]

    def __init__(self, first: int | None = None, last: int | None = None, /, **fields: Any) -> None:
        """Take the two ends by position, as they are read aloud."""
        super().__init__(**(fields or {"first": first, "last": last}))

    @model_validator(mode="before")
    @classmethod
    def _from_pair(cls, value: Any) -> Any:
        """Accept the study file's form: ``[-365, -1]``, with ``"any"`` for an open end."""
        if isinstance(value, list | tuple):
            if len(value) != 2:
                raise ValueError("a window is two days: [first, last]")
            first, last = (None if end == "any" else end for end in value)
            return {"first": first, "last": last}
        return value

    @model_validator(mode="after")
    def _in_order(self) -> Window:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(f"the window ends (day {self.last}) before it starts (day {self.first})")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """Describe the study file's form; from Python the two ends may also come by name."""
        end = {"anyOf": [{"type": "integer"}, {"const": "any"}]}
        return {"type": "array", "items": end, "minItems": 2, "maxItems": 2, "description": WINDOW_IN_FILES}

    @model_serializer
    def _to_pair(self) -> list[int | str]:
        return ["any" if end is None else end for end in (self.first, self.last)]

    def __str__(self) -> str:
        """Write the window as a reader of the protocol table expects it."""
        ends = [
            text if end is None else f"day {end}"
            for end, text in ((self.first, "any time before"), (self.last, "any time after"))
        ]
        return f"{ends[0]} to {ends[1]}"

    def contains(self, day: pl.Expr) -> pl.Expr:
        """Return whether an integer day relative to index lies in the window (null stays null)."""
        inside = day.is_not_null()
        if self.first is not None:
            inside = inside & (day >= self.first)
        if self.last is not None:
            inside = inside & (day <= self.last)
        return inside


def days_between(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    """Return ``end - start`` in whole days, Int64; 0 on the same date."""
    return (end - start).dt.total_days().cast(pl.Int64)


def completed_years(birth: pl.Expr, on: pl.Expr) -> pl.Expr:
    """Return the age in completed years, Int64: the birthday of someone born on 29 February is 28 February.

    One rule for SQL, polars and the tests' oracle: a birthday has passed when (month, day) of ``on`` is not before
    (month, day) of ``birth``, and 28 February counts as the birthday of 29 February in years that lack it.
    """
    born = birth.dt.month().cast(pl.Int64) * 100 + birth.dt.day()
    leap = on.dt.is_leap_year()
    born = pl.when((born == 229) & ~leap).then(228).otherwise(born)
    today = on.dt.month().cast(pl.Int64) * 100 + on.dt.day()
    return (on.dt.year() - birth.dt.year()).cast(pl.Int64) - (today < born).cast(pl.Int64)


def to_years(days: float) -> float:
    """Convert days to years for printing."""
    return days / DAYS_PER_YEAR


def epoch_day(date: dt.date) -> int:
    """Return the day number of a date, 1970-01-01 being 0, as polars and Arrow store it."""
    return (date - dt.date(1970, 1, 1)).days
