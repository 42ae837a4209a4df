"""Cox models of an exposure that starts after index: day by day as it happens, or as it stands at a landmark."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from cohort.effects.exposed_time import BEFORE_INDEX, at_landmark, split_at_start
from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.results.regressions import Cox, Regression, proportionality_rows
from cohort.spec import Whole
from cohort.survival.design import parse_terms


class ExposureCox(Regression):
    """Cause-specific Cox model of an exposure that may start after index, and of covariates known at index.

    Without a landmark the exposure is time-varying: each day counts for what it was, unexposed up to and including the
    day of the start. With one, persons still at risk after ``landmark_days`` are compared by whether they had started
    by then, and risk starts there. Neither lends the exposed the time that they had to survive unexposed. Covariates
    that change after index and lead to the exposure are not adjusted for; they ask for a target trial.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    Anderson JR, Cain KC, Gelber RD. Analysis of survival by tumor response. J Clin Oncol 1983;1:710-719.
    doi:10.1200/JCO.1983.1.11.710.
    """

    kind: Literal["exposure_cox"] = "exposure_cox"
    title: ClassVar[str] = "Cox model of an exposure after index"
    estimand: ClassVar[str] = "hazard_ratio"
    exposure: Annotated[str, Field(min_length=1, description="exposure whose hazard ratio is asked for")]
    landmark_days: Annotated[
        Whole | None, Field(ge=0, description="day whose exposure counts, risk starting after it; absent = day by day")
    ] = None

    @model_validator(mode="after")
    def _terms_are_covariates(self) -> ExposureCox:
        if self.exposure in self.uses:
            raise ValueError(f"terms names the exposure {self.exposure!r}; it is in the model already, leave it out")
        return self

    @property
    def contrast(self) -> str:
        """Return what it contrasts."""
        return self.exposure

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        return f"{self._exposed}; {super().text}"

    @property
    def _exposed(self) -> str:
        when = "day by day" if self.landmark_days is None else f"as it stands on day {self.landmark_days}"
        return f"{self.exposure.replace('_', ' ')} {when}"

    def fit(self, frame: pl.LazyFrame, table: AnalysisTable) -> Any:
        """Fit the Cox model to rows whose exposure is a Boolean."""
        return self._model.fit(frame, table)

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return one row per column of the model and per reference level, or why there is no answer.

        A person counts once, as exposed where follow-up ended exposed.
        """
        constants = {"analysis": number, "outcome": table.outcome, "level": self.level}
        variables = {**table.variables, self.exposure: "boolean"}
        exposed = replace(table, variables=variables, delayed=True)  # risk sets are (entry, time], from day -1 on
        frame = self._frame(table)
        ends = frame.filter("last").drop_nulls(list(self.uses))
        persons = pl.lit(ends.select(pl.len()).collect().item(), pl.Int64)
        tested = pl.DataFrame()
        try:
            fit = self.fit(frame, exposed)
            tested = proportionality_rows(fit, parse_terms(self._model.terms))
            rows = self._model._rows(fit, ends, exposed)
            rows = rows.with_columns(method=pl.concat_str(pl.lit(f"{self._exposed}; "), "method"))
        except NotEstimableError as error:
            rows = pl.DataFrame({"term": [self.exposure], "status": str(error), "category": [None], "n": [None]})
        counted = rows.with_columns(n=pl.when(pl.col("category").is_null()).then(persons).otherwise("n").cast(pl.Int64))
        ratios = Estimates.from_rows(counted, estimand=self.estimand, unit="ratio", **constants)
        if tested.is_empty():
            return ratios
        told = tested.with_columns(n=persons)
        return Estimates.concat([ratios, Estimates.from_rows(told, unit="p-value", **constants)])

    @property
    def _model(self) -> Cox:
        return Cox(terms=f"{self.exposure} + {self.terms}", ties=self.ties, level=self.level)

    def _frame(self, table: AnalysisTable) -> pl.LazyFrame:
        rows = table.lazy().with_columns(event=pl.col("cause") == 1)
        if table.entry is None:
            rows = rows.with_columns(entry=pl.lit(BEFORE_INDEX, pl.Int64))
        if self.landmark_days is None:
            return split_at_start(rows, self.exposure)
        return at_landmark(rows, self.exposure, self.landmark_days).with_columns(last=pl.lit(value=True))


def exposure_cox(exposure: str, terms: str, landmark_days: int | None = None, **options: Any) -> ExposureCox:
    """Return a Cox model of an exposure after index: time-varying, or as it stands at a landmark."""
    return ExposureCox.of(exposure=exposure, terms=terms, landmark_days=landmark_days, **options)
