"""Analyses of a study as data, and their results as rows of the estimates.

Every analysis counts the parts of the analysis table, adds the counts, and finishes once; only the regression models
look at all rows together.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field

from cohort.results.analysis_table import AnalysisTable
from cohort.results.courses import CareFreeDays, MeanCumulativeCount, ResponseShares
from cohort.results.estimates import Estimates
from cohort.results.exposure_cox import ExposureCox
from cohort.results.nested import NestedTrials
from cohort.results.pathways import Pathways
from cohort.results.regressions import Cox, FineGray
from cohort.results.standardised import (
    AGE,
    Standardised,
    age_weights,
    ages_covered,
    standardised_rates,
    standardised_shares,
)
from cohort.results.structural import StructuralCox
from cohort.results.treatment import TreatmentEffect
from cohort.results.trial import EmulatedTrial
from cohort.spec import Spec, Whole
from cohort.survival import cumulative_incidence_from, kaplan_meier_from
from cohort.survival.clusters import Persons, repeated_rows
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.proportions import proportion_from
from cohort.survival.rates import incidence_rate_from, robust_rate_limits
from cohort.time import DAYS_PER_YEAR

By = Annotated[str | None, Field(description="Boolean or categorical covariate that makes the groups; absent = all")]
Level = Annotated[float, Field(gt=0, lt=1, description="confidence level")]

_BY_PERSON = {False: "", True: " by person"}
_RATE_LIMITS = {
    False: "Garwood limits",
    True: "log limits from a variance robust to several entries of a person; Garwood without events",
}
_CURVE = {"n_risk": "n", "n_event": "events", "n_censored": "censored", "estimate": "value"}


class _Counted(Spec):
    """Base of the analyses that need only counts: how persons are grouped, and at which level limits are given."""

    by: By = None
    level: Level = 0.95

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return () if self.by is None else (self.by,)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts."""
        return self.by

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        grouped = "of all" if self.by is None else f"by {self.by.replace('_', ' ')}"
        return f"{grouped}, {self.level:.0%} limits"


class CumulativeIncidence(_Counted):
    """Cumulative incidence of the outcome and of what competes with it (Aalen–Johansen)."""

    title: ClassVar[str] = "Cumulative incidence"
    kind: Literal["cumulative_incidence"] = "cumulative_incidence"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group, cause and day of exit."""
        causes = dict(enumerate(table.causes, start=1))
        counts, persons = _count(table, self.by), _persons(table, self.by)
        curves = cumulative_incidence_from(counts, level=self.level, persons=persons).to_polars()
        named = curves.with_columns(pl.col("cause").replace_strict(causes, return_dtype=pl.String).alias("outcome"))
        return Estimates.from_rows(
            named.drop("cause").rename(_CURVE),
            analysis=number,
            estimand=self.kind,
            level=self.level,
            unit="probability",
            method=f"Aalen–Johansen, infinitesimal-jackknife standard error{_BY_PERSON[table.repeats]}, log limits"
            + _left_out(table, self.by),
        )


class KaplanMeier(_Counted):
    """Probability of being free of the outcome and of what competes with it (Kaplan–Meier of the composite).

    Censoring at a competing event would answer a question about a world without it; the composite needs no such world.
    """

    title: ClassVar[str] = "Event-free probability"
    kind: Literal["kaplan_meier"] = "kaplan_meier"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group and day of exit."""
        persons = _persons(table, self.by)
        curves = kaplan_meier_from(_count(table, self.by), level=self.level, persons=persons).to_polars()
        error = "Greenwood standard error" if persons is None else "infinitesimal-jackknife standard error by person"
        return Estimates.from_rows(
            curves.rename(_CURVE),
            analysis=number,
            estimand="survival",
            outcome=" or ".join(table.causes),
            level=self.level,
            unit="probability",
            method=f"Kaplan–Meier, {error}, log limits{_left_out(table, self.by)}",
        )


