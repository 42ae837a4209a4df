"""What can be seen of nested trials without looking at their answer: how alike the arms are, what their weights leave.

References
----------
Danaei G et al. (2013), Stat Methods Med Res 22:70–96, doi:10.1177/0962280211403603; Austin PC (2009), Stat Med
28:3083–3107, doi:10.1002/sim.3697 (standardised differences).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.effects.person_time import Flags, PersonTime, model_chances
from cohort.effects.trial_checks import TrialChecks, balance_of, p_value_of_constant_ratio
from cohort.effects.weights import kish
from cohort.survival.cox_model import Follow
from cohort.survival.types import Floats, Ints


def check_nested(
    frame: Any,
    *,
    person: str = "person_id",
    start: str = "start",
    stop: str = "stop",
    cause: str = "cause",
    exposure: str,
    eligible: str,
    terms: str,
    per_protocol: bool = False,
) -> TrialChecks:
    """Check trials as `nested_trials` pools them; arguments as there, cause 1 being the outcome.

    Weights are those of assignment: balance is that of time zero. ``departures`` are the trials of the smaller arm per
    column of the model of assignment.

    Raises
    ------
    NotEstimableError
        What the model of assignment raises.
    """
    time = PersonTime.read(frame, person, start, stop, cause, exposure)
    begins = time.flags(eligible)
    matrix, names = time.columns(terms)
    chance = model_chances(matrix, names, time.exposed, begins).observed(len(time.start))
    weight, treated = 1 / chance[begins], time.exposed[begins]
    arms = [treated, ~treated]
    sizes = [kish(weight[arm]) for arm in arms]
    ended, happened = _ends(time, begins, per_protocol=per_protocol)
    return TrialChecks(
        balance_of(matrix[begins], names, [weight[arm] for arm in arms], arms),
        min(size / arm.sum() for size, arm in zip(sizes, arms, strict=True)),
        min(arm.sum() for arm in arms) / len(names),
        min(int(happened[arm].sum()) for arm in arms),
        _proportional_hazards(ended, happened, treated, weight),
        (sizes[0], sizes[1]),
    )


def _ends(time: PersonTime, begins: Flags, *, per_protocol: bool) -> tuple[Ints, Flags]:
    """Return how long each trial lasts, and whether it ends with the outcome."""
    last = time.first[1:][time.person] - 1
    if per_protocol:
        position = np.arange(len(last))
        changes = np.append((time.exposed[1:] != time.exposed[:-1]) | (time.person[1:] != time.person[:-1]), True)
        run = np.minimum.accumulate(np.where(changes, position, len(last))[::-1])[::-1]
        last = np.minimum(last, run)
    days: Ints = time.stop[last] - time.start
    return days[begins], (time.cause[last] == 1)[begins]


def _proportional_hazards(days: Ints, happened: Flags, treated: Flags, weight: Floats) -> float:
    scaled = np.empty(len(weight))
    for arm in (treated, ~treated):
        scaled[arm] = weight[arm] * (weight[arm].sum() / (weight[arm] ** 2).sum())
    return p_value_of_constant_ratio(treated.astype(np.float64), Follow(days, happened, weight=scaled))
