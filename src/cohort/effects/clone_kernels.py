"""Compiled loops over clones: their weighted sums by day, once exactly and for bootstrap samples in a few reads.

Imported on first use, since it loads numba. Persons lie in groups that share their last phase, the stretch between two
days of departure in which they leave; a person's weight is the same throughout a phase.
"""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import compiled, reassociated

Floats = NDArray[np.float64]
Whole = NDArray[Any]

_BLOCK = 512  # persons whose numbers are held at once: they stay in the first-level cache
_FURTHEST = 32.0  # logarithms beyond this are cut: e^32 is no weight and no hazard ratio


@compiled
def clone_sums(
    ratio: Floats,
    reached: Floats,
    phase: Whole,
    place: Whole,
    kind: Whole,
    times: Floats,
    cap: float,
    total: Floats,
    table: Floats,
    count: Floats,
    last: Floats,
) -> None:
    """Add clones into ``total`` (K + 1,), their weight by phase, and ``table`` and ``count`` (T, 1 + C), by exit.

    ``reached`` (K + 1,) is the cumulative hazard of departing before each phase, ``phase`` the last one of a clone,
    ``place`` and ``kind`` day and kind of its exit (0: no event). ``last`` (n,) becomes the weight at exit.
    """
    for i in range(ratio.size):
        weight = 0.0
        for k in range(phase[i] + 1):
            weight = min(exp(reached[k] * ratio[i]), cap) * times[i]
            total[k] += weight
        last[i] = weight
        table[place[i], kind[i]] += weight
        count[place[i], kind[i]] += times[i]


@compiled
def varying_sums(
    first: Whole,
    stop: Floats,
    ratio: Floats,
    day: Floats,
    jump: Floats,
    phase: Whole,
    place: Whole,
    kind: Whole,
    times: Floats,
    cap: float,
    total: Floats,
    table: Floats,
    count: Floats,
    last: Floats,
) -> None:
    """Add clones as `clone_sums` does, where ratios (2, R) of two hazards change from row to row of a person.

    ``jump`` (2, K) are the increments of the hazards on ``day`` (K,), in rows that end on ``stop``. ``last`` is the
    weight at exit of one clone, however often it counts.
    """
    for i in range(phase.size):
        row, end = first[i], first[i + 1] - 1
        grown = 0.0
        for k in range(phase[i] + 1):
            if k > 0:
                while row < end and stop[row] < day[k - 1]:
                    row += 1
                grown += jump[0, k - 1] * ratio[0, row] + jump[1, k - 1] * ratio[1, row]
            weight = min(exp(grown), cap)
            total[k] += weight * times[i]
        last[i] = weight
        table[place[i], kind[i]] += weight * times[i]
        count[place[i], kind[i]] += times[i]


