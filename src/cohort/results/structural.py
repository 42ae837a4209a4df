"""A marginal structural Cox model from the study file: an exposure whose past changes what decides its future."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.results.natural_censoring import NaturalCensoring
from cohort.results.terms import check_terms, variables_of
from cohort.results.trial import TrialGates
from cohort.spec import Spec, Whole

EXPOSED, UNEXPOSED = "exposed", "unexposed"


class StructuralCox(Spec):
    """Marginal structural Cox model of an exposure that starts, and may end, after index.

    Covariates that change may foretell the exposure and be changed by it: adjusting for them takes away part of the
    effect, leaving them out leaves confounding. Time is cut into periods of ``period_days``, and each is weighted by
    the inverse chance of the exposure's course up to it (stabilised by what was known at index), which makes exposure
    independent of ``varying``. What is exposed at index already is compared given ``terms``. The standard error is
    robust by person. The ratio is sealed while a gate is closed.

    References
    ----------
    Hernán MA, Brumback B, Robins JM. Marginal structural models to estimate the causal effect of zidovudine on the
    survival of HIV-positive men. Epidemiology 2000;11:561-570. doi:10.1097/00001648-200009000-00012.
    Cole SR, Hernán MA. Constructing inverse probability weights for marginal structural models. Am J Epidemiol
    2008;168:656-664. doi:10.1093/aje/kwn164.
    """

    kind: Literal["structural_cox"] = "structural_cox"
    title: ClassVar[str] = "Marginal structural Cox model"
    by: ClassVar[None] = None
    weighs_time_varying: ClassVar[bool] = True
    exposure: Annotated[str, Field(min_length=1, description="exposure whose hazard ratio is asked for")]
    terms: Annotated[str, Field(min_length=1, description="covariates at index, in the model and in every weight")]
    varying: Annotated[str, Field(min_length=1, description="time-varying covariates that foretell the exposure")]
    period_days: Annotated[Whole, Field(ge=1, description="days of a period")] = 30
    horizon_days: Annotated[Whole, Field(ge=1, description="last day after index that counts")]
    natural_censoring: Annotated[
        NaturalCensoring | None, Field(description="ends of follow-up that are weighted for; absent = taken as random")
    ] = None
    truncate: Annotated[
        float | None, Field(gt=0.5, lt=1, description="weights are cut at this quantile and at its complement")
    ] = 0.99
    gates: Annotated[TrialGates, Field(description="bounds that open the seal")] = TrialGates()
    unsealed: Annotated[str | None, Field(min_length=10, description="why estimates are shown past closed gates")] = (
        None
    )
    level: Annotated[float, Field(gt=0, lt=1, description="confidence level")] = 0.95

    _parses = field_validator("terms", "varying")(check_terms)

    @model_validator(mode="after")
    def _fits_together(self) -> StructuralCox:
        if both := sorted(set(variables_of(self.terms)) & set(variables_of(self.varying))):
            raise ValueError(f"terms and varying both name {both[0]!r}; a covariate is of the one or of the other")
        if self.period_days > self.horizon_days:
            raise ValueError(f"period_days = {self.period_days} is beyond horizon_days = {self.horizon_days}")
        return self

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        leaving = () if self.natural_censoring is None else variables_of(self.natural_censoring.terms)
        return tuple(dict.fromkeys([*variables_of(self.terms), *variables_of(self.varying), *leaving]))

    @property
    def contrast(self) -> str:
        """Return what it contrasts."""
        return self.exposure

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        cut = "" if self.truncate is None else f", cut at {1 - self.truncate:.1%} and {self.truncate:.1%}"
        if self.natural_censoring is not None:
            cut += f", natural censoring weighted ({self.natural_censoring.text})"
        shown = "" if self.unsealed is None else f"; shown past closed gates because: {self.unsealed}"
        return (
            f"{self.exposure.replace('_', ' ')} by periods of {self.period_days} days up to day {self.horizon_days}, "
            f"given {self.terms}; stabilised weights of the exposure's course on {self.varying}{cut}, "
            f"{self.level:.0%} limits robust by person{shown}"
        )

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return the hazard ratio or why it is sealed, what plain models say, balance, gates and weights."""
        from cohort.results.structural_rows import structural_rows

        constants = {"analysis": number, "level": self.level, "outcome": table.outcome, "time": self.horizon_days}
        try:
            rows = structural_rows(self, table)
        except NotEstimableError as error:
            rows = pl.DataFrame({"estimand": "marginal_hazard_ratio", "group": EXPOSED, "status": str(error)})
        return Estimates.from_rows(rows, **constants)


def structural_cox(exposure: str, terms: str, varying: str, horizon_days: int, **options: Any) -> StructuralCox:
    """Return a marginal structural Cox model of an exposure; options are the fields of `StructuralCox`."""
    return StructuralCox.of(exposure=exposure, terms=terms, varying=varying, horizon_days=horizon_days, **options)
