"""Numbers that look random and are always the same: what is drawn must not depend on buckets or the order of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


def bits(values: Ints) -> Hashes:
    """Return whole numbers as 64 bits."""
    return values.astype(np.int64).view(np.uint64)


def mixed(values: Hashes) -> Hashes:
    """Return a permutation of 64-bit numbers that looks random.

    References
    ----------
    Steele GL, Lea D, Flood CH. Fast splittable pseudorandom number generators. OOPSLA 2014, 453-472.
    doi:10.1145/2660193.2660195 (the mixing function of SplitMix64).
    """
    stirred = values + np.uint64(0x9E3779B97F4A7C15)
    stirred = (stirred ^ (stirred >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    stirred = (stirred ^ (stirred >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return stirred ^ (stirred >> np.uint64(31))


def of_persons(persons: Ints, seed: int) -> Hashes:
    """Return a number for each person, another for every seed."""
    return mixed(bits(persons) ^ mixed(np.full(persons.size, seed, dtype=np.uint64)))
