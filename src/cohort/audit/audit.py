"""The auditor: every check on one study.

Checks ask only what all outcomes, covariates and rules tell (``landmark``, ``window``, ``records``, ``name``), so that
a new kind is audited without being named here. A message says what, where in the study file, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cohort.audit import lookback, outcomes, time_zero, trials
from cohort.audit.finding import Finding

if TYPE_CHECKING:
    from cohort.study import Study

CHECKS = (
    time_zero.exposed_in_the_future,
    time_zero.required_in_the_future,
    time_zero.nobody_at_risk,
    time_zero.prevalent_users,
    time_zero.overlapping_follow_up,
    time_zero.comparators_block_cases,
    lookback.washout_unobserved,
    lookback.enrolment_not_required,
    lookback.covariates_unobserved,
    outcomes.outcome_outlasts_follow_up,
    outcomes.outcome_repeats_entry,
    outcomes.death_censored,
    trials.treated_before_index,
    trials.trial_after_landmark,
    trials.leaving_before_risk,
    trials.treatment_foretells_itself,
    trials.few_negative_controls,
)


def audit(study: Study) -> tuple[Finding, ...]:
    """Return what is wrong with the design of a study, errors first.

    References
    ----------
    Suissa S. Immortal time bias in pharmaco-epidemiology. Am J Epidemiol 2008;167:492-499. doi:10.1093/aje/kwm324.
    Ray WA. Evaluating medication effects outside of clinical trials: new-user designs. Am J Epidemiol
    2003;158:915-920. doi:10.1093/aje/kwg231.
    Hernán MA et al. Specifying a target trial prevents immortal time bias and other self-inflicted injuries in
    observational analyses. J Clin Epidemiol 2016;79:70-75. doi:10.1016/j.jclinepi.2016.04.014.
    """
    found = (finding for check in CHECKS for finding in check(study))
    return tuple(sorted(found, key=lambda finding: finding.severity))
