"""``check``: count, judge, write down."""

from __future__ import annotations

from pathlib import Path

from cohort.checks.counts import Counts, Progress, count
from cohort.checks.document import write
from cohort.checks.judge import CheckResult, judge
from cohort.checks.rules import Rulebook
from cohort.store.store import Store


def check(
    store: Store | str | Path,
    thresholds: str | Path | None = None,
    out: str | Path | None = None,
    *,
    memory_limit: str | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> CheckResult:
    """Check one snapshot of a store against every rule of data quality.

    Parameters
    ----------
    store
        A store, or its folder for the newest snapshot.
    thresholds
        TOML file with what differs from ``sql/check/rules.toml``.
    out
        Folder for ``check.html, check.json, check.csv`` and ``counts.json``.
    memory_limit, threads, progress
        Limits of the engine, such as ``"4GB"``; called as ``progress(step, done, total)``.

    Raises
    ------
    InputRefusedError, StudyError
        If there is no store, or the thresholds ask for a rule that does not exist. A broken rule raises nothing.
    """
    rulebook = Rulebook.read(thresholds)
    snapshot = store if isinstance(store, Store) else Store.open(store)
    counts = count(snapshot, rulebook, memory_limit=memory_limit, threads=threads, progress=progress)
    return _finish(counts, rulebook, out)


def recheck(
    counts: Counts | str | Path, thresholds: str | Path | None = None, out: str | Path | None = None
) -> CheckResult:
    """Judge counts that were taken before, without the store.

    Raises
    ------
    InputRefusedError, StudyError
        If the file holds no counts, or the thresholds change what is counted.
    """
    taken = counts if isinstance(counts, Counts) else Counts.read(counts)
    return _finish(taken, Rulebook.read(thresholds), out)


def _finish(counts: Counts, rulebook: Rulebook, out: str | Path | None) -> CheckResult:
    result = judge(counts, rulebook)
    if out is not None:
        write(result, Path(out))
    return result