class _ByAge(_Counted, Standardised):
    """Base of the analyses that may be standardised by age."""

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return (*super().uses, *((AGE,) if self.is_standardised else ()))

    def over_ages(self, table: AnalysisTable) -> str:
        """Return what the estimates say of their standard."""
        return f"standardised by age at index to the {self.standard_name}, {ages_covered(table, self.weights)}"


class IncidenceRate(_ByAge):
    """Incidence rate of the outcome while at risk, with exact Poisson limits (Garwood), and standardised by age.

    The standardised rate weights the rates of age groups as in the standard population, over the groups that anybody
    is in; ages are those at index.

    References
    ----------
    Fay MP, Feuer EJ (1997), Stat Med 16:791–801, doi:10.1002/(SICI)1097-0258(19970415)16:7<791::AID-SIM500>3.0.CO;2-#.
    """

    title: ClassVar[str] = "Incidence rates"
    kind: Literal["incidence_rate"] = "incidence_rate"
    per: Annotated[Whole, Field(ge=1, description="person-years that the rate is expressed per")] = 1000

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"per {self.per} person-years, {super().text}{self.standard_text}"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group, and another for its standardised rate."""
        counts = _count(table, self.by, outcome_only=True)
        rates = incidence_rate_from(counts, per=self.per, level=self.level)
        if table.repeats:
            rates = robust_rate_limits(rates, _persons(table, self.by) or {}, self.per, self.level)
        names = {"n_event": "events", "person_time": "person_days", "estimate": "value"}
        no_time = pl.when(pl.col("estimate").is_null()).then(pl.lit("not_estimable: no person-time"))
        constants = {"analysis": number, "outcome": table.outcome, "level": self.level}
        constants |= {"unit": f"per {self.per} person-years of {DAYS_PER_YEAR} days"}
        crude = Estimates.from_rows(
            rates.with_columns(status=no_time.otherwise(pl.lit("ok"))).rename(names),
            estimand=self.kind,
            method=f"events over person-time, {_RATE_LIMITS[table.repeats]}{_left_out(table, self.by)}",
            **constants,
        )
        if not self.is_standardised:
            return crude
        rows = standardised_rates(table, self.by, self.weights, self.per, self.level)
        limits = "no limits, as entries of a person are not independent" if table.repeats else "Fay–Feuer limits"
        how = f"{self.over_ages(table)}, {limits}"
        return Estimates.concat(
            [crude, Estimates.from_rows(rows, estimand="standardised_rate", method=how, **constants)]
        )


class Prevalence(_ByAge):
    """Share of the persons who have a yes/no covariate, with Wilson limits, and standardised by age.

    A cohort that enters everybody enrolled on one day, and a covariate whose window ends on it, make a point
    prevalence; a window that reaches back makes a period prevalence. Persons of whom it is not known are in neither
    count.

    References
    ----------
    Wilson EB (1927), JASA 22:209–212, doi:10.1080/01621459.1927.10502953.
    Rothman KJ, Greenland S, Lash TL (2008), Modern Epidemiology, 3rd ed., chapter 3.
    """

    title: ClassVar[str] = "Prevalence"
    kind: Literal["prevalence"] = "prevalence"
    covariate: Annotated[str, Field(min_length=1, description="the yes/no covariate that is counted")]

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return (self.covariate, *super().uses)

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.covariate.replace('_', ' ')}, {super().text}{self.standard_text}"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group, and another for its standardised share."""
        constants = {
            "analysis": number,
            "outcome": self.covariate,
            "level": self.level,
            "unit": "proportion of persons",
        }
        counts = table.total(partial(_shares, covariate=self.covariate, by=self.by))
        shares = proportion_from(counts, self.level).rename({"n_event": "events", "estimate": "value"})
        method = f"share of persons, Wilson limits{_left_out(table, self.by)}"
        crude = Estimates.from_rows(shares, estimand=self.kind, method=method, **constants)
        if not self.is_standardised:
            return crude
        rows = standardised_shares(table, self.covariate, self.by, self.weights, self.level)
        how = f"{self.over_ages(table)}, Wilson limits of the effective number"
        return Estimates.concat(
            [crude, Estimates.from_rows(rows, estimand="standardised_prevalence", method=how, **constants)]
        )


