"""Array types of the survival room."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
"""Counts, indices and integer days."""
Floats = NDArray[np.float64]
"""Estimates, weights and times that are not whole days."""
Numbers = NDArray[Any]
"""Int64 for counts of persons or days, Float64 for weighted counts or times that are not whole days."""
