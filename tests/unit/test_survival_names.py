"""The room's public names: lazy, none hidden by a module of the same name, and no modelling library behind a curve."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cohort import survival as sv
from cohort.survival import _HOME


def test_no_module_bears_a_public_name() -> None:
    assert not set(_HOME) & set(_HOME.values())


def test_names_are_listed_and_unknown_ones_refused() -> None:
    assert set(dir(sv)) == set(_HOME)
    with pytest.raises(AttributeError, match="kaplan_mayer"):
        _ = sv.kaplan_mayer


def test_curves_load_neither_pandas_nor_lifelines_nor_matplotlib() -> None:
    code = (
        "import sys; from cohort import survival as sv;"
        "sv.kaplan_meier({'t': [1, 2], 'e': [1, 0]});"
        "sv.logrank({'t': [1, 2], 'e': [1, 1], 'g': [0, 1]}, 't', 'e', 'g');"
        "print([name for name in ('pandas', 'lifelines', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name, home in _HOME.items() if home not in ("cox", "fine_gray")])
def test_every_name_is_there(name) -> None:
    assert getattr(sv, name) is not None
