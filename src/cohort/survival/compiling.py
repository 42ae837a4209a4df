"""How loops are compiled by numba: on first use, kept on disk, and without holding Python's lock."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R], **options: Any) -> Callable[P, R]:
    """Compile with every sum taken in the order written."""
    numba = import_module("numba")
    try:
        ready: Callable[P, R] = numba.njit(nogil=True, cache=True, error_model="numpy", **options)(function)
    except RuntimeError:  # no folder can be written for the cache (a read-only installation without a home)
        ready = numba.njit(nogil=True, error_model="numpy", **options)(function)
    return ready


def reassociated(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with sums taken in the order of the vector unit: always the same one, but not the order written."""
    return compiled(function, fastmath={"reassoc", "contract", "nsz"})


def of_finite(function: Callable[P, R]) -> Callable[P, R]:
    """Compile comparisons of numbers that are not NaN for the vector unit."""
    return compiled(function, fastmath={"nnan", "nsz"})
