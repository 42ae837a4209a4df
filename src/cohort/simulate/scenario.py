"""Scenarios: the parameters of a simulated population, read from TOML into closed, frozen models.

A scenario says how pain starts, lasts, spreads and ends, who is treated and what treatment truly does. The files in
``scenarios/`` say beside each number which published value it reproduces, or that it is a free choice.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from cohort.errors import StudyError
from cohort.simulate.vocabulary import concepts

SEVERITIES = ("mild", "moderate", "severe")
State = Literal["acute", "subacute", "chronic", "high_impact"]
STATES: tuple[State, ...] = get_args(State)

Probability = Annotated[float, Field(ge=0, le=1)]
# more often than daily would only fill the memory
Rate = Annotated[float, Field(ge=0, le=366)]
Positive = Annotated[float, Field(gt=0, le=36_600)]
LogRatio = Annotated[float, Field(ge=-5, le=5)]
Days = Annotated[int, Field(ge=0, le=3653)]
BySeverity = tuple[LogRatio, LogRatio, LogRatio]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _known_concept(name: str) -> str:
    if name not in concepts():
        raise ValueError("is not in the simulator's vocabulary (codes.csv)")
    return name


def _sum_to_one(shares: tuple[float, ...]) -> tuple[float, ...]:
    if abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must add to 1, these add to {sum(shares):g}")
    return shares


Concept = Annotated[str, AfterValidator(_known_concept)]


class _Section(BaseModel):
    """A closed, frozen table of the scenario file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Calendar(_Section):
    """When pain may start (burn-in) and when enrolment is observed."""

    first_day: dt.date
    last_day: dt.date
    burn_in_years: Annotated[int, Field(ge=0, le=20)]

    @model_validator(mode="after")
    def _in_order(self) -> Calendar:
        if not dt.timedelta(days=366) <= self.last_day - self.first_day <= dt.timedelta(days=366 * 30):
            raise ValueError("the calendar must span 1 to 30 years, last_day after first_day")
        return self


class Persons(_Section):
    """Sex, age and region; ages are ``[first, last, share]`` bands in completed years on the first day."""

    female: Probability
    age_at_first_day: Annotated[tuple[tuple[int, int, Probability], ...], Field(min_length=1)]
    regions: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _bands(self) -> Persons:
        if any(not 0 <= first <= last <= 110 for first, last, _ in self.age_at_first_day):
            raise ValueError("age_at_first_day: a band is [first, last, share] with 0 <= first <= last <= 110")
        _sum_to_one(tuple(share for *_, share in self.age_at_first_day))
        return self


class Condition(_Section):
    """What the index condition is written as: a concept for each severity, and those that state chronic pain."""

    by_severity: tuple[Concept, Concept, Concept] = ("low_back_mild", "low_back_moderate", "low_back_severe")
    chronic: Annotated[tuple[Concept, ...], Field(min_length=1)] = ("chronic_pain", "chronic_pain_syndrome")


class Onset(_Section):
    """First onset and relapse of acute pain: constant hazards, proportional in sensitization."""

    per_person_year: Rate
    log_hazard_ratio_sensitization: LogRatio
    relapse_per_person_year: Rate


class Remission(_Section):
    """Weibull remission, ``H(t) = (t / scale_days) ** (1 - duration_dependence)``, with proportional hazards."""

    scale_days: Positive
    duration_dependence: Annotated[float, Field(ge=0, lt=1)]
    log_hazard_ratio_severity: BySeverity
    log_hazard_ratio_sensitization: LogRatio
    log_hazard_ratio_comorbidity: LogRatio


class Severity(_Section):
    """Severity of an episode at its onset; each step up gains ``log_odds_sensitization`` per standard deviation."""

    shares: Annotated[tuple[Probability, Probability, Probability], AfterValidator(_sum_to_one)]
    log_odds_sensitization: LogRatio


