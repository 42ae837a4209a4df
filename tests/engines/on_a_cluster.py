"""Run one task on one cluster, and print what happened as JSON: KIND TASK STUDY STORE OUT."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
from pathlib import Path

import cohort as co
from cohort.errors import InputRefusedError


def fails(tables):
    """Fail on one bucket with a message that quotes a person."""
    persons = tables["person"].collect()
    if persons["person_id"][0] % 256 % 5 == 3:
        raise ZeroDivisionError("a secret of person 17")
    return persons.height


def refuses(tables):
    raise InputRefusedError("no such column; add it")


def dies_once(tables, function, marker, levels):
    """Kill the process that works on a bucket the first time; afterwards do the work."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return function(tables)
    victim = os.getpid()
    for _ in range(levels):
        victim = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(victim, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


class Deadly:
    """An engine whose first task dies; a Spark task's executor is the parent of the parent of its Python worker."""

    def __init__(self, engine, marker):
        self.engine, self.name, self.marker = engine, engine.name, marker
        self.levels = 2 if engine.name == "spark" else 0

    def map(self, store, function, step, progress=None):
        deadly = functools.partial(dies_once, function=function, marker=self.marker, levels=self.levels)
        return self.engine.map(store, deadly, step, progress)


def said(engine, store, function):
    try:
        list(engine.map(store, function, "step"))
    except co.CohortError as error:
        return str(error)
    return "nothing"


def main():
    kind, task, study, store, out = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).parent))
    import on_a_cluster as self  # workers import the functions by this name, not as __main__

    engine = co.engines.dask(workers=2) if kind == "dask" else co.engines.spark(master=kind)
    result = {}
    if task == "fail":
        opened = co.Store.open(store)
        result = {"error": said(engine, opened, self.fails), "refused": said(engine, opened, self.refuses)}
    else:
        chosen = self.Deadly(engine, str(Path(out) / "killed")) if task == "die" else engine
        co.Study.from_toml(study).run(store, engine=chosen).report(out)
    print(json.dumps(result), flush=True)
    engine.client.close() if kind == "dask" else engine.session.stop()


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    main()
