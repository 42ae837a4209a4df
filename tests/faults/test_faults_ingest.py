"""Kills, a full disk and too little memory, in processes of their own; ``kills.py`` also runs them longer."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.parametrize("fault", [["calls"], ["moments", "15"], ["disk", "500"], ["memory"]], ids=" ".join)
def test_no_fault_costs_a_row_or_the_store(fault):
    ended = subprocess.run([sys.executable, KILLS, *fault], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "faults survived" in ended.stdout
