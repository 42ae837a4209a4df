"""Covariates that change during follow-up: rows ``(start, stop]``, each with what was known when it began."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from cohort.codes.records import KEY, Tables
from cohort.errors import StudyError
from cohort.features.covariates import Covariate

_POINT = ("person_id", "as_of")


def history(
    tables: Tables, entries: pl.LazyFrame, covariates: Sequence[Covariate], *, every_days: int = 30
) -> pl.LazyFrame:
    """Return each entry's follow-up cut into intervals, every covariate being measured anew where one begins.

    The value of ``(start, stop]`` is the covariate as if day ``start`` were the index date, so nothing of the interval
    itself is known in it. Neighbours that do not differ are one row. With ``every_days=1`` every change is followed on
    its day; with more, it is seen up to ``every_days - 1`` days late.

    Parameters
    ----------
    tables
        One bucket's tables.
    entries
        ``person_id, index_date``, ``time`` (Int64, days followed), and where given ``entry`` (first day at risk, 0 if
        absent) and ``cause``. Who is followed for no day has no row.

    Returns
    -------
    LazyFrame
        ``person_id, index_date, start, stop`` (Int64, days after index), ``cause`` (0 but in the last row) and one
        column per covariate; sorted.

    Raises
    ------
    StudyError
        If a covariate looks beyond the day it is measured on, or ``every_days`` is below 1.

    References
    ----------
    Therneau TM, Grambsch PM (2000). Modeling Survival Data: Extending the Cox Model. doi:10.1007/978-1-4757-3294-8.
    """
    _refuse_future(covariates, every_days)
    grid = _grid(entries, every_days)
    points = grid.select("person_id", index_date="as_of").unique()
    values = points
    for covariate in covariates:
        column = covariate.column(tables, points).select(*KEY, covariate.name)
        values = values.join(column, on=KEY, how="left", validate="1:1")
    known = grid.join(values.rename({"index_date": "as_of"}), on=_POINT, how="left").sort(*KEY, "start")
    return _merged(known, [covariate.name for covariate in covariates])


def _refuse_future(covariates: Sequence[Covariate], every_days: int) -> None:
    if every_days < 1:
        raise StudyError(f"every_days is {every_days}; an interval lasts a day or more")
    for covariate in covariates:
        window = getattr(covariate, "window", None)
        if window is not None and (window.last is None or window.last > 0):
            raise StudyError(f"covariate {covariate.name!r} looks beyond the day it is measured on; end it at 0")


def _grid(entries: pl.LazyFrame, every_days: int) -> pl.LazyFrame:
    """Return one row per entry and interval, with the date ``as_of`` which its covariates are known."""
    present = entries.collect_schema().names()
    first = pl.col("entry") if "entry" in present else pl.lit(0, dtype=pl.Int64)
    cause = pl.col("cause") if "cause" in present else pl.lit(0, dtype=pl.Int8)
    followed = entries.select(*KEY, "time", entry=first, cause=cause).filter(pl.col("time") > pl.col("entry"))
    starts = followed.with_columns(start=pl.int_ranges("entry", "time", every_days)).explode("start")
    return starts.select(
        *KEY,
        "start",
        stop=pl.min_horizontal(pl.col("start") + every_days, "time"),
        cause=pl.when(pl.col("start") + every_days >= pl.col("time")).then("cause").otherwise(0),
        as_of=pl.col("index_date") + pl.duration(days=pl.col("start")),
    )


def _merged(known: pl.LazyFrame, names: list[str]) -> pl.LazyFrame:
    """Return the sorted rows with neighbours of one entry joined where no covariate differs."""
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in (*KEY, *names))
    return (
        known.with_columns(run=differs.cum_sum())
        .group_by(*KEY, "run")
        .agg(pl.col("start").min(), pl.col("stop").max(), pl.col("cause").max(), pl.col(names).first())
        .sort(*KEY, "start")
        .select(*KEY, "start", "stop", "cause", *names)
    )
