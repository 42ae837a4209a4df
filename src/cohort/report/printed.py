"""What a report prints, before it is HTML, Markdown or files: figures, sections, and all of it together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from markupsafe import Markup

from cohort.report.flow import Box
from cohort.report.tables import Table

CURVE_COLUMNS = ("time", "value", "lower", "upper", "n", "events", "censored")
"""What the data of a curve hold besides the group."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A figure: inline SVG, what it shows in words, and the released numbers that it draws."""

    svg: Markup
    text: str
    data: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Section:
    """One figure or table with its heading; ``data`` is the table of the numbers behind the figure."""

    title: str
    figure: Figure | None
    data: Table | None
    notes: tuple[str, ...]
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EffectSection:
    """One treatment effect: its estimates, the gates, the love plot with its numbers, and what is sealed.

    ``compared`` holds what other designs say of the same persons, ``warning`` the seal that the study has broken.
    """

    title: str
    estimates: Table | None
    compared: Table | None
    controls: Table | None
    sensitivity: Table | None
    gates: Table | None
    figure: Figure | None
    refusals: tuple[str, ...]
    warning: str | None

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Yield what it is and the content of every table that it has, in the order of the page."""
        named = {
            "estimates": self.estimates,
            "compared": self.compared,
            "sensitivity": self.sensitivity,
            "controls": self.controls,
            "gates": self.gates,
        }
        yield from ((name, table) for name, table in named.items() if table is not None)


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a reporting checklist: what it asks for, what the run answers, and the sections with the numbers."""

    statement: str
    number: str
    asks_for: str
    answer: str
    sections: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Printed:
    """Everything that a report prints, in the order of the page."""

    summary: list[str]
    design: Figure | None
    flow: list[Box]
    table_one_title: str
    table_one: Table | None
    curves: list[Section]
    rates: list[Table]
    models: list[Section]
    effects: list[EffectSection]
    biases: list[Section]
    pathways: list[Section]
    specifications: list[Section]
    others: list[Table]
    checklist: tuple[Item, ...] = ()

    def tables(self) -> Iterator[tuple[str, str, Table]]:
        """Yield the name of the file, the title and the content of every table."""
        if self.table_one is not None:
            yield "table_1", self.table_one_title, self.table_one
        for kind, sections in self._sections().items():
            for number, section in enumerate(sections, start=1):
                if section.data is not None:
                    yield f"{kind}_{number}", section.title, section.data
        for number, effect in enumerate(self.effects, start=1):
            for name, table in effect.tables():
                yield f"effect_{number}_{name}", f"{effect.title}: {name}", table
        for kind, tables in (("rates", self.rates), ("other", self.others)):
            for number, table in enumerate(tables, start=1):
                yield f"{kind}_{number}", table.caption, table

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Yield the name of the file and the content of every figure."""
        if self.design is not None:
            yield "design", self.design
        shown = [(kind, section.figure) for kind, sections in self._sections().items() for section in sections]
        drawn: dict[str, int] = {}
        for kind, figure in [*shown, *(("effect", effect.figure) for effect in self.effects)]:
            drawn[kind] = drawn.get(kind, 0) + 1
            if figure is not None:
                yield f"{kind}_{drawn[kind]}", figure

    def _sections(self) -> dict[str, list[Section]]:
        return {
            "curve": self.curves,
            "model": self.models,
            "bias": self.biases,
            "pathway": self.pathways,
            "specifications": self.specifications,
        }
