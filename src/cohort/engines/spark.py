"""The Spark engine: one task a bucket, on a session that the user has or on one made for the run.

Spark carries bucket numbers out and results back, both as Arrow. The rows are read by polars inside the task, straight
from the store, which has to be on storage that every worker sees under the same path.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cohort.codes.records import Tables
from cohort.engines.engine import Progress, Result, Task, on_workers, opened
from cohort.errors import ResourceError, StudyError
from cohort.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_BACK = "bucket long, part binary, failure string"


@dataclass(frozen=True, slots=True, eq=False)
class Spark:
    """Buckets as tasks of a Spark session; retries and speculative copies of a task give the same bytes."""

    session: SparkSession
    name: str = "spark"

    def map(
        self,
        store: Store,
        function: Callable[[Tables], Result],
        step: str,
        progress: Progress | None = None,
        buckets: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Yield ``function`` of every bucket, in bucket order; see `Engine`.

        Raises
        ------
        CohortError
            If a bucket failed: which, and why.
        ResourceError
            If Spark gave the job up.
        """
        wanted = list(range(store.buckets) if buckets is None else buckets)
        if progress is not None:
            progress(step, 0, len(wanted))
        numbers = self.session.range(0, store.buckets, 1, numPartitions=store.buckets).where(_in(wanted, store.buckets))
        frame = numbers.mapInArrow(_runner(on_workers(store, function)), _BACK)
        try:
            rows = sorted(frame.collect())
        except Exception as error:  # noqa: BLE001 -- py4j has many, and their text is a worker's traceback
            raise ResourceError(
                f"Spark gave the job up ({type(error).__name__}); its own log says which executor was lost and why"
            ) from None
        if progress is not None:
            progress(step, len(wanted), len(wanted))
        for number, part, failure in rows:
            yield opened(number, None if part is None else bytes(part), failure)


def spark(session: SparkSession | None = None, *, master: str | None = None) -> Spark:
    """Return the engine on a session; without one, the active session or a new one on ``master``.

    Parameters
    ----------
    master
        Such as ``local[2]``, ``spark://host:7077`` or ``yarn``; only where there is no session yet.

    Raises
    ------
    StudyError
        If PySpark is not installed.
    """
    try:
        from pyspark.sql import SparkSession as Session
    except ImportError:
        raise StudyError("the Spark engine needs PySpark; install cohort with the extra `spark`") from None
    if session is not None:
        return Spark(session)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # workers need this environment, not the system's
    quiet: dict[str, Any] = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
    builder = Session.builder.appName("cohort").config(map=quiet)
    return Spark((builder if master is None else builder.master(master)).getOrCreate())


def _in(wanted: Sequence[int], buckets: int) -> str:
    """Return the condition that a bucket is wanted, in Spark's SQL."""
    return "true" if len(wanted) == buckets else f"id in ({', '.join(map(str, wanted)) or 'null'})"


def _runner(task: Task) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return what a Spark task does with its batches of bucket numbers."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                part, failure = task.attempt(number)
                columns: list[Any] = [[number], [part], [failure]]
                types = (pa.int64(), pa.binary(), pa.string())
                arrays = [pa.array(column, dtype) for column, dtype in zip(columns, types, strict=True)]
                yield pa.RecordBatch.from_arrays(arrays, names=["bucket", "part", "failure"])

    return run
