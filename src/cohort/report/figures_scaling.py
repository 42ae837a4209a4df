"""Time and memory against the number of persons on logarithmic axes: slope 1 is linear, a flat line bounded memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from cohort.report.figures import FAINT, PALETTE, style


@dataclass(frozen=True, slots=True)
class Line:
    """One point of a contender's line."""

    contender: str
    persons: int
    seconds: float
    peak_mb: float


def scaling(points: Sequence[Line]) -> str:
    """Draw seconds and peak memory of each contender and return a file of SVG; peers are dashed lines of their own."""
    text = "Seconds and peak memory of each step against the number of persons."
    with style(text):
        from matplotlib.figure import Figure
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        panels = figure.subplots(1, 2)
        names = list(dict.fromkeys(point.contender for point in points))
        for panel, field, label in zip(panels, ("seconds", "peak_mb"), ("Seconds", "Peak memory (MB)"), strict=True):
            for number, name in enumerate(names):
                own = sorted((point.persons, getattr(point, field)) for point in points if point.contender == name)
                peer = " " in name
                panel.plot(
                    *zip(*own, strict=True),
                    label=name,
                    color=PALETTE[number % len(PALETTE)],
                    linestyle="--" if peer else "-",
                    marker="os^Dv"[number // len(PALETTE)],
                    markersize=4,
                )
            panel.set(xscale="log", yscale="log", xlabel="Persons", ylabel=label)
            for axis in (panel.xaxis, panel.yaxis):  # plain numbers: text is never read as a formula here
                axis.set_major_locator(LogLocator(base=10))
                axis.set_major_formatter(
                    FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
                )
                axis.set_minor_formatter(NullFormatter())
            panel.grid(color=FAINT, linewidth=0.5)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Title": text, "Creator": None})
    return written.getvalue()
