"""The report: one self-contained HTML page and the files beside it, made from released results only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jinja2
from markupsafe import Markup

from cohort.errors import CohortError
from cohort.report.bias import KnownTruth, bias_sections
from cohort.report.effects import effect_sections
from cohort.report.figures_design import design
from cohort.report.flow import flow
from cohort.report.labels import AnalysisTitle, Labels
from cohort.report.numbers import plain
from cohort.report.sections import curve_sections, model_sections, other_sections, rate_sections
from cohort.report.spans import Span
from cohort.report.summary import summary
from cohort.report.table_one import table_one
from cohort.results.disclosure import Released
from cohort.results.estimates import WITHHELD
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
    simulated data.
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
    """Write ``report.html, estimates.csv, estimates.parquet, attrition.csv, run.json`` and return the page's path.

    Every file is written complete into a temporary folder beside its place and then renamed, the page last, so an
    older report stays readable until the new one stands. Same content, same bytes; only ``run.json`` knows the time.
    """
    texts = {"run.json": content.provenance.to_json(), "report.html": render(content)}
    write_released(content.released, texts, folder)
    return folder / "report.html"


def render(content: ReportContent) -> str:
    """Return the page as text."""
    labels = Labels(content.labels, content.analyses)
    released = content.released
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
        style=Markup((_TEMPLATES / "style.css").read_text(encoding="utf-8")),  # noqa: S704 -- our own file
        rule=released.rule,
        withheld=WITHHELD,
        design=design(content.timeline) if content.timeline else None,
        summary=summary(content.title, released, labels),
        flow=flow(released.attrition),
        table_one_title=labels.title(0, "Table 1. Who is in the cohort"),
        table_one=table_one(released, labels),
        curves=curve_sections(released, labels),
        rates=rate_sections(released.estimates, labels),
        models=model_sections(released.estimates, labels),
        effects=effect_sections(released.estimates, labels, content.provenance.unsealed),
        biases=bias_sections(released.estimates, labels, content.truth) if content.truth else [],
        others=other_sections(released.estimates, labels),
    )


def _finalize(value: Any) -> Any:
    """Strip what cannot be seen from every text that is not our own markup, before it is escaped."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value
