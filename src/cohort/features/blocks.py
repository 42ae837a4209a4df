"""Episodes cut into blocks of 28 days since their start, with the encounter days of each block, none included."""

from __future__ import annotations

import polars as pl

from cohort.time import days_between

BLOCK_DAYS = 28
"""Length of a block: four weeks, so that every block has the same weekdays."""

EPISODE = ("person_id", "episode_start")
"""The key of an episode."""


def block_number(date: pl.Expr) -> pl.Expr:
    """Return the block, from 0, that a date lies in."""
    return days_between(pl.col("episode_start"), date) // BLOCK_DAYS


def count_blocks(days: pl.LazyFrame, episodes: pl.LazyFrame) -> pl.LazyFrame:
    """Return encounter days per block.

    Parameters
    ----------
    days
        ``person_id, episode_start, date``: the distinct encounter days of the episodes.
    episodes
        ``person_id, episode_start, episode_end``.

    Returns
    -------
    LazyFrame
        ``person_id, episode_start, block, count`` (Int64), a row for every block of every episode.
    """
    counted = days.group_by(*EPISODE, block=block_number(pl.col("date"))).agg(count=pl.len().cast(pl.Int64))
    every = episodes.select(*EPISODE, block=pl.int_ranges(0, block_number(pl.col("episode_end")) + 1)).explode("block")
    return every.join(counted, on=[*EPISODE, "block"], how="left").with_columns(pl.col("count").fill_null(0))
