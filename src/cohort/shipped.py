"""Where the folders that lie beside the package in a checkout are: inside it once installed from a wheel."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from cohort.errors import InputRefusedError


def shipped(name: str) -> Path:
    """Return the folder ``name`` (``sql`` or ``examples``): the wheel's copy, else the checkout's.

    Raises
    ------
    InputRefusedError
        If the installation has lost it.
    """
    package = Path(str(resources.files("cohort")))
    for folder in (package / f"_{name}", package.parents[1] / name):
        if folder.is_dir():
            return folder
    raise InputRefusedError(f"the {name} files are missing from {package}; install cohort again")
