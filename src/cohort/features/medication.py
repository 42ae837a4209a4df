"""Medication from dispensings: supply carried over, eras, new use, switches and add-ons.

A dispensing supplies its days one after the other. An early refill does not double the days: its supply begins when
the earlier one ends. Rows whose days' supply is not recorded, or not positive, say when and not how long: they start
no supply and are left out here; `cohort.features.adherence` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cohort.features.intervals import PERSON, days_covered, intersect, union
from cohort.time import days_between

AGENT = ("person_id", "agent")
"""The key of an era: a person and what is taken."""

_CHANGE = ("person_id", "kind", "from_agent", "to_agent", "date", "met_on")

_ONE_DAY = pl.duration(days=1)


def carry_over(dispensings: pl.LazyFrame, *, by: Sequence[str] = PERSON) -> pl.LazyFrame:
    """Return the days that each dispensing supplies when early refills wait for the supply before them.

    Parameters
    ----------
    dispensings
        Columns ``by``, ``date`` (Date) and ``days_supply`` (integer).

    Returns
    -------
    LazyFrame
        ``by, date, start_date, end_date``: disjoint supply spans, both ends included, sorted.
    """
    supply = pl.col("days_supply").cast(pl.Int64)
    rows = dispensings.filter(pl.col("days_supply") > 0).sort(*by, "date", "days_supply")
    before = supply.cum_sum().over(*by) - supply
    day = days_between(pl.lit(0).cast(pl.Date), pl.col("date"))
    # a supply starts on its own day or when all supply since the last stock-out is used up, whichever is later
    start = (day - before).cum_max().over(*by) + before
    return (
        rows.select(*by, "date", supply, start.cast(pl.Int32).cast(pl.Date).alias("start_date"))
        .with_columns(end_date=pl.col("start_date") + pl.duration(days=pl.col("days_supply")) - _ONE_DAY)
        .select(*by, "date", "start_date", "end_date")
        .sort(*by, "start_date")
    )


def treatment_eras(dispensings: pl.LazyFrame, *, by: Sequence[str] = AGENT, gap_days: int = 60) -> pl.LazyFrame:
    """Return eras of continuous use: supply with gaps of at most ``gap_days`` days without it.

    An era's ``end_date`` is the last day supplied: discontinuation is dated there, not when the gap is over.

    Parameters
    ----------
    dispensings
        Columns ``by``, ``date``, ``days_supply``.

    Returns
    -------
    LazyFrame
        ``by, start_date, end_date, days, last_date`` (the era's last dispensing) and ``dispensings``; sorted.
    """
    supplied = carry_over(dispensings, by=by)
    eras = union(supplied, by=by, bridge_days=gap_days)
    inside = eras.join(supplied.select(*by, "date", _start="start_date"), on=list(by), nulls_equal=True).filter(
        pl.col("_start").is_between("start_date", "end_date")
    )
    return (
        inside.group_by(*by, "start_date", "end_date")
        .agg(last_date=pl.col("date").max(), dispensings=pl.len().cast(pl.Int64))
        .with_columns(days=days_between(pl.col("start_date"), pl.col("end_date")) + 1)
        .select(*by, "start_date", "end_date", "days", "last_date", "dispensings")
        .sort(*by, "start_date")
    )


def new_use(dispensings: pl.LazyFrame, *, by: Sequence[str] = PERSON, washout_days: int = 365) -> pl.LazyFrame:
    """Return the dates of dispensings with none of the same key in the ``washout_days`` days before.

    Whether those days were observed is for the study to require (`require_enrolled`).

    Parameters
    ----------
    dispensings
        Columns ``by`` and ``date``, already restricted to the agent or class.

    Returns
    -------
    LazyFrame
        ``by, date``; sorted.

    References
    ----------
    Ray WA (2003). Evaluating medication effects outside of clinical trials: new-user designs. Am J Epidemiol
    158(9):915-920. doi:10.1093/aje/kwg231.
    """
    dates = dispensings.select(*by, "date").unique().sort(*by, "date")
    since = days_between(pl.col("date").shift(1).over(*by), pl.col("date"))
    return dates.filter(since.is_null() | (since > washout_days)).sort(*by, "date")


def concurrent_days(one: pl.LazyFrame, other: pl.LazyFrame, within: pl.LazyFrame) -> pl.LazyFrame:
    """Return the days on which both of two drug classes are supplied, such as an opioid and a benzodiazepine.

    Parameters
    ----------
    one, other
        Dispensings of the two classes: ``person_id, date, days_supply``; early refills are carried over.
    within
        ``person_id, start_date, end_date``: the days that count, ends included.

    Returns
    -------
    LazyFrame
        ``person_id, days`` (Int64); every person of ``within``; sorted.
    """
    return days_covered(intersect(carry_over(one), carry_over(other)), within)


def agent_changes(
    dispensings: pl.LazyFrame, *, gap_days: int = 60, within_days: int = 60, overlap_days: int = 30
) -> pl.LazyFrame:
    """Return the `switches` and `add_ons` between agents of one person, sorted."""
    changes = [
        switches(dispensings, gap_days=gap_days, within_days=within_days),
        add_ons(dispensings, gap_days=gap_days, overlap_days=overlap_days),
    ]
    return pl.concat(changes).sort(_CHANGE)


def switches(dispensings: pl.LazyFrame, *, gap_days: int = 60, within_days: int = 60) -> pl.LazyFrame:
    """Return the switches between agents of one person.

    Another agent's era starts after the last dispensing of the old one and at most ``within_days`` days after its
    supply ends, and the old one is not refilled within ``gap_days``.

    Parameters
    ----------
    dispensings
        ``person_id, agent, date, days_supply``.

    Returns
    -------
    LazyFrame
        ``person_id, kind`` (switch), ``from_agent, to_agent, date`` (the new agent's start) and ``met_on``, the day on
        which the rule could first be seen to be met: an outcome is dated there. Sorted.
    """
    in_time = pl.col("date") <= pl.col("end_date") + pl.duration(days=within_days)
    pairs = _pairs(dispensings, gap_days).filter((pl.col("date") > pl.col("last_date")) & in_time)
    met = pl.max_horizontal("date", pl.col("end_date") + pl.duration(days=gap_days + 1))
    return pairs.with_columns(kind=pl.lit("switch"), met_on=met).select(_CHANGE).sort(_CHANGE)


def add_ons(dispensings: pl.LazyFrame, *, gap_days: int = 60, overlap_days: int = 30) -> pl.LazyFrame:
    """Return the add-ons of one agent to another of one person.

    Another agent's era starts during the old one's, the old one is dispensed again, and both last ``overlap_days`` days
    together. An era goes on over short gaps, so that both last that long may be known only from a later refill.

    Parameters
    ----------
    dispensings
        ``person_id, agent, date, days_supply``.

    Returns
    -------
    LazyFrame
        As from `switches`, with kind add_on.
    """
    together = days_between(pl.col("date"), pl.min_horizontal("end_date", "_new_end")) + 1
    pairs = _pairs(dispensings, gap_days).filter((pl.col("date") <= pl.col("last_date")) & (together >= overlap_days))
    lasted = pl.col("date") + pl.duration(days=overlap_days - 1)
    supplies = carry_over(dispensings, by=AGENT).select("person_id", "agent", _filled="date", _until="end_date")
    reaches = pl.col("_filled").filter(pl.col("_until") >= lasted).min()
    key = ["person_id", "from_agent", "start_date", "to_agent", "date"]
    known = {
        "from_agent": [reaches.alias("_old"), pl.col("_filled").filter(pl.col("_filled") >= pl.col("date")).min()],
        "to_agent": [reaches.alias("_new")],
    }
    for agent, days in known.items():
        joined = pairs.select(key).join(supplies, left_on=["person_id", agent], right_on=["person_id", "agent"])
        pairs = pairs.join(joined.group_by(key).agg(days), on=key)
    met = pl.max_horizontal(lasted, "_old", "_new", "_filled")
    return pairs.with_columns(kind=pl.lit("add_on"), met_on=met).select(_CHANGE).sort(_CHANGE)


def restarts(dispensings: pl.LazyFrame, *, gap_days: int = 60) -> pl.LazyFrame:
    """Return the days on which an agent is dispensed again after more than ``gap_days`` days without supply of it.

    Other agents taken in between do not matter: whoever switches away and comes back restarts.

    Parameters
    ----------
    dispensings
        ``person_id, agent, date, days_supply``.

    Returns
    -------
    LazyFrame
        As from `switches`, with kind restart, both agents the same, and ``met_on`` the day itself.
    """
    eras = treatment_eras(dispensings, gap_days=gap_days)  # sorted by person, agent and start
    again = ~pl.struct(AGENT).is_first_distinct()
    return (
        eras.filter(again)
        .select(
            "person_id",
            kind=pl.lit("restart"),
            from_agent="agent",
            to_agent="agent",
            date="start_date",
            met_on="start_date",
        )
        .select(_CHANGE)
        .sort(_CHANGE)
    )


def _pairs(dispensings: pl.LazyFrame, gap_days: int) -> pl.LazyFrame:
    """Return each agent's eras with those of other agents that start later, at ``date``."""
    old = treatment_eras(dispensings, gap_days=gap_days).rename({"agent": "from_agent"})
    new = old.select("person_id", to_agent="from_agent", date="start_date", _new_end="end_date")
    another = (pl.col("from_agent") != pl.col("to_agent")) & (pl.col("date") > pl.col("start_date"))
    return old.join(new, on="person_id").filter(another)
