"""The recursion over all subsets of a risk set, compiled on first use."""

from __future__ import annotations

from math import exp, log

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]


@compiled
def subset_sums(
    z: Floats,
    eta: Floats,
    stop: Ints,
    event: Flags,
    start: Ints,
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    deaths: NDArray[np.int64],
    derivatives: bool,
    score: Floats,
    second: Floats,
    spread: Floats,
) -> float:
    """Return the log of the chance that, of all subsets of as many as had an event at a time, it was those who had.

    Rows are by stratum, the last to leave first; cell k looks at rows ``first[k]..end[k]`` while ``stop`` is not before
    it. With f, g, h the sums over subsets of exp(eta) and its derivatives (Gail's recursion), ``score`` gets z - g / f,
    ``second`` h / f and ``spread`` g g' / f².
    """
    p, total = z.shape[1], 0.0
    for k in range(deaths.size):
        members = _members(stop, start, first[k], end[k], k, deaths.size)
        top = eta[members].max()
        f, g, h = np.zeros(deaths[k] + 1), np.zeros((deaths[k] + 1, p)), np.zeros((deaths[k] + 1, p, p))
        f[0] = 1.0
        for i in members:
            if derivatives:
                _join_derivatives(z[i], exp(eta[i] - top), f, g, h)
            _join(exp(eta[i] - top), f)
            if event[i] and stop[i] == k:
                total += eta[i] - top
                score += z[i]
        total -= log(f[-1])
        if derivatives:
            mean = g[-1] / f[-1]
            score -= mean
            second += h[-1] / f[-1]
            spread += np.outer(mean, mean)
    return total


@compiled
def _members(stop: Ints, start: Ints, first: int, end: int, cell: int, cells: int) -> NDArray[np.int64]:
    """Return the rows from ``first`` on that are at risk in a cell; those who leave last come first."""
    found, count = np.empty(end - first, dtype=np.int64), 0
    for i in range(first, end):
        if stop[i] < cell:
            break
        if start.size == 0 or start[i] < cell or start[i] == cells:
            found[count] = i
            count += 1
    return found[:count]


@compiled
def _join(risk: float, f: Floats) -> None:
    """Let one more row join the subsets of every size."""
    for m in range(f.size - 1, 0, -1):
        f[m] += risk * f[m - 1]


@compiled
def _join_derivatives(z: Floats, risk: float, f: Floats, g: Floats, h: Floats) -> None:
    """Do the same to the first and second derivatives, before ``f`` changes."""
    for m in range(f.size - 1, 0, -1):
        for a in range(z.size):
            for b in range(z.size):
                crossed = g[m - 1, a] * z[b] + g[m - 1, b] * z[a] + f[m - 1] * z[a] * z[b]
                h[m, a, b] += risk * (h[m - 1, a, b] + crossed)
        for a in range(z.size):
            g[m, a] += risk * (g[m - 1, a] + f[m - 1] * z[a])
