"""The report: one self-contained HTML page and the files beside it, made from released results only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from cohort.errors import CohortError
from cohort.report.bias import KnownTruth, bias_sections
from cohort.report.checklist import SECTIONS, SOURCES, checklist, present
from cohort.report.effects import effect_sections
from cohort.report.figures_design import design, spoken
from cohort.report.files import write_figures, write_tables
from cohort.report.flow import flow
from cohort.report.labels import AnalysisTitle, Labels
from cohort.report.markdown import render_markdown
from cohort.report.numbers import plain
from cohort.report.pathways import pathway_sections
from cohort.report.printed import Figure, Printed
from cohort.report.sections import curve_sections, model_sections, other_sections, rate_sections
from cohort.report.spans import Span
from cohort.report.specification import specification_sections
from cohort.report.summary import summary
from cohort.report.table_one import table_one
from cohort.results.disclosure import Released
from cohort.results.estimates import WITHHELD, write_csv, write_parquet
from cohort.results.provenance import CodelistUsed, Provenance
from cohort.results.publication import write_released

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class Definition:
    """How a thing in the study is defined: name, sentence, and where the definition comes from."""

    name: str
    text: str
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class ReportContent:
    """All that a report prints.

    ``protocol`` rows are (section, item, text), ``timeline`` the rows of the design diagram. ``labels`` maps a column
    or term to its label with unit, and ``"term=level"`` to that of a level; its order is the order of Table 1.
    ``analyses`` names the analyses of the study by position, 0 being Table 1, and the variable that groups them;
    ``quality`` is the section of data quality, made for release under the same rule; ``truth`` what is true of
    simulated data. ``codes`` are all rows of the codelists: ``codelist, system, code, term, category, source``;
    ``specifications`` is the table of a multiverse.
    """

    title: str
    protocol: tuple[tuple[str, str, str], ...]
    released: Released
    provenance: Provenance
    definitions: tuple[Definition, ...] = ()
    warnings: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    analyses: tuple[AnalysisTitle, ...] = ()
    timeline: tuple[Span, ...] = ()
    quality: Markup | None = None
    codes: pl.DataFrame | None = None
    specifications: pl.DataFrame | None = None
    truth: KnownTruth | None = None

    def __post_init__(self) -> None:
        """Refuse anything that did not come through the release gate."""
        if not isinstance(self.released, Released):
            raise CohortError("a report prints released results only; pass what disclosure.release returned")

    @property
    def codelists(self) -> tuple[CodelistUsed, ...]:
        """The codelists, with the hashes that provenance records."""
        return self.provenance.codelists


def write_report(content: ReportContent, folder: Path) -> Path:
    """Write the report in all its forms into a folder and return the page's path.

    ``report.html, report.md, estimates.csv, estimates.parquet, attrition.csv, codelists.csv, run.json`` and the folders
    ``tables`` and ``figures``. Everything is complete before it gets its name, the page last. Same content, same bytes;
    only ``run.json`` knows the time.
    """
    printed = compose(content)
    texts = {
        "run.json": content.provenance.to_json(),
        "report.md": render_markdown(content, printed),
        "report.html": render_html(content, printed),
    }
    write_released(content.released, texts, folder, lambda staged: _write_data(content, printed, staged))
    return folder / "report.html"


def _write_data(content: ReportContent, printed: Printed, folder: Path) -> None:
    """Write what is made of the released results besides the page and its text."""
    if content.codes is not None:
        write_csv(content.codes, folder / "codelists.csv")
    if content.specifications is not None:
        write_parquet(content.specifications, folder / "specifications.parquet")
    write_tables(printed, folder / "tables")
    write_figures(printed, folder / "figures")


def render(content: ReportContent) -> str:
    """Return the page as text."""
    return render_html(content, compose(content))


def compose(content: ReportContent) -> Printed:
    """Return everything that the report prints, in whatever form."""
    labels = Labels(content.labels, content.analyses)
    released = content.released
    printed = Printed(
        summary=summary(content.title, released, labels),
        design=_design(content.timeline) if content.timeline else None,
        flow=flow(released.attrition),
        table_one_title=labels.title(0, "Table 1. Who is in the cohort"),
        table_one=table_one(released, labels),
        curves=curve_sections(released, labels),
        rates=rate_sections(released.estimates, labels),
        models=model_sections(released.estimates, labels),
        effects=effect_sections(released.estimates, labels, content.provenance.unsealed),
        biases=bias_sections(released.estimates, labels, content.truth) if content.truth else [],
        pathways=pathway_sections(released.estimates, labels),
        specifications=specification_sections(content.specifications, labels),
        others=other_sections(released.estimates, labels),
    )
    items = checklist(printed, released, content.codelists, content.quality is not None, len(content.warnings))
    return replace(printed, checklist=items)


def render_html(content: ReportContent, printed: Printed) -> str:
    """Return the page as text, of what was composed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    return environment.get_template("report.html").render(
        content=content,
        printed=printed,
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 -- our own file
        rule=content.released.rule,
        withheld=WITHHELD,
        sections=[(anchor, SECTIONS[anchor]) for anchor in present(printed, content.quality is not None)],
        sources=SOURCES,
    )


def _design(timeline: tuple[Span, ...]) -> Figure:
    """Return the design diagram with its words and days."""
    rows = [(span.title, span.text, span.window.first, span.window.last) for span in timeline]
    types = {"part": pl.String, "text": pl.String, "first_day": pl.Int64, "last_day": pl.Int64}
    return Figure(design(timeline), spoken(timeline), pl.DataFrame(rows, schema=types, orient="row"))


def _finalize(value: Any) -> Any:
    """Strip what cannot be seen from every text that is not our own markup, before it is escaped."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
