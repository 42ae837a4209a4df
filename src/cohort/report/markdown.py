"""The report as Markdown: the same sections, tables and sentences as the page, figures as files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html.parser import HTMLParser
from typing import TYPE_CHECKING

from cohort.report.checklist import SECTIONS, SOURCES
from cohort.report.flow import Box
from cohort.report.numbers import count, plain
from cohort.report.printed import Figure, Printed, Section
from cohort.report.tables import Table
from cohort.results.estimates import WITHHELD

if TYPE_CHECKING:
    from cohort.report.document import ReportContent

_MARKS = re.compile(r"([\\`*_\[\]<>|&~$#])")
_ADDRESS = re.compile(r"(?i)(://|www\.|mailto:|@)")
"""What a reader's program may turn into a link by itself."""


def escaped(text: str) -> str:
    """Return foreign text that Markdown shows as it is: no markup, no HTML, no link made of a bare address."""
    marked = _MARKS.sub(r"\\\1", plain(text))
    return _ADDRESS.sub(lambda found: found[0][0] + "\u2060" + found[0][1:], marked)


def grid(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table of already escaped cells."""
    heading = list(heading)
    yield ""
    yield f"| {' | '.join(heading)} |"
    yield f"|{'---|' * len(heading)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def table_lines(table: Table) -> Iterator[str]:
    """Yield a printed table with its notes."""
    rows = (
        [f"{'&emsp;' * line.indent}{escaped(line.label)}", *(escaped(cell.text) for cell in line.cells)]
        for line in table.lines
    )
    yield from grid(map(escaped, table.heading), rows)
    yield from notes(table.notes)


def notes(texts: Iterable[str]) -> Iterator[str]:
    """Yield sentences, a paragraph each."""
    for text in texts:
        yield escaped(text)
        yield ""


def figure_lines(name: str, figure: Figure) -> Iterator[str]:
    """Yield a figure: its file, what it shows in words, and where its numbers are."""
    yield f"![{escaped(figure.text)}](figures/{name}.svg)"
    yield ""
    yield f"Numbers of this figure: [{name}.csv](figures/{name}.csv)"
    yield ""


def section_lines(kind: str, sections: Iterable[Section]) -> Iterator[str]:
    """Yield sections of one kind, each under its title."""
    for number, section in enumerate(sections, start=1):
        yield from ("", f"### {escaped(section.title)}", "")
        if section.figure is not None:
            yield from figure_lines(f"{kind}_{number}", section.figure)
        yield from notes(section.refusals)
        if section.data is not None:
            yield from table_lines(section.data)
        shown = section.data.notes if section.data is not None else ()
        yield from notes(text for text in section.notes if text not in shown)


def captioned(tables: Iterable[Table]) -> Iterator[str]:
    """Yield tables, each under its caption."""
    for table in tables:
        yield from ("", f"### {escaped(table.caption)}")
        yield from table_lines(table)


def effect_lines(printed: Printed) -> Iterator[str]:
    """Yield the treatment effects: what is sealed, estimates, gates, balance."""
    for number, effect in enumerate(printed.effects, start=1):
        yield from ("", f"### {escaped(effect.title)}", "")
        if effect.warning:
            yield from (f"**Warning.** {escaped(effect.warning)}", "")
        yield from notes(effect.refusals)
        for _, table in effect.tables():
            yield escaped(table.caption)
            yield from table_lines(table)
        if effect.figure is not None:
            yield from figure_lines(f"effect_{number}", effect.figure)


def flow_lines(flow: list[Box]) -> Iterator[str]:
    """Yield the flow as a table: what was asked, who was left out, who was kept."""
    if not flow:
        yield "The flow is withheld by the release rule."
    entries = any(box.kept_entries for box in flow)
    heading = ["Step", "Left out", "Kept", *(["Entries left out", "Entries kept"] if entries else [])]
    rows = (
        [
            escaped(box.reason),
            box.removed,
            box.kept,
            *([box.removed_entries, box.kept_entries] if entries else []),
        ]
        for box in flow
    )
    yield from grid(heading, rows)


def checklist_lines(printed: Printed) -> Iterator[str]:
    """Yield the reporting checklist."""
    rows = (
        [
            item.statement,
            item.number,
            escaped(item.asks_for),
            escaped(item.answer),
            ", ".join(title for _, title in item.sections),
        ]
        for item in printed.checklist
    )
    yield from grid(["Statement", "Item", "Asks for", "In this run", "Where"], rows)
    yield from notes([SOURCES])


def render_markdown(content: ReportContent, printed: Printed) -> str:
    """Return the report as Markdown text."""
    return "\n".join(_collapsed(_document(content, printed)))


def _document(content: ReportContent, printed: Printed) -> Iterator[str]:
    yield f"# {escaped(content.title)}"
    if content.released.rule.off:
        yield from ("", "**Not for release.** No disclosure rule was applied: small counts are shown as they are.")
    for warning in content.warnings:
        yield from ("", f"**Warning.** {escaped(warning)}")
    for title, lines in _chapters(content, printed):
        yield from ("", f"## {escaped(title)}", "")
        yield from lines


def _chapters(content: ReportContent, printed: Printed) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield the sections that the report has, each with its lines, in the order of the page."""
    yield "Summary", notes(printed.summary)
    yield "Protocol", _protocol_lines(content, printed)
    yield "Flow of persons", flow_lines(printed.flow)
    if printed.table_one is not None:
        yield printed.table_one_title, table_lines(printed.table_one)
    optional: list[tuple[str, object, Iterable[str]]] = [
        ("Curves", printed.curves, section_lines("curve", printed.curves)),
        ("Incidence and prevalence", printed.rates, captioned(printed.rates)),
        ("Hazard ratios", printed.models, section_lines("model", printed.models)),
        ("Effect of treatment", printed.effects, effect_lines(printed)),
        (SECTIONS["bias"], printed.biases, section_lines("bias", printed.biases)),
        ("Pathways", printed.pathways, section_lines("pathway", printed.pathways)),
        ("Specification curve", printed.specifications, section_lines("specifications", printed.specifications)),
        ("Other estimates", printed.others, captioned(printed.others)),
        ("Data quality", content.quality, _Section(content.quality or "").lines()),
    ]
    yield from ((title, lines) for title, there, lines in optional if there)
    yield "Definitions", _definition_lines(content)
    yield "Codelists", _codelist_lines(content)
    yield "Reporting checklist", checklist_lines(printed)
    yield "Release rule", _release_lines(content)
    yield "Provenance", _provenance_lines(content)


class _Section(HTMLParser):
    """A section of the page that another room made, read back into paragraphs and tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self.rows: list[list[str]] = []
        self._text: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in {"p", "th", "td"}:
            self._text = []

    def handle_endtag(self, tag: str) -> None:
        if tag in {"p", "th", "td"} and self._text is not None:
            text = escaped(" ".join("".join(self._text).split()))
            (self.paragraphs if tag == "p" else self.rows[-1]).append(text)
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def lines(self) -> Iterator[str]:
        """Yield the paragraphs, then the table."""
        for text in self.paragraphs:
            yield from (text, "")
        if self.rows:
            yield from grid(self.rows[0], self.rows[1:])


def _protocol_lines(content: ReportContent, printed: Printed) -> Iterator[str]:
    yield from grid(["Section", "Item", "In this study"], ([escaped(text) for text in row] for row in content.protocol))
    if printed.design is not None:
        yield from figure_lines("design", printed.design)


def _definition_lines(content: ReportContent) -> Iterator[str]:
    for definition in content.definitions:
        yield f"**{escaped(definition.name)}.** {escaped(definition.text)} {escaped(definition.source)}"
        yield ""


def _codelist_lines(content: ReportContent) -> Iterator[str]:
    rows = (
        [escaped(used.name), escaped(used.version), count(used.codes), escaped(used.source), used.sha256]
        for used in content.codelists
    )
    yield from grid(["Codelist", "Version", "Codes", "Source", "SHA-256"], rows)


def _release_lines(content: ReportContent) -> Iterator[str]:
    rule = content.released.rule
    if rule.off:
        yield "The study sets the minimum count to 0: nothing was withheld, merged or rounded."
        return
    withheld = content.released.n_suppressed
    yield f"{escaped(WITHHELD)} marks a withheld number: neither 0 nor missing. Withheld: {withheld}."
    yield ""
    yield from notes(content.released.notes)


def _provenance_lines(content: ReportContent) -> Iterator[str]:
    made = content.provenance
    yield f"Study `{made.study_sha256}`, store `{made.store_sha256}`."
    yield ""
    yield ", ".join(f"{escaped(name)} {escaped(version)}" for name, version in sorted(made.versions.items()))
    yield from grid(["File", "Bytes", "SHA-256"], ([escaped(f.name), count(f.bytes), f.sha256] for f in made.inputs))


def _collapsed(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines without two blank ones in a row, the last one ended."""
    before = ""
    for line in lines:
        if line or before:
            yield line
        before = line
    if before:
        yield ""
