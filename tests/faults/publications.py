"""Reports that are published, killed half-way and started many times over, while readers look on.

``python tests/faults/publications.py polled 500 100000`` publishes so many runs while readers read the folder of
results at least so many times: no reading may find files of two runs, half a file, or an older run after a newer.
``kills 200 [SEED]`` kills so many publications at random moments, ``calls`` before every call that touches a file in
turn: afterwards the old run or the new one stands, whole, and the next publication succeeds. ``starts 200 20`` starts a
job so many times at once, in so many rounds: exactly one may run, and every other must be told so, each after less
than 2 seconds of work; the time on the wall is printed. The study and its store are stood in for there; ``commands 200
20`` starts ``cohort run`` itself, each in a process of its own that loads all it needs: exactly one publishes, and
every other ends with 4, or finds the results standing and computes nothing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from kills import EVENTS, in_a_child

FILES = ("report.html", "estimates.csv", "estimates.parquet", "attrition.csv", "run.json")
CHANGES = {*EVENTS, "os.symlink"}


def publish_one(out: Path, size: int = 20_000) -> int:
    """Publish a run whose every file is full of the run's number; return the number."""
    from cohort.runs.publication import next_run, publish

    run = next_run(out)

    def write(folder: Path) -> None:
        for name in FILES:
            (folder / name).write_text(run.name * size)

    return publish(run, write, lambda private, _: (private / "store.json").write_text("{}")).number


def read_one(out: Path, size: int = 20_000) -> int:
    """Return the number of the run that stands, asserting that each file is whole and of that run.

    The link is followed once; what lies behind it never changes.
    """
    folder = out / "runs" / (out / "latest").readlink().name
    for name in FILES:
        assert (folder / name).read_bytes() == folder.name.encode() * size, f"{folder}/{name} is torn"
    through_the_link = (out / "report.html").read_bytes()
    assert through_the_link == through_the_link[:6] * size, "report.html is torn"
    assert through_the_link[:6] >= folder.name.encode(), "an older run after a newer"
    return int(folder.name)


def polled(folder: Path, publications: int, readings: int) -> Iterator[str]:
    """Read all the while that runs are published."""
    out = folder / "out"
    publish_one(out, 200)
    reader = os.fork()
    if reader == 0:
        last = done = 0
        while done < readings or last <= publications:
            number = read_one(out, 200)
            assert number >= last, "an older run after a newer"
            last, done = number, done + 1
        print(f"{done:,} readings, the last of run {last}", flush=True)
        os._exit(0)
    for _ in range(publications):
        publish_one(out, 200)
    assert os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1]) == 0
    yield f"{publications} publications, none torn"


def _check_after_a_kill(out: Path, before: int) -> None:
    assert read_one(out, 200) in (before, before + 1)
    after = publish_one(out, 200)
    assert read_one(out, 200) == after > before
    left = [path for path in out.rglob("*") if path.name.startswith(".writing")]
    assert not left, left
    assert all((out / "private" / path.name).is_dir() for path in (out / "runs").iterdir())


def kills(folder: Path, number: int, seed: int = 7) -> Iterator[str]:
    """Kill so many publications at random moments before they end; one that ends earlier does not count."""
    out, chance = folder / "out", random.Random(seed)  # noqa: S311 -- no secret
    publish_one(out, 200)
    lasts, killed, tried = 0.05, 0, 0
    while killed < number:
        before = read_one(out, 200)
        child = os.fork()
        if child == 0:
            publish_one(out, 200)
            os._exit(0)
        time.sleep(chance.uniform(0, lasts))
        os.kill(child, signal.SIGKILL)
        in_time = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        lasts *= 1.1 if in_time else 0.9  # half of them come in time
        killed, tried = killed + in_time, tried + 1
        assert in_a_child(lambda before=before: _check_after_a_kill(out, before)) == 0
    yield f"{killed} publications killed before they had ended, of {tried} tried, none lost"


def calls(folder: Path) -> Iterator[str]:
    """Kill a publication before its n-th call that touches a file, n = 1, 2, … until one is not killed."""
    out, number, ended = folder / "out", 0, -signal.SIGKILL
    publish_one(out, 200)
    while ended != 0:
        number += 1
        before = read_one(out, 200)
        ended = in_a_child(lambda number=number: _until_call(out, number))
        assert ended in (0, -signal.SIGKILL), ended
        assert in_a_child(lambda before=before: _check_after_a_kill(out, before)) == 0, f"killed at call {number}"
    yield f"killed before each of {number - 1} calls, none lost"


def _until_call(out: Path, number: int) -> None:
    left = number

    def count(event: str, _: object) -> None:
        nonlocal left
        left -= event in CHANGES
        if event in CHANGES and left == 0:  # the kill is an event itself
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    publish_one(out, 200)


