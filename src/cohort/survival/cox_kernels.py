"""The loops over rows and over event times that numpy would have to make temporaries for, compiled on first use.

Every kernel works on one chunk of rows, holds no lock and writes only into what it is given or returns, so that
chunks can run on any number of threads and still be added in one fixed order. Nothing here knows a frame.
Covariates come transposed, ``xt`` of shape (p, n), so that the inner loops run along memory.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from math import exp, log, sqrt
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

_STRIP = 1024  # rows whose linear predictor is held at once: 8 kB, inside the first-level cache


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    numba = import_module("numba")
    try:
        compiled: Callable[P, R] = numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder can be written for the cache (a read-only installation without a home)
        compiled = numba.njit(nogil=True, error_model="numpy")(function)
    return compiled


@_compiled
def risk_sums(
    xt: Floats,
    centre: Floats,
    coefficient: Floats,
    offset: Floats,
    weight: Floats,
    slot: Ints,
    start: Ints,
    first: int,
    last: int,
    risk: Floats,
    table: Floats,
) -> float:
    """Write ``w exp(eta)`` of rows ``first..last`` into ``risk``, add it into ``table``; return the events' ``w eta``.

    ``table`` has shape (2 (K + 1),): rows without an event by last cell at risk, then rows with one. ``offset``,
    ``weight`` and ``start`` are empty where the model has none.
    """
    half = table.size // 2
    strip = np.empty(_STRIP)
    total = 0.0
    for low in range(first, last, _STRIP):
        high = min(low + _STRIP, last)
        eta, own, place = strip[: high - low], risk[low:high], slot[low:high]
        eta[:] = 0.0
        for j in range(xt.shape[0]):
            slope, middle, column = coefficient[j], centre[j], xt[j, low:high]
            for i in range(eta.size):
                eta[i] += (column[i] - middle) * slope
        if offset.size:
            eta += offset[low:high]
        for i in range(eta.size):
            own[i] = exp(eta[i])
        if weight.size:
            own *= weight[low:high]
        part = 0.0
        for i in range(eta.size):
            table[place[i]] += own[i]
            if place[i] >= half:
                part += eta[i] * (weight[low + i] if weight.size else 1.0)
        total += part
        if start.size:
            for i in range(eta.size):
                table[start[low + i]] -= own[i]
    return total


@_compiled
def moment_strip(
    xt: Floats,
    centre: Floats,
    scale: Floats,
    risk: Floats,
    slot: Ints,
    start: Ints,
    hazard: Floats,
    tied: Floats,
    first: int,
    last: int,
    strip: Floats,
    table: Floats,
) -> None:
    """Write ``sqrt(v) z`` of rows ``first..last`` into ``strip`` and add ``r z`` into ``table``.

    ``v = r (A(stop) - A(start) - b)``, the row's expected events; ``hazard`` is A, shape (K + 1,) with 0 for "never
    at risk"; ``tied`` the part b that Efron takes back from events; ``strip`` has shape (p, rows), ``table``
    (p, 2 (K + 1)).
    """
    half = hazard.size
    own, place = risk[first:last], slot[first:last]
    root, moment = np.empty(own.size), np.empty(own.size)
    for i in range(own.size):
        k = place[i]
        a = hazard[k - half] - tied[k - half] if k >= half else hazard[k]
        if start.size:
            a -= hazard[start[first + i]]
        root[i] = sqrt(own[i] * max(a, 0.0))
    for j in range(xt.shape[0]):
        middle, factor, column = centre[j], 1.0 / scale[j], xt[j, first:last]
        out, by_slot = strip[j, : own.size], table[j]
        for i in range(own.size):
            z = (column[i] - middle) * factor
            out[i] = root[i] * z
            moment[i] = own[i] * z
        for i in range(own.size):
            by_slot[place[i]] += moment[i]
        if start.size:
            for i in range(own.size):
                by_slot[start[first + i]] -= moment[i]


@_compiled
def reversed_sums(table: Floats, head: Flags) -> None:
    """Sum each row of ``table`` (shape (m, K)) from the last cell of a stratum back to its first, in place."""
    for j in range(table.shape[0]):
        for k in range(table.shape[1] - 2, -1, -1):
            if not head[k + 1]:
                table[j, k] += table[j, k + 1]


@_compiled
def forward_sums(table: Floats, head: Flags) -> None:
    """Sum each row of ``table`` (shape (m, K)) from the first cell of a stratum on to its last, in place."""
    for j in range(table.shape[0]):
        for k in range(1, table.shape[1]):
            if not head[k]:
                table[j, k] += table[j, k - 1]


@_compiled
def tie_terms(
    at_risk: Floats, dying: Floats, deaths: NDArray[np.int64], weight: Floats, efron: bool, out: Floats
) -> float:
    """Fill ``out`` (5, K) with a, b, a2, b2, c2 of each cell and return the log denominators.

    With d events of total weight W in a cell, ``phi_l = S0 - (l/d) D0`` and l = 0 … d - 1 (Efron; l/d is 0 under
    Breslow), a, b are the sums of (W/d) {1, l/d} / phi_l and a2, b2, c2 those of (W/d) {1, l/d, (l/d)²} / phi_l².
    """
    total = 0.0
    for k in range(at_risk.size):
        d = deaths[k]
        share = weight[k] / d
        if efron:
            for step in range(d):
                part = step / d
                phi = at_risk[k] - part * dying[k]
                total += share * log(phi)
                q = share / phi
                out[0, k] += q
                out[1, k] += q * part
                q /= phi
                out[2, k] += q
                out[3, k] += q * part
                out[4, k] += q * part * part
        else:
            total += weight[k] * log(at_risk[k])
            out[0, k] = weight[k] / at_risk[k]
            out[2, k] = out[0, k] / at_risk[k]
    return total


@_compiled
def event_strip(
    xt: Floats, centre: Floats, scale: Floats, weight: Floats, events: NDArray[np.int64], out: Floats
) -> None:
    """Add ``w z`` of some rows, the ``events``, into ``out``, shape (p,).

    Equal addends (0/1 columns) round the same way each time, so they are added in strips, and the strips then.
    """
    for j in range(xt.shape[0]):
        column, total = xt[j], 0.0
        for low in range(0, events.size, _STRIP):
            part = 0.0
            for row in events[low : low + _STRIP]:
                z = (column[row] - centre[j]) / scale[j]
                part += z * weight[row] if weight.size else z
            total += part
        out[j] += total


@_compiled
def column_span(column: Floats, weight: Floats) -> tuple[float, float, float]:
    """Return the lowest and highest value of a column and its (weighted) mean, taken from its first value."""
    origin = column[0]
    low = high = origin
    total, mass = 0.0, 0.0
    for i in range(column.size):
        value = column[i]
        low, high = min(low, value), max(high, value)
        w = weight[i] if weight.size else 1.0
        total += w * (value - origin)
        mass += w
    return low, high, origin + total / mass


@_compiled
def highest_at_risk(order: NDArray[np.int64], low: Ints, high: Ints, cells: int) -> NDArray[np.int64]:
    """Return for each cell the first row of ``order`` that is at risk there (cells ``low..high``), -1 for none.

    Intervals are painted in order; a chain of pointers skips painted cells, so that each is visited once.
    """
    painted = np.full(cells, -1, dtype=np.int64)
    following = np.arange(cells + 1)
    for place in range(order.size):
        row = order[place]
        cell = low[row]
        while cell <= high[row]:
            if painted[cell] < 0:
                painted[cell] = row
                following[cell] = cell + 1
            jump = following[cell]
            while jump < cells and following[jump] != jump:  # the first unpainted cell from here on
                following[cell] = following[jump]
                jump = following[jump]
            cell = jump
    return painted


@_compiled
def score_strip(
    xt: Floats,
    centre: Floats,
    scale: Floats,
    risk: Floats,
    weight: Floats,
    slot: Ints,
    start: Ints,
    tables: tuple[Floats, Floats, Floats, Floats, Floats],
    first: int,
    last: int,
    out: Floats,
) -> None:
    """Write the weighted score residuals of rows ``first..last`` into ``out`` (p, rows).

    ``w e (z - m) - r (z (A - e b) - (C - e c))`` with the tables ``(A, b, m, C, c)``: A and b of shape (K + 1,), the
    mean m of z over the risk set, the cumulative C of the hazard-weighted mean and its tied part c of shape
    (p, K + 1).
    """
    hazard, tied, mean, drift, tied_drift = tables
    half = hazard.size
    size = last - first
    expected = np.empty(size)
    for i in range(size):
        k = slot[first + i]
        expected[i] = hazard[k - half] - tied[k - half] if k >= half else hazard[k]
        if start.size:
            expected[i] -= hazard[start[first + i]]
    for j in range(xt.shape[0]):
        column, of_cell, own, late = xt[j, first:last], drift[j], out[j], tied_drift[j]
        for i in range(size):
            k = slot[first + i]
            z = (column[i] - centre[j]) / scale[j]
            shift = of_cell[k - half] - late[k - half] if k >= half else of_cell[k]
            if start.size:
                shift -= of_cell[start[first + i]]
            own[i] = -risk[first + i] * (z * expected[i] - shift)
            if k >= half:
                w = weight[first + i] if weight.size else 1.0
                own[i] += w * (z - mean[j, k - half])


@_compiled
def pair_counts(row: NDArray[np.int64], change: NDArray[np.int8], rank: NDArray[np.int64], amount: Floats) -> Floats:
    """Follow a list of rows added (1), taken away (-1) and asked (0; 2 subtracts); return each row's answers (n, 3).

    An answer is the amount present with a lower, a higher and the same rank. The amounts lie in a binary indexed tree
    over ranks (Fenwick 1994, doi:10.1002/spe.4380240306), so that each step takes log2 of the number of ranks.
    """
    size = int(rank.max()) + 1
    tree, same = np.zeros(size + 1), np.zeros(size)
    answer = np.zeros((rank.size, 3))
    total = 0.0
    for step in range(row.size):
        i = row[step]
        r = rank[i]
        kind = change[step]
        if kind in (1, -1):
            w = amount[i] * kind
            total += w
            same[r] += w
            k = r + 1
            while k <= size:
                tree[k] += w
                k += k & -k
        else:
            sign = 1.0 if kind == 0 else -1.0
            lower = 0.0
            k = r
            while k > 0:
                lower += tree[k]
                k -= k & -k
            answer[i, 0] += sign * lower
            answer[i, 1] += sign * (total - lower - same[r])
            answer[i, 2] += sign * same[r]
    return answer


@_compiled
def products_before(factor: Floats, head: Flags) -> Floats:
    """Return the product of a stratum's earlier factors at each cell, 1 at its first; shape (K,)."""
    out = np.empty(factor.size)
    current = 1.0
    for k in range(factor.size):
        if head[k]:
            current = 1.0
        out[k] = current
        current *= factor[k]
    return out
