"""The checklist of STROBE, RECORD and RECORD-PE, filled as far as a run can fill it.

An item names the sections of the page that answer it, with the numbers where there are any. What only the authors
know is left to them in so many words: an item that a program cannot answer is never ticked.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources

import polars as pl

from cohort.report.numbers import count
from cohort.report.printed import Item, Printed
from cohort.results.disclosure import Released
from cohort.results.estimates import ALL
from cohort.results.provenance import CodelistUsed
from cohort.time import to_years

SECTIONS = {
    "summary": "Summary",
    "protocol": "Protocol",
    "flow": "Flow of persons",
    "table-1": "Table 1",
    "curves": "Curves",
    "rates": "Incidence and prevalence",
    "models": "Hazard ratios",
    "effects": "Effect of treatment",
    "bias": "What immortal time does",
    "pathways": "Pathways",
    "specifications": "Specification curve",
    "others": "Other estimates",
    "data-quality": "Data quality",
    "definitions": "Definitions",
    "codelists": "Codelists",
    "checklist": "Reporting checklist",
    "release": "Release rule",
    "provenance": "Provenance",
}
"""The sections of the page by their anchor, in order."""

AUTHORS = "To be filled by the authors."
ABSENT = "Not part of this run."
SOURCES = (
    "STROBE: von Elm et al. 2007, doi 10.1371/journal.pmed.0040296. RECORD: Benchimol et al. 2015, doi "
    "10.1371/journal.pmed.1001885. RECORD-PE: Langan et al. 2018, doi 10.1136/bmj.k3532. Items in our own words."
)
"""Where the items come from."""

_IN_PART = {"1.1", "1.2", "5", "7.1.a", "7.1.b", "7.1.c", "7.1.f", "7.1.g", "12e", "16b", "22.1", "18", "1b", "13.1"}
"""Items of which the run tells a part and the authors the rest."""


def checklist(
    printed: Printed, released: Released, codelists: tuple[CodelistUsed, ...], quality: bool, warnings: int
) -> tuple[Item, ...]:
    """Return every item with its answer and the sections that hold it."""
    there = set(present(printed, quality))
    facts = {**_of_persons(released), **_of_estimates(released), **_of_codes(codelists), **_of_design(warnings)}
    return tuple(_item(row, there, facts) for row in _rows())


def present(printed: Printed, quality: bool) -> Iterator[str]:
    """Yield the anchors of the sections that the page has, in order."""
    optional = {
        "curves": printed.curves,
        "rates": printed.rates,
        "models": printed.models,
        "effects": printed.effects,
        "bias": printed.biases,
        "pathways": printed.pathways,
        "specifications": printed.specifications,
        "others": printed.others,
        "data-quality": quality,
    }
    return (anchor for anchor in SECTIONS if optional.get(anchor, True))


def _item(row: Mapping[str, str], there: set[str], facts: Mapping[str, str]) -> Item:
    asked = row["sections"].split()
    found = tuple((anchor, SECTIONS[anchor]) for anchor in asked if anchor in there)
    told = facts.get(row["number"], "")
    answer = AUTHORS if not asked else told if found else ABSENT
    if found and row["number"] in _IN_PART:
        answer = f"{told} In part; the rest is for the authors to add.".strip()
    return Item(row["statement"], row["number"], row["asks_for"], answer, found)


@cache
def _rows() -> tuple[Mapping[str, str], ...]:
    text = (resources.files(__package__) / "data" / "reporting_items.csv").read_text("utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _of_persons(released: Released) -> dict[str, str]:
    """Return what the flow and Table 1 say of persons."""
    steps = released.attrition.steps
    table = released.estimates.select(analysis=0)
    groups = table.filter(pl.col("estimand") == "count", pl.col("term").is_null(), pl.col("group") != ALL).height
    missing = table.filter(pl.col("estimand") == "missing", pl.col("group") == ALL)
    lacking = missing.filter((pl.col("value") > 0) | pl.col("value").is_null())["term"].n_unique()
    told = {
        "14a": f"{missing['term'].n_unique()} variables" + (f" in {groups} groups." if groups else "."),
        "14b": f"{lacking} of {missing['term'].n_unique()} variables have missing values.",
    }
    if steps:
        size = (
            f"{count(steps[0].persons_kept)} persons in the data, {count(steps[-1].persons_kept)} after the last step."
        )
        told |= {"10": size, "13a": size, "13b": f"{len(steps) - 1} steps, each with its reason."}
    return told


def _of_estimates(released: Released) -> dict[str, str]:
    """Return what the estimates say of follow-up, events and precision."""
    frame = released.estimates.frame.filter(pl.col("analysis") > 0)
    limited = frame.filter(pl.col("lower").is_not_null()).height
    told = {"16a": f"{count(limited)} estimates with limits."}
    rates = frame.filter(pl.col("estimand") == "incidence_rate")
    first = rates.filter(pl.col("analysis") == pl.col("analysis").min())
    if first.height and first.select("events", "person_days").null_count().sum_horizontal().item() == 0:
        told["14c"] = f"{count(to_years(int(first['person_days'].sum())))} person-years at risk."
        told["15"] = f"{count(int(first['events'].sum()))} events."
    return told


def _of_codes(codelists: tuple[CodelistUsed, ...]) -> dict[str, str]:
    """Return what is said of codes."""
    codes = sum(used.codes for used in codelists)
    lists = f"{len(codelists)} codelist{'' if len(codelists) == 1 else 's'}"
    told = f"{lists} with {count(codes)} rows, every one of them in codelists.csv."
    return {"6.1": told, "7.1": told}


def _of_design(warnings: int) -> dict[str, str]:
    """Return what the audit of the design says."""
    return {"9": f"The audit of the design gives {warnings or 'no'} warning{'' if warnings == 1 else 's'}."}