def starts(folder: Path, number: int, rounds: int) -> Iterator[str]:
    """Start one job many times at once; who wins goes on until all others have been told."""
    work = wait = 0.0  # of the process, and on a clock that runs on while others have the processor
    for turn in range(rounds):
        told, hear = os.pipe()
        everybody, go = os.pipe()
        children = [_start(folder, (hear, told, everybody, go), number) for _ in range(number)]
        for end in (hear, go, everybody):  # nobody holds the gate any more: all begin at once
            os.close(end)
        with os.fdopen(told) as lines:
            seconds = [tuple(map(float, line.split())) for line in lines]
        ended = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert sorted(ended) == [0] + [4] * (number - 1), f"round {turn}: {sorted(ended)}"
        assert len(seconds) == number - 1
        work = max(work, *(own for own, _ in seconds))
        wait = max(wait, *(elapsed for _, elapsed in seconds))
        assert work < 2, f"round {turn}: told after {work:.2f} s of work"
    yield f"{rounds} rounds of {number} starts, exactly one ran in each; told after {work:.3f} s of work, {wait:.3f} s"


def _start(folder: Path, pipes: tuple[int, int, int, int], number: int) -> int:
    """Start a job in a child of its own, which waits at the gate; a loser says how long it took to be told."""
    child = os.fork()
    if child == 0:
        code = 1
        hear, told, everybody, go = pipes
        try:
            os.close(told)
            os.close(go)
            os.read(everybody, 1)  # until the parent lets go
            code = _job(folder, hear, number)
        finally:
            os._exit(code)
    return child


def _job(folder: Path, hear: int, number: int) -> int:
    """Run what takes the locks; the study and the store behind them are stood in for, since nothing is computed."""
    from cohort.errors import LockedError
    from cohort.progress import Reporter
    from cohort.runs.batch import Job

    class Patient(Job):
        def _quality(self) -> None:
            """Hold the locks, as a run does, until every other start has been told; then end."""
            while len(list(folder.glob("told-*"))) < number - 1:
                time.sleep(0.02)
            for path in folder.glob("told-*"):
                path.unlink()
            raise EOFError

    job = Patient(SimpleNamespace(sha256="0" * 64), SimpleNamespace(path=folder), None, folder / f"out-{os.getpid()}")
    started, worked = time.monotonic(), time.process_time()
    try:
        job.run(Reporter())
    except LockedError:
        os.write(hear, f"{time.process_time() - worked:.4f} {time.monotonic() - started:.4f}\n".encode())
        (folder / f"told-{os.getpid()}").touch()
        return LockedError.exit_code
    except EOFError:
        return 0
    return 1


RUN = "from cohort.cli import main; main()"


def commands(folder: Path, number: int, rounds: int) -> Iterator[str]:
    """Start ``cohort run`` so many times at once, on one store and into one folder of results."""
    import cohort as co

    co.simulate("low_back_pain", persons=1000, seed=3, out=folder / "extract")
    co.ingest(folder / "extract", "tuva", folder / "store")
    study = Path(__file__).parents[2] / "examples" / "low_back_pain.toml"
    work, told, same = 0.0, 0, 0
    for turn in range(rounds):
        out = folder / f"out-{turn}"
        words = [sys.executable, "-c", RUN, "run", study, "--store", folder / "store", "--out", out]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
        started = [subprocess.Popen(words, **quiet) for _ in range(number)]
        ended = [_ended(run) for run in started]
        codes = [code for code, _, _ in ended]
        computed = [code == 0 and "nothing was computed" not in text for code, text, _ in ended]
        assert sum(computed) == 1, f"round {turn}: {sum(computed)} ran"
        assert set(codes) <= {0, 4}, f"round {turn}: {sorted(codes)}"
        assert [path.name for path in (out / "runs").iterdir()] == ["000001"]
        told, same = told + codes.count(4), same + codes.count(0) - 1
        work = max([work, *(seconds for code, _, seconds in ended if code == 4)])
    yield (
        f"{rounds} rounds of {number} starts, exactly one ran in each; {told} were told that it does, after at most "
        f"{work:.2f} s of work, loading included; {same} that it did"
    )


def _ended(run: subprocess.Popen[str]) -> tuple[int, str, float]:
    """Return the exit code of a process, what it said, and its seconds of work."""
    text = run.stdout.read()
    _, status, used = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    return run.returncode, text, used.ru_utime + used.ru_stime


def main(kind: str, *numbers: int) -> None:
    """Run one kind and say what was survived."""
    import cohort.runs.batch
    import cohort.store.store  # noqa: F401 -- imported once, before the children are forked

    with tempfile.TemporaryDirectory(prefix="cohort-publications-") as folder:
        for said in KINDS[kind](Path(folder), *numbers):
            print(f"{kind}: {said}")


KINDS = {"polled": polled, "kills": kills, "calls": calls, "starts": starts, "commands": commands}


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
