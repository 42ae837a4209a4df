"""The data dictionary: the store's tables, their grain and their columns.

Every layout writes these tables and nothing else, every feature reads these and nothing else. A layout may leave a
table out; readers then see it empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

LANES = 256
"""Float sums are taken inside this many fixed lanes (``person_id % LANES``); a bucket holds whole lanes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its polars dtype, its meaning, and whether a row without it is refused."""

    dtype: pl.DataType
    meaning: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One table: what a row is, its columns, and the columns that its bucket files are sorted by.

    ``loaded_as`` is the table whose rules of loading it shares, its own if none.
    """

    name: str
    grain: str
    columns: dict[str, Column]
    sort: tuple[str, ...]
    loaded_as: str | None = None

    @property
    def schema(self) -> pl.Schema:
        """Return the polars schema of the table, in stored column order."""
        return pl.Schema({name: column.dtype for name, column in self.columns.items()})

    @property
    def required(self) -> tuple[str, ...]:
        """Return the columns without which a row is rejected."""
        return tuple(name for name, column in self.columns.items() if column.required)


_PERSON = Column(pl.Int64(), "keyed pseudonym: first 63 bits of HMAC-SHA-256 of the supplier's identifier", True)
_SETTING = Column(pl.String(), "where care took place: one of SETTINGS")

SETTINGS = ("inpatient", "emergency", "outpatient", "home", "facility", "ambulance", "laboratory", "unknown")
"""Settings of care; `facility` is a nursing home, hospice or other place of residence with care."""

SEXES = ("female", "male", "other")
"""Administrative sex as the supplier records it; unknown is null."""

SERVICES = ("medical", "pharmacy")
"""What an amount was paid for."""

SYSTEMS = (
    "icd9cm",
    "icd10",
    "icd10cm",
    "icd11",
    "snomed",
    "atc",
    "ndc",
    "rxnorm",
    "hcpcs",
    "cpt",
    "icd10pcs",
    "icd9proc",
    "ccam",
    "cip",
    "ucd",
)
"""Coding systems, in the spelling that codelists and stores share; `ccam` are French acts, `cip` (13 digits) and `ucd`
(7) French packs and units of drugs."""

PHARMACY_BENEFIT = "pharmacy_benefit"
"""The table of spans outside of which no dispensing found is not none filled."""

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "person",
            "one row per person",
            {
                "person_id": _PERSON,
                "birth_date": Column(pl.Date(), "date of birth"),
                "sex": Column(pl.String(), "administrative sex: one of SEXES; null = unknown"),
                "death_date": Column(pl.Date(), "date of death; null = not known to be dead"),
                "region": Column(pl.String(), "region of residence, as the supplier names it"),
                "deprivation": Column(pl.String(), "group of deprivation, as the supplier names it"),
            },
            ("person_id",),
        ),
        Table(
            "enrolment",
            "one row per person and span of observation; spans of a person are disjoint and do not touch",
            {
                "person_id": _PERSON,
                "start_date": Column(pl.Date(), "first day observed", True),
                "end_date": Column(pl.Date(), "last day observed, included", True),
            },
            ("person_id", "start_date"),
        ),
        Table(
            PHARMACY_BENEFIT,
            "one row per person and span in which a dispensing would be recorded, spans as in enrolment; absent where "
            "the supplier does not say, and persons are then taken to have it",
            {
                "person_id": _PERSON,
                "start_date": Column(pl.Date(), "first day with pharmacy benefit", True),
                "end_date": Column(pl.Date(), "last day with pharmacy benefit, included", True),
            },
            ("person_id", "start_date"),
            loaded_as="enrolment",
        ),
        Table(
            "diagnosis",
            "one row per person, date, code, setting and position, however many claim lines repeat it",
            {
                "person_id": _PERSON,
                "date": Column(pl.Date(), "first day of the encounter that the diagnosis is written on", True),
                "end_date": Column(pl.Date(), "last day of that encounter; the date itself if one day", True),
                "system": Column(pl.String(), "coding system: one of SYSTEMS", True),
                "code": Column(pl.String(), "normalised code: upper case, without dots and blanks", True),
                "setting": _SETTING,
                "position": Column(pl.Int16(), "1 = principal or first-listed; null = the supplier does not say"),
            },
            ("person_id", "date", "system", "code", "end_date", "setting", "position"),
        ),
        Table(
            "procedure",
            "one row per person, date, code and setting",
            {
                "person_id": _PERSON,
                "date": Column(pl.Date(), "day of the procedure", True),
                "system": Column(pl.String(), "coding system: one of SYSTEMS", True),
                "code": Column(pl.String(), "normalised code", True),
                "setting": _SETTING,
            },
            ("person_id", "date", "system", "code", "setting"),
        ),
        Table(
            "dispensing",
            "one row per person, date, code, quantity and supply, as dispensed or prescribed",
            {
                "person_id": _PERSON,
                "date": Column(pl.Date(), "day of dispensing, or of prescription where that is what is recorded", True),
                "system": Column(pl.String(), "coding system: one of SYSTEMS", True),
                "code": Column(pl.String(), "normalised code", True),
                "quantity": Column(pl.Float64(), "units dispensed; null = not recorded"),
                "days_supply": Column(pl.Int32(), "days that the supply lasts; null = not recorded"),
            },
            ("person_id", "date", "system", "code", "quantity", "days_supply"),
        ),
        Table(
            "measurement",
            "one row per person, date, instrument and value; a value repeated on one day is one row",
            {
                "person_id": _PERSON,
                "date": Column(pl.Date(), "day of the measurement", True),
                "instrument": Column(pl.String(), "scale, questionnaire or test, such as NRS or BDI", True),
                "value": Column(pl.Float64(), "score or result, inside the plausible range of its instrument", True),
                "unit": Column(pl.String(), "unit of the value; null = the instrument's own points or not recorded"),
            },
            ("person_id", "date", "instrument", "value", "unit"),
        ),
        Table(
            "cost",
            "one row per person, date and service: what all its standing claim lines paid, added up",
            {
                "person_id": _PERSON,
                "date": Column(pl.Date(), "day of the service that was paid", True),
                "service": Column(pl.String(), "what was paid for: one of SERVICES; null = the supplier does not say"),
                "amount": Column(pl.Int64(), "paid by the payer, in hundredths of the currency", True),
            },
            ("person_id", "date", "service", "amount"),
        ),
    )
}
"""Table name → table, in the order in which a store writes them."""


class Supplied(dict[str, pl.LazyFrame]):
    """The tables that a supplier gave; any other reads as one without rows, but is not in here.

    Nobody with a dispensing and nothing known of dispensings look alike in the rows; ``in`` tells them apart.
    """

    def __missing__(self, name: str) -> pl.LazyFrame:
        """Return a table without rows."""
        return pl.LazyFrame(schema=TABLES[name].schema)


def lane(person_id: pl.Expr) -> pl.Expr:
    """Return the lane (0 … LANES−1) of a person."""
    return person_id % LANES


def bucket(person_id: pl.Expr, buckets: int) -> pl.Expr:
    """Return the bucket of a person: whole lanes, dealt out in turn.

    For a power of two this is ``person_id % buckets``; for other counts the lane decides, so that a lane is never
    split between buckets.
    """
    return lane(person_id) % buckets
