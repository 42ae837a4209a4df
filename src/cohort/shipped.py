"""Where the folders that lie beside the package in a checkout are: inside it once installed from a wheel."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def shipped(name: str) -> Path:
    """Return the folder ``name`` (``sql`` or ``examples``): the wheel's copy, else the checkout's."""
    package = Path(str(resources.files("cohort")))
    installed = package / f"_{name}"
    return installed if installed.is_dir() else package.parents[1] / name
