"""Pathways as a Sankey picture: levels as bars, step by step, and the persons between them as bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from cohort.report.figures import FAINT, PALETTE, canvas, fitted, style, svg
from cohort.report.numbers import count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR, _GAP = 0.06, 0.04
"""Width of a level's bar, in steps, and the space between two of them, as a share of all persons."""


@dataclass(frozen=True, slots=True)
class Link:
    """Persons who go from a level of one step to a level of the next."""

    step: int
    source: str
    target: str
    persons: int


def sankey(steps: list[str], links: list[Link], faint: str, text: str) -> Markup:
    """Draw links between the levels of consecutive steps; the level ``faint`` is drawn without a colour of its own."""
    with style(text):
        figure, axes = canvas(7.4, 4.2, left=0.15, right=1.35, bottom=0.1, top=0.4)
        levels = _levels(links, faint)
        colours = {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(n for n in levels if n != faint)}
        colours[faint] = FAINT
        bars = {step: _bars(step, links, levels) for step in range(1, len(steps) + 1)}
        for step, name in enumerate(steps, start=1):
            for level, (low, high) in bars[step].items():
                axes.fill_between([step, step + _BAR], low, high, color=colours[level], linewidth=0)
                label = f"{fitted(level, 22)}  {count(round(high - low))}"
                axes.text(step + _BAR + 0.02, (low + high) / 2, label, va="center", fontsize=8.5)
            axes.text(step, -0.03 * _total(links), name, va="bottom", weight="bold", fontsize=9)
        _draw_links(axes, links, bars, colours)
        axes.set_xlim(1, len(steps) + _BAR)
        axes.set_ylim(max(high for step in bars.values() for _, high in step.values()), 0)
        axes.axis("off")
        return svg(figure, text)


def _levels(links: list[Link], faint: str) -> list[str]:
    """Return the levels, the commonest first, ``faint`` last."""
    persons: dict[str, int] = {}
    for link in links:
        for level in {link.source, link.target}:
            persons[level] = persons.get(level, 0) + link.persons
    return sorted(persons, key=lambda level: (level == faint, -persons[level], level))


def _bars(step: int, links: list[Link], levels: list[str]) -> dict[str, tuple[float, float]]:
    """Return the ends of each level's bar, which is as long as the larger of what arrives and what leaves."""
    low, bars = 0.0, {}
    for level in levels:
        arriving = sum(link.persons for link in links if link.step == step - 1 and link.target == level)
        leaving = sum(link.persons for link in links if link.step == step and link.source == level)
        if size := max(arriving, leaving):
            bars[level] = (low, low + size)
            low += size + _GAP * _total(links)
    return bars


def _total(links: list[Link]) -> int:
    """Return the most persons that a step shows."""
    return max(sum(link.persons for link in links if link.step == step) for step in {link.step for link in links})


def _draw_links(
    axes: Axes, links: list[Link], bars: dict[int, dict[str, tuple[float, float]]], colours: dict[str, str]
) -> None:
    import numpy as np

    left: dict[tuple[int, str], float] = {}
    right: dict[tuple[int, str], float] = {}
    along = np.linspace(0, 1, 40)
    bend = along**2 * (3 - 2 * along)
    for link in sorted(
        links, key=lambda link: (link.step, bars[link.step][link.source], bars[link.step + 1][link.target])
    ):
        start = left.setdefault((link.step, link.source), bars[link.step][link.source][0])
        stop = right.setdefault((link.step, link.target), bars[link.step + 1][link.target][0])
        left[link.step, link.source] += link.persons
        right[link.step, link.target] += link.persons
        x, top = link.step + _BAR + along * (1 - _BAR), start + bend * (stop - start)
        axes.fill_between(x, top, top + link.persons, color=colours[link.source], alpha=0.35, linewidth=0)
