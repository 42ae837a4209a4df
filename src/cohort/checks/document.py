"""The result for readers: a section of HTML, a page of its own, files, and a table for the terminal.

Counts are of rows and shown as they are, so all of this stays where the data are kept; it holds no value of a row. The
one exception is `released_section`, which is made for reports that leave.
"""

from __future__ import annotations

import math
from functools import partial
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
from markupsafe import Markup
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cohort.checks.judge import CheckResult, Judgement, Status
from cohort.report.numbers import count, decimal, percent, plain, ratio
from cohort.results.disclosure import DisclosureRule
from cohort.results.estimates import WITHHELD

_TEMPLATES = Path(__file__).parent / "templates"
_TROUBLE = (Status.NOT_RUN, Status.FAILED, Status.WARNED)
_BANDS = (
    (0.001, "under 0.1 %"),
    (0.01, "0.1 to 1 %"),
    (0.1, "1 to 10 %"),
    (0.5, "10 to 50 %"),
    (math.inf, "over 50 %"),
)
"""Share of offending rows, up to a limit, and what a released report says of it."""

_STYLE = {Status.NOT_RUN: "bold red", Status.FAILED: "bold red", Status.WARNED: "yellow", Status.PASSED: "green"}


def section(result: CheckResult) -> Markup:
    """Return the section of a report: what is wrong and how to repair it first, all rules after it."""
    return Markup(_render("section.html", result))  # noqa: S704 -- rendered from our template with autoescape


def released_section(result: CheckResult, rule: DisclosureRule) -> Markup:
    """Return the section of a released report: bands instead of counts, small counts and their places withheld."""
    seen = partial(found_in_bands, rule=rule)
    return Markup(_render("released.html", result, rule=rule, found=seen, withheld=WITHHELD))  # noqa: S704 -- autoescaped


def page(result: CheckResult) -> str:
    """Return a self-contained page that holds the section."""
    return _render("page.html", result)


def write(result: CheckResult, folder: Path) -> None:
    """Write ``check.html, check.json, check.csv`` and ``counts.json``, each whole or not at all, the page last."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "counts.json": result.counts.to_json(),
        "check.json": result.to_json(),
        "check.csv": result.to_polars().write_csv(),
        "check.html": page(result),
    }
    with TemporaryDirectory(dir=folder, prefix=".check-") as staged:
        for name, text in texts.items():
            (Path(staged) / name).write_text(text, encoding="utf-8", newline="\n")
        for name in texts:
            (Path(staged) / name).replace(folder / name)


def show(result: CheckResult, console: Console, every: bool = False) -> None:
    """Print the rules in trouble, or every rule, and the sums."""
    shown = result.having(*(Status if every else _TROUBLE))
    if shown:
        table = Table("rule", "status", "where", "found", "allowed", box=None, pad_edge=False)
        for judged in shown:
            status = Text(judged.status.value, style=_STYLE.get(judged.status, ""))
            table.add_row(judged.rule.id, status, judged.part or "", found(judged), judged.rule.threshold)
        console.print(table)
    console.print(Text(str(result)))


def found(judged: Judgement) -> str:
    """Return what was found, in words: counts with their ratio, or why there are none."""
    if judged.ratio is None:
        return judged.reason
    counted = f"{count(judged.offending)} of {count(judged.examined)}"
    if judged.rule.between is not None:
        return f"{counted}: {ratio(judged.ratio)}"
    more = f"; {count(judged.parts_broken)} parts in all" if judged.parts_broken > 1 else ""
    return f"{counted} ({percent(judged.ratio, 2)}){more}" if judged.offending else f"0 of {count(judged.examined)}"


def found_in_bands(judged: Judgement, rule: DisclosureRule) -> str:
    """Return what was found without a count that could be subtracted from another one."""
    offending, examined = judged.offending, judged.examined
    if rule.off or offending is None or examined is None or judged.ratio is None:
        return found(judged)
    if offending == 0:
        return "none" if rule.show_zero else WITHHELD
    if offending < rule.minimum or 0 < examined - offending < rule.minimum:
        return WITHHELD
    if judged.rule.between is not None:
        return f"about {decimal(judged.ratio, 1)}"
    return next(words for limit, words in _BANDS if judged.ratio < limit)


def _render(template: str, result: CheckResult, **more: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
    style = resources.files("cohort.report").joinpath("templates", "style.css").read_text("utf-8")
    content = {
        "result": result,
        "trouble": result.having(*_TROUBLE),
        "rest": result.having(*(status for status in Status if status not in _TROUBLE)),
        "found": found,
        "style": Markup(style),  # noqa: S704 -- our own file
    }
    return environment.get_template(template).render(content | more)
