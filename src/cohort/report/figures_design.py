"""The design diagram: every window of the study relative to the index date, one row each."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from cohort.report.figures import FAINT, INK, PALETTE, canvas, style, svg, write
from cohort.report.spans import Part, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _LEFT, _RIGHT = 7.4, 2.7, 1.7
"""Inches of the figure, its labels at the left, and the days at the right."""
_CHARACTERS = 44
"""Characters of small text that fit beside the axes."""
_LINE, _PADDING = 12.5, 11.0
"""Points of one line of text, and of the space around a row's lines."""
_RULE: Any = {"color": FAINT, "linewidth": 0.5, "clip_on": False}
_COLOURS: dict[Part, str] = {
    "index": INK,
    "washout": PALETTE[0],
    "enrolment": PALETTE[5],
    "requirement": PALETTE[5],
    "exclusion": PALETTE[1],
    "covariates": PALETTE[2],
    "exposure": PALETTE[3],
    "wait": FAINT,
    "late": FAINT,
    "risk": PALETTE[4],
}


def design(spans: tuple[Span, ...]) -> Markup:
    """Draw the windows of a study on one axis of days; an open end is an arrow.

    References
    ----------
    Schneeweiss et al. (2019), doi 10.7326/M18-3079.
    """
    text = spoken(spans)
    with style(text):
        lines = [textwrap.wrap(span.text, _CHARACTERS, max_lines=3, placeholder=" …") for span in spans]
        heights = [_LINE * (1 + len(shown)) + _PADDING for shown in lines]
        bottom, top = 0.55, 0.05
        figure, axes = canvas(
            _WIDTH, sum(heights) / 72 + bottom + top, left=_LEFT, right=_RIGHT, bottom=bottom, top=top
        )
        edges = _scale(axes, spans, sum(heights))
        y, inside = 0.0, _WIDTH - _LEFT - _RIGHT
        for span, shown, height in zip(spans, lines, heights, strict=True):
            _draw(axes, span, y + height / 2, edges)
            _write(axes, span, shown, sum(heights) - y, height)
            y += height
            axes.plot([-_LEFT / inside, 1 + _RIGHT / inside], [y, y], transform=axes.get_yaxis_transform(), **_RULE)
        return svg(figure, text)


def spoken(spans: tuple[Span, ...]) -> str:
    """Return the diagram in words."""
    rows = "; ".join(f"{span.title}: {span.text}, {span.days}" for span in spans)
    return f"Design diagram, days relative to the index date. {rows}."


def standalone(figure: Markup) -> str:
    """Return a figure as a file of its own, which brings the colours that the page gives it otherwise."""
    light = "".join(f"--series-{number}: {colour}; " for number, colour in enumerate(PALETTE, start=1))
    look = f"svg {{ color: {INK}; background: #ffffff; font-family: sans-serif; --faint: {FAINT}; {light}}}"
    opened = str(figure).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return opened.replace(">", f">\n<style>{look} text {{ font-family: inherit !important; }}</style>", 1) + "\n"


def _scale(axes: Axes, spans: tuple[Span, ...], height: float) -> tuple[float, float]:
    """Set the axes, mark index and landmark, and return the days at which open ends are drawn."""
    days = [day for span in spans for day in (span.window.first, span.window.last) if day is not None]
    begins = [span.window.first for span in spans if span.part == "risk"]  # the day after the landmark
    low, high = min([*days, -30]), max([*days, 30])
    room = 0.08 * (high - low)
    ends = [end for span in spans for end in (span.window.first, span.window.last)]
    edges = low - room * (None in ends[::2]), high + room * (None in ends[1::2])
    axes.set_xlim(edges[0] - 0.02 * (high - low), edges[1] + 0.02 * (high - low))
    axes.set_ylim(height, 0)
    axes.set_xticks(_ticks([0, *(day for day in days if day not in begins)]))
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel("Days relative to the index date")
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color=INK, linewidth=1.2, zorder=0)
    for landmark in (span.window.last for span in spans if span.part == "wait" and span.window.last is not None):
        axes.axvline(landmark, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    return edges


def _ticks(days: list[int]) -> list[int]:
    """Return the days on which windows begin or end, the outermost and commonest first, as far as there is room."""
    low, high = min(days), max(days)
    kept: list[int] = []
    for day in [0, low, high, *sorted(set(days), key=lambda day: (-days.count(day), day))]:
        if all(abs(day - other) >= max(0.09 * (high - low), 1) for other in kept):
            kept.append(day)
    return sorted(kept)


def _draw(axes: Axes, span: Span, y: float, edges: tuple[float, float]) -> None:
    """Draw one window: a bar from the start of its first day to the end of its last, arrows where it is open."""
    first, last = span.window.first, span.window.last
    start, stop = (edges[0] if first is None else first), (edges[1] if last is None else last)
    looks: Any = {"color": _COLOURS[span.part], "clip_on": False, "zorder": 2}
    if start == stop:
        axes.plot([start], [y], marker="D", markersize=6, linestyle="none", **looks)
        return
    axes.barh(y, stop - start, left=start, height=9, linewidth=1, **looks)
    for day, marker, end in ((start, "<", first), (stop, ">", last)):
        if end is None:
            axes.plot([day], [y], marker=marker, markersize=15, linestyle="none", markeredgewidth=0, **looks)


def _write(axes: Axes, span: Span, lines: list[str], top: float, height: float) -> None:
    """Write a row's title and text at the left, its days at the right, and a rule above it."""
    write(axes, -_LEFT * 72 + 2, top - _PADDING / 2, span.title, va="top", weight="bold", fontsize=9)
    for number, line in enumerate(lines, start=1):
        write(axes, -_LEFT * 72 + 2, top - _PADDING / 2 - number * _LINE, line, va="top", fontsize=8.5)
    width = (_WIDTH - _LEFT - _RIGHT) * 72
    write(axes, width + 6, top - height / 2, span.days, va="center", fontsize=8.5)
