"""Effects of treatment: propensity scores, weights, balance, estimates under weights, and how far to believe them."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "propensity_scores": "propensity",
    "scores_from_matrix": "propensity",
    "Propensity": "propensity",
    "code_indicators": "large_scale",
    "CodeIndicators": "large_scale",
    "large_scale_scores": "large_scale",
    "balance_of_codes": "large_scale",
    "balancing_weights": "weights",
    "BalancingWeights": "weights",
    "weighted_effects": "marginal",
    "Effects": "marginal",
    "doubly_robust_effects": "doubly_robust",
    "standardised_effects": "standardisation",
    "clone_censor_weight": "emulation",
    "Emulation": "emulation",
    "Histories": "varying",
    "Leaving": "varying",
    "nested_trials": "sequential",
    "NestedTrials": "sequential",
    "marginal_structural_cox": "structural",
    "StructuralModel": "structural",
    "at_landmark": "immortal_time",
    "exposure_spells": "immortal_time",
    "immortal_time_comparison": "immortal_time",
    "match": "matching",
    "stratify": "matching",
    "systematic_error": "calibration",
    "SystematicError": "calibration",
    "e_value": "sensitivity",
    "confounder_bias": "sensitivity",
    "tipping_point": "sensitivity",
    "corrected_risks": "sensitivity",
    "probabilistic_bias": "sensitivity",
    "balance": "balance_table",
    "positivity": "overlap",
    "Positivity": "overlap",
    "Matched": "matching",
    "Accuracy": "sensitivity",
    "BiasAnalysis": "sensitivity",
    "EValue": "sensitivity",
    "response_shares": "response",
}
"""Public name → module that defines it; imported on first use. No module may bear a public name."""

__all__ = [*_HOME]  # noqa: PLE0604 -- the names are strings: keys of a dict


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cohort.effects' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cohort.effects.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
