"""The Spark engine: one task a bucket, on a session that the user has or on one made for the run.

Spark carries the places of pieces out and answers back, both as Arrow. The rows are read by polars inside the task,
straight from the store, which has to be on storage that every worker sees under the same path.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, on_workers
from cohort.engines.tasks import Job, Piece, Result, added, group_size, opened
from cohort.errors import ResourceError, StudyError
from cohort.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_BACK = "piece long, answer binary"


@dataclass(frozen=True, slots=True, eq=False)
class Spark:
    """Buckets as tasks of a Spark session; retries and speculative copies of a task give the same bytes."""

    session: SparkSession
    scratch: Path | None = None
    name: str = "spark"

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`, and `Cluster` for what is raised."""
        numbers = range(store.buckets) if buckets is None else buckets
        if progress is not None:
            progress(step, 0, len(numbers))
        answers = self._answers(on_workers(store, function, numbers))
        if progress is not None:
            progress(step, len(numbers), len(numbers))
        yield from map(opened, answers)

    def each(self, work: Callable[[Piece], Result], pieces: Sequence[Piece], names: Sequence[str]) -> Iterator[Result]:
        """Yield ``work`` of every piece, in the order of the pieces; see `Cluster`."""
        yield from map(opened, self._answers(Job(work, pieces, names)))

    def total(
        self,
        work: Callable[[Piece], Result],
        pieces: Sequence[Piece],
        names: Sequence[str],
        add: Callable[[Result, Result], Result],
    ) -> Result:
        """Return the sum of ``work`` over all pieces; see `Cluster`. Groups meet in one exchange of their sums."""
        size = group_size(len(pieces))
        answered = self._asked(Job(work, pieces, names))
        grouped = answered.groupBy((answered.piece / size).cast("long"))
        sums: Iterator[Result] = map(opened, _collected(grouped.applyInArrow(_adder(add), _BACK)))
        return reduce(add, sums)

    def _answers(self, job: Job) -> list[bytes]:
        """Return what the workers said of every piece."""
        return _collected(self._asked(job)) if job.pieces else []

    def _asked(self, job: Job) -> DataFrame:
        """Return the frame of the pieces' places and the workers' answers, one task each."""
        from pyspark import cloudpickle

        pack: Any = cloudpickle.dumps  # takes functions that live in no module too
        places = self.session.range(0, len(job.pieces), 1, numPartitions=len(job.pieces))
        return places.mapInArrow(_runner(pack(job)), _BACK)


def spark(
    session: SparkSession | None = None, *, master: str | None = None, scratch: str | Path | None = None
) -> Spark:
    """Return the engine on a session; without one, the active session or a new one on ``master``.

    Parameters
    ----------
    master
        Such as ``local[2]``, ``spark://host:7077`` or ``yarn``; only where there is no session yet.
    scratch
        A folder that all workers see, where the analysis table stays while only sums of it travel (`Spread`); default:
        its rows come here.

    Raises
    ------
    StudyError
        If PySpark is not installed.
    """
    try:
        from pyspark.sql import SparkSession as Session
    except ImportError:
        raise StudyError("the Spark engine needs PySpark; install cohort with the extra `spark`") from None
    folder = None if scratch is None else Path(scratch).resolve()
    if session is not None:
        return Spark(session, folder)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers need this environment, not the system's
    quiet: dict[str, Any] = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    builder = Session.builder.appName("cohort").config(map=quiet)
    return Spark((builder if master is None else builder.master(master)).getOrCreate(), folder)


def _collected(frame: DataFrame) -> list[bytes]:
    """Return the answers of a frame of places and answers, in the order of the places."""
    try:
        rows = sorted(frame.collect())
    except Exception as error:  # noqa: BLE001 -- py4j has many, and their text is a worker's traceback
        raise ResourceError(
            f"Spark gave the job up ({type(error).__name__}); its own log says which executor was lost and why"
        ) from None
    return [bytes(answer) for _, answer in rows]


@lru_cache(maxsize=2)
def _unpacked(job: bytes) -> Job:
    """Return the work, made once by each process: with it goes what it has worked out, such as lists of codes."""
    found: Job = pickle.loads(job)  # noqa: S301 -- made by our own driver
    return found


def _runner(packed: bytes) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a Spark task does with the places of its pieces."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from cohort.engines.spark import _unpacked as known  # of the process, not a copy that came with the task

        job = known(packed)
        for batch in batches:
            for at in batch.column(0).to_pylist():
                columns = [pa.array([at], pa.int64()), pa.array([job.attempt(at)], pa.binary())]
                yield pa.RecordBatch.from_arrays(columns, names=["piece", "answer"])

    return run


def _adder(add: Callable[[Any, Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Return what a Spark task does with the answers of neighbouring pieces."""

    def run(group: pa.Table) -> pa.Table:
        import pyarrow as pa

        ordered = group.sort_by("piece")
        answer = added(ordered["answer"].to_pylist(), add)
        return pa.table({"piece": ordered["piece"].slice(0, 1), "answer": pa.array([answer], pa.binary())})

    return run
