"""Inverse probability of censoring weights where leaving the plan follows recent care.

The hazard of leaving at the end of a month is the share that leaves, by whether a person was seen for the pain in the
60 days before and whether it is December: a saturated pooled model. Whoever stays stands also for those of the same
history who have left.

References
----------
Robins JM, Finkelstein DM. Correcting for noncompliance and dependent censoring in an AIDS clinical trial with inverse
probability of censoring weighted (IPCW) log-rank tests. Biometrics 56 (2000) 779–788.
doi:10.1111/j.0006-341X.2000.00779.x
"""

from __future__ import annotations

import polars as pl

from cohort.simulate.enrolment import RECENT_DAYS
from cohort.time import days_between

KEY = ("person_id", "index_date")
HISTORY = ("recent", "december")


def weighted_spells(table: pl.DataFrame, ends: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of an analysis table, split at the ends of months, with the weight of each piece.

    Parameters
    ----------
    table
        ``person_id, index_date, entry, time, cause``: those at risk from the landmark on.
    ends
        ``person_id, index_date, censor_day, censor_reason, death_day`` of everybody who entered.
    visits
        ``person_id, date``: visits for the pain.
    """
    months = _months(ends, visits)
    hazard = months.group_by(HISTORY).agg(hazard=pl.col("left").mean())
    months = months.join(hazard, on=HISTORY).sort(*KEY, "day")
    stays = months.with_columns(weight=1 / (1 - pl.col("hazard")).cum_prod().over(KEY))
    until = pl.col("day").shift(-1).over(KEY)
    pieces = stays.select(*KEY, "day", "weight", until=until).join(table.drop("weight", strict=False), on=KEY)
    return (
        pieces.with_columns(
            entry=pl.max_horizontal("entry", "day"),
            stop=pl.min_horizontal("time", "until"),
        )
        .filter(pl.col("entry") < pl.col("stop"))
        .with_columns(cause=pl.when(pl.col("stop") == pl.col("time")).then("cause").otherwise(0), time="stop")
        .sort(*KEY, "entry")
    )


def _months(ends: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """Return one row per person and month that ends in the follow-up: its day, its history and whether she leaves."""
    followed = ends.with_columns(last=pl.min_horizontal("censor_day", "death_day"))
    start = pl.col("index_date").dt.month_start()
    ranged = followed.with_columns(
        month=pl.date_ranges(start, start.dt.offset_by("12mo"), interval="1mo")
    ).explode("month")  # fmt: skip
    months = (
        ranged.with_columns(end=pl.col("month").dt.month_end())
        .with_columns(day=days_between(pl.col("index_date"), pl.col("end")))
        .filter(pl.col("day") <= pl.col("last"))
        .sort("person_id", "end")
    )
    seen = visits.unique().rename({"date": "seen"}).sort("person_id", "seen")
    last_seen = months.join_asof(seen, left_on="end", right_on="seen", by="person_id", check_sortedness=False)
    ago = days_between(pl.col("seen"), pl.col("end"))
    leaves = (pl.col("day") == pl.col("censor_day")) & (pl.col("censor_reason") == "disenrolment")
    return last_seen.with_columns(
        recent=(ago < RECENT_DAYS).fill_null(False), december=pl.col("end").dt.month() == 12, left=leaves
    )
