"""Follow-up cut along a second clock (Lexis splitting): age, calendar period, time since index.

Each scale is cut by one call; calls compose. Pieces are exact in whole days, so that person-time and events add up to
what they were before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy, like, require_columns


def split_follow_up(
    frame: Any,
    start: str,
    stop: str,
    event: str,
    cuts: Sequence[float],
    origin: str | None = None,
    band: str = "band",
) -> Any:
    """Cut follow-up ``(start, stop]`` where a scale reaches ``cuts``; the event stays with the last piece.

    Parameters
    ----------
    start, stop, event
        Columns of the follow-up in days on the analysis clock, and of its event (boolean, 0/1 or cause).
    cuts
        Ascending values of the scale at which bands begin, in days.
    origin
        Column of the scale's value on day 0, such as age at index or the day number of the index date; without it
        the scale is the analysis clock itself.
    band
        Name of the new column: the cut with which the piece's band begins, missing before the first.

    Returns
    -------
    The frame, lazy if it was, with one row per piece. A piece that ends on a cut lies before it, as does its event.

    References
    ----------
    Carstensen B (2007), Stat Med 26:3018–3045, doi:10.1002/sim.2764.
    """
    ends = list(cuts)
    if not ends or sorted(set(ends)) != ends:
        raise StudyError("cuts are distinct and ascending")
    lazy = as_lazy(frame)
    require_columns(lazy, {"start": start, "stop": stop, "event": event} | ({"origin": origin} if origin else {}))
    bands = pl.LazyFrame({band: [None, *ends], "_next": [*ends, None]}, strict=False)
    zero = pl.col(origin) if origin else pl.lit(0)
    first = pl.max_horizontal(pl.col(start), pl.col(band) - zero)  # a missing end sets no bound
    last = pl.min_horizontal(pl.col(stop), pl.col("_next") - zero)
    inside = (first < last) | ((pl.col(start) == pl.col(stop)) & _holds(pl.col(stop) + zero, band))
    ended = pl.col("_last") == pl.col("_stop")
    kept = pl.when(ended).then(pl.col(event)).otherwise(pl.lit(0).cast(lazy.collect_schema()[event])).alias(event)
    pieces = lazy.join(bands, how="cross").filter(inside)
    pieces = pieces.with_columns(first.alias("_first"), last.alias("_last"), pl.col(stop).alias("_stop"))
    pieces = pieces.with_columns(kept, pl.col("_first").alias(start), pl.col("_last").alias(stop))
    return like(frame, pieces.drop("_next", "_first", "_last", "_stop"))


def _holds(value: pl.Expr, band: str) -> pl.Expr:
    """Return whether a follow-up of 0 days lies in the band; its bounds are as those of an event."""
    above = (pl.col(band).is_null()) | (value > pl.col(band))
    return above & (pl.col("_next").is_null() | (value <= pl.col("_next")))
