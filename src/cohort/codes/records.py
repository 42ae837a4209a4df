"""Which rows of the store qualify: a table and a codelist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args

import polars as pl
from pydantic import Field, model_validator

from cohort.codes.bucket_tables import BucketTables, remembered, remembered_of_entries
from cohort.codes.codelist import EXCLUDED, Codelist
from cohort.codes.match import matches, possible
from cohort.codes.reference import Codes
from cohort.spec import Spec, Whole

Coded = Literal["diagnosis", "procedure", "dispensing"]
"""The tables whose rows carry a code."""

Setting = Literal["inpatient", "emergency", "outpatient", "home", "facility", "ambulance", "laboratory", "unknown"]
"""The settings of care of the data dictionary (`cohort.store.tables.SETTINGS`)."""

Tables = Mapping[str, pl.LazyFrame]
"""The tables of one bucket, by name (`cohort.store.tables.TABLES`)."""

KEY = ("person_id", "index_date")
"""What identifies an entry: a person may enter a cohort more than once, on different days."""


class Record(Spec):
    """Rows of one table whose code is in a codelist, of some settings, as they stand or once confirmed.

    ``confirmed`` asks for the usual evidence of a diagnosis in claims: one inpatient record, or two others at least
    ``apart_days`` apart (and at most ``within_days``, if given). It holds from the day that completes it, never from
    the first of the two: a work-up writes the code of what it rules out.

    References
    ----------
    Klabunde CN et al. Development of a comorbidity index using physician claims data. J Clin Epidemiol
    2000;53:1258-1267. doi:10.1016/S0895-4356(00)00256-0.
    """

    table: Annotated[Coded, Field(description="table of the store")]
    codes: Annotated[Codes, Field(description="codelist: a shipped name, a CSV file, or rows")]
    settings: Annotated[tuple[Setting, ...], Field(description="settings of care that count; absent = all")] = ()
    evidence: Annotated[Literal["any", "confirmed"], Field(description="one record, or the setting rule")] = "any"
    apart_days: Annotated[Whole, Field(ge=1, description="least days between two records that confirm")] = 30
    within_days: Annotated[Whole | None, Field(ge=1, description="most days between them; absent = no limit")] = None

    @model_validator(mode="after")
    def _table_has_settings(self) -> Record:
        if self.table == "dispensing" and (self.settings or self.evidence == "confirmed"):
            raise ValueError("a dispensing has no setting of care; leave out settings and evidence")
        if self.within_days is not None and self.within_days < self.apart_days:
            raise ValueError("within_days is below apart_days, so no two records can confirm")
        return self

    @property
    def records(self) -> tuple[Record, ...]:
        """Return the coded records that it reads: itself."""
        return (self,)

    def rows(self, tables: Tables) -> pl.LazyFrame:
        """Return the qualifying rows of one bucket, each once; evidence is a matter of days, not of rows."""
        codelist = self.codes.codelist
        if isinstance(tables, BucketTables):
            found = tables.matches(self.table, codelist)
        else:
            found = matches(tables[self.table], codelist)
        return found.filter(pl.col("setting").is_in(self.settings)) if self.settings else found

    def days(self, tables: Tables) -> pl.LazyFrame:
        """Return person_id and date of the days on which the record qualifies, each person-day once."""
        return remembered(tables, ("days", *self._rule), self.codes.codelist, lambda: self._days(tables))

    def days_since(self, tables: Tables, entries: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key and every ``day`` (Int64) from index on, of any entry, on which the record qualifies."""

        def since() -> pl.LazyFrame:
            return relative_days(self.days(tables), entries).filter(pl.col("day") >= 0).select(*KEY, "day")

        return remembered_of_entries(tables, ("days since", *self._rule), self.codes.codelist, since)

    @property
    def _rule(self) -> tuple[Any, ...]:
        """Return what tells it apart from another record, codelists by identity."""
        codelist = id(self.codes.codelist)
        return (self.table, codelist, self.settings, self.evidence, self.apart_days, self.within_days)

    def _days(self, tables: Tables) -> pl.LazyFrame:
        rows = self.rows(tables)
        if self.evidence == "any":
            return rows.select("person_id", "date").unique()
        inpatient = pl.col("setting").eq_missing("inpatient")
        others = rows.filter(~inpatient).select("person_id", "date").unique().sort("person_id", "date")
        stays = rows.filter(inpatient).select("person_id", "date")
        return pl.concat([stays, self._completed(others)]).unique()

    def _completed(self, days: pl.LazyFrame) -> pl.LazyFrame:
        """Return the days (sorted, distinct) with another at least ``apart_days`` before, within the limit."""
        latest = days.select("person_id", "date", earlier="date")
        apart = pl.col("date").dt.offset_by(f"-{self.apart_days}d")
        paired = days.with_columns(before=apart).join_asof(
            latest, left_on="before", right_on="date", by="person_id", check_sortedness=False
        )
        found = pl.col("earlier").is_not_null()
        if self.within_days is not None:
            found = found & ((pl.col("date") - pl.col("earlier")).dt.total_days() <= self.within_days)
        return paired.filter(found).select("person_id", "date")

    def __str__(self) -> str:
        """Name the record as protocol tables and reasons do."""
        where = f"{' or '.join(self.settings)} " if self.settings else ""
        sure = "confirmed " if self.evidence == "confirmed" else ""
        return f"{sure}{where}{self.table} of {self.codes.label}"


