"""Population-scale cohort statistics from claims and registry extracts.

The public names are imported on first use, so that ``import cohort`` loads neither polars nor lifelines.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Store": "store.store",
    "ingest": "ingest.load",
    "simulate": "simulate.run",
    "check": "checks.check",
    "Codelist": "codes.codelist",
    "Window": "time",
    "Cohort": "population.cohort",
    "Attrition": "population.attrition",
    "from_circe": "circe.expression",
    "diagnosis": "codes.records",
    "procedure": "codes.records",
    "dispensing": "codes.records",
    "measurement": "population.occurrence",
    "episode_of": "population.occurrence",
    "on_dates": "population.occurrence",
    "drawn_day": "population.occurrence",
    "chronification": "outcomes.outcome",
    "first_record": "outcomes.outcome",
    "first_of": "outcomes.outcome",
    "discontinuation": "outcomes.outcome",
    "re_initiation": "outcomes.outcome",
    "switch": "outcomes.outcome",
    "add_on": "outcomes.outcome",
    "dose_escalation": "outcomes.outcome",
    "taper": "outcomes.outcome",
    "registry_response": "outcomes.outcome",
    "rescue_care": "outcomes.outcome",
    "treatment_failure": "outcomes.outcome",
    "recurrent_events": "recurrence",
    "care_free_days": "recurrence",
    "registry_responses": "recurrence",
    "age": "features.covariates_person",
    "age_group": "features.covariates_person",
    "sex": "features.covariates_person",
    "region": "features.covariates_person",
    "deprivation": "features.covariates_person",
    "index_year": "features.covariates_person",
    "index_season": "features.covariates_person",
    "charlson": "features.covariates_comorbidity",
    "elixhauser": "features.covariates_comorbidity",
    "comorbid": "features.covariates_comorbidity",
    "pain_sites": "features.covariates_pain",
    "widespread_pain": "features.covariates_pain",
    "pain_mechanism": "features.covariates_pain",
    "pain_condition": "features.covariates_pain",
    "current_pain_days": "features.covariates_pain",
    "previous_episodes": "features.covariates_pain",
    "previous_pain_days": "features.covariates_pain",
    "visit_intensity": "features.covariates_pain",
    "unpredictability": "features.covariates_pain",
    "amplification": "features.covariates_pain",
    "care_flares": "features.covariates_pain",
    "symptom": "features.covariates_sensitization",
    "symptom_domains": "features.covariates_sensitization",
    "overlapping_conditions": "features.covariates_sensitization",
    "sensitization_index": "features.covariates_sensitization",
    "exposed": "features.covariates_use",
    "encounter_days": "features.covariates_use",
    "emergency_visits": "features.covariates_use",
    "admissions": "features.covariates_use",
    "inpatient_days": "features.covariates_use",
    "procedure_days": "features.covariates_use",
    "treated": "features.covariates_use",
    "cost_per_month": "features.covariates_use",
    "percent_covered": "features.covariates_medication",
    "opioid_dose": "features.covariates_medication",
    "new_use": "features.covariates_medication",
    "concurrent_days": "features.covariates_medication",
    "treatment_line": "features.covariates_lines",
    "score": "features.covariates_scores",
    "episodes": "features.episodes",
    "comorbidity": "features.comorbidity",
    "covered_days": "features.adherence",
    "daily_mme": "features.opioids",
    "Study": "study",
    "AnalysisTable": "results.analysis_table",
    "Estimates": "results.estimates",
    "DisclosureRule": "results.disclosure",
    "kaplan_meier": "results.analyses",
    "cumulative_incidence": "results.analyses",
    "incidence_rate": "results.analyses",
    "prevalence": "results.analyses",
    "pathways": "results.pathways",
    "cox": "results.analyses",
    "fine_gray": "results.analyses",
    "treatment_effect": "results.treatment",
    "exposure": "features.exposure",
    "time_varying": "features.time_varying",
    "emulated_trial": "results.trial",
    "nested_trials": "results.nested",
    "structural_cox": "results.structural",
    "exposure_cox": "results.exposure_cox",
    "mean_cumulative_count": "results.courses",
    "mean_care_free_days": "results.courses",
    "response_shares": "results.courses",
    "CohortError": "errors",
}
"""Public name → module that defines it."""

ROOMS = ("survival", "effects", "engines")
"""Rooms that stand on their own; ``import cohort as co`` reaches them as ``co.survival`` and so on."""

__all__ = ["__version__", *_HOME]  # noqa: PLE0604 -- the names are strings: keys of a dict


class _Package(ModuleType):
    """The package: a room that shares its name with a public function does not hide the function.

    Importing ``cohort.ingest.load`` would set ``cohort.ingest`` to the room; the public name is the function.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in ROOMS:
        return importlib.import_module(f"cohort.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'cohort' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cohort.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *ROOMS])
