"""Specification curves: one estimate per combination of definitions, in order, over the choices that made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from cohort.report.figures import FAINT, INK, PALETTE, canvas, fitted, style, svg, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 14.5
"""Height of one choice in points."""
_ABOVE, _LEFT, _RIGHT = 2.3, 2.6, 0.2
"""Inches of the curve above the choices, of the labels at the left, and of the margin at the right."""


@dataclass(frozen=True, slots=True)
class Specified:
    """One combination: its estimate with limits, and the value of each key as text."""

    value: float
    lower: float | None
    upper: float | None
    choices: tuple[str, ...]


def specification_curve(
    choices: list[tuple[str, list[str]]],
    specified: list[Specified],
    axis: str,
    null: float | None,
    *,
    log: bool,
    text: str,
) -> Markup:
    """Draw estimates from the smallest to the largest, and under each the choices that it rests on.

    ``choices`` are the keys with their values in the order in which they were asked.

    References
    ----------
    Simonsohn U et al. (2020), doi 10.1038/s41562-020-0912-z.
    """
    below = _LINE / 72 * (len(choices) + sum(len(values) for _, values in choices)) + 0.15
    with style(text):
        figure, axes = canvas(7.4, _ABOVE + below + 0.1, left=_LEFT, right=_RIGHT, bottom=below, top=0.1)
        _draw_curve(axes, specified, axis, null, log=log)
        y = 0.0
        for number, (key, values) in enumerate(choices):
            y -= _LINE
            write(axes, -_LEFT * 72 + 4, y, fitted(key, 40), va="center", weight="bold", fontsize=9)
            for value in values:
                y -= _LINE
                write(axes, -_LEFT * 72 + 14, y, fitted(value, 34), va="center", fontsize=9)
                _draw_choice(axes, specified, number, value, y)
        return svg(figure, text)


def _draw_curve(axes: Axes, specified: list[Specified], axis: str, null: float | None, *, log: bool) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, ScalarFormatter

    if null is not None:
        axes.axhline(null, color=FAINT, linewidth=1, zorder=0)
    for place, one in enumerate(specified):
        if one.lower is not None and one.upper is not None:
            axes.plot([place, place], [one.lower, one.upper], color=PALETTE[0], linewidth=1.2, alpha=0.45)
    axes.plot(
        range(len(specified)), [one.value for one in specified], "o", color=PALETTE[0], markersize=_size(specified)
    )
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.set_xlim(-0.7, len(specified) - 0.3)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_ylabel(axis)


def _draw_choice(axes: Axes, specified: list[Specified], key: int, choice: str, y: float) -> None:
    """Mark the combinations that rest on one choice, ``y`` points below the curve."""
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    base = blended_transform_factory(axes.transData, axes.transAxes)
    at = base + ScaledTranslation(0, y / 72, axes.figure.dpi_scale_trans)
    places = [place for place, one in enumerate(specified) if one.choices[key] == choice]
    axes.plot(places, [0] * len(places), "|", color=INK, markersize=8, transform=at, clip_on=False)


def _size(specified: list[Specified]) -> float:
    return 4.5 if len(specified) <= 60 else 2.5
