"""Days covered by dispensed supply within a window: the proportion of days covered and its eight relatives."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from cohort.errors import StudyError
from cohort.frames import as_lazy, like, require_kinds, whole
from cohort.time import Window, epoch_day

Span = Window | tuple[dt.date, dt.date] | tuple[str, str]
"""Days relative to the first dispensing; two dates; or two date columns, constant within a person. Ends included."""

_PARTS = 2**30  # shares of days are summed as integers, which do not depend on the order of rows

FIRST_YEAR = Window(0, 364)
"""The usual window of the proportion of days covered: 365 days from the first dispensing."""


def covered_days(
    frame: Any,
    person: str = "id",
    start: str = "date",
    days_supply: str = "days_supply",
    window: Span = FIRST_YEAR,
    follow_up: Span | None = None,
) -> Any:
    """Return days covered, the proportion of days covered and CMA1–CMA9 per person.

    Parameters
    ----------
    frame
        Any tabular object, one row per dispensing of the agent or class studied.
    person, start, days_supply
        Columns: identifier; day of dispensing (Date or Datetime); whole days that the supply lasts.
    window
        Days in which coverage is counted: relative to the person's first dispensing, two dates, or two columns.
    follow_up
        Days whose dispensings count at all, in the same forms; by default everything up to the window's end. Only
        CMA9 looks beyond the window: the last supply is spread to the next dispensing or the end of follow-up.

    Returns
    -------
    frame
        ``person, window_days, covered_days`` (early refills carried over, also into the window), ``pdc`` (their
        ratio, = CMA7), ``cma1`` … ``cma9`` (Float64, null where undefined) and ``unknown_supply`` (dispensings in the
        window that say no positive supply: they cover nothing, and a person with no others gets nulls). Sorted.

    References
    ----------
    Vollmer WM, et al. (2012). Use of automated databases to measure medication adherence. BMC Health Serv Res 12:155.
    doi:10.1186/1472-6963-12-155.
    Dima AL, Dediu D (2017). Computation of adherence to medication with AdhereR. PLoS ONE 12(4):e0174426.
    doi:10.1371/journal.pone.0174426.
    """
    rows = as_lazy(frame)
    kinds = {"person": (person, "any"), "start": (start, "date"), "days_supply": (days_supply, "number")}
    require_kinds(rows, kinds | _named("window", window) | _named("follow_up", follow_up))
    fills = rows.drop_nulls([person, start]).with_columns(
        person=pl.col(person), day=_day(pl.col(start)), supply=whole(pl.col(days_supply)).fill_null(0)
    )
    first = pl.col("day").min().over("person")
    opens, closes = _ends(window, first)
    followed = (pl.min_horizontal(first, opens), closes) if follow_up is None else _ends(follow_up, first)
    spanned = fills.select("person", "day", "supply", a=opens, b=closes, begin=followed[0], stop=followed[1])
    return like(frame, _measures(spanned))


def _measures(fills: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per person from ``person, day, supply`` and the window [a, b) within follow-up up to ``stop``.

    A dispensing on day b ends the interval of the one before it, so it belongs to CMA1–CMA5 as in AdhereR.
    """
    inside = pl.col("day").is_between("a", "b")
    everybody = fills.group_by("person").agg(
        pl.col("a", "b").first(), unknown_supply=((pl.col("supply") <= 0) & inside).sum().cast(pl.Int64)
    )
    followed = pl.col("day").is_between("begin", "stop")
    used = fills.filter((pl.col("supply") > 0) & followed).with_columns(inside=inside)
    sums = _sums(_landmarks(used.sort("person", "day", "supply")))
    return (
        everybody.join(sums, on="person", how="left")
        .with_columns(
            # without any dispensing nothing is covered; with only unknown supplies nobody knows
            pl.when(pl.col("unknown_supply") == 0)
            .then(pl.col("covered_days", "spread").fill_null(0))
            .otherwise(pl.col("covered_days", "spread")),
            window_days=pl.col("b") - pl.col("a"),
        )
        .select("person", "window_days", "covered_days", *_ratios(), "unknown_supply")
        .sort("person")
    )