def diagnosis(codes: Any, settings: Iterable[str] = (), evidence: str = "any", **rule: int | None) -> Record:
    """Return diagnosis rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file; see `Record`."""
    return Record.of(table="diagnosis", codes=codes, settings=tuple(settings), evidence=evidence, **rule)


def procedure(codes: Any, settings: Iterable[str] = ()) -> Record:
    """Return procedure rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file."""
    return Record.of(table="procedure", codes=codes, settings=tuple(settings))


def dispensing(codes: Any) -> Record:
    """Return dispensing rows of a codelist: a `Codelist`, a shipped name or a path to a CSV file."""
    return Record.of(table="dispensing", codes=codes)


def needed_codes(records: Iterable[Record], whole: Iterable[str] = ()) -> dict[str, Codelist | None]:
    """Return, for each table that is read, one list of all codes that can qualify; none = every row does.

    Parameters
    ----------
    whole
        Tables of which some covariate reads every row, whatever its code, or that have no codes: ``cost``.
    """
    lists: dict[str, list[pl.DataFrame]] = {}
    for record in records:
        lists.setdefault(record.table, []).append(record.codes.codelist.rows.filter(pl.col("category") != EXCLUDED))
    codes = {table: Codelist.from_rows("needed", pl.concat(rows)) for table, rows in lists.items()}
    return codes | dict.fromkeys(whole, None)


def needed_rows(tables: Tables, codes: Mapping[str, Codelist | None]) -> BucketTables:
    """Read one bucket's tables once, without most of the rows that no record can qualify.

    What is left out is decided on the first characters of the codes while Parquet is read: far fewer comparisons than
    rows, and no second pass. A record then says which of the rest qualify.
    """
    rows = [_needed(tables[name], name, codes) for name in tables]
    return BucketTables(dict(zip(tables, pl.collect_all(rows), strict=True)))


def _needed(table: pl.LazyFrame, name: str, codes: Mapping[str, Codelist | None]) -> pl.LazyFrame:
    """Return what must be read of a table: of a coded one, or of cost, nothing that nobody asks for."""
    if name not in (*get_args(Coded), "cost"):
        return table
    if name not in codes:
        return table.clear()
    codelist = codes[name]
    return table if codelist is None else possible(table, codelist)


def relative_days(days: pl.LazyFrame, entries: pl.LazyFrame) -> pl.LazyFrame:
    """Return every record day of every entry's person as an integer ``day`` relative to that entry's index date."""
    return (
        entries.select(KEY)
        .join(days, on="person_id")
        .with_columns((pl.col("date") - pl.col("index_date")).dt.total_days().cast(pl.Int64).alias("day"))
    )
