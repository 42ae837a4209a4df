"""Where a store may be: a folder of this machine, or a prefix of an object store given as a URL (``s3://…``).

Objects are read where they are: polars scans them itself, manifests come through fsspec. Credentials and endpoint are
those of the environment (``AWS_…``), never of a command line or a file of ours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from cohort.errors import StudyError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://.+")


def place(where: str | Path) -> Path:
    """Return a folder; of a URL an object with the interface of one, as far as reading goes.

    Raises
    ------
    StudyError
        If it is a URL and what reads it is not installed.
    """
    if not isinstance(where, str):
        return where
    return _object(where) if _URL.fullmatch(where) else Path(where)


def _object(url: str) -> Path:
    try:
        from upath import UPath

        return cast("Path", UPath(url))
    except (ImportError, ValueError):
        kind = url.partition(":")[0]
        raise StudyError(
            f"a store at {kind}://… needs fsspec's reader of {kind}; install cohort with the extra `s3`"
        ) from None


def is_remote(where: Any) -> bool:
    """Return whether a place is not a folder of this machine."""
    return not isinstance(where, str | Path)


def absolute(where: Path) -> Path:
    """Return the place as it can be found from anywhere on this machine."""
    return where if is_remote(where) else where.resolve()
