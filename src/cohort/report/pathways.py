"""The section of pathways: a Sankey picture and the table of its links."""

from __future__ import annotations

import polars as pl

from cohort.report.figures_pathways import Link, sankey
from cohort.report.labels import Labels
from cohort.report.numbers import Cell, count, percent
from cohort.report.printed import Figure, Section
from cohort.report.tables import Line, Table, counted, methods, refused
from cohort.results.estimates import Estimates
from cohort.results.pathways import LINK

STOPPED = "none"
"""The level that stands for no treatment: drawn without a colour of its own."""


def pathway_sections(estimates: Estimates, labels: Labels) -> list[Section]:
    """Return one section per analysis of pathways."""
    parts = estimates.select(estimand=LINK).partition_by("analysis", maintain_order=True)
    return [_section(part, labels) for part in parts]


def _section(rows: pl.DataFrame, labels: Labels) -> Section:
    position, names = rows.select("analysis", "outcome").row(0)
    steps = [labels.term(name) for name in names.split(", ")]
    title = f"{labels.title(position, 'Pathways')}: {' → '.join(steps)}"
    links = [
        Link(int(row["term"]), labels.level(None, row["category"]), labels.level(None, row["group"]), row["n"])
        for row in rows.iter_rows(named=True)
        if row["n"]
    ]
    figure = _figure(title, steps, links) if links else None
    withheld = rows["n"].null_count()
    notes = [*methods(rows, labels, position)]
    if withheld:
        notes.append(f"{count(withheld)} links are withheld by the release rule and not drawn.")
    return Section(title, figure, _table(rows, steps, labels), tuple(notes))


def _figure(title: str, steps: list[str], links: list[Link]) -> Figure:
    largest = sorted(links, key=lambda link: (-link.persons, link.step, link.source, link.target))[:6]
    said = "; ".join(f"{link.source} to {link.target} {count(link.persons)}" for link in largest)
    text = f"{title}. Persons who go from each level to each of the next step. The largest: {said}."
    data = pl.DataFrame(
        [(link.step, link.source, link.target, link.persons) for link in links],
        schema={"step": pl.Int64, "source": pl.String, "target": pl.String, "persons": pl.Int64},
        orient="row",
    )
    return Figure(sankey(steps, links, STOPPED, text), text, data)


def _table(rows: pl.DataFrame, steps: list[str], labels: Labels) -> Table:
    lines = []
    for row in rows.sort("term", "category", "group").iter_rows(named=True):
        step = int(row["term"])
        label = f"{steps[step - 1]} {labels.level(None, row['category'])}"
        to = Cell(f"{steps[step]} {labels.level(None, row['group'])}", "reference")
        lines.append(Line(label, (to, counted(row, "n"), refused(row) or Cell(percent(row["value"])))))
    return Table("", ("From", "To", "Persons", "Share of the step"), tuple(lines))
