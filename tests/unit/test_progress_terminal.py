"""What a person sees on a terminal: bars with rates and remaining time; Ctrl-C leaves nothing half-done and says so."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from cohort.progress import rate

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COMMAND = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C reaches it
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
from cohort.cli import main
main()
"""
BAR = r"{step} +[━╸╺]+ +\d+% +([\d.,]+( [kMG])?/s)? +\d:\d\d:\d\d (-:--:--|\d:\d\d:\d\d)"
"""Step, bar, share, rate, time gone and time remaining."""


def on_a_terminal(folder, *words, stop_at=None):
    """Run a command on a terminal of its own, pressing Ctrl-C once a text is seen; return exit code and all seen."""
    here, there = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "110"}
    arguments, ends = [sys.executable, "-c", COMMAND, *map(str, words)], {"stdin": there, "stdout": there}
    ran = subprocess.Popen(
        arguments, cwd=folder, env=environment, **ends, stderr=subprocess.STDOUT, start_new_session=True
    )
    os.close(there)
    seen = b""
    while heard := _heard(here):
        seen += heard
        if stop_at is not None and stop_at.encode() in seen:
            os.write(here, b"\x03")
            stop_at = None
    os.close(here)
    return ran.wait(), seen.decode()


def _heard(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # nobody has the other end any more
        return b""


@pytest.fixture(scope="module")
def world(tmp_path_factory, root):
    """Return a folder with an extract and a store, made on a terminal, and what was seen."""
    folder = tmp_path_factory.mktemp("terminal")
    seen = {
        "simulate": on_a_terminal(folder, "simulate", "--persons", 2000, "--out", "extract"),
        "check": on_a_terminal(
            folder, "ingest", "extract", "--layout", "tuva", "--store", "store", "--extracted-on", "2024-12-31"
        ),
    }
    study = root / "examples" / "low_back_pain.toml"
    seen["cohort"] = on_a_terminal(folder, "run", study, "--store", "store", "--out", "out")
    return folder, seen


@pytest.mark.parametrize("step", ["simulate", "check", "cohort"])
def test_simulating_ingesting_and_running_show_bars_with_rate_and_remaining_time(world, step):
    code, seen = world[1][step]
    assert code == 0
    assert re.search(BAR.format(step=step), CONTROL.sub("", seen)), seen
    assert re.search(rf"{step} +━+ +100% +[\d.,]+( [kMG])?/s", CONTROL.sub("", seen))
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")  # the cursor is there again


def test_ctrl_c_leaves_no_store_behind_and_says_what_to_do(world):
    words = ("ingest", "extract", "--layout", "tuva", "--store", "stopped", "--extracted-on", "2024-12-31")
    code, seen = on_a_terminal(world[0], *words, stop_at="check")
    assert code == 8
    assert "stopped by Ctrl-C; nothing half-done counts, and the same command begins again" in seen
    assert seen.rindex("\x1b[?25h") > seen.rindex("\x1b[?25l")
    assert not [*world[0].glob("stopped/manifest/*")]


def test_ctrl_c_during_a_run_leaves_the_old_report_and_says_how_to_go_on(world, root):
    folder = world[0]
    before = (folder / "out" / "report.html").read_bytes()
    study = root / "examples" / "low_back_pain.toml"
    code, seen = on_a_terminal(folder, "run", study, "--store", "store", "--out", "out", "--force", stop_at="cohort ")
    assert code == 8
    assert "the same command goes on from there" in " ".join(seen.split())
    assert (folder / "out" / "report.html").read_bytes() == before
    assert not [path for path in (folder / "out").rglob("*") if path.name.startswith(".writing")]


def test_the_benchmark_of_the_users_machine_shows_bars_and_can_be_stopped(world):
    code, seen = on_a_terminal(world[0], "bench", "--sizes", "1000", "--out", "timed", stop_at="%")
    assert code == 8
    assert re.search(r"━+ +\d+%", CONTROL.sub("", seen)), seen
    assert not (world[0] / "timed" / "bench.csv").exists()


def test_without_a_terminal_there_are_plain_lines():
    code = "from cohort.progress import Reporter; said = Reporter(); said('cohort', 1, 2); said('cohort', 2, 2)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"cohort: cohort: done in \d+\.\d s\n", ran.stderr)
    assert ran.stdout == ""


@pytest.mark.parametrize(
    ("speed", "told"),
    [(None, ""), (0.94, "0.9/s"), (250.0, "250/s"), (9_999.0, "9,999/s"), (39_132_277.0, "39 M/s"), (2e10, "20 G/s")],
)
def test_rates_have_few_digits(speed, told):
    assert rate(speed) == told
