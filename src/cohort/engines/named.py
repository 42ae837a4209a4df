"""The engine that a command line names, with the options that belong to it."""

from __future__ import annotations

from typing import Literal

from cohort.engines.dask import Dask, dask
from cohort.engines.local import Local, local
from cohort.engines.memory import memory_of
from cohort.engines.spark import Spark, spark
from cohort.errors import StudyError

Name = Literal["local", "spark", "dask"]


def engine_named(
    name: Name, master: str | None = None, memory: str | None = None, processes: int = 0
) -> Local | Spark | Dask:
    """Return an engine.

    Raises
    ------
    StudyError
        If an option belongs to another engine, or the engine is not installed.
    """
    if master is not None and name != "spark":
        raise StudyError(f"--master is for --engine spark; leave it out with --engine {name}")
    if name != "local" and (memory is not None or processes):
        raise StudyError(f"--memory and --processes are for the local engine; leave them out with --engine {name}")
    if name == "local":
        return local(memory=None if memory is None else memory_of(memory), processes=processes)
    return spark(master=master) if name == "spark" else dask()
