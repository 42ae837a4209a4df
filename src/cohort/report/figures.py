"""Figures as inline SVG: step curves with the numbers at risk under the axis, and forest plots.

The only module that imports matplotlib, and only when a figure is drawn. Text stays text (``svg.fonttype: none``):
it can be searched, read aloud and takes the page's own font, and the file does not depend on which fonts a machine
has. Colours are written as names that the page resolves, so one file serves light, dark and print.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup, escape

from cohort.report.numbers import count, months

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart with any colour vision. The page maps each to a lighter twin in the dark.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))
INK, FAINT = "#1b1b1b", "#b9b9b9"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cohort",
    "text.parse_math": False,  # a dollar sign in somebody's label is a dollar sign
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
}
_STEPS = (1, 2, 5, 7, 14, 30, 60, 90, 180, 365, 730, 1826, 3652, 7305)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve: its label and its released rows (time, value, lower, upper, n, events, censored)."""

    label: str
    rows: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of a forest plot; without a value it is a heading, without an interval a reference."""

    label: str
    spoken: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    text: str = ""


def axis_days(rows: pl.DataFrame) -> list[int]:
    """Return the days of the axis: 0 and multiples of the smallest step that needs at most eight."""
    last = int(rows.filter(pl.col("value").is_not_null())["time"].max() or 0)  # type: ignore[arg-type]  # Int64
    step = next((step for step in _STEPS if last // step <= 7), _STEPS[-1])
    return list(range(0, last + 1, step)) if last >= step else [0, max(last, 1)]


def curves(series: list[Series], times: list[int], *, survival: bool, axis: str, text: str) -> Markup:
    """Draw step curves with confidence bands and, aligned under the axis, persons at risk, censored and with event.

    References
    ----------
    Morris et al. (2019), doi 10.1136/bmjopen-2019-030215 (KMunicate).
    """
    import matplotlib as mpl  # noqa: PLC0415 -- lazily: `import cohort` must not load it

    with mpl.rc_context(_STYLE):
        lines = 4 * len(series)
        bottom = 0.75 + 0.19 * lines + 0.12 * len(series)
        figure, axes = _canvas(7.4, 3.3 + bottom, left=1.35, right=0.25, bottom=bottom, top=0.35 + 0.2 * len(series))
        for number, one in enumerate(series):
            _draw_curve(axes, one, number, start=1.0 if survival else 0.0)
        _scale_curve(axes, series, times, survival=survival, axis=axis)
        _risk_table(axes, series, times)
        _legend(axes, series)
        return _svg(figure, text)


def forest(marks: list[Mark], axis: str, text: str) -> Markup:
    """Draw hazard ratios with intervals on a logarithmic axis, labels at the left, numbers at the right."""
    import matplotlib as mpl  # noqa: PLC0415 -- lazily: `import cohort` must not load it

    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(7.4, 0.95 + 0.27 * len(marks), left=2.4, right=1.85, bottom=0.65, top=0.15)
        axes.axvline(1, color=FAINT, linewidth=1, zorder=0)
        for row, mark in enumerate(marks):
            _draw_mark(axes, mark, row)
        _scale_forest(axes, marks, axis)
        return _svg(figure, text)


def _canvas(
    width: float, height: float, *, left: float, right: float, bottom: float, top: float
) -> tuple[Figure, Axes]:
    """Return a figure of the given size in inches whose axes leave fixed margins, so text below aligns."""
    from matplotlib.figure import Figure  # noqa: PLC0415 -- lazily: `import cohort` must not load it

    figure = Figure(figsize=(width, height))
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(box)


def _draw_curve(axes: Axes, one: Series, number: int, start: float) -> None:
    rows = one.rows
    days = [0, *rows["time"].to_list()]
    colour = PALETTE[number % len(PALETTE)]
    dashes: Any = DASHES[number % len(DASHES)]
    value, lower, upper = (
        [start, *rows[name].fill_null(strategy="forward").to_list()] for name in ("value", "lower", "upper")
    )
    axes.step(days, value, where="post", color=colour, linestyle=dashes, linewidth=1.8)
    if rows["lower"].null_count() < rows.height:
        low, high = ([start if edge is None else edge for edge in edges] for edges in (lower, upper))
        axes.fill_between(days, low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def _scale_curve(axes: Axes, series: list[Series], times: list[int], *, survival: bool, axis: str) -> None:
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 -- lazily: `import cohort` must not load it

    highest = max((one.rows["upper"].max() or one.rows["value"].max() or 0.0) for one in series)  # type: ignore[type-var]
    last = max([times[-1], *(int(one.rows["time"].max() or 0) for one in series)])  # type: ignore[arg-type]  # Int64
    axes.set_xlim(0, last)
    axes.set_ylim(0, 1 if survival else min(1.0, max(1.08 * float(highest), 0.01)))  # type: ignore[arg-type]
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol="\u202f%"))
    axes.set_xticks(times, [f"{count(day)}\n{months(day)}" if day else "0" for day in times])
    axes.set_xlabel("Days since index")
    axes.set_ylabel(axis)
    axes.grid(axis="y", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)


def _legend(axes: Axes, series: list[Series]) -> None:
    """Write one line per curve above the axes: no label is ever covered by data, however long it is."""
    height = axes.get_window_extent().height
    for number, one in enumerate(series):
        y = 1 + (8 + 14.5 * (len(series) - 1 - number)) / height * (axes.figure.dpi / 72)
        colour = PALETTE[number % len(PALETTE)]
        dashes: Any = DASHES[number % len(DASHES)]
        axes.plot(
            [0, 0.06], [y, y], transform=axes.transAxes, color=colour, linestyle=dashes, linewidth=1.8, clip_on=False
        )
        axes.text(0.075, y, _fitted(one.label, 70), transform=axes.transAxes, va="center")


def _risk_table(axes: Axes, series: list[Series], times: list[int]) -> None:
    """Write at risk, censored and events so far under each tick."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory  # noqa: PLC0415 -- lazily

    figure = axes.figure
    below = blended_transform_factory(axes.transData, axes.transAxes)
    y = -54.0
    for number, one in enumerate(series):
        colour = PALETTE[number % len(PALETTE)]
        at = [risk_at(one.rows, day) for day in times]
        for line, name in enumerate((None, "At risk", "Censored", "Events")):
            y -= 13.7
            shift = ScaledTranslation(0, y / 72, figure.dpi_scale_trans)
            if name is None:
                axes.text(
                    0,
                    0,
                    _fitted(one.label, 80),
                    transform=axes.transAxes + ScaledTranslation(-92 / 72, y / 72, figure.dpi_scale_trans),
                    color=colour,
                    weight="bold",
                    fontsize=9,
                )
                continue
            axes.text(
                0,
                0,
                name,
                transform=axes.transAxes + ScaledTranslation(-92 / 72, y / 72, figure.dpi_scale_trans),
                fontsize=9,
            )
            for day, counts in zip(times, at, strict=True):
                axes.text(day, 0, count(counts[line - 1]), transform=below + shift, ha="center", fontsize=9)
        y -= 5