def _landmarks(used: pl.LazyFrame) -> pl.LazyFrame:
    """Add to each dispensing when its supply starts, and the person's days between which each measure counts."""
    own, inside, day = pl.col("supply"), pl.col("inside"), pl.col("day")
    return (
        used.with_columns(
            starts=_carried(own),
            starts_inside=_carried(pl.when(inside).then(own).otherwise(0)),
            next=day.shift(-1).over("person").fill_null(pl.col("stop")),
            last=inside & ~inside.shift(-1).over("person").fill_null(value=False),
            first_inside=day.filter(inside).min().over("person"),
            last_inside=day.filter(inside).max().over("person"),
        )
        .with_columns(
            stock_until=(pl.col("starts") + own).filter(day < pl.col("a")).max().over("person"),
        )
        .with_columns(stock_until=pl.max_horizontal("a", "stock_until"))
    )


def _sums(used: pl.LazyFrame) -> pl.LazyFrame:
    """Return per person the integer sums that the nine ratios are made of."""
    inside, before_last = pl.col("inside"), pl.col("inside") & ~pl.col("last")
    interval, have = pl.col("next") - pl.col("day"), pl.col("starts") - pl.col("day") + pl.col("supply")
    in_window = _overlap("day", pl.col("next"), "a", "b")
    spread = (pl.min_horizontal(interval, have) * in_window * _PARTS) // pl.when(interval > 0).then(interval)
    ends, ends_inside = pl.col("starts") + pl.col("supply"), pl.col("starts_inside") + pl.col("supply")
    return used.group_by("person").agg(
        pl.col("first_inside", "last_inside", "stock_until").first(),
        fills=inside.sum().cast(pl.Int64),
        supplied=pl.col("supply").filter(inside).sum(),
        supplied_before_last=pl.col("supply").filter(before_last).sum(),
        covered_to_last=_overlap("starts_inside", ends_inside, "first_inside", "last_inside").filter(before_last).sum(),
        covered_from_first=_overlap("starts_inside", ends_inside, "first_inside", "b").filter(inside).sum(),
        covered_days=_overlap("starts", ends, "a", "b").sum(),
        covered_after_stock=_overlap("starts", ends, "stock_until", "b").sum(),
        spread=spread.sum(),
    )


def _ratios() -> list[pl.Expr]:
    """Return PDC and CMA1–CMA9 from the sums; null where there is no interval to divide by."""
    to_last, to_end = pl.col("last_inside") - pl.col("first_inside"), pl.col("b") - pl.col("first_inside")
    cma1, cma2 = _ratio("supplied_before_last", to_last), _ratio("supplied", to_end)
    covered = _ratio("covered_days", pl.col("window_days"))
    return [
        covered.alias("pdc"),
        cma1.alias("cma1"),
        cma2.alias("cma2"),
        cma1.clip(upper_bound=1).alias("cma3"),
        cma2.clip(upper_bound=1).alias("cma4"),
        _ratio("covered_to_last", to_last).alias("cma5"),
        _ratio("covered_from_first", to_end).alias("cma6"),
        covered.alias("cma7"),
        _ratio("covered_after_stock", pl.col("b") - pl.col("stock_until")).alias("cma8"),
        (pl.col("spread") / _PARTS / pl.col("window_days")).alias("cma9"),
    ]


def _ratio(numerator: str, denominator: pl.Expr) -> pl.Expr:
    return pl.when(denominator > 0).then(pl.col(numerator) / denominator)


def _overlap(start: str, end: pl.Expr, first: str, stop: str) -> pl.Expr:
    """Return the days of [start, end) that lie in [first, stop), at least 0."""
    return (pl.min_horizontal(end, stop) - pl.max_horizontal(start, first)).clip(lower_bound=0)


def _carried(supply: pl.Expr) -> pl.Expr:
    """Return the day on which a supply starts when it waits for the supply before it; zero supply is passed over."""
    before = supply.cum_sum().over("person") - supply
    return pl.when(supply > 0).then(pl.col("day") - before).cum_max().over("person") + before


def _day(date: pl.Expr) -> pl.Expr:
    """Return the epoch day, Int64."""
    return date.cast(pl.Date).cast(pl.Int32).cast(pl.Int64)


def _ends(span: Span, first: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """Return the first day of a span and the day after its last, as epoch days."""
    if isinstance(span, Window):
        if span.first is None or span.last is None:
            raise StudyError(f"the window {span} is open; days covered need a first and a last day")
        return first + span.first, first + span.last + 1
    start, end = (_day(pl.col(side)) if isinstance(side, str) else pl.lit(epoch_day(side)) for side in span)
    return start, end + 1


def _named(name: str, span: Span | None) -> dict[str, tuple[str, str]]:
    """Return the date columns that a span names."""
    ends = () if span is None or isinstance(span, Window) else span
    return {f"{name}[{place}]": (end, "date") for place, end in enumerate(ends) if isinstance(end, str)}
