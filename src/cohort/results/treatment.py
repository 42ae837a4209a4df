"""The effect of a treatment known at index, under propensity weights; sealed until its gates are passed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from cohort.errors import NotEstimableError
from cohort.population.entry import ARM
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.results.terms import check_terms, variables_of
from cohort.spec import Spec, Whole

Share = Annotated[float, Field(ge=0, le=1)]


class Gates(Spec):
    """Bounds that must hold before the estimates are shown; see `cohort.effects.gates.Bounds` for their sources."""

    balance: Annotated[float, Field(gt=0, description="largest standardised difference after weighting")] = 0.1
    equipoise: Annotated[Share, Field(description="smallest share of an arm in equipoise")] = 0.2
    effective: Annotated[Share, Field(description="smallest effective share of an arm's persons")] = 0.1
    per_parameter: Annotated[float, Field(ge=0, description="persons of the smaller arm per model column")] = 10
    proportional_hazards: Annotated[Share, Field(description="smallest p-value of a constant hazard ratio")] = 0.05
    systematic_error: Annotated[float, Field(gt=0, description="largest error expected from negative controls")] = 0.25
    control_events: Annotated[float, Field(ge=1, description="fewest events of a negative control in either arm")] = 10


class Sensitivity(Spec):
    """What the effect is held against: an unmeasured confounder, and an outcome that is found with error."""

    confounder: Annotated[
        tuple[Share, Share] | None, Field(description="its prevalence in the treated and in the untreated")
    ] = None
    outcome_found: Annotated[
        tuple[Share, Share] | None, Field(description="sensitivity of the outcome's definition: from, to")
    ] = None
    outcome_free: Annotated[
        tuple[Share, Share] | None, Field(description="specificity of the outcome's definition: from, to")
    ] = None

    @model_validator(mode="after")
    def _is_possible(self) -> Sensitivity:
        found, free = self.outcome_found, self.outcome_free
        if (found is None) != (free is None):
            raise ValueError("outcome_found and outcome_free come together: sensitivity and specificity")
        if found is not None and free is not None:
            if found[0] > found[1] or free[0] > free[1]:
                raise ValueError("outcome_found and outcome_free go from the smaller to the larger share")
            if found[0] + free[0] <= 1:
                raise ValueError("sensitivity and specificity must add up to more than 1, or the outcome is chance")
        return self


class TreatmentEffect(Spec):
    """Average effect of a treatment among comparable persons: risks, time lost and hazard ratio under weights.

    Persons are weighted by their propensity score until the arms are alike in what is adjusted for. Risks are read
    off weighted Aalen–Johansen curves; the variance is by person and knows that the weights were estimated. The
    estimates are sealed while a gate is closed, unless the study says why they should be seen all the same.

    References
    ----------
    Rosenbaum PR, Rubin DB. The central role of the propensity score. Biometrika 1983;70:41-55.
    doi:10.1093/biomet/70.1.41.
    Li F, Morgan KL, Zaslavsky AM. Balancing covariates via propensity score weighting. J Am Stat Assoc
    2018;113:390-400. doi:10.1080/01621459.2016.1260466.
    Lunceford JK, Davidian M. Stratification and weighting via the propensity score. Stat Med 2004;23:2937-2960.
    doi:10.1002/sim.1903.
    """

    kind: Literal["treatment_effect"] = "treatment_effect"
    title: ClassVar[str] = "Effect of treatment"
    by: ClassVar[None] = None
    treatment: Annotated[str, Field(min_length=1, description="Boolean covariate, or arm: the first is the treated")]
    adjust_for: Annotated[str, Field(min_length=1, description="covariates and products of the propensity model")]
    horizon_days: Annotated[Whole, Field(ge=1, description="day after index at which risks are read")]
    estimand: Annotated[
        Literal["ate", "att", "atu", "overlap", "matching"], Field(description="whom the answer is about")
    ] = "ate"
    model: Annotated[Literal["logistic", "lasso", "ridge", "boosting"], Field(description="propensity model")] = (
        "logistic"
    )
    folds: Annotated[Whole, Field(ge=1, description="folds of cross-fitting; 1 = none")] = 1
    truncate: Annotated[float | None, Field(gt=0.5, lt=1, description="quantile that weights are cut at")] = None
    measures: Annotated[
        tuple[Literal["risk", "time_lost", "hazard_ratio"], ...], Field(min_length=1, description="what is estimated")
    ] = ("risk", "time_lost", "hazard_ratio")
    negative_exposures: Annotated[
        tuple[str, ...], Field(description="yes/no covariates that cannot affect the outcome: negative controls")
    ] = ()
    sensitivity: Annotated[Sensitivity, Field(description="what the effect is held against")] = Sensitivity()
    gates: Annotated[Gates, Field(description="bounds that open the seal")] = Gates()
    unsealed: Annotated[str | None, Field(min_length=10, description="why estimates are shown past closed gates")] = (
        None
    )
    level: Annotated[float, Field(gt=0, lt=1, description="confidence level")] = 0.95

    _parses = field_validator("adjust_for")(check_terms)

    @model_validator(mode="after")
    def _does_not_adjust_for_the_treatment(self) -> TreatmentEffect:
        adjusted = variables_of(self.adjust_for)
        if self.treatment in adjusted:
            raise ValueError(f"adjust_for names the treatment {self.treatment!r}; leave it out")
        if both := sorted({self.treatment, *adjusted} & set(self.negative_exposures)):
            raise ValueError(f"negative_exposures names {both[0]!r}, which is the treatment or adjusted for")
        return self

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        return (self.treatment, *variables_of(self.adjust_for), *self.negative_exposures)

    @property
    def contrast(self) -> str:
        """Return the covariate that it contrasts."""
        return self.treatment

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        shown = "" if self.unsealed is None else f"; shown past closed gates because: {self.unsealed}"
        return (
            f"{self.treatment.replace('_', ' ')}, {self.estimand.upper()} by day {self.horizon_days}, propensity model "
            f"({self.model}) of {self.adjust_for}, {self.level:.0%} limits{shown}"
        )

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return estimates by arm and their contrasts, the balance of every covariate, and the gates."""
        from cohort.results.treatment_rows import effect_rows

        constants = {"analysis": number, "outcome": table.outcome, "level": self.level, "time": self.horizon_days}
        frame = table.lazy().with_columns(pl.col("cause").cast(pl.Int64)).collect()
        if self.treatment == ARM:
            frame = frame.with_columns(pl.col(ARM) == table.arms[0])
        try:
            rows = effect_rows(self, frame, table.entry, table.controls)
        except NotEstimableError as error:
            rows = pl.DataFrame({"estimand": "risk_difference", "group": "true", "status": str(error)})
        return Estimates.from_rows(rows, **constants)


def treatment_effect(treatment: str, adjust_for: str, horizon_days: int, **options: Any) -> TreatmentEffect:
    """Return the effect of a treatment known at index; options are the fields of `TreatmentEffect`."""
    return TreatmentEffect.of(treatment=treatment, adjust_for=adjust_for, horizon_days=horizon_days, **options)
