"""Small versions of ``publications.py``, which says how to run the long ones; and a run that is killed in earnest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from run_worlds import PEOPLE, load, study

PUBLICATIONS = Path(__file__).with_name("publications.py")


@pytest.mark.parametrize("fault", [["polled", "20", "300"], ["kills", "5"], ["calls"]], ids=" ".join)
def test_readers_see_one_run_or_the_next_whatever_happens(fault):
    ended = subprocess.run([sys.executable, PUBLICATIONS, *fault], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "none" in ended.stdout


@pytest.mark.parametrize("fault", [["starts", "8", "1"], ["commands", "3", "1"]], ids=" ".join)
def test_of_many_starts_exactly_one_runs(fault):
    ended = subprocess.run([sys.executable, PUBLICATIONS, *fault], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "exactly one ran in each" in ended.stdout


# Started as a scheduler starts it ---------------------------------------------------------------------------------


BUCKETS = 64


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    load(folder / "extract", folder / "store", PEOPLE, buckets=BUCKETS)
    study().to_toml(folder / "study.toml")
    return folder


def run(world, *options, **started):
    places = ["run", world / "study.toml", "--store", world / "store", "--out", world / "out"]
    line = [sys.executable, "-m", "cohort.cli", *map(str, [*places, *options])]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **started)


def wait_for_buckets(world, number):
    deadline = time.monotonic() + 120
    while buckets(world) < number:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def buckets(world):
    return len(list((world / "store" / "private" / "runs").glob("*/buckets/*.parquet")))


def test_a_kill_ctrl_c_and_a_time_limit_cost_nothing_and_the_last_start_finishes(world):
    killed = run(world)
    wait_for_buckets(world, 2)
    killed.kill()
    killed.communicate()
    assert not (world / "out" / "report.html").exists()

    there = buckets(world)  # on a busy machine more than two were finished before the kill came
    stopped = run(world)
    wait_for_buckets(world, there + 2)
    stopped.send_signal(signal.SIGINT)
    _, said = stopped.communicate(timeout=60)
    assert stopped.returncode == 8, said
    assert "the same command goes on from there" in said
    before = int(said.split(f" of {BUCKETS} buckets are finished: ")[0].split()[-1])
    assert there + 2 <= before < BUCKETS

    finished = run(world, "--log-format", "json")
    _, said = finished.communicate()
    assert finished.returncode == 0, said
    assert f'"resumed": "{before} of {BUCKETS} buckets are finished already"' in said
    assert not list((world / "store" / "private" / "runs").glob("*/buckets"))

    timed = run(world, "--force", "--timeout", "0.01")
    _, said = timed.communicate()
    assert (timed.returncode, "--timeout" in said) == (8, True), said
    assert (world / "out" / "report.html").resolve().parent.name == "000001"


def test_a_scheduler_s_poor_surroundings_are_enough(root, world):
    """An empty environment, no standard input, another folder to work in: as cron starts it."""
    settings = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(root / "src"))}
    done = run(world, stdin=subprocess.DEVNULL, env=settings, cwd="/")
    _, said = done.communicate()
    assert done.returncode == 0, said
