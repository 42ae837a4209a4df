"""The compiled steps of a lasso path over sparse columns; imported on first use, since it loads numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import compiled

Floats = NDArray[np.float64]
Whole = NDArray[Any]


@compiled
def gradients(data: Floats, rows: Whole, ends: Whole, left: Floats) -> Floats:
    """Return the mean over rows of each column times ``left`` (n,); columns p, entries between ``ends`` (p + 1,)."""
    out = np.zeros(ends.size - 1)
    for j in range(out.size):
        total = 0.0
        for k in range(ends[j], ends[j + 1]):
            total += data[k] * left[rows[k]]
        out[j] = total / left.size
    return out


@compiled
def descend(
    data: Floats,
    rows: Whole,
    ends: Whole,
    chosen: Whole,
    weight: Floats,
    residual: Floats,
    penalty: float,
    slope: Floats,
    close: float,
    most: int,
) -> float:
    """Minimise the penalised sum of weighted squares over the ``chosen`` columns; return what the intercept moved.

    ``residual`` (n,) and ``slope`` (p,) are changed in place; a pass whose largest step, squared and weighted, is
    below ``close`` is the last, and so is the pass ``most``.
    """
    n = residual.size
    curvature = np.zeros(chosen.size)
    for c in range(chosen.size):
        for k in range(ends[chosen[c]], ends[chosen[c] + 1]):
            curvature[c] += weight[rows[k]] * data[k] * data[k]
        curvature[c] /= n
    mass, moved = weight.sum(), 0.0
    for _ in range(most):
        largest = 0.0
        for c in range(chosen.size):
            j = chosen[c]
            if curvature[c] == 0.0:
                continue
            pull = 0.0
            for k in range(ends[j], ends[j + 1]):
                pull += data[k] * weight[rows[k]] * residual[rows[k]]
            pull = pull / n + curvature[c] * slope[j]
            wanted = max(abs(pull) - penalty, 0.0) / curvature[c]
            step = (wanted if pull > 0 else -wanted) - slope[j]
            if step != 0.0:
                slope[j] += step
                for k in range(ends[j], ends[j + 1]):
                    residual[rows[k]] -= step * data[k]
                largest = max(largest, curvature[c] * step * step)
        shift = 0.0
        for i in range(n):
            shift += weight[i] * residual[i]
        shift /= mass
        for i in range(n):
            residual[i] -= shift
        moved += shift
        if max(largest, mass / n * shift * shift) < close:
            break
    return moved
