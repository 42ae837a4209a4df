"""The loops over rows and over event times that numpy would have to make temporaries for, compiled on first use.

Every kernel works on one chunk of rows, holds no lock and writes only into what it is given or returns, so that
chunks can run on any number of threads and still be added in one fixed order. Nothing here knows a frame.
Covariates come as the addresses ``x`` (p,) of their columns (see :mod:`cohort.survival.cox_columns`).
"""

from __future__ import annotations

from importlib import import_module
from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cohort.survival.compiling import compiled, of_finite, reassociated

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
Flags = NDArray[np.bool_]

_STRIP = 1024  # rows whose linear predictor is held at once: 8 kB, inside the first-level cache
_ROWS = 512  # rows whose covariates are held at once: 120 kB at p = 30, inside the second-level cache
BLOCK = 4  # columns that are multiplied with each other at once


def _pointers() -> Any:
    """Return a function for compiled code that takes the address of a column for a pointer to its numbers."""
    types = import_module("numba.core.types")

    def pointer(context: Any, address: Any) -> Any:
        def generate(lowering: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], lowering.get_value_type(signature.return_type))

        return types.CPointer(types.float64)(address), generate

    return import_module("numba.extending").intrinsic(pointer)


_pointer, _carray = _pointers(), import_module("numba").carray


@compiled
def _part(column: int, first: int, last: int) -> Floats:
    """Return rows ``first..last`` of the column at an address, where they lie."""
    part: Floats = _carray(_pointer(column + 8 * first), (last - first,))
    return part


@compiled
def predictors(
    x: NDArray[np.int64],
    centre: Floats,
    coefficient: Floats,
    offset: Floats,
    weight: Floats,
    slot: Ints,
    first: int,
    last: int,
    eta: Floats,
    events_from: int,
) -> float:
    """Write eta of rows ``first..last`` into ``eta``; return the sum of ``w eta`` over events (slots from there on).

    ``offset`` and ``weight`` are empty where the model has none.
    """
    total = 0.0
    for low in range(first, last, _STRIP):
        high = min(low + _STRIP, last)
        own, place = eta[low:high], slot[low:high]
        own[:] = 0.0
        for j in range(x.size):
            slope, middle, column = coefficient[j], centre[j], _part(x[j], low, high)
            if slope != 0.0:
                for i in range(own.size):
                    own[i] += (column[i] - middle) * slope
        if offset.size:
            own += offset[low:high]
        part = 0.0
        for i in range(own.size):
            w = weight[low + i] if weight.size else 1.0
            part += own[i] * w if place[i] >= events_from else 0.0
        total += part
    return total


@compiled
def risk_sums(risk: Floats, weight: Floats, slot: Ints, start: Ints, first: int, last: int, table: Floats) -> None:
    """Weight the ``exp(eta)`` of rows ``first..last`` in ``risk`` and add it into ``table``.

    ``table`` has shape (2 (K + 1),): rows without an event by last cell at risk, then rows with one. ``weight`` and
    ``start`` are empty where the model has none.
    """
    if weight.size:
        for i in range(first, last):
            risk[i] *= weight[i]
    for i in range(first, last):
        table[slot[i]] += risk[i]
    if start.size:
        for i in range(first, last):
            table[start[i]] -= risk[i]


@compiled
def moment_sums(
    x: NDArray[np.int64],
    centre: Floats,
    scale: Floats,
    risk: Floats,
    slot: Ints,
    start: Ints,
    hazard: Floats,
    tied: Floats,
    first: int,
    last: int,
    table: Floats,
    square: Floats,
) -> None:
    """Add ``r z`` of rows ``first..last`` into ``table``, and ``v z z'`` into the upper blocks of ``square``.

    ``v = r (A(stop) - A(start) - b)``, the row's expected events; ``hazard`` is A, shape (K + 1,) with 0 for "never
    at risk"; ``tied`` the part b that Efron takes back from events. ``table`` has shape (2 (K + 1), P) and ``square``
    (P, P) with P the number of columns rounded up to whole blocks of :data:`BLOCK`.
    """
    half = hazard.size
    strip, root = np.zeros((square.shape[0], _ROWS)), np.empty(_ROWS)
    for low in range(first, last, _ROWS):
        size = min(_ROWS, last - low)
        own, place = risk[low : low + size], slot[low : low + size]
        for i in range(size):
            k = place[i]
            a = hazard[k - half] - tied[k - half] if k >= half else hazard[k]
            if start.size:
                a -= hazard[start[low + i]]
            root[i] = sqrt(own[i] * max(a, 0.0))
        for j in range(x.size):
            middle, factor, column, out = centre[j], 1.0 / scale[j], _part(x[j], low, low + size), strip[j]
            for i in range(size):
                out[i] = (column[i] - middle) * factor
        for j in range(0, strip.shape[0], BLOCK):
            _scatter(strip[j : j + BLOCK], own, place, 1.0, table[:, j : j + BLOCK])
            if start.size:
                _scatter(strip[j : j + BLOCK], own, start[low : low + size], -1.0, table[:, j : j + BLOCK])
        for j in range(x.size):
            out = strip[j]
            for i in range(size):
                out[i] *= root[i]
        for j in range(0, strip.shape[0], BLOCK):
            for k in range(j, strip.shape[0], BLOCK):
                _add_products(strip[j : j + BLOCK], strip[k : k + BLOCK], size, square[j : j + BLOCK, k : k + BLOCK])


