"""From a supplier's files to the store's tables, with an account of every physical line.

The flow is `load.ingest`: ``guard`` looks at the raw bytes, ``pseudonyms`` replaces identifiers, ``staging`` types
every record or says why not, ``tables`` runs the layout's SQL bucket by bucket, and the store commits the result.
"""

import importlib
import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """The room, made callable: Python binds a subpackage's name on its parent, where ``co.ingest(…)`` is the verb."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Do what `cohort.ingest.load.ingest` does."""
        return importlib.import_module("cohort.ingest.load").ingest(*args, **kwargs)


sys.modules[__name__].__class__ = _Room
