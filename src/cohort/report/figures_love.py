"""Love plots: how far apart the arms are in each covariate, before and after weighting."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from cohort.report.figures import FAINT, PALETTE, canvas, fitted, style, svg, write

_LINE = 19.5
"""Height of one line in points."""
_SIDES = (2.4, 1.2)
"""Margins in inches for the labels and the numbers."""


@dataclass(frozen=True, slots=True)
class Balanced:
    """One line: standardised differences of a covariate, None where it does not vary."""

    label: str
    before: float | None
    after: float | None


def love(lines: list[Balanced], bound: float | None, text: str) -> Markup:
    """Draw absolute standardised differences: hollow before weighting, filled after, with the bound as a line."""
    width = 7.4
    with style(text):
        figure, axes = canvas(width, 0.95 + _LINE / 72 * len(lines), left=2.4, right=1.2, bottom=0.65, top=0.3)
        if bound is not None:
            axes.axvline(bound, color=FAINT, linewidth=1, linestyle="--", zorder=0)
        for row, line in enumerate(lines):
            y = (len(lines) - row - 0.5) * _LINE
            write(axes, -165, y, fitted(line.label, 36), va="center")
            for value, face in ((line.before, "none"), (line.after, PALETTE[0])):
                if value is not None:
                    axes.plot([abs(value)], [row], color=PALETTE[0], marker="o", markerfacecolor=face, clip_on=False)
            if line.after is not None:
                write(axes, (width - sum(_SIDES)) * 72 + 8, y, f"{abs(line.after):.2f}", va="center")
        write(axes, 0, len(lines) * _LINE + 6, "○ before weighting   ● after weighting", va="bottom")
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Absolute standardised difference")
        return svg(figure, text)
