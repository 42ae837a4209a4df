"""Run one task on one cluster, and print what happened as JSON: KIND TASK EXTRACTS STORE OUT STUDY…"""

from __future__ import annotations

import dataclasses
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


def dies_once(piece, work, marker, levels):
    """Kill the process that works on a piece the first time; afterwards do the work."""
    try:
        Path(marker).touch(exist_ok=False)
    except FileExistsError:
        return work(piece)
    victim = os.getpid()
    for _ in range(levels):
        victim = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(victim, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
    return None


class Deadly:
    """An engine that dies once in a study, and once each while files are read and buckets are written.

    A Spark task's executor is the parent of the parent of its Python worker.
    """

    def __init__(self, engine, out):
        self.engine, self.name, self.out, self.calls = engine, engine.name, out, 0
        self.levels = 2 if engine.name == "spark" else 0

    def _deadly(self, work, what):
        return functools.partial(dies_once, work=work, marker=str(self.out / f"killed-{what}"), levels=self.levels)

    def map(self, store, function, step, progress=None):
        return self.engine.map(store, self._deadly(function, "study"), step, progress)

    def each(self, work, pieces, names):
        self.calls += 1
        what = {2: "reading", 4: "writing"}.get(self.calls)  # 1 looks at files, 3 at pseudonyms
        return self.engine.each(work if what is None else self._deadly(work, what), pieces, names)


def said(engine, store, function):
    try:
        list(engine.map(store, function, "step"))
    except co.CohortError as error:
        return str(error)
    return "nothing"


def content(store):
    """Return what a store holds: a hash of every file."""
    return {name: [[file.bucket, file.sha256] for file in files] for name, files in store.manifest.tables.items()}


def main():
    kind, task, extracts, store, out, *studies = sys.argv[1:]
    out = Path(out)
    sys.path.insert(0, str(Path(__file__).parent))
    import on_a_cluster as self  # workers import the functions by this name, not as __main__

    engine = co.engines.dask(workers=2) if kind == "dask" else co.engines.spark(master=kind)
    result = {}
    if task == "fail":
        opened = co.Store.open(store)
        result = {"error": said(engine, opened, self.fails), "refused": said(engine, opened, self.refuses)}
    else:
        chosen = self.Deadly(engine, out) if task == "die" else engine
        made = co.ingest(extracts, "tuva", out / "store", buckets=5, keep_ids=True, engine=chosen)
        result = {"content": content(made)}
        for study in studies:
            co.Study.from_toml(study).run(store, engine=chosen).report(out / Path(study).stem)
        if task == "study":  # once more, with the rows left where the workers are
            left = dataclasses.replace(engine, scratch=out)
            co.Study.from_toml(studies[0]).run(store, engine=left).report(out / "left" / Path(studies[0]).stem)
    print(json.dumps(result), flush=True)
    engine.client.close() if kind == "dask" else engine.session.stop()


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    main()
