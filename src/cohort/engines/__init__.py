"""Engines: a function mapped over the buckets of a store, on this machine or on a cluster.

``local()``, ``spark(session)`` and ``dask(client)`` give the same results to the last bit: they hand the same function
the same rows, and know nothing else.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

_HOME = {"local": "local", "spark": "spark", "dask": "dask"}
"""Public name → module that defines it; imported on first use, so that neither Spark nor Dask is loaded for nothing."""

__all__ = [*_HOME]  # noqa: PLE0604 -- the names are strings: keys of a dict


class _Package(ModuleType):
    """The room: a module that shares its name with a public function does not hide the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'cohort.engines' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cohort.engines.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
