"""The ready-made course of pain: pain-free, acute, chronic, remission, dead, from pain episodes and follow-up."""

from __future__ import annotations

from typing import Any

import polars as pl

from cohort.errors import InputRefusedError
from cohort.frames import as_lazy, like, require_columns

PAIN_STATES = ("pain_free", "acute", "chronic", "remission", "dead")
"""States in order; ``multistate(spells, …, states=PAIN_STATES)``."""


def pain_spells(
    episodes: Any,
    follow_up: Any,
    person: str = "person_id",
    start: str = "start",
    end: str = "end",
    exit: str = "exit",
    died: str = "died",
    chronic_after: int = 90,
) -> Any:
    """Turn pain episodes into spells of states, on days since index.

    Parameters
    ----------
    episodes
        Frame of disjoint episodes ``[start, end]``, both ends included, in whole days relative to the index date.
    follow_up
        Frame of one row per person: ``exit`` (day, above 0) and ``died`` (boolean: exit is death).
    chronic_after
        Pain is chronic from this day of an episode on, as ICD-11 MG30 has it for more than three months.

    Returns
    -------
    Columns ``person, start, stop, from_state, to_state`` for ``multistate``, lazy if ``follow_up`` was. Pain lasts to
    the end of its last day; in remission a person has had pain and has none.

    References
    ----------
    Treede RD et al. (2019), Pain 160:19–27, doi:10.1097/j.pain.0000000000001384.
    """
    pain, persons = as_lazy(episodes), as_lazy(follow_up)
    require_columns(pain, {"person": person, "start": start, "end": end})
    require_columns(persons, {"person": person, "exit": exit, "died": died})
    _refuse_impossible(pain, persons, person, start, end, exit)
    changes = pl.concat([_from_day_0(persons, person), *_of_episodes(pain, person, start, end, chronic_after)])
    states = (
        changes.with_columns(pl.col("_day").clip(0))
        .sort(person, "_day", "_since", "_rank")
        .unique([person, "_day"], keep="last", maintain_order=True)  # the latest change up to index, and on each day
        .join(persons.select(person, exit, died), on=person)
        .filter(pl.col("_day") < pl.col(exit))
        .sort(person, "_day")
    )
    upcoming = pl.col("_day", "_state").shift(-1).over(person)
    ends = states.with_columns(upcoming.name.suffix("_next"))
    ending = pl.when(pl.col("_state_next").is_not_null()).then(pl.col("_state_next"))
    spells = ends.select(
        person,
        pl.col("_day").alias("start"),
        pl.col("_day_next").fill_null(pl.col(exit)).alias("stop"),
        pl.col("_state").alias("from_state"),
        ending.otherwise(pl.when(pl.col(died)).then(pl.lit("dead"))).alias("to_state"),
    )
    return like(follow_up, spells)


def _refuse_impossible(pain: pl.LazyFrame, persons: pl.LazyFrame, person: str, start: str, end: str, exit: str) -> None:
    last = pl.col(end).shift(1).over(person, order_by=start)
    overlapping = pain.select(((pl.col(start) <= last) | (pl.col(end) < pl.col(start))).sum()).collect().item()
    late = persons.select((~(pl.col(exit) > 0).fill_null(False)).sum()).collect().item()
    twice = persons.select(pl.col(person).is_duplicated().sum()).collect().item()
    if overlapping or late or twice:
        raise InputRefusedError(
            f"pain spells refused: {overlapping} episodes overlap or end before they start, {late} persons leave on or "
            f"before day 0, {twice} rows of follow-up are of a person met before; repair or exclude them first"
        )


def _from_day_0(persons: pl.LazyFrame, person: str) -> pl.LazyFrame:
    return persons.select(person, _day=pl.lit(-(1 << 40)), _rank=pl.lit(0), _state=pl.lit("pain_free")).with_columns(
        _since=pl.col("_day")
    )


def _of_episodes(pain: pl.LazyFrame, person: str, start: str, end: str, chronic_after: int) -> list[pl.LazyFrame]:
    """Return the days on which an episode changes a person's state; a later rank wins the day."""
    first, after = pl.col(start).cast(pl.Int64), pl.col(end).cast(pl.Int64) + 1
    chronic = first + chronic_after
    steps = [
        ("remission", after, 1, pl.lit(True)),
        ("acute", first, 2, pl.lit(True)),
        ("chronic", chronic, 3, chronic < after),
    ]
    return [
        pain.filter(wanted).select(
            person, _day=day, _rank=pl.lit(rank), _state=pl.lit(state)
        ).with_columns(_since=pl.col("_day"))
        for state, day, rank, wanted in steps
    ]  # fmt: skip