class Mechanism(_Section):
    """Mechanism of an episode: severe ones are neuropathic (written as radiculopathy), the others by these shares.

    The mechanism names the episode in the truth; it does not change its course.
    """

    nociceptive: Annotated[float, Field(gt=0, le=1)]
    inflammatory: Probability
    nociplastic: Probability
    log_odds_nociplastic_sensitization: LogRatio

    @model_validator(mode="after")
    def _shares(self) -> Mechanism:
        _sum_to_one((self.nociceptive, self.inflammatory, self.nociplastic))
        return self


class States(_Section):
    """Bounds of the states of an episode, in days since onset, and the hazard of turning high-impact."""

    subacute_after_days: Days
    chronic_after_days: Days
    high_impact_per_year: Rate

    @model_validator(mode="after")
    def _in_order(self) -> States:
        if not 0 < self.subacute_after_days < self.chronic_after_days:
            raise ValueError("states follow one another: 0 < subacute_after_days < chronic_after_days")
        return self


class Flares(_Section):
    """Flares of chronic pain: how often, how long, and the share for which those who come back at all are seen."""

    per_year_in_chronic_pain: Rate
    mean_days: Positive
    seeks_care: Probability


class Opioid(_Section):
    """Who gets an early opioid, when, and what it truly does to the hazard of remission from then on.

    It is prescribed at the first visit and filled on that day or up to ``within_days`` later, whether or not the pain
    lasts until then. ``long_term`` is the share, by first days of supply, who stay on opioids after the pain. With a
    ``procedure`` the early treatment is that procedure instead, done once; ``refill`` and ``long_term`` are 0 then.
    """

    probability: tuple[Probability, Probability, Probability]
    same_day: Probability
    within_days: Days
    log_hazard_ratio_remission: LogRatio
    decay_per_day: Rate
    log_hazard_ratio_sensitization: LogRatio
    supply_days: Annotated[tuple[Annotated[int, Field(gt=0, le=90)], ...], Field(min_length=1)]
    supply_shares: Annotated[tuple[Probability, ...], AfterValidator(_sum_to_one)]
    refill: Annotated[float, Field(ge=0, lt=1)]
    long_term: tuple[Probability, ...]
    procedure: Concept | None = None

    @model_validator(mode="after")
    def _paired(self) -> Opioid:
        if not len(self.supply_days) == len(self.supply_shares) == len(self.long_term):
            raise ValueError("supply_days, supply_shares and long_term must have the same length")
        if self.procedure is not None and (self.refill > 0 or max(self.long_term) > 0):
            raise ValueError("refill and long_term must be 0 where the treatment is a procedure")
        return self


class Dispensing(_Section):
    """Doses in tablets a day, tapers of long-term use, refills ahead of time, and slips in the days of supply.

    From the start of a taper on, each fill has ``taper_step`` of the first dose less, until nothing is left.
    """

    tablets_per_day: Annotated[tuple[Annotated[int, Field(gt=0, le=24)], ...], Field(min_length=1)]
    tablets_shares: Annotated[tuple[Probability, ...], AfterValidator(_sum_to_one)]
    taper_per_year: Rate
    taper_step: Annotated[float, Field(gt=0, le=1)]
    refilled_early: Probability
    early_days: Annotated[int, Field(ge=1, le=30)]
    supply_mistaken: Probability

    @model_validator(mode="after")
    def _paired(self) -> Dispensing:
        if len(self.tablets_per_day) != len(self.tablets_shares):
            raise ValueError("tablets_per_day and tablets_shares must have the same length")
        return self


class Spread(_Section):
    """Spread of pain to further regions, per year in pain, shared equally among the regions."""

    per_year_in_pain: Rate
    log_hazard_ratio_sensitization: LogRatio
    regions: Annotated[tuple[Concept, ...], Field(min_length=1)]
    background_per_person_year: Rate


class Death(_Section):
    """Gompertz mortality, multiplied by comorbidity and, from the first chronification on, by chronic pain."""

    hazard_at_60: Rate
    log_hazard_per_year: Annotated[float, Field(gt=0, le=1)]
    log_hazard_ratio_comorbidity: LogRatio
    hazard_ratio_chronic: Positive


