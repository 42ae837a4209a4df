"""The compiled loop over trials nested in person-time; imported on first use, since it loads numba."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import compiled

Floats = NDArray[np.float64]
Whole = NDArray[Any]


@compiled
def trial_sums(
    first: Whole,
    span: tuple[Whole, Whole],
    kind: Whole,
    exposed: Whole,
    eligible: Whole,
    weight: Floats,
    staying: Floats,
    times: Floats,
    per_protocol: bool,
    cap: float,
    change: Floats,
    events: Floats,
    count: Floats,
    last: Floats,
) -> None:
    """Add every person's trials by day since their time zero.

    Rows ``first[i] … first[i + 1]`` are those of person i, ``span`` their (start, stop]; a trial begins with each row
    that is ``eligible``, in the arm of its exposure, with its ``weight``. ``staying`` is the cumulative logarithm of
    the chance to be still under observation (and on protocol) in a row. ``change`` (2, T + 2) takes changes of the
    weight at risk by day, ``events`` and ``count`` (2, C, T + 1) those with an event. ``last`` is the weight with which
    the trial of a row ended, 0 if it departed from its protocol.
    """
    start, stop = span
    horizon = change.shape[1] - 2
    for i in range(first.size - 1):
        if times[i] == 0.0:
            continue
        for k in range(first[i], first[i + 1]):
            if not eligible[k]:
                continue
            arm = 1 if exposed[k] else 0
            for j in range(k, first[i + 1]):
                if start[j] - start[k] >= horizon:
                    break
                if per_protocol and exposed[j] != exposed[k]:
                    last[k] = 0.0
                    break
                alone = min(weight[k] * exp(staying[k] - staying[j]), cap)
                own, end = alone * times[i], stop[j] - start[k]
                change[arm, start[j] - start[k] + 1] += own
                change[arm, min(end, horizon) + 1] -= own
                if kind[j] > 0 and end <= horizon:
                    events[arm, kind[j] - 1, end] += own
                    count[arm, kind[j] - 1, end] += times[i]
                last[k] = alone