def risk_at(rows: pl.DataFrame, day: int) -> tuple[int | None, int, int]:
    """Return who is at risk on a day, and how many were censored and had the event before it.

    The three are of the same moment, the start of the released step that holds the day, so that they add up.
    """
    ahead = rows.filter(pl.col("time") >= day)
    before = rows.filter(pl.col("time") < day)
    censored, events = int(before["censored"].sum()), int(before["events"].sum())
    return (int(ahead["n"][0]) if ahead.height and ahead["n"][0] is not None else None), censored, events


def _draw_mark(axes: Axes, mark: Mark, row: int) -> None:
    if mark.value is not None and mark.lower is not None and mark.upper is not None:
        axes.plot([mark.lower, mark.upper], [row, row], color=PALETTE[0], linewidth=1.6, solid_capstyle="butt")
        axes.plot([mark.value], [row], color=PALETTE[0], marker="s", markersize=5.5, linestyle="none")
    elif mark.value is not None:
        axes.plot([mark.value], [row], color=INK, marker="D", markersize=4.5, linestyle="none", markerfacecolor="none")
    heading = not mark.text
    axes.text(
        -2.3 * 72 / _width(axes),
        row,
        _fitted(mark.label, 38),
        transform=axes.get_yaxis_transform(),
        va="center",
        weight="bold" if heading else "normal",
    )
    axes.text(1 + 8 / _width(axes), row, mark.text, transform=axes.get_yaxis_transform(), va="center")


def _width(axes: Axes) -> float:
    """Return the width of the axes in points."""
    return float(axes.get_window_extent().width * 72 / axes.figure.dpi)


def _scale_forest(axes: Axes, marks: list[Mark], axis: str) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator  # noqa: PLC0415 -- lazily

    ends = [
        end
        for mark in marks
        for end in (mark.lower, mark.upper, mark.value)
        if end is not None and 0 < end < float("inf")
    ]
    low, high = min([*ends, 1.0]), max([*ends, 1.0])
    nice = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    if high / low < 6:
        nice = [0.25, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4]
    shown = [tick for tick in nice if low / 1.12 <= tick <= high * 1.12]
    axes.set_xscale("log")
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xticklabels([f"{tick:g}" for tick in shown])
    axes.set_ylim(len(marks) - 0.4, -0.6)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis)


def _fitted(label: str, length: int) -> str:
    return label if len(label) <= length else label[: length - 1] + "…"


def _svg(figure: Figure, text: str) -> Markup:
    """Return the figure as SVG for the inside of a page: named, coloured by the page, with no id and no address."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the reader's browser has its own fonts
        figure.savefig(
            buffer,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
            transparent=True,
        )
    svg = buffer.getvalue()
    svg = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r' id="[a-zA-Z]+\d*_\d+"', "", svg)
    for number, colour in enumerate(PALETTE):
        svg = svg.replace(colour, f"var(--series-{number + 1})")
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    return Markup(svg.replace("<svg ", f'<svg role="img" aria-label="{escape(text)}" ', 1).strip())  # noqa: S704 -- ours
