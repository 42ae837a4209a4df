"""Forest plots: hazard ratios with intervals on a logarithmic axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from cohort.report.figures import FAINT, INK, PALETTE, canvas, fitted, style, svg, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 19.5
"""Height of one line in points."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One line of a forest plot; without a value it is a heading, without an interval a reference."""

    label: str
    spoken: str
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    text: str = ""
    indent: bool = False


def forest(marks: list[Mark], axis: str, text: str) -> Markup:
    """Draw hazard ratios with intervals on a logarithmic axis, labels at the left, numbers at the right."""
    with style(text):
        figure, axes = canvas(7.4, 0.8 + _LINE / 72 * len(marks), left=2.4, right=1.85, bottom=0.65, top=0.15)
        axes.axvline(1, color=FAINT, linewidth=1, zorder=0)
        for row, mark in enumerate(marks):
            _draw(axes, mark, row, len(marks))
        _scale(axes, marks, axis)
        return svg(figure, text)


def _draw(axes: Axes, mark: Mark, row: int, rows: int) -> None:
    if mark.value is not None and mark.lower is not None and mark.upper is not None:
        axes.plot([mark.lower, mark.upper], [row, row], color=PALETTE[0], linewidth=1.6, solid_capstyle="butt")
        axes.plot([mark.value], [row], color=PALETTE[0], marker="s", markersize=5.5, linestyle="none")
    elif mark.value is not None:
        axes.plot([mark.value], [row], color=INK, marker="D", markersize=4.5, linestyle="none", markerfacecolor="none")
    y = (rows - row - 0.5) * _LINE
    weight = "bold" if not mark.text else "normal"
    write(axes, -165 + 12 * mark.indent, y, fitted(mark.label, 36), va="center", weight=weight)
    write(axes, (7.4 - 2.4 - 1.85) * 72 + 8, y, mark.text, va="center")


def _scale(axes: Axes, marks: list[Mark], axis: str) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    ends = [end for mark in marks for end in (mark.lower, mark.upper, mark.value) if end is not None]
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
    axes.set_ylim(len(marks) - 0.5, -0.5)
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis)
