"""The outcomes that a study can have, and the functions that make them."""

from __future__ import annotations

from typing import Annotated, Any, cast, get_args

from pydantic import Field

from cohort.codes.codelist import Codelist
from cohort.codes.records import Record, diagnosis, procedure
from cohort.codes.reference import Codes
from cohort.errors import StudyError
from cohort.features.flares import INJECTIONS
from cohort.outcomes.base import Competing, Event
from cohort.outcomes.chronification import (
    Chronification,
    FurtherDiagnoses,
    LastingEpisode,
    TwoDiagnosesOfOneCategory,
)
from cohort.outcomes.dose import DoseEscalation, Taper
from cohort.outcomes.evidence import ConfirmedCondition, NewCohortEra, VeteransCohort
from cohort.outcomes.first_of import FirstOf
from cohort.outcomes.first_record import FirstRecord
from cohort.outcomes.opioid_episodes import IntenseEpisode, LongTermEpisode
from cohort.outcomes.opioid_use import LongPrescription, NewPersistentUse, QuarterlySupply, SupplyAfterDiagnosis
from cohort.outcomes.registry import RegistryPain, RegistryResponse
from cohort.outcomes.treatment import AddOn, Discontinuation, ReInitiation, Switch
from cohort.spec import nearest

ChronicPain = (
    Chronification
    | TwoDiagnosesOfOneCategory
    | LastingEpisode
    | FurtherDiagnoses
    | ConfirmedCondition
    | VeteransCohort
    | NewCohortEra
    | LongTermEpisode
    | IntenseEpisode
    | QuarterlySupply
    | LongPrescription
    | SupplyAfterDiagnosis
    | NewPersistentUse
    | RegistryPain
)
"""Any definition of chronic pain."""

Response = Discontinuation | ReInitiation | Switch | AddOn | DoseEscalation | Taper | RegistryResponse
"""Any definition of what becomes of a treatment."""

Outcome = Annotated[ChronicPain | Response | FirstRecord | FirstOf, Field(discriminator="kind")]
"""Any outcome of a study."""

DEFINITIONS: dict[str, type[Event]] = {
    definition.model_fields["kind"].default: definition for definition in get_args(ChronicPain)
}
"""Name → definition of chronic pain: the names that `chronification` and a study file's ``kind`` take."""


def chronification(
    codes: Any = None,
    after_days: int | None = None,
    within_days: int | None = None,
    definition: str = "chronification",
    competing: Competing | list[str] = ("death",),
    **rule: Any,
) -> ChronicPain:
    """Return a definition of chronic pain by name; what is not given stays at that definition's default.

    Parameters
    ----------
    codes
        Codes of the pain, or for opioid definitions of the drugs (default: the shipped ``opioid``).
    definition
        One of `DEFINITIONS`; the classes there say what each is and where it comes from.
    after_days, within_days, **rule
        Settings of the definition, such as ``explicit`` (default: the shipped ``chronic_pain_explicit``) of this
        package's own.

    Raises
    ------
    StudyError
        If there is no such definition, or it has no such setting.
    """
    if definition not in DEFINITIONS:
        raise StudyError(f"no definition of chronic pain is called {definition!r}; {nearest(definition, DEFINITIONS)}")
    if definition == "chronification":
        rule = {"explicit": "chronic_pain_explicit"} | rule
    given = {"codes": codes, "after_days": after_days, "within_days": within_days}
    rule |= {name: value for name, value in given.items() if value is not None}
    return cast("ChronicPain", DEFINITIONS[definition].of(competing=tuple(competing), **rule))


def first_record(
    record: Record, from_day: int = 1, label: str | None = None, competing: Competing | list[str] = ("death",)
) -> FirstRecord:
    """Return the first qualifying record on or after ``from_day`` days after index."""
    return FirstRecord.of(record=record, from_day=from_day, label=label, competing=tuple(competing))


def first_of(*components: Any, label: str, competing: Competing | list[str] = ("death",)) -> FirstOf:
    """Return the first of several outcomes; see `FirstOf`."""
    return FirstOf.of(components=components, label=label, competing=tuple(competing))


def discontinuation(codes: Any, **rule: Any) -> Discontinuation:
    """Return the end of a treatment; see `Discontinuation`."""
    return Discontinuation.of(codes=codes, **rule)


def re_initiation(codes: Any, **rule: Any) -> ReInitiation:
    """Return the return to a treatment after a gap; see `ReInitiation`."""
    return ReInitiation.of(codes=codes, **rule)


def switch(codes: Any, **rule: Any) -> Switch:
    """Return the switch to another agent, agents being the labels of ``codes``; see `Switch`."""
    return Switch.of(codes=codes, **rule)


def add_on(codes: Any, **rule: Any) -> AddOn:
    """Return the addition of another agent, agents being the labels of ``codes``; see `AddOn`."""
    return AddOn.of(codes=codes, **rule)


def dose_escalation(**rule: Any) -> DoseEscalation:
    """Return a rise of the daily opioid dose; see `DoseEscalation`."""
    return DoseEscalation.of(**rule)


def taper(**rule: Any) -> Taper:
    """Return a fall of the daily opioid dose in two windows; see `Taper`."""
    return Taper.of(**rule)


def registry_response(missing: str, **rule: Any) -> RegistryResponse:
    """Return response by pain score at a visit; ``missing`` is "observed" or "non_response"; see `RegistryResponse`."""
    return RegistryResponse.of(missing=missing, **rule)


def rescue_care(codes: Any, injections: Any = None, competing: Competing | list[str] = ("death",)) -> FirstOf:
    """Return the first emergency visit with one of ``codes``, or injection (default: the shipped classes)."""
    shots = Codelist.shipped("treatment_classes").only(category=INJECTIONS) if injections is None else injections
    visit = FirstRecord.of(record=diagnosis(codes, settings=["emergency"]), label="emergency_visit")
    injection = FirstRecord.of(record=procedure(shots), label="injection")
    return first_of(visit, injection, label="rescue_care", competing=competing)


def treatment_failure(
    treatment: Any, step_up: Any = None, explant: Any = None, competing: Competing | list[str] = ("death",)
) -> FirstOf:
    """Return the first of discontinuation, switch, add-on, invasive step-up and explant.

    Parameters
    ----------
    treatment
        Drugs; discontinuation is the end of all, switch and add-on are between its labels.
    step_up, explant
        Procedures; without them the composite has no such component.
    """
    procedures = {"invasive_step_up": step_up, "explant": explant}
    codes = Codes.model_validate(treatment)
    return first_of(
        discontinuation(codes),
        switch(codes),
        add_on(codes),
        *(FirstRecord.of(record=procedure(what), label=name) for name, what in procedures.items() if what is not None),
        label="treatment_failure",
        competing=competing,
    )
