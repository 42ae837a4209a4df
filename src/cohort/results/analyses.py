"""Analyses of a study as data, and their results as rows of the estimates.

Every analysis counts the parts of the analysis table, adds the counts, and finishes once; only the Cox model looks at
all rows together.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator

from cohort.errors import NotEstimableError, StudyError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.spec import Spec, Whole
from cohort.survival import cumulative_incidence_from, kaplan_meier_from
from cohort.survival.counts import DayCounts, count_days
from cohort.survival.design import parse_terms
from cohort.survival.rates import incidence_rate_from
from cohort.time import DAYS_PER_YEAR

By = Annotated[str | None, Field(description="Boolean or categorical covariate that makes the groups; absent = all")]
Level = Annotated[float, Field(gt=0, lt=1, description="confidence level")]

_CURVE = {"n_risk": "n", "n_event": "events", "n_censored": "censored", "estimate": "value"}


class CumulativeIncidence(Spec):
    """Cumulative incidence of the outcome and of what competes with it (Aalen–Johansen)."""

    title: ClassVar[str] = "Cumulative incidence"
    kind: Literal["cumulative_incidence"] = "cumulative_incidence"
    by: By = None
    level: Level = 0.95

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return _maybe(self.by)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts."""
        return self.by

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{_grouped(self.by)}, {self.level:.0%} limits"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group, cause and day of exit."""
        causes = dict(enumerate(table.causes, start=1))
        curves = cumulative_incidence_from(_count(table, self.by), level=self.level).to_polars()
        named = curves.with_columns(pl.col("cause").replace_strict(causes, return_dtype=pl.String).alias("outcome"))
        return Estimates.from_rows(
            named.drop("cause").rename(_CURVE),
            analysis=number,
            estimand=self.kind,
            level=self.level,
            unit="probability",
            method="Aalen–Johansen, infinitesimal-jackknife standard error, log limits",
        )


class KaplanMeier(Spec):
    """Probability of being free of the outcome and of what competes with it (Kaplan–Meier of the composite).

    Censoring at a competing event would answer a question about a world without it; the composite needs no such world.
    """

    title: ClassVar[str] = "Event-free probability"
    kind: Literal["kaplan_meier"] = "kaplan_meier"
    by: By = None
    level: Level = 0.95

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return _maybe(self.by)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts."""
        return self.by

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{_grouped(self.by)}, {self.level:.0%} limits"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group and day of exit."""
        curves = kaplan_meier_from(_count(table, self.by), level=self.level).to_polars()
        return Estimates.from_rows(
            curves.rename(_CURVE),
            analysis=number,
            estimand="survival",
            outcome=" or ".join(table.causes),
            level=self.level,
            unit="probability",
            method="Kaplan–Meier, Greenwood standard error, log limits",
        )


class IncidenceRate(Spec):
    """Incidence rate of the outcome while at risk, with exact Poisson limits (Garwood)."""

    title: ClassVar[str] = "Incidence rates"
    kind: Literal["incidence_rate"] = "incidence_rate"
    by: By = None
    per: Annotated[Whole, Field(ge=1, description="person-years that the rate is expressed per")] = 1000
    level: Level = 0.95

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return _maybe(self.by)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts."""
        return self.by

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"per {self.per} person-years, {_grouped(self.by)}, {self.level:.0%} limits"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per group."""
        counts = _count(table, self.by, outcome_only=True)
        rates = incidence_rate_from(counts, per=self.per, level=self.level)
        names = {"n_event": "events", "person_time": "person_days", "estimate": "value"}
        no_time = pl.when(pl.col("estimate").is_null()).then(pl.lit("not_estimable: no person-time"))
        return Estimates.from_rows(
            rates.with_columns(status=no_time.otherwise(pl.lit("ok"))).rename(names),
            analysis=number,
            estimand=self.kind,
            outcome=table.outcome,
            level=self.level,
            unit=f"per {self.per} person-years of {DAYS_PER_YEAR} days",
            method="events over person-time, Garwood limits",
        )


