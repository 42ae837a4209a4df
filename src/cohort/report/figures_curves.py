"""Step curves with confidence bands, and the persons at risk under the axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup

from cohort.report.figures import FAINT, PALETTE, canvas, fitted, style, svg, write
from cohort.report.numbers import calendar_unit, count, in_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DASHES: Any = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
_STEPS = (1, 2, 5, 7, 14, 30, 60, 90, 180, 365, 730, 1826, 3652, 7305)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its label, its released rows, the lines under the axis, and the day after which risk starts.

    A line under the axis is a name and one text per tick.
    """

    label: str
    rows: pl.DataFrame
    under: tuple[tuple[str, tuple[str, ...]], ...]
    landmark: int = 0


def axis_days(rows: pl.DataFrame) -> list[int]:
    """Return the days of the axis: 0, multiples of the smallest step that needs at most eight, and the last day.

    The last day takes the place of a multiple just before it: a year reads 365, not 360.
    """
    last = int(rows.filter(pl.col("value").is_not_null()).select(pl.col("time").max()).item() or 0)
    step = next((step for step in _STEPS if last // step <= 7), _STEPS[-1])
    days = list(range(0, max(last, 1) + 1, step))
    if last - days[-1] < step / 3 and len(days) > 1:
        days.pop()
    return [*days, max(last, 1)] if last - days[-1] >= step / 2 or len(days) == 1 else days


def curves(series: list[Series], times: list[int], *, start: float, exact: bool, axis: str, text: str) -> Markup:
    """Draw curves from ``start`` (1 for survival, else 0) and, aligned under the axis, who is at risk.

    Exact curves are steps. Where points were withheld the released ones are dots, and straight lines only join
    them: steps would claim that nothing happened in between.

    References
    ----------
    Morris et al. (2019), doi 10.1136/bmjopen-2019-030215 (KMunicate).
    """
    with style(text):
        lines = sum(len(one.under) for one in series)
        bottom = 0.8 + 0.19 * lines + 0.27 * len(series)
        top = 0.15 + 0.2 * len(series)
        figure, axes = canvas(7.4, 2.9 + bottom + top, left=1.35, right=0.25, bottom=bottom, top=top)
        for number, one in enumerate(series):
            _draw_curve(axes, one, number, start, exact=exact)
        _scale(axes, series, times, start, axis)
        _write_under(axes, series, times)
        _write_legend(axes, series)
        return svg(figure, text)


def _draw_curve(axes: Axes, one: Series, number: int, start: float, *, exact: bool) -> None:
    rows = one.rows
    flat = [0, one.landmark] if one.landmark else [0]  # until risk starts the curve is known not to move
    days = [*flat, *rows["time"].to_list()]
    colour = PALETTE[number % len(PALETTE)]
    dashes = DASHES[number % len(DASHES)]
    value, lower, upper = (
        [start] * len(flat) + rows[name].fill_null(strategy="forward").to_list() for name in ("value", "lower", "upper")
    )
    dots: Any = {} if exact else {"marker": "o", "markersize": 3}
    drawn = "steps-post" if exact else "default"
    axes.plot(days, value, drawstyle=drawn, color=colour, linestyle=dashes, linewidth=1.8, **dots)
    if rows["lower"].null_count() < rows.height:
        low, high = ([start if edge is None else edge for edge in edges] for edges in (lower, upper))
        axes.fill_between(days, low, high, step="post" if exact else None, color=colour, alpha=0.15, linewidth=0)


def _scale(axes: Axes, series: list[Series], times: list[int], start: float, axis: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    edges = pl.concat([one.rows.select(pl.col("upper").fill_null(pl.col("value")), "time") for one in series])
    highest = min(1.0, max(1.08 * float(edges.select(pl.col("upper").max()).item()), 0.01)) if start == 0 else 1.0
    axes.set_xlim(0, max(times[-1], int(edges.select(pl.col("time").max()).item())))
    axes.set_ylim(0, highest)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if highest > 0.06 else 1, symbol="\u202f%"))
    unit = calendar_unit(times[-1])
    ticks = [f"{count(day)}\n{in_unit(day, unit)}" if day else f"days\n{unit}" for day in times]
    axes.set_xticks(times, ticks)
    axes.set_xlabel("Time since index")
    axes.set_ylabel(axis)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _write_legend(axes: Axes, series: list[Series]) -> None:
    """Write one line per curve above the axes: no label is ever covered by data, however long it is."""
    points = axes.get_window_extent().height * 72 / axes.figure.dpi
    for number, one in enumerate(series):
        y = points + 8 + 14.5 * (len(series) - 1 - number)
        colour, dashes = PALETTE[number % len(PALETTE)], DASHES[number % len(DASHES)]
        heights = [y / points, y / points]
        looks: Any = {"color": colour, "linestyle": dashes, "linewidth": 1.8, "clip_on": False}
        axes.plot([0, 0.06], heights, transform=axes.transAxes, **looks)
        write(axes, 32, y, fitted(one.label, 70), va="center")


def _write_under(axes: Axes, series: list[Series], times: list[int]) -> None:
    """Write the lines of each curve under the ticks they belong to, in its colour."""
    y = -52.0
    for number, one in enumerate(series):
        y -= 19
        write(axes, -92, y, fitted(one.label, 80), color=PALETTE[number % len(PALETTE)], weight="bold", fontsize=9)
        for name, texts in one.under:
            y -= 13.7
            write(axes, -92, y, name, fontsize=9)
            for day, text in zip(times, texts, strict=True):
                write(axes, day, y, text, along="data", fontsize=9)
