"""What can be seen of a marginal structural model without looking at its answer.

References
----------
Cole SR, Hernán MA (2008), Am J Epidemiol 168:656–664, doi:10.1093/aje/kwn164.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cohort.effects.person_time import PersonTime, model_chances
from cohort.effects.structural import First, StructuralModel, decided
from cohort.effects.trial_checks import TrialChecks, balance_of, p_value_of_constant_ratio
from cohort.survival.cox_model import Follow


def check_structural(
    frame: Any,
    model: StructuralModel,
    *,
    person: str = "person_id",
    start: str = "start",
    stop: str = "stop",
    cause: str = "cause",
    exposure: str,
    terms: str,
    first: First = "weighted",
) -> TrialChecks:
    """Check a model as `marginal_structural_cox` fits it, cause 1 being the outcome; ``terms`` foretell exposure.

    Balance is that of the rows in which starting is decided: who starts, and who does not, under the inverse chance
    of having done so. ``departures`` are starts per column of their model, or rows without one if these are fewer.
    Without starts there is nothing to balance.

    Raises
    ------
    NotEstimableError
        What the model of exposure raises.
    """
    time = PersonTime.read(frame, person, start, stop, cause, exposure)
    matrix, names = time.columns(terms)
    later = decided(time, first)
    open_ = ~time.before if later is None else ~time.before & later
    weight = 1 / model_chances(matrix, names, time.exposed, open_).observed(len(time.start))[open_]
    sides = [time.exposed[open_], ~time.exposed[open_]]
    decisive = all(side.any() for side in sides)
    # the days of the rows, the last two columns, are in the numerator of the weights too
    shown, called = matrix[open_][:, :-2], names[:-2]
    table = balance_of(shown, called, [weight[side] for side in sides], sides) if decisive else None
    happened = time.cause == 1
    follow = Follow(time.stop, happened, entry=time.start, weight=model.weight)
    sizes = tuple(model.weights["effective"].to_list())
    return TrialChecks(
        balance_of(np.empty((2, 0)), (), [np.ones(1)] * 2, [np.array([True, False])] * 2) if table is None else table,
        float((model.weights["effective"] / model.weights["rows"]).min()),  # type: ignore[arg-type]  # two numbers
        min(int(side.sum()) for side in sides) / len(names) if decisive else np.inf,
        min(int(happened[side].sum()) for side in (time.exposed, ~time.exposed)),
        p_value_of_constant_ratio(time.exposed.astype(np.float64), follow),
        (sizes[0], sizes[1]),
    )