class Enrolment(_Section):
    """Monthly enrolment: entry, exit with a December spike, and return.

    ``log_odds_recent_visit`` raises the odds of leaving of whoever was seen for the pain in the 60 days before.
    """

    at_first_day: Probability
    exit_per_month: Probability
    exit_in_december: Probability
    log_odds_comorbidity: LogRatio
    log_odds_recent_visit: LogRatio
    return_within_year: Probability


class Care(_Section):
    """Visits generated from the state, and what is written on them."""

    seeks_care: Probability
    returns: Probability
    mean_delay_days: Rate
    log_rate_ratio_severity: LogRatio
    explicit_chronic_code: Probability
    miscoded: Probability
    checkups_per_year: Rate
    condition_visits_per_year: Rate
    condition_lag_days: Rate
    symptom: Annotated[float, Field(ge=0, lt=1)]
    log_odds_symptom_sensitization: LogRatio
    muscle_relaxant: Probability
    visits_per_30_days: dict[State, Rate]
    procedures: dict[Concept, dict[State, Probability]] = {}

    @model_validator(mode="after")
    def _all_states(self) -> Care:
        missing = [state for state in STATES if state not in self.visits_per_30_days]
        if missing:
            raise ValueError(f"visits_per_30_days lacks {', '.join(missing)}")
        for state in STATES:
            if sum(shares.get(state, 0.0) for shares in self.procedures.values()) > 1:
                raise ValueError(f"procedures: the shares of state {state} add to more than 1")
        return self


class Strategy(_Section):
    """A treatment strategy from the index date: an opioid within the early window, or none."""

    opioid: bool