Analysis = Annotated[
    CumulativeIncidence
    | KaplanMeier
    | IncidenceRate
    | Prevalence
    | Pathways
    | Cox
    | FineGray
    | ExposureCox
    | TreatmentEffect
    | EmulatedTrial
    | NestedTrials
    | StructuralCox
    | MeanCumulativeCount
    | CareFreeDays
    | ResponseShares,
    Field(discriminator="kind"),
]
"""Any analysis of a study."""


def cumulative_incidence(by: str | None = None, level: float = 0.95) -> CumulativeIncidence:
    """Return the cumulative incidence of outcome and competing event, by group."""
    return CumulativeIncidence.of(by=by, level=level)


def kaplan_meier(by: str | None = None, level: float = 0.95) -> KaplanMeier:
    """Return the probability of being free of outcome and competing event, by group."""
    return KaplanMeier.of(by=by, level=level)


def incidence_rate(
    by: str | None = None, per: int = 1000, level: float = 0.95, standard: str | dict[int, float] | None = None
) -> IncidenceRate:
    """Return the incidence rate per ``per`` person-years, by group; ``standard``: a name, or weights by lowest age."""
    return IncidenceRate.of(by=by, per=per, level=level, **age_weights(standard))


def prevalence(
    covariate: str, by: str | None = None, level: float = 0.95, standard: str | dict[int, float] | None = None
) -> Prevalence:
    """Return the prevalence of a yes/no covariate, by group; ``standard`` as for `incidence_rate`."""
    return Prevalence.of(covariate=covariate, by=by, level=level, **age_weights(standard))


def cox(terms: str, ties: str = "efron", level: float = 0.95) -> Cox:
    """Return a cause-specific Cox model on covariates and their products."""
    return Cox.of(terms=terms, ties=ties, level=level)


def fine_gray(terms: str, ties: str = "efron", level: float = 0.95) -> FineGray:
    """Return a Fine–Gray model on covariates and their products."""
    return FineGray.of(terms=terms, ties=ties, level=level)


def _count(table: AnalysisTable, by: str | None, *, outcome_only: bool = False) -> DayCounts:
    """Return the sum of the day counts of all parts."""
    causes = [1] if outcome_only else list(range(1, len(table.causes) + 1))
    return table.total(partial(_days, by=by, entry=table.entry, causes=causes))


def _days(part: pl.DataFrame, by: str | None, entry: str | None, causes: list[int]) -> DayCounts:
    kept = pl.when(pl.col("cause") <= len(causes)).then("cause").otherwise(0).alias("cause")
    return count_days(_known(part.lazy().with_columns(kept), by), "time", "cause", by, entry, causes=causes)


def _shares(part: pl.DataFrame, covariate: str, by: str | None) -> DayCounts:
    rows = part.lazy().drop_nulls(covariate).with_columns(time=pl.lit(0))
    return count_days(_known(rows, by), "time", covariate, by, causes=[1])


def _persons(table: AnalysisTable, by: str | None) -> Persons | None:
    """Return the rows by person where a person may have several, which a variance must not take for independent."""
    if not table.repeats:
        return None
    return repeated_rows(_known(table.lazy(), by), "person_id", table.entry, "time", "cause", by)


def _known(rows: pl.LazyFrame, by: str | None) -> pl.LazyFrame:
    """Return the rows whose group is known: a value that could not be known is no group."""
    return rows if by is None else rows.filter(pl.col(by).is_not_null())


def _left_out(table: AnalysisTable, by: str | None) -> str:
    """Say that persons without a group are left out; how many would be a count that no rule has judged."""
    missing = by is not None and table.total(partial(_nulls, by))
    return f"; persons with a missing {by} left out" if missing else ""


def _nulls(name: str, part: pl.DataFrame) -> int:
    return part[name].null_count()
