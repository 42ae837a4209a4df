"""Figures as inline SVG: what the curves and the forest plot share.

Only the modules named figures import matplotlib, and only when a figure is drawn. Text stays text
(``svg.fonttype: none``): it can be searched, read aloud and takes the page's own font, and the file does not depend
on which fonts a machine has. Colours are written as names that the page resolves, so one file serves light, dark and
print.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from cohort.report.numbers import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito (2008): told apart with any colour vision. The page maps each to a lighter twin in the dark.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, FAINT = "#1b1b1b", "#b9b9b9"
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a dollar sign in somebody's label is a dollar sign
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def style(text: str) -> AbstractContextManager[None]:
    """Return the context in which a figure is drawn, whatever the caller's own settings are.

    ``text``, what the figure says, salts the names of its clip paths: no two figures of a page share one.
    """
    import matplotlib as mpl

    return mpl.rc_context(_STYLE | {"svg.hashsalt": text})


def canvas(width: float, height: float, *, left: float, right: float, bottom: float, top: float) -> tuple[Figure, Axes]:
    """Return a figure of the given size in inches whose axes leave fixed margins, so text beside them aligns."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    box = (left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height)
    return figure, figure.add_axes(box)


def write(axes: Axes, x: float, y: float, text: str, *, along: str = "axes", **looks: Any) -> None:
    """Write text at an offset in points from the lower left corner of the axes.

    ``along="data"`` puts it ``y`` points below the axes at ``x`` of the data instead.
    """
    from matplotlib.transforms import ScaledTranslation, blended_transform_factory

    scale, text = axes.figure.dpi_scale_trans, plain(text)
    if along == "data":
        base = blended_transform_factory(axes.transData, axes.transAxes) + ScaledTranslation(0, y / 72, scale)
        axes.text(x, 0, text, transform=base, ha="center", **looks)
    else:
        axes.text(0, 0, text, transform=axes.transAxes + ScaledTranslation(x / 72, y / 72, scale), **looks)


def fitted(label: str, length: int) -> str:
    """Return a label cut to a length that the figure has room for."""
    return label if len(label) <= length else label[: length - 1] + "…"


def svg(figure: Figure, text: str) -> Markup:
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
    page = buffer.getvalue()
    page = re.sub(r"^.*?(?=<svg)", "", page, flags=re.DOTALL)
    page = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", page, flags=re.DOTALL)
    page = re.sub(r' xmlns(:xlink)?="[^"]*"', "", page).replace("xlink:href", "href")
    page = re.sub(r' id="[\w.]+_\d+"', "", page)
    for number, colour in enumerate(PALETTE):
        page = page.replace(colour, f"var(--series-{number + 1})")
    page = page.replace(INK, "currentColor").replace(FAINT, "var(--faint)")
    return Markup(page.replace("<svg ", f'<svg role="img" aria-label="{escape(plain(text))}" ', 1).strip())  # noqa: S704 -- ours
