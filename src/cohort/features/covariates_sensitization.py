"""Covariates of central sensitization: symptom domains, overlapping conditions, and the unvalidated index of them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from cohort.codes.records import Record, Tables, diagnosis
from cohort.features.at_entry import rows_of
from cohort.features.covariate import Flag, Measured, counted, flagged
from cohort.features.sensitization import DOMAINS, ITEMS
from cohort.features.sensitization import overlapping_conditions as count_overlapping
from cohort.features.sensitization import sensitization_index as index_of
from cohort.features.sensitization import symptom_domains as domains_of
from cohort.time import Window

Domain = Literal[
    "sleep",
    "fatigue",
    "mood",
    "cognition",
    "altered_sensation",
    "posttraumatic_stress",
    "functional_somatic",
    "substance_use",
]
"""The symptom domains, each the shipped codelist of that name."""


class Symptom(Flag):
    """A code of one symptom domain in a window, such as sleep, mood or substance use."""

    kind: Literal["symptom"] = "symptom"
    domain: Annotated[Domain, Field(description="symptom domain: the shipped codelist of that name")]
    named_after: ClassVar[str] = "domain"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis(self.domain),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"any code of {self.domain.replace('_', ' ')} from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the entries with such a code."""
        return flagged(rows_of(self.records[0].rows(tables), numbers, self.window))


class SymptomDomains(Measured):
    """Number of symptom domains with a code in a window, out of eight."""

    kind: Literal["symptom_domains"] = "symptom_domains"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return tuple(diagnosis(domain) for domain in DOMAINS)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"symptom domains with a code ({', '.join(DOMAINS).replace('_', ' ')}) from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of domains."""
        found = domains_of(rows_of(tables["diagnosis"], numbers, self.window))
        total = pl.sum_horizontal(pl.col(domain).cast(pl.Int64) for domain in DOMAINS)
        return found.select("person_id", value=total)


class OverlappingConditions(Measured):
    """Number of chronic overlapping pain conditions with a code in a window.

    References
    ----------
    Maixner W et al. J Pain 2016;17(9 Suppl):T93-T107. doi:10.1016/j.jpain.2016.06.002.
    """

    kind: Literal["overlapping_conditions"] = "overlapping_conditions"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return (diagnosis("overlapping_pain_conditions"),)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"chronic overlapping pain conditions with a code from {self.window}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the number of conditions."""
        rows = rows_of(self.records[0].rows(tables), numbers, self.window)
        return counted(count_overlapping(rows), "overlapping_conditions")


class SensitizationIndex(Measured):
    """Count of documented signs of central sensitization in a window, each with weight one: not validated.

    Widespread pain, two or more overlapping conditions, and codes of sleep, fatigue, mood, cognition, altered sensation
    and posttraumatic stress.
    """

    kind: Literal["sensitization_index"] = "sensitization_index"

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the records that it reads."""
        return tuple(diagnosis(name) for name in ("pain_regions", "overlapping_pain_conditions", *DOMAINS))

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        items = ", ".join(f"{item.replace('_', ' ')} {weight}" for item, weight in ITEMS.items())
        return f"unvalidated index of documented signs from {self.window}: {items}"

    def measure(self, tables: Tables, numbers: pl.LazyFrame) -> pl.LazyFrame:
        """Return the index."""
        return counted(index_of(rows_of(tables["diagnosis"], numbers, self.window)), "sensitization_index")


def symptom(domain: Domain, window: Window, **choices: Any) -> Symptom:
    """Return whether a symptom domain has a code in a window."""
    return Symptom.of(domain=domain, window=window, **choices)


def symptom_domains(window: Window, **choices: Any) -> SymptomDomains:
    """Return the number of symptom domains with a code in a window."""
    return SymptomDomains.of(window=window, **choices)


def overlapping_conditions(window: Window, **choices: Any) -> OverlappingConditions:
    """Return the number of chronic overlapping pain conditions with a code in a window."""
    return OverlappingConditions.of(window=window, **choices)


def sensitization_index(window: Window, **choices: Any) -> SensitizationIndex:
    """Return the unvalidated sensitization index of a window."""
    return SensitizationIndex.of(window=window, **choices)
