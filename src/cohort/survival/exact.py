"""Sums of floating-point weights that do not depend on order: each weight is cut into integer limbs.

Float addition is not associative, so a sum of weights would depend on row order, bucket count and threads. A limb is
a 24-bit digit of the weight in base 2**24; limbs are summed as Int64, exactly, and turned back into a float last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from cohort.survival.types import Floats, Ints

LIMB_BITS = 24
"""Bits of one limb: 2**29 rows can be added before a sum of limbs leaves the integers that a float64 holds."""
LARGEST_WEIGHT = 2.0**200
"""Weights above this are refused, so that their squares stay finite."""
SMALLEST_WEIGHT = 2.0**-200
"""Positive weights below this are refused: their squares would vanish."""


def limbs(values: Floats) -> Iterator[tuple[int, Floats]]:
    """Yield the limbs of non-negative ``values``, float64 (n,), largest first: (exponent, whole numbers (n,))."""
    rest = np.array(values, dtype=np.float64)
    while (largest := float(rest.max(initial=0.0))) > 0:
        exponent = (int(np.frexp(largest)[1]) - 1) // LIMB_BITS
        unit = np.ldexp(1.0, LIMB_BITS * exponent)
        digit = np.floor(rest * (1 / unit))  # a power of two: product and difference are exact
        rest -= digit * unit
        yield exponent, digit


def from_limbs(sums: Mapping[int, Ints], size: int) -> Floats:
    """Return the floats, (size,), that sums (or differences) of limbs by exponent stand for.

    Digits are carried first, so that a difference of equal weights is 0 and not what rounding leaves of it.
    """
    total, carry = np.zeros(size), np.zeros(size, dtype=np.int64)
    highest = max(sums, default=0)
    for exponent in range(min(sums, default=0), highest + 1):
        digit = carry + sums.get(exponent, 0)
        carry = digit >> LIMB_BITS
        if exponent < highest:
            digit = digit - (carry << LIMB_BITS)
        total += np.ldexp(digit.astype(np.float64), LIMB_BITS * exponent)
    return total
