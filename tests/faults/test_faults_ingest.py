"""Kills, full disks and too little memory, in processes of their own; ``kills.py`` also runs them longer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


def survive(*fault):
    ended = subprocess.run([sys.executable, KILLS, *fault], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "faults survived" in ended.stdout


@pytest.mark.parametrize(
    "fault",
    [["calls", "2"], ["first", "12"], ["moments", "15"], ["filesize", "900"], ["memory"]],
    ids=" ".join,
)
def test_no_fault_costs_a_row_or_the_store(fault):
    survive(*fault)


@pytest.mark.parametrize("fault", [["disk", "24"], ["inodes", "8"]], ids=" ".join)
def test_no_full_file_system_costs_a_row_or_the_store(fault):
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    probe = "mount -t tmpfs none /mnt"
    if subprocess.run([*own, "sh", "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no process mount a file system of its own")
    survive(*fault)
