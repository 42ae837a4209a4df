"""A target trial emulated from the study file: "start within a grace period" against "do not start within it"."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.results.natural_censoring import NaturalCensoring
from cohort.results.terms import check_terms, variables_of
from cohort.results.treatment import Sensitivity, Share
from cohort.spec import Spec, Whole


class TrialGates(Spec):
    """Bounds that must hold before a trial is shown; see `cohort.effects.gates.Bounds` for their sources."""

    balance: Annotated[float, Field(gt=0, description="largest standardised difference after weighting")] = 0.1
    effective: Annotated[Share, Field(description="smallest effective share of a strategy's followers")] = 0.1
    per_parameter: Annotated[float, Field(ge=0, description="departures per column of a model of departing")] = 10
    events: Annotated[float, Field(ge=0, description="outcome events of a strategy")] = 10
    proportional_hazards: Annotated[Share, Field(description="smallest p-value of a constant hazard ratio")] = 0.05
    systematic_error: Annotated[float, Field(gt=0, description="largest error expected from negative controls")] = 0.25
    control_events: Annotated[float, Field(ge=1, description="fewest events of a negative control in either arm")] = 10


class EmulatedTrial(Spec):
    """Target trial of two strategies, "start within ``grace_days``" and "do not start within them".

    At index nobody has departed from either strategy, so everybody is a clone in both arms until a departure censors
    the clone; those who stay are weighted to stand for those who left and were like them. Nobody is treated before it
    happens, and no time is immortal. Limits come from bootstrap samples of persons, with both of their clones. The
    estimates are sealed while a gate is closed, unless the study says why they should be seen all the same.

    References
    ----------
    Hernán MA, Robins JM. Using big data to emulate a target trial. Am J Epidemiol 2016;183:758-764.
    doi:10.1093/aje/kwv254.
    Maringe C et al. Reflection on modern methods: trial emulation in the presence of immortal-time bias. Int J
    Epidemiol 2020;49:1719-1729. doi:10.1093/ije/dyaa057.
    """

    kind: Literal["emulated_trial"] = "emulated_trial"
    title: ClassVar[str] = "Emulated target trial"
    by: ClassVar[None] = None
    weighs_time_varying: ClassVar[bool] = True
    exposure: Annotated[str, Field(min_length=1, description="exposure that the strategies start, or do not")]
    grace_days: Annotated[Whole, Field(ge=0, description="last day after index on which a start is in time")]
    adjust_for: Annotated[str, Field(min_length=1, description="covariates and products of the models of departing")]
    horizon_days: Annotated[Whole, Field(ge=1, description="day after index at which risks are read")]
    departing: Annotated[
        Literal["each", "starting"],
        Field(description="each strategy has a model of departing, or one model of starting serves both"),
    ] = "each"
    natural_censoring: Annotated[
        NaturalCensoring | None, Field(description="ends of follow-up that are weighted for; absent = taken as random")
    ] = None
    truncate: Annotated[float | None, Field(gt=0.5, lt=1, description="quantile that weights are cut at")] = None
    replicates: Annotated[Whole, Field(ge=20, description="bootstrap samples of persons behind the limits")] = 200
    seed: Annotated[Whole, Field(ge=0, description="seed of the bootstrap")] = 0
    negative_exposures: Annotated[
        tuple[str, ...], Field(description="exposures that cannot affect the outcome: negative controls")
    ] = ()
    sensitivity: Annotated[Sensitivity, Field(description="what the effect is held against")] = Sensitivity()
    gates: Annotated[TrialGates, Field(description="bounds that open the seal")] = TrialGates()
    unsealed: Annotated[str | None, Field(min_length=10, description="why estimates are shown past closed gates")] = (
        None
    )
    level: Annotated[float, Field(gt=0, lt=1, description="confidence level")] = 0.95

    _parses = field_validator("adjust_for")(check_terms)

    @model_validator(mode="after")
    def _ends_its_grace(self) -> EmulatedTrial:
        if self.grace_days >= self.horizon_days:
            raise ValueError(f"grace_days = {self.grace_days} does not end before horizon_days = {self.horizon_days}")
        if self.departing == "starting" and self.natural_censoring is not None:
            raise ValueError("departing = 'starting' goes without natural_censoring; leave out one of the two")
        if self.exposure in self.negative_exposures:
            raise ValueError(f"negative_exposures names {self.exposure!r}, which is the exposure; leave it out")
        return self

    @property
    def uses(self) -> tuple[str, ...]:
        """Return the covariates that it reads."""
        leaving = () if self.natural_censoring is None else variables_of(self.natural_censoring.terms)
        return tuple(dict.fromkeys([*variables_of(self.adjust_for), *leaving]))

    @property
    def contrast(self) -> str:
        """Return what it contrasts."""
        return self.exposure

    @property
    def strategies(self) -> tuple[str, str]:
        """Return what the two arms are called: starting first."""
        return f"start within {self.grace_days} days", f"do not start within {self.grace_days} days"

    @property
    def _modelled(self) -> str:
        return "departing" if self.departing == "each" else "starting"

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        cut = "" if self.truncate is None else f", weights cut at their {self.truncate:.1%} quantile"
        shown = "" if self.unsealed is None else f"; shown past closed gates because: {self.unsealed}"
        if self.natural_censoring is not None:
            cut = f", natural censoring weighted ({self.natural_censoring.text}){cut}"
        return (
            f"{self.exposure.replace('_', ' ')}: {' against '.join(self.strategies)}, by day {self.horizon_days}, "
            f"clone–censor–weight with models of {self._modelled} on {self.adjust_for}{cut}, "
            f"{self.level:.0%} limits of {self.replicates} bootstrap samples of persons, seed {self.seed}{shown}"
        )

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return estimates by strategy, curves, contrasts, what other designs would say, balance and gates."""
        from cohort.results.trial_rows import trial_rows

        constants = {"analysis": number, "level": self.level}
        try:
            rows = trial_rows(self, table)
        except NotEstimableError as error:
            empty = {"estimand": "risk_difference", "outcome": table.outcome, "group": self.strategies[0]}
            rows = pl.DataFrame(empty | {"time": self.horizon_days, "status": str(error)})
        return Estimates.from_rows(rows, **constants)


def emulated_trial(exposure: str, grace_days: int, adjust_for: str, horizon_days: int, **options: Any) -> EmulatedTrial:
    """Return the target trial "start within ``grace_days``" against "do not"; options are fields of `EmulatedTrial`."""
    return EmulatedTrial.of(
        exposure=exposure, grace_days=grace_days, adjust_for=adjust_for, horizon_days=horizon_days, **options
    )
