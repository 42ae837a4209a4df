"""Regression models of a study: Cox for what drives the outcome, Fine–Gray for its cumulative incidence."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import NOT_ESTIMABLE, OK, PROPORTIONALITY, Estimates
from cohort.results.terms import check_terms, variables_of
from cohort.spec import Spec
from cohort.survival.design import Term, parse_terms

_COLUMN = {"column": pl.String, "term": pl.String, "category": pl.String}
_LEVEL = re.compile(r"(?P<term>\w+)\[(?P<category>.*)\]")


class _Fit(Protocol):
    """What a fitted model must tell."""

    @property
    def terms(self) -> tuple[str, ...]: ...
    @property
    def references(self) -> dict[str, str]: ...
    @property
    def n(self) -> int: ...
    @property
    def n_events(self) -> int: ...
    @property
    def n_missing(self) -> int: ...
    @property
    def method(self) -> str: ...
    def to_polars(self) -> pl.DataFrame:
        """Return one row per column: term, hazard_ratio, std_error, lower, upper."""


class Regression(Spec):
    """Base of the models: terms, ties, and how a fit becomes rows."""

    by: ClassVar[None] = None
    estimand: ClassVar[str]
    terms: Annotated[str, Field(min_length=1, description="covariates and products, such as 'age + sex + age:sex'")]
    ties: Annotated[Literal["efron", "breslow"], Field(description="treatment of tied days")] = "efron"
    level: Annotated[float, Field(gt=0, lt=1, description="confidence level")] = 0.95

    _parses = field_validator("terms")(check_terms)

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return variables_of(self.terms)

    @property
    def contrast(self) -> str | None:
        """Return the covariate that it contrasts: the first of the model."""
        return self.uses[0]

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self.terms}; {self.ties.capitalize()} ties, {self.level:.0%} limits"

    @abstractmethod
    def fit(self, frame: pl.LazyFrame, table: AnalysisTable) -> _Fit:
        """Fit the model to the persons at risk; ``frame`` has their rows with a Boolean ``event``."""

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per column of the model and per reference level, or why there is no answer."""
        constants = {"analysis": number, "outcome": table.outcome, "level": self.level}
        frame = table.lazy().with_columns(event=pl.col("cause") == 1)
        try:
            fit = self.fit(frame, table)
            rows = self._rows(fit, frame.drop_nulls(list(self.uses)), table)
        except NotEstimableError as error:
            rows = pl.DataFrame({"term": [term.name for term in parse_terms(self.terms)], "status": str(error)})
            return Estimates.from_rows(rows, estimand=self.estimand, unit="ratio", **constants)
        ratios = Estimates.from_rows(rows, estimand=self.estimand, unit="ratio", **constants)
        tested = proportionality_rows(fit, parse_terms(self.terms))
        if tested.is_empty():
            return ratios
        return Estimates.concat([ratios, Estimates.from_rows(tested, unit="p-value", **constants)])

    def _rows(self, fit: _Fit, known: pl.LazyFrame, table: AnalysisTable) -> pl.DataFrame:
        estimated = fit.to_polars().select(
            column="term", value="hazard_ratio", std_error="std_error", lower="lower", upper="upper"
        )
        columns = pl.DataFrame([_column(name, table) for name in fit.terms], schema=_COLUMN, orient="row")
        rows = columns.join(estimated, on="column", maintain_order="left").drop("column")
        with_references = pl.concat([rows, _references(table, fit.references, self.uses)], how="diagonal")
        # how many is a count that no rule has judged
        left_out = "; persons with a missing covariate left out" if fit.n_missing else ""
        return with_references.join(
            _levels(known, table, self.uses), on=["term", "category"], how="left", nulls_equal=True
        ).with_columns(
            pl.col("n").fill_null(fit.n),
            pl.col("events").fill_null(fit.n_events),
            method=pl.lit(f"{fit.method}; standard error on the log scale{left_out}"),
        )


class Cox(Regression):
    """Cause-specific Cox model of the outcome: what competes with it is censored, as aetiology asks.

    References
    ----------
    Koller MT et al. Competing risks and the clinical community. Stat Med 2012;31:1089-1097. doi:10.1002/sim.4384.
    """

    kind: Literal["cox"] = "cox"
    title: ClassVar[str] = "Cause-specific Cox model"
    estimand: ClassVar[str] = "hazard_ratio"

    def fit(self, frame: pl.LazyFrame, table: AnalysisTable) -> _Fit:
        """Fit the Cox model with risk sets (entry, time], within matched sets or sites where there are such.

        Where persons enter more than once, the variance is robust to what their entries have in common. Of a table that
        stays on a cluster the model's columns come here, as the test of proportional hazards wants all rows together;
        `AnalysisTable.ask` fits one from sums alone.
        """
        from cohort.survival.cox import fit_cox

        return fit_cox(
            frame,
            "time",
            "event",
            table.entry,
            terms=self.terms,
            ties=self.ties,
            level=self.level,
            missing="leave_out",
            with_proportionality=True,
            strata=table.strata,
            cluster="person_id" if table.repeats else None,
        )


class FineGray(Regression):
    """Fine–Gray model: hazard ratios of the subdistribution, for predicting the outcome beside what competes with it.

    Everybody enters at the landmark, so time is counted from there: the cumulative incidence is that of persons who
    reached it. A ratio of subdistribution hazards tells the direction of an effect on the cumulative incidence, not
    its cause.

    References
    ----------
    Fine JP, Gray RJ. A proportional hazards model for the subdistribution of a competing risk. J Am Stat Assoc
    1999;94:496-509. doi:10.1080/01621459.1999.10474144.
    """

    kind: Literal["fine_gray"] = "fine_gray"
    title: ClassVar[str] = "Fine–Gray model"
    estimand: ClassVar[str] = "subdistribution_hazard_ratio"

    def fit(self, frame: pl.LazyFrame, table: AnalysisTable) -> _Fit:
        """Fit the Fine–Gray model on days since the landmark."""
        from cohort.survival.fine_gray import fit_fine_gray

        since = frame.with_columns(time=pl.col("time") - table.landmark, cause=pl.col("cause").cast(pl.Int64))
        return fit_fine_gray(since, terms=self.terms, ties=self.ties, level=self.level, missing="leave_out")


def proportionality_rows(fit: _Fit, terms: Sequence[Term]) -> pl.DataFrame:
    """Return the test that no ratio changes with time, by term and of all together; nothing of other models."""
    test = getattr(fit, "proportionality", None)
    if test is None:
        return pl.DataFrame()
    names = [*(term.name for term in terms), None]
    p_values = [float(value) if np.isfinite(value) else None for value in test.p_value]
    told = pl.DataFrame({"term": names, "value": p_values}, schema={"term": pl.String, "value": pl.Float64})
    unknown = pl.lit(f"{NOT_ESTIMABLE}: no trend can be told from these events")
    return told.with_columns(
        estimand=pl.lit(PROPORTIONALITY),
        n=pl.lit(fit.n, pl.Int64),
        events=pl.lit(fit.n_events, pl.Int64),
        method=pl.lit("score test for a trend of the coefficient with time (Grambsch–Therneau)"),
        status=pl.when(pl.col("value").is_null()).then(unknown).otherwise(pl.lit(OK)),
    )


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
