"""Sequential nested trials from the study file: a trial begins with every period in which a person is eligible."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field, field_validator, model_validator

from cohort.errors import NotEstimableError
from cohort.results.analysis_table import AnalysisTable
from cohort.results.estimates import Estimates
from cohort.results.natural_censoring import NaturalCensoring
from cohort.results.terms import check_terms, variables_of
from cohort.results.treatment import Sensitivity
from cohort.results.trial import TrialGates
from cohort.spec import Spec, Whole


class NestedTrials(Spec):
    """Target trials of starting an exposure against not starting it, one from each period's beginning, pooled.

    Whoever has never been exposed is eligible again with every period, so that a person who starts in month five has
    been among those who did not in the trials before. Who started since the last period began, and who did not, are
    weighted to be alike in what was known then; time zero is the end of that period, so that nobody has to live
    through it to be treated. The first trial begins ``period_days`` after index. ``intention_to_treat`` follows all
    to the end; ``per_protocol`` ends a person's part where the exposure departs from that of time zero, and weights
    those who remain. With ``begin = "index"`` there is one trial, from the index date, such as of two arms that are to
    keep to what they began with (``against`` names the exposure of the other arm). Limits come from bootstrap samples
    of persons, with all of their trials. Estimates are sealed while a gate is closed.

    References
    ----------
    Hernán MA et al. Observational studies analyzed like randomized experiments: an application to postmenopausal
    hormone therapy and coronary heart disease. Epidemiology 2008;19:766-779. doi:10.1097/EDE.0b013e3181875e61.
    Danaei G et al. Observational data for comparative effectiveness research: an emulation of randomised trials of
    statins. Stat Methods Med Res 2013;22:70-96. doi:10.1177/0962280211403603.
    """

    kind: Literal["nested_trials"] = "nested_trials"
    title: ClassVar[str] = "Nested target trials"
    by: ClassVar[None] = None
    weighs_time_varying: ClassVar[bool] = True
    exposure: Annotated[str, Field(min_length=1, description="exposure that is started, or not")]
    against: Annotated[
        str | None, Field(description="exposure that the other arm begins with on the index date; absent = none")
    ] = None
    begin: Annotated[
        Literal["every_period", "index"], Field(description="when trials begin: with every period, or once, at index")
    ] = "every_period"
    until_day: Annotated[
        Whole | None, Field(ge=1, description="last day on which a trial begins; absent = while there is follow-up")
    ] = None
    protocol: Annotated[
        Literal["intention_to_treat", "per_protocol"], Field(description="whether departing ends a person's part")
    ] = "intention_to_treat"
    period_days: Annotated[Whole, Field(ge=1, description="days from the beginning of one period to the next")] = 30
    adjust_for: Annotated[str, Field(min_length=1, description="covariates and products of the models of exposure")]
    horizon_days: Annotated[Whole, Field(ge=1, description="day after a trial's time zero at which risks are read")]
    natural_censoring: Annotated[
        NaturalCensoring | None, Field(description="ends of follow-up that are weighted for; absent = taken as random")
    ] = None
    truncate: Annotated[float | None, Field(gt=0.5, lt=1, description="quantile that weights are cut at")] = None
    replicates: Annotated[Whole, Field(ge=20, description="bootstrap samples of persons behind the limits")] = 200
    seed: Annotated[Whole, Field(ge=0, description="seed of the bootstrap")] = 0
    sensitivity: Annotated[Sensitivity, Field(description="what the effect is held against")] = Sensitivity()
    gates: Annotated[TrialGates, Field(description="bounds that open the seal")] = TrialGates()
    unsealed: Annotated[str | None, Field(min_length=10, description="why estimates are shown past closed gates")] = (
        None
    )
    level: Annotated[float, Field(gt=0, lt=1, description="confidence level")] = 0.95

    _parses = field_validator("adjust_for")(check_terms)

    @model_validator(mode="after")
    def _fits_together(self) -> NestedTrials:
        if self.against is not None and self.begin != "index":
            raise ValueError("against names the other arm of one trial; write begin = 'index'")
        if self.against == self.exposure:
            raise ValueError(
                f"against names the exposure {self.exposure!r} itself; name the other arm's, or leave it out"
            )
        if self.until_day is not None and (self.begin == "index" or self.until_day < self.period_days):
            raise ValueError("until_day ends the trials of every period; the first begins after period_days")
        if self.period_days > self.horizon_days:
            raise ValueError(f"period_days = {self.period_days} is beyond horizon_days = {self.horizon_days}")
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
        kept = self.protocol == "per_protocol"
        if self.against is not None:
            verb = "keep to" if kept else "start"
            return tuple(f"{verb} {name.replace('_', ' ')}" for name in (self.exposure, self.against))  # type: ignore[return-value]  # two of them
        return ("start and keep to it", "keep from starting") if kept else ("start", "do not start")

    @property
    def text(self) -> str:
        """Return what the protocol table says."""
        when = f"every {self.period_days} days" if self.begin == "every_period" else "at index"
        when += "" if self.until_day is None else f" until day {self.until_day}"
        cut = "" if self.truncate is None else f", weights cut at their {self.truncate:.1%} quantile"
        if self.natural_censoring is not None:
            cut = f", natural censoring weighted ({self.natural_censoring.text}){cut}"
        shown = "" if self.unsealed is None else f"; shown past closed gates because: {self.unsealed}"
        return (
            f"{self.exposure.replace('_', ' ')}: {' against '.join(self.strategies)}, trials beginning {when}, "
            f"{self.protocol.replace('_', ' ')} by day {self.horizon_days} of each, models of exposure on "
            f"{self.adjust_for} by periods of {self.period_days} days{cut}, {self.level:.0%} limits of "
            f"{self.replicates} bootstrap samples of persons, seed {self.seed}{shown}"
        )

    def estimate(self, number: int, table: AnalysisTable) -> Estimates:
        """Return estimates by strategy, curves, contrasts, what other designs would say, balance and gates."""
        from cohort.results.nested_rows import nested_rows

        constants = {"analysis": number, "level": self.level}
        try:
            rows = nested_rows(self, table)
        except NotEstimableError as error:
            empty = {"estimand": "risk_difference", "outcome": table.outcome, "group": self.strategies[0]}
            rows = pl.DataFrame(empty | {"time": self.horizon_days, "status": str(error)})
        return Estimates.from_rows(rows, **constants)


def nested_trials(exposure: str, adjust_for: str, horizon_days: int, **options: Any) -> NestedTrials:
    """Return nested trials of starting an exposure; options are the fields of `NestedTrials`."""
    return NestedTrials.of(exposure=exposure, adjust_for=adjust_for, horizon_days=horizon_days, **options)
