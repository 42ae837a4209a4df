"""The covariates of a study: every kind, in one place, as one type that a study file's ``kind`` tells apart."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from cohort.features.covariate import VariableType
from cohort.features.covariates_comorbidity import Charlson, Comorbid, Elixhauser
from cohort.features.covariates_lines import TreatmentLine
from cohort.features.covariates_medication import ConcurrentDays, NewUse, OpioidDose, PercentCovered
from cohort.features.covariates_pain import (
    Amplification,
    CareFlares,
    PainCondition,
    PainHistory,
    PainMechanism,
    PainSites,
    Unpredictability,
    VisitIntensity,
    WidespreadPain,
)
from cohort.features.covariates_person import Age, AgeGroup, Deprivation, IndexSeason, IndexYear, Region, Sex
from cohort.features.covariates_scores import Score
from cohort.features.covariates_sensitization import (
    OverlappingConditions,
    SensitizationIndex,
    Symptom,
    SymptomDomains,
)
from cohort.features.covariates_use import Admissions, CostPerMonth, EncounterDays, Exposed, ProcedureDays, Treated

__all__ = ["Covariate", "VariableType"]

Covariate = Annotated[
    Age
    | AgeGroup
    | Sex
    | Region
    | Deprivation
    | IndexYear
    | IndexSeason
    | Charlson
    | Elixhauser
    | Comorbid
    | PainSites
    | WidespreadPain
    | PainMechanism
    | PainCondition
    | PainHistory
    | VisitIntensity
    | Unpredictability
    | Amplification
    | CareFlares
    | Symptom
    | SymptomDomains
    | OverlappingConditions
    | SensitizationIndex
    | Exposed
    | EncounterDays
    | Admissions
    | ProcedureDays
    | Treated
    | CostPerMonth
    | PercentCovered
    | OpioidDose
    | NewUse
    | ConcurrentDays
    | TreatmentLine
    | Score,
    Field(discriminator="kind"),
]
"""Any covariate of a study."""
