"""Analyses of a study as data, and their results as rows of the estimates.

Every analysis counts the parts of the analysis table, adds the counts, and finishes once; only the regression models
look at all rows together.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field

from cohort.results.analysis_table import AnalysisTable
from cohort.results.courses import CareFreeDays, MeanCumulativeCount, ResponseShares
from cohort.results.estimates import Estimates
from cohort.results.exposure_cox import ExposureCox
from cohort.results.regressions import Cox, FineGray
from cohort.results.treatment import TreatmentEffect
from cohort.results.trial import EmulatedTrial
from cohort.spec import Spec, Whole
from cohort.survival import cumulative_incidence_from, kaplan_meier_from
from cohort.survival.clusters import Persons, repeated_rows
from cohort.survival.counts import DayCounts, count_days
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


class IncidenceRate(_Counted):
    """Incidence rate of the outcome while at risk, with exact Poisson limits (Garwood)."""

    title: ClassVar[str] = "Incidence rates"
    kind: Literal["incidence_rate"] = "incidence_rate"
    per: Annotated[Whole, Field(ge=1, description="person-years that the rate is expressed per")] = 1000

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"per {self.per} person-years, {super().text}"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group."""
        counts = _count(table, self.by, outcome_only=True)
        rates = incidence_rate_from(counts, per=self.per, level=self.level)
        if table.repeats:
            rates = robust_rate_limits(rates, _persons(table, self.by) or {}, self.per, self.level)
        names = {"n_event": "events", "person_time": "person_days", "estimate": "value"}
        no_time = pl.when(pl.col("estimate").is_null()).then(pl.lit("not_estimable: no person-time"))
        return Estimates.from_rows(
            rates.with_columns(status=no_time.otherwise(pl.lit("ok"))).rename(names),
            analysis=number,
            estimand=self.kind,
            outcome=table.outcome,
            level=self.level,
            unit=f"per {self.per} person-years of {DAYS_PER_YEAR} days",
            method=f"events over person-time, {_RATE_LIMITS[table.repeats]}{_left_out(table, self.by)}",
        )


Analysis = Annotated[
    CumulativeIncidence
    | KaplanMeier
    | IncidenceRate
    | Cox
    | FineGray
    | ExposureCox
    | TreatmentEffect
    | EmulatedTrial
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


def incidence_rate(by: str | None = None, per: int = 1000, level: float = 0.95) -> IncidenceRate:
    """Return the incidence rate per ``per`` person-years, by group."""
    return IncidenceRate.of(by=by, per=per, level=level)


def cox(terms: str, ties: str = "efron", level: float = 0.95) -> Cox:
    """Return a cause-specific Cox model on covariates and their products."""
    return Cox.of(terms=terms, ties=ties, level=level)


def fine_gray(terms: str, ties: str = "efron", level: float = 0.95) -> FineGray:
    """Return a Fine–Gray model on covariates and their products."""
    return FineGray.of(terms=terms, ties=ties, level=level)


def _count(table: AnalysisTable, by: str | None, *, outcome_only: bool = False) -> DayCounts:
    """Return the sum of the day counts of all parts."""
    causes = [1] if outcome_only else list(range(1, len(table.causes) + 1))
    kept = pl.when(pl.col("cause") <= len(causes)).then("cause").otherwise(0).alias("cause")
    return sum(
        (
            count_days(_known(part.lazy().with_columns(kept), by), "time", "cause", by, table.entry, causes=causes)
            for part in table.parts
        ),
        start=0,
    )  # type: ignore[return-value]  # 0 + DayCounts is DayCounts


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
    missing = by is not None and any(part[by].null_count() for part in table.parts)
    return f"; persons with a missing {by} left out" if missing else ""