class TruthPlan(_Section):
    """Which potential outcomes are kept: eligibility, strategies, the claims rule and horizons from the index date.

    The claims rule finds chronic pain in the first low-back visit from ``rule_first_day`` to ``rule_last_day`` after
    the index date, or in an explicit code for chronic pain on any later day.
    """

    horizons: Annotated[tuple[Annotated[int, Field(ge=1, le=730)], ...], Field(min_length=1)]
    rule_first_day: Days
    rule_last_day: Days
    eligible_after_days: Days
    washout_days: Days
    strategies: Annotated[dict[Name, Strategy], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _contrast(self) -> TruthPlan:
        if not 0 < self.rule_first_day <= self.rule_last_day <= max(self.horizons):
            raise ValueError("the rule's days must be in order, and a horizon must reach rule_last_day")
        if [strategy.opioid for strategy in self.strategies.values()] not in ([True, False], [False, True]):
            raise ValueError("strategies must contrast one with opioid = true and one with opioid = false")
        return self


class Comorbidity(_Section):
    """A Charlson condition that starts at the age where its logistic prevalence passes the person's rank."""

    concept: Concept
    prevalence_at_60: Annotated[float, Field(gt=0, lt=1)]
    log_odds_per_decade: Annotated[float, Field(gt=0, le=5)]


class Cooccurring(_Section):
    """A co-occurring condition whose odds rise with sensitization."""

    concept: Concept
    prevalence: Annotated[float, Field(gt=0, lt=1)]
    log_odds_sensitization: LogRatio


class Scenario(_Section):
    """All parameters of one simulated population."""

    name: Name
    about: str
    calendar: Calendar
    persons: Persons
    condition: Condition = Condition()
    onset: Onset
    remission: Remission
    severity: Severity
    mechanism: Mechanism
    states: States
    flares: Flares
    opioid: Opioid
    dispensing: Dispensing
    spread: Spread
    death: Death
    enrolment: Enrolment
    care: Care
    truth: TruthPlan
    comorbidity: tuple[Comorbidity, ...] = ()
    cooccurring: tuple[Cooccurring, ...] = ()

    @model_validator(mode="after")
    def _strategies_can_be_followed(self) -> Scenario:
        if self.care.seeks_care == 0:
            raise ValueError("truth.strategies: nobody can follow one while care.seeks_care is 0, for nobody is seen")
        for name, strategy in self.truth.strategies.items():
            impossible = 0.0 if strategy.opioid else 1.0
            if impossible in self.opioid.probability:
                severity = SEVERITIES[self.opioid.probability.index(impossible)]
                raise ValueError(
                    f"truth.strategies.{name}: nobody with {severity} pain can follow it while opioid.probability "
                    f"is {impossible:g} there; keep every probability above 0 and below 1"
                )
        return self

    @model_validator(mode="after")
    def _somebody_is_eligible(self) -> Scenario:
        days = (self.calendar.last_day - self.calendar.first_day).days
        if days <= self.truth.eligible_after_days + max(self.truth.horizons):
            raise ValueError(
                f"truth: nobody can be eligible; the calendar has {days} days, no more than eligible_after_days and "
                "the longest of horizons"
            )
        return self

    @property
    def hash(self) -> str:
        """Return the SHA-256 of the parameters, the same however the file is laid out or a default is written out."""
        text = json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def shipped_scenarios() -> tuple[str, ...]:
    """Return the names of the scenarios in the package, sorted."""
    folder = resources.files("cohort.simulate") / "scenarios"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_scenario(scenario: str | Path) -> Scenario:
    """Return a scenario by its shipped name or from a TOML file, which may start from a shipped one by ``base = "…"``.

    Raises
    ------
    StudyError
        If there is no such scenario, or a field is missing, unknown, of the wrong type or out of range; the message
        names the file and the field.
    """
    where, fields = _with_base(scenario)
    try:
        # through JSON, so that strict typing still takes TOML arrays for tuples and TOML dates for dates
        return Scenario.model_validate_json(json.dumps(fields, default=str))
    except ValidationError as fault:
        raise StudyError(_explain(where, fault)) from None


def _with_base(scenario: str | Path) -> tuple[str, dict[str, Any]]:
    """Return what to call the file in a message, and its fields upon those of its base, which may have one too."""
    where, fields = _read(scenario)
    base = fields.pop("base", None)
    if base is None:
        return where, fields
    if base not in shipped_scenarios():
        raise StudyError(f"{where}: base must be a shipped scenario: {', '.join(shipped_scenarios())}")
    return where, _merged(_with_base(base)[1], fields)


def _read(scenario: str | Path) -> tuple[str, dict[str, Any]]:
    """Return what to call the file in a message, and its fields."""
    shipped = isinstance(scenario, str) and scenario in shipped_scenarios()
    where = f"scenario {scenario}" if shipped else str(scenario)
    folder = resources.files("cohort.simulate") / "scenarios"
    try:
        text = ((folder / f"{scenario}.toml") if shipped else Path(scenario)).read_text("utf-8")
        return where, tomllib.loads(text)
    except (OSError, UnicodeDecodeError):
        raise StudyError(
            f"scenario {scenario} cannot be read; give a TOML file or one of {', '.join(shipped_scenarios())}"
        ) from None
    except tomllib.TOMLDecodeError as fault:
        raise StudyError(f"{where} is not valid TOML: {fault}") from None


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the base's fields with one's own in their place, table by table.

    Lists, and tables whose keys are names, are replaced whole.
    """
    named = ("procedures", "strategies")
    both = {
        key: _merged(base[key], own[key])
        for key in own
        if isinstance(own[key], dict) and key in base and key not in named
    }
    return {**base, **own, **both}


def _explain(where: str, fault: ValidationError) -> str:
    lines = [f"{_field(error)}: {error['msg'].removeprefix('Value error, ')}" for error in fault.errors()]
    return f"{where}: " + "; ".join(lines)


def _field(error: Any) -> str:
    steps = [str(step) for step in error["loc"] if step != "[key]"]
    return ".".join(steps) if steps else "scenario"
