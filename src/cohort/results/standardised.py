"""Rates and prevalences made comparable by age: strata counted over the parts of the table, weighted once."""

from __future__ import annotations

from typing import Annotated, Any, Self

import polars as pl
from pydantic import Field, model_validator

from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import NOT_ESTIMABLE, OK
from cohort.spec import Number, Spec, Whole
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.standardise import direct_proportion, direct_rate
from cohort.survival.standards import StandardName, age_band, standard_population
from cohort.time import DAYS_PER_YEAR

AGE = "age"
"""The covariate whose strata are weighted: age at index."""

_NAMES = {
    "european_2013": "European Standard Population 2013",
    "who_2000_2025": "WHO World Standard Population 2000–2025",
}
_BAND = "age from which a stratum begins"
_ON = ["group", "from_age"]


class AgeWeight(Spec):
    """One age group of a standard population: from this age to the next group's, or on."""

    from_age: Annotated[Whole, Field(ge=0, description="lower bound in completed years")]
    weight: Annotated[Number, Field(gt=0, description="persons of the standard population, on any scale")]


class Standardised(Spec):
    """What an analysis is standardised to; nothing = crude only."""

    standard: Annotated[
        StandardName | None, Field(description="also standardise by age at index to this population; needs `age`")
    ] = None
    own_standard: Annotated[
        tuple[AgeWeight, ...], Field(description="own standard population instead, youngest first")
    ] = ()

    @model_validator(mode="after")
    def _one_standard(self) -> Self:
        ages = [group.from_age for group in self.own_standard]
        if ages and self.standard is not None:
            raise ValueError("give standard or own_standard, not both")
        if ages != sorted(set(ages)):
            raise ValueError("own_standard: age groups ascend, each once")
        return self

    @property
    def is_standardised(self) -> bool:
        """Whether estimates are standardised by age as well."""
        return self.standard is not None or bool(self.own_standard)

    @property
    def standard_text(self) -> str:
        """Return what the protocol table says of it."""
        if not self.is_standardised:
            return ""
        return f", age-standardised to the {self.standard_name}"

    @property
    def standard_name(self) -> str:
        """Return what the standard population is called."""
        return _NAMES[self.standard] if self.standard is not None else "study's own standard population"

    @property
    def weights(self) -> pl.DataFrame:
        """Return ``from_age, standard``."""
        if self.standard is not None:
            return standard_population(self.standard)
        rows = [(group.from_age, float(group.weight)) for group in self.own_standard]
        return pl.DataFrame(rows, schema={"from_age": pl.Int64, "standard": pl.Float64}, orient="row")


def age_weights(standard: str | dict[int, float] | None) -> dict[str, Any]:
    """Return the fields of `Standardised` for a name, or for weights by lowest age."""
    if isinstance(standard, dict):
        return {"own_standard": tuple(AgeWeight.of(from_age=age, weight=w) for age, w in standard.items())}
    return {"standard": standard}


def standardised_rates(
    table: AnalysisTable, by: str | None, weights: pl.DataFrame, per: int, level: float
) -> pl.DataFrame:
    """Return rows of age-standardised incidence rates, one per group; see `direct_rate`."""
    counts = _count(table, by, weights, "time", pl.when(pl.col("cause") == 1).then(1).otherwise(0), table.entry)
    exposed = pl.col("time") - pl.max_horizontal(pl.col("entry"), 0)  # the entry of a person from the start is -1
    strata = _strata(counts, weights, person_days=(pl.col("n") * exposed).sum())
    if strata.is_empty():
        return pl.DataFrame()
    found = direct_rate(strata, "events", "person_days", by="group", per=per * DAYS_PER_YEAR, level=level)
    if table.repeats:  # the gamma limits take events for independent
        found = found.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("std_error", "lower", "upper"))
    return _rows(found, strata, "no person-time at some age that others have", sums=("n", "events", "person_days"))


def standardised_shares(
    table: AnalysisTable, of: str, by: str | None, weights: pl.DataFrame, level: float
) -> pl.DataFrame:
    """Return rows of age-standardised proportions of persons with a yes/no covariate; see `direct_proportion`."""
    strata = _strata(_count(table, by, weights, None, pl.col(of).cast(pl.Int64)), weights)
    if strata.is_empty():
        return pl.DataFrame()
    found = direct_proportion(strata, "events", "n", by="group", level=level)
    return _rows(found, strata, "nobody at some age that others have", sums=("n", "events"))


def _count(
    table: AnalysisTable,
    by: str | None,
    weights: pl.DataFrame,
    time: str | None,
    cause: pl.Expr,
    entry: str | None = None,
) -> DayCounts:
    """Return the counts of all parts by age group; entries of unknown age or cause are in none."""
    band = age_band(pl.col(AGE), weights["from_age"].to_list())
    clock = pl.col(time) if time else pl.lit(0)
    parts = (
        part.lazy()
        .with_columns(clock.alias("time"), cause.alias("cause"), band.alias(_BAND))
        .drop_nulls([_BAND, "cause", *([by] if by else [])])
        for part in table.parts
    )
    return sum((count_days(part, "time", "cause", by, entry, causes=[1], strata=_BAND) for part in parts), start=0)  # type: ignore[return-value]  # 0 + DayCounts is DayCounts


def _strata(counts: DayCounts, weights: pl.DataFrame, **sums: pl.Expr) -> pl.DataFrame:
    """Return one row per group and age group of the standard that anybody has: ``n, events``, sums, ``standard``."""
    events = pl.col("n").filter(pl.col("cause") == 1).sum()
    cells = counts.cells.with_columns(from_age=pl.col("stratum").cast(pl.Int64))
    counted = cells.group_by(_ON).agg(pl.col("n").sum(), events=events, **sums)
    seen = weights.filter(pl.col("from_age").is_in(cells["from_age"].unique().to_list()))
    grid = counted.select("group").unique().join(seen, how="cross")
    return grid.join(counted, on=_ON, how="left").fill_null(0).sort(_ON)


def _rows(found: pl.DataFrame, strata: pl.DataFrame, why: str, sums: tuple[str, ...]) -> pl.DataFrame:
    """Return rows of estimates: the counts of each group, the standardised value, and the ages it is over."""
    totals = strata.group_by("group").agg(pl.col(sums).sum())
    kept = found.select("group", "std_error", "lower", "upper", value="estimate").join(totals, on="group")
    status = pl.when(pl.col("value").is_null()).then(pl.lit(f"{NOT_ESTIMABLE}: {why}")).otherwise(pl.lit(OK))
    return kept.with_columns(status.alias("status")).sort("group")


def ages_covered(table: AnalysisTable, weights: pl.DataFrame) -> str:
    """Return how many of the standard's age groups anybody is in, in words."""
    band = age_band(pl.col(AGE), weights["from_age"].to_list())
    seen = {age for part in table.parts for age in part.select(band.unique())[:, 0].drop_nulls()}
    first = f", the first from age {min(seen)}" if seen else ""
    return f"the {len(seen)} of its {weights.height} age groups that anybody is in{first}"