class Cox(Spec):
    """Cause-specific Cox model of the outcome: what competes with it is censored, as aetiology asks.

    References
    ----------
    Koller MT et al. Competing risks and the clinical community. Stat Med 2012;31:1089-1097. doi:10.1002/sim.4384.
    """

    title: ClassVar[str] = "Cause-specific Cox model"
    kind: Literal["cox"] = "cox"
    by: ClassVar[None] = None
    terms: Annotated[str, Field(min_length=1, description="covariates and products, such as 'age + sex + age:sex'")]
    ties: Annotated[Literal["efron", "breslow"], Field(description="treatment of tied days")] = "efron"
    level: Level = 0.95

    @field_validator("terms")
    @classmethod
    def _parses(cls, terms: str) -> str:
        try:
            parse_terms(terms)
        except StudyError as error:  # as a ValueError it is reported with its key
            raise ValueError(str(error)) from None
        return terms

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return tuple(dict.fromkeys(name for term in parse_terms(self.terms) for name in term.variables))

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts: the first of the model."""
        return self.uses[0]

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.terms}; {self.ties.capitalize()} ties, {self.level:.0%} limits"

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per column of the model and per reference level, or why there is no answer."""
        constants = {"analysis": number, "estimand": "hazard_ratio", "outcome": table.outcome, "level": self.level}
        try:
            rows = self._fit(table)
        except NotEstimableError as error:
            rows = pl.DataFrame({"term": [term.name for term in parse_terms(self.terms)], "status": str(error)})
        return Estimates.from_rows(rows, unit="ratio", **constants)

    def _fit(self, table: AnalysisTable) -> pl.DataFrame:
        from cohort.survival.cox import fit_cox

        frame = table.lazy().with_columns(event=pl.col("cause") == 1)
        fit = fit_cox(
            frame, "time", "event", table.entry, terms=self.terms, ties=self.ties, level=self.level, missing="leave_out"
        )
        known = frame.drop_nulls(list(self.uses))
        estimated = fit.to_polars().select(
            column="term", value="hazard_ratio", std_error="std_error", lower="lower", upper="upper"
        )
        columns = pl.DataFrame([_column(name, table) for name in fit.terms], schema=_COLUMN, orient="row")
        rows = columns.join(estimated, on="column", maintain_order="left").drop("column")
        references = _references(table, fit.references, self.uses)
        left_out = f"; {fit.n_missing} persons with a missing covariate left out" if fit.n_missing else ""
        return pl.concat([rows, references], how="diagonal").join(
            _levels(known, table, self.uses), on=["term", "category"], how="left", nulls_equal=True
        ).with_columns(
            pl.col("n").fill_null(fit.n),
            pl.col("events").fill_null(fit.n_events),
            method=pl.lit(f"{fit.method}; standard error on the log scale{left_out}"),
        )  # fmt: skip


Analysis = Annotated[CumulativeIncidence | KaplanMeier | IncidenceRate | Cox, Field(discriminator="kind")]
"""Any analysis of a study."""

_COLUMN = {"column": pl.String, "term": pl.String, "category": pl.String}
_LEVEL = re.compile(r"(?P<term>\w+)\[(?P<category>.*)\]")


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


def _maybe(name: str | None) -> tuple[str, ...]:
    return () if name is None else (name,)


def _grouped(by: str | None) -> str:
    return "of all" if by is None else f"by {by.replace('_', ' ')}"


def _count(table: AnalysisTable, by: str | None, *, outcome_only: bool = False) -> DayCounts:
    """Return the sum of the day counts of all parts."""
    causes = [1] if outcome_only else list(range(1, len(table.causes) + 1))
    kept = pl.when(pl.col("cause") <= len(causes)).then("cause").otherwise(0).alias("cause")
    return sum(
        (
            count_days(part.lazy().with_columns(kept), "time", "cause", by, table.entry, causes=causes)
            for part in table.parts
        ),
        start=0,
    )  # type: ignore[return-value]  # 0 + DayCounts is DayCounts


def _column(name: str, table: AnalysisTable) -> tuple[str, str, str | None]:
    """Return a model column's name, its term and its level."""
    if table.variables.get(name) == "boolean":
        return name, name, "true"
    level = _LEVEL.fullmatch(name)
    return (name, name, None) if level is None else (name, level["term"], level["category"])


def _references(table: AnalysisTable, references: dict[str, str], uses: tuple[str, ...]) -> pl.DataFrame:
    """Return the reference level of every categorical and Boolean term: hazard ratio 1, without an error."""
    booleans = {name: "false" for name in uses if table.variables[name] == "boolean"}
    rows = [(term, level, 1.0) for term, level in (references | booleans).items()]
    return pl.DataFrame(rows, schema={"term": pl.String, "category": pl.String, "value": pl.Float64}, orient="row")


def _levels(known: pl.LazyFrame, table: AnalysisTable, uses: tuple[str, ...]) -> pl.DataFrame:
    """Return persons and events of every level of the categorical and Boolean terms."""
    parts = [
        known.group_by(pl.col(name).cast(pl.String).alias("category"))
        .agg(n=pl.len().cast(pl.Int64), events=pl.col("event").sum().cast(pl.Int64))
        .select(pl.lit(name).alias("term"), "category", "n", "events")
        for name in uses
        if table.variables[name] != "integer"
    ]
    schema = {"term": pl.String, "category": pl.String, "n": pl.Int64, "events": pl.Int64}
    return pl.concat(pl.collect_all(parts)) if parts else pl.DataFrame(schema=schema)