@compiled
def draw_counts(index: Whole, key: np.uint64, below: Floats, out: Whole) -> None:
    """Write how often each person is drawn: Poisson of mean 1, from a hash of ``key`` and the person's ``index``.

    ``below`` are the cumulative chances of 0, 1, 2 … draws. The hash is SplitMix64 (Steele GL, Lea D, Flood CH (2014),
    doi:10.1145/2660193.2660195).
    """
    for i in range(index.size):
        z = key + (np.uint64(index[i]) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        chance = np.float64((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * (1.0 / 9007199254740992.0)
        drawn = 0
        for k in range(below.size):
            drawn += chance >= below[k]
        out[i] = drawn


@reassociated
def _exponentials(z: Floats, size: int) -> None:
    """Replace numbers by their exponentials, to nine digits: those of a 64th part, squared six times.

    Without a branch or a call the loop runs on the vector unit, four times as fast as the library's function.
    """
    for i in range(size):
        x = min(max(z[i], -_FURTHEST), _FURTHEST) * (1.0 / 64.0)
        e = 1.0 + x * (1.0 / 9.0) * (1.0 + x * 0.1)
        e = 1.0 + x * (1.0 / 7.0) * (1.0 + x * 0.125 * e)
        e = 1.0 + x * 0.2 * (1.0 + x * (1.0 / 6.0) * e)
        e = 1.0 + x * (1.0 / 3.0) * (1.0 + x * 0.25 * e)
        e = 1.0 + x * (1.0 + x * 0.5 * e)
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        z[i] = e * e


@reassociated
def risk_sums(x: Floats, slope: Floats, bounds: Whole, times: Whole, out: Floats) -> None:
    """Add ``m exp(x slope)`` and its products with x into ``out`` (G, 1 + p), for groups of persons in ``bounds``.

    ``x`` has shape (p, n); ``times`` (n,) is m, how often a person was drawn.
    """
    risk = np.empty(_BLOCK)
    for g in range(bounds.size - 1):
        for low in range(bounds[g], bounds[g + 1], _BLOCK):
            size = min(_BLOCK, bounds[g + 1] - low)
            _predict(x, slope, low, size, risk)
            drawn = times[low : low + size]
            total = 0.0
            for i in range(size):
                risk[i] *= drawn[i]
                total += risk[i]
            out[g, 0] += total
            for j in range(x.shape[0]):
                column, total = x[j, low : low + size], 0.0
                for i in range(size):
                    total += risk[i] * column[i]
                out[g, 1 + j] += total


@reassociated
def _predict(x: Floats, slope: Floats, low: int, size: int, risk: Floats) -> None:
    """Write ``exp(x slope)`` of some persons."""
    risk[:size] = 0.0
    for j in range(x.shape[0]):
        column, factor = x[j, low : low + size], slope[j]
        for i in range(size):
            risk[i] += column[i] * factor
    _exponentials(risk, size)


@reassociated
def _grow(risk: Floats, size: int, middle: float, end: float, base: Floats, weight: Floats) -> None:
    """Write the weights that two cumulative hazards give, ``middle`` and ``end``."""
    for i in range(size):
        base[i] = middle * risk[i]
    _exponentials(base, size)
    if end == 2.0 * middle:  # the last phase, in which most leave
        for i in range(size):
            weight[i] = base[i] * base[i]
    else:
        for i in range(size):
            weight[i] = end * risk[i]
        _exponentials(weight, size)


@reassociated
def sample_sums(
    x: Floats,
    slope: Floats,
    bounds: Whole,
    phase: Whole,
    place: Whole,
    kind: Whole,
    times: Whole,
    reached: Floats,
    middle: float,
    unit: float,
    cap: float,
    moment: Floats,
    total: Floats,
    table: Floats,
    count: Floats,
) -> None:
    """Add the clones of a bootstrap sample as `clone_sums` does, without visiting every phase of every clone.

    The weight that a hazard h gives, summed over clones, is a series in ``h - middle``: ``moment`` (K + 1, J) takes
    the sums of ``exp(middle r) (r / unit)^j`` by last phase. Clones whose ratio r is above ``unit``, or whose weight
    reaches ``cap``, would need a long series: their phases are visited, into ``total``.
    """
    risk, weight, base = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for g in range(bounds.size - 1):
        end = phase[g]
        for low in range(bounds[g], bounds[g + 1], _BLOCK):
            size = min(_BLOCK, bounds[g + 1] - low)
            drawn = times[low : low + size]
            _predict(x, slope, low, size, risk)
            _grow(risk, size, middle, reached[end], base, weight)
            for i in range(size):
                weight[i] = min(weight[i], cap) * drawn[i]
                base[i] *= drawn[i]
            for i in range(size):
                table[place[low + i], kind[low + i]] += weight[i]
                if kind[low + i] > 0:
                    count[place[low + i], kind[low + i]] += drawn[i]
                if risk[i] > unit:
                    for k in range(end + 1):
                        total[k] += min(exp(min(reached[k] * risk[i], _FURTHEST)), cap) * drawn[i]
                    base[i] = 0.0
            for j in range(moment.shape[1]):
                part = 0.0
                for i in range(size):
                    part += base[i]
                    base[i] *= risk[i] / unit
                moment[end, j] += part