@compiled
def _scatter(z: Floats, risk: Floats, place: Ints, sign: float, table: Floats) -> None:
    """Add ``sign r z`` of a block of columns into its part of the table."""
    z0, z1, z2, z3 = z[0], z[1], z[2], z[3]
    for i in range(risk.size):
        r, row = sign * risk[i], table[place[i]]
        row[0] += r * z0[i]
        row[1] += r * z1[i]
        row[2] += r * z2[i]
        row[3] += r * z3[i]


@reassociated
def _add_products(left: Floats, right: Floats, size: int, out: Floats) -> None:
    """Add the 4 × 4 inner products of two blocks of rows into ``out``: sixteen running sums stay in registers.

    BLAS packs both factors first, which takes longer than multiplying so few rows.
    """
    a0, a1, a2, a3 = left[0], left[1], left[2], left[3]
    b0, b1, b2, b3 = right[0], right[1], right[2], right[3]
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = 0.0
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = 0.0
    for i in range(size):
        x0, x1, x2, x3 = a0[i], a1[i], a2[i], a3[i]
        y0, y1, y2, y3 = b0[i], b1[i], b2[i], b3[i]
        s00, s01, s02, s03 = s00 + x0 * y0, s01 + x0 * y1, s02 + x0 * y2, s03 + x0 * y3
        s10, s11, s12, s13 = s10 + x1 * y0, s11 + x1 * y1, s12 + x1 * y2, s13 + x1 * y3
        s20, s21, s22, s23 = s20 + x2 * y0, s21 + x2 * y1, s22 + x2 * y2, s23 + x2 * y3
        s30, s31, s32, s33 = s30 + x3 * y0, s31 + x3 * y1, s32 + x3 * y2, s33 + x3 * y3
    for j, sums in enumerate(((s00, s01, s02, s03), (s10, s11, s12, s13), (s20, s21, s22, s23), (s30, s31, s32, s33))):
        for k, value in enumerate(sums):
            out[j, k] += value


@compiled
def reversed_sums(table: Floats, head: Flags) -> None:
    """Sum each row of ``table`` (shape (m, K)) from the last cell of a stratum back to its first, in place."""
    for j in range(table.shape[0]):
        for k in range(table.shape[1] - 2, -1, -1):
            if not head[k + 1]:
                table[j, k] += table[j, k + 1]


@compiled
def forward_sums(table: Floats, head: Flags) -> None:
    """Sum each row of ``table`` (shape (m, K)) from the first cell of a stratum on to its last, in place."""
    for j in range(table.shape[0]):
        for k in range(1, table.shape[1]):
            if not head[k]:
                table[j, k] += table[j, k - 1]


@compiled
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


@compiled
def event_strip(
    x: NDArray[np.int64],
    centre: Floats,
    scale: Floats,
    weight: Floats,
    events: NDArray[np.int64],
    out: Floats,
) -> None:
    """Add ``w z`` of some rows, the ``events`` in rising order, into ``out``, shape (p,).

    Equal addends (0/1 columns) round the same way each time, so they are added in strips, and the strips then.
    """
    last = events[-1] + 1 if events.size else 0
    for j in range(x.size):
        column, total = _part(x[j], 0, last), 0.0
        for low in range(0, events.size, _STRIP):
            part = 0.0
            for row in events[low : low + _STRIP]:
                z = (column[row] - centre[j]) / scale[j]
                part += z * weight[row] if weight.size else z
            total += part
        out[j] += total


@compiled
def column_span(column: Floats, weight: Floats) -> tuple[float, float, float]:
    """Return the lowest and highest value of a column of finite numbers and its (weighted) mean."""
    origin = column[0]
    low = high = origin
    total, mass = 0.0, float(column.size)
    for first in range(0, column.size, _STRIP):
        strip = column[first : first + _STRIP]
        low, high = _range(strip, low, high)
        total += _weighted_distance(strip, origin, weight[first : first + _STRIP])
    if weight.size:
        mass = weight.sum()
    return low, high, origin + total / mass


@of_finite
def _range(strip: Floats, low: float, high: float) -> tuple[float, float]:
    for value in strip:
        low, high = min(low, value), max(high, value)
    return low, high


@reassociated
def _weighted_distance(strip: Floats, origin: float, weight: Floats) -> float:
    total = 0.0
    if weight.size:
        for i in range(strip.size):
            total += weight[i] * (strip[i] - origin)
    else:
        for i in range(strip.size):
            total += strip[i] - origin
    return total


@compiled
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


@compiled
def score_strip(
    x: NDArray[np.int64],
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
    for j in range(x.size):
        column, of_cell, own, late = _part(x[j], first, last), drift[j], out[j], tied_drift[j]
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


@compiled
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


@compiled
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
