"""Sums of floating-point weights that do not depend on order: each weight is cut into integer limbs.

Float addition is not associative, so a sum of weights would depend on row order, bucket count and threads. A limb is
a 24-bit digit of the weight in base 2**24; limbs are summed as Int64, exactly, and turned back into a float last.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cohort.survival.types import Floats, Ints

LIMB_BITS = 24
"""Bits of one limb: 2**39 rows can be added before an Int64 limb overflows."""
HIGHEST, LOWEST = 5, -6
"""Exponents (base 2**24) of the first and last limb: weights between 2**-144 and 2**144 keep every bit."""
LARGEST_WEIGHT = 2.0**70
"""Weights above this are refused, so that their squares still have a limb."""


def to_limbs(values: Floats) -> dict[int, Ints]:
    """Return the non-zero limbs of non-negative ``values``, float64 (n,): exponent → Int64 (n,)."""
    limbs: dict[int, Ints] = {}
    rest = np.array(values, dtype=np.float64)
    for exponent in range(HIGHEST, LOWEST - 1, -1):
        unit = np.ldexp(1.0, LIMB_BITS * exponent)
        digit = np.floor(rest / unit)  # a power of two: the division and the subtraction are exact
        if digit.any():
            rest -= digit * unit
            limbs[exponent] = digit.astype(np.int64)
    return limbs


def from_limbs(limbs: Mapping[int, Ints], size: int) -> Floats:
    """Return the floats, (size,), that sums of limbs stand for; smallest limb first."""
    total = np.zeros(size)
    for exponent in sorted(limbs):
        total += np.ldexp(limbs[exponent].astype(np.float64), LIMB_BITS * exponent)
    return total
