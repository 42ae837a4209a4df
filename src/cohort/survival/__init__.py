"""Survival: day counts, curves, tests and models, each a small function of sums over buckets."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "DayCounts": "counts",
    "count_days": "counts",
    "Curves": "curves",
    "kaplan_meier": "product_limit",
    "kaplan_meier_from": "product_limit",
    "nelson_aalen": "hazards",
    "nelson_aalen_from": "hazards",
    "fleming_harrington": "hazards",
    "fleming_harrington_from": "hazards",
    "cumulative_incidence": "incidence",
    "cumulative_incidence_from": "incidence",
    "RestrictedMeans": "restricted",
    "rmst": "restricted",
    "rmst_from": "restricted",
    "restricted_time_lost": "restricted",
    "restricted_time_lost_from": "restricted",
    "RankTest": "rank_tests",
    "logrank": "rank_tests",
    "logrank_from": "rank_tests",
    "GrayTest": "gray_test",
    "gray": "gray_test",
    "gray_from": "gray_test",
    "mean_cumulative_function": "recurrent",
    "MultiState": "state_model",
    "multistate": "state_model",
    "multistate_from": "state_model",
    "count_transitions": "transitions",
    "transition_rows": "transitions",
    "TransitionFits": "transition_models",
    "fit_transitions": "transition_models",
    "PAIN_STATES": "pain_states",
    "pain_spells": "pain_states",
    "incidence_rate": "rates",
    "incidence_rate_from": "rates",
    "proportion": "proportions",
    "proportion_from": "proportions",
    "prevalence": "prevalences",
    "count_prevalence": "prevalences",
    "split_follow_up": "lexis",
    "direct_rate": "standardise",
    "direct_proportion": "standardise",
    "standard_population": "standards",
    "indirect_rate": "standardise",
    "rate_ratio": "standardise",
    "RateRatio": "standardise",
    "fit_cox": "cox",
    "CoxFit": "cox",
    "fit_cox_buckets": "cox_buckets",
    "fit_cox_exact": "cox_exact",
    "fit_conditional_logistic": "cox_exact",
    "fit_cause_specific": "cox_causes",
    "fit_fine_gray": "fine_gray",
    "ParametricFit": "parametric",
    "fit_parametric": "parametric_fits",
    "turnbull": "interval_censoring",
    "fit_interval_censored": "parametric_fits",
    "fit_spline": "parametric_fits",
    "fit_piecewise_exponential": "parametric_fits",
    "concordance": "cox_concordance",
    "proportional_hazards_test": "cox_zph",
    "CoxPHFitter": "cox",
    "CoxTimeVaryingFitter": "cox",
    "FineGrayFitter": "fine_gray",
}
"""Public name → module that defines it; imported on first use, so that curves never load a model's libraries.

No module may bear a public name: once imported it would stand in front of the function.
"""

__all__ = [*_HOME]  # noqa: PLE0604 -- the names are strings: keys of a dict


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cohort.survival' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cohort.survival.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
