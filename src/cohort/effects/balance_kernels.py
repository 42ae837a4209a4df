"""The compiled sums behind balance; imported on first use, since it loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import reassociated

Floats = NDArray[np.float64]


@reassociated
def arm_sums(
    x: Floats, origin: Floats, treated: NDArray[Any], weight: Floats, low: int, high: int, out: Floats
) -> None:
    """Add powers of rows ``low`` to ``high`` of ``x`` (n, p), from ``origin`` (p,), into ``out`` (2, 2, 3, p).

    The axes of ``out`` are unweighted and weighted, untreated and treated, and the sums of 1, x and x².
    """
    arm = np.empty(high - low)
    both = np.empty(high - low)
    own = weight[low:high]
    for i in range(high - low):
        arm[i] = 1.0 if treated[low + i] else 0.0
        both[i] = arm[i] * own[i]
    for j in range(x.shape[1]):
        column, start = x[low:high, j], origin[j]
        s0 = s1 = s2 = s3 = q0 = q1 = q2 = q3 = 0.0
        for i in range(column.size):
            v = column[i] - start
            square = v * v
            s0 += v
            s1 += arm[i] * v
            s2 += own[i] * v
            s3 += both[i] * v
            q0 += square
            q1 += arm[i] * square
            q2 += own[i] * square
            q3 += both[i] * square
        out[0, 0, 1, j] += s0 - s1
        out[0, 1, 1, j] += s1
        out[1, 0, 1, j] += s2 - s3
        out[1, 1, 1, j] += s3
        out[0, 0, 2, j] += q0 - q1
        out[0, 1, 2, j] += q1
        out[1, 0, 2, j] += q2 - q3
        out[1, 1, 2, j] += q3
    out[0, 0, 0] += (1 - arm).sum()
    out[0, 1, 0] += arm.sum()
    out[1, 0, 0] += ((1 - arm) * own).sum()
    out[1, 1, 0] += both.sum()
