"""One run of a study on a store, as a batch job needs it: alone, resumable, not twice, and published in one step."""

from __future__ import annotations

import datetime as dt
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cohort.checks.check import recheck
from cohort.checks.document import released_section
from cohort.engines.engine import Engine
from cohort.engines.local import MOST_AT_A_TIME
from cohort.errors import CohortError, InputRefusedError, StoppedError
from cohort.result import Result, quality_option, trace, truth_option
from cohort.results.history import NO_HISTORY, earlier_releases, history_folder, record_release
from cohort.runs.folders import Run, newest
from cohort.runs.kept import Kept, Resuming
from cohort.runs.ledger import RunLedger, only_run, open_ledger
from cohort.runs.preflight import check_disk, estimate, rows_of
from cohort.runs.publication import next_run, sweep
from cohort.runs.receipt import changed_files, publish_result
from cohort.stopping import Stop, stopped
from cohort.store.files import locked, make_folder
from cohort.store.store import Store

if TYPE_CHECKING:
    from markupsafe import Markup

    from cohort.progress import Reporter
    from cohort.report.bias import KnownTruth
    from cohort.study import Study

_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, on what, where, and where its results go."""

    study: Study
    store: Store
    engine: Engine
    out: Path
    check: Path | None = None
    force: bool = False
    truth: KnownTruth | None = None
    history: Path | None = None
    """Where earlier releases are remembered; in the store if it is not said, and nowhere if that cannot be written."""

    def run(self, reporter: Reporter) -> tuple[Run, bool]:
        """Run the study unless its results stand already; return the run that readers see, and whether it is new.

        Raises
        ------
        LockedError
            If something else is writing to the folder of results, or running the study on the store.
        ResourceError
            If the disk cannot hold the run; nothing was written.
        StoppedError
            If a signal or the time limit came; finished buckets are kept.
        """
        make_folder(self.out)
        with ExitStack() as held:
            held.enter_context(locked(self.out, ".lock"))
            keeps = held.enter_context(only_run(self.store.path, self.study.sha256))
            quality = self._quality()
            traced = trace(self.study, self.store, dt.datetime.now(dt.UTC))
            reporter.run_id = replace(traced, options=quality_option(quality) | truth_option(self.truth)).run_id
            if not self.force and (same := self._same(reporter.run_id)) is not None:
                return same, False
            self._check_room(reporter, keeps)
            sweep(self.out)
            return self._anew(reporter, reporter.run_id, quality), True

    def _quality(self) -> Markup | None:
        if self.check is None:
            return None
        check = recheck(self.check)
        if check.counts.fingerprint != self.store.manifest.fingerprint:
            raise InputRefusedError("the check is of another snapshot than the study; check the one that it reads")
        return released_section(check, self.study.disclosure)

    def _same(self, run_id: str) -> Run | None:
        """Return the newest run if it is this one and every file of it is as it was released."""
        try:
            run = newest(self.out)
            same = run is not None and run.private_facts()["run_id"] == run_id and not changed_files(run)
        except (CohortError, KeyError):  # of another version, or damaged: published anew
            return None
        return run if same else None

    def _check_room(self, reporter: Reporter, keeps: bool) -> None:
        needed = estimate(self.study, self.store, MOST_AT_A_TIME)
        check_disk(needed, self.store.path if keeps else None, self.out)
        disk = needed.out_disk + (needed.store_disk if keeps else 0)
        said = f"up to {needed.memory // _MB:,} MB of memory and {disk // _MB:,} MB of disk will be needed"
        reporter.say("estimate", said, memory_mb=needed.memory // _MB, disk_mb=disk // _MB)
        if not keeps:
            reporter.warn("read_only", "the store cannot be written: the run cannot be resumed, nor compared later")
        if not keeps and self.history is None:
            reporter.warn("no_history", NO_HISTORY)

    def _anew(self, reporter: Reporter, run_id: str, quality: Markup | None) -> Run:
        run, ledger = next_run(self.out), open_ledger(self.store.path, run_id)
        kept = None if ledger is None else self._kept(ledger, run)
        history = self.history or (None if ledger is None else history_folder(self.store.path))
        finished = 0 if kept is None else len(kept.numbers())
        if finished:
            reporter.say("resumed", f"{finished} of {self.store.buckets} buckets are finished already")
        try:
            result = self._result(reporter, kept, history).knowing(self.truth)
            published = publish_result(result, run, quality, history)
        except Stop as stop:
            stopped()
            raise StoppedError(f"{stop}; {self._how_to_go_on(kept)}") from None
        if ledger is not None:
            ledger.clear()
        return published

    def _kept(self, ledger: RunLedger, run: Run) -> Kept:
        if self.force:
            ledger.clear()
        ledger.refer(run, self.store.manifest.number)
        return Kept(ledger.make_buckets(self.study.sha256))

    def _result(self, reporter: Reporter, kept: Kept | None, history: Path | None) -> Result:
        """Run the study; what it releases is recorded before it is published, or it could be subtracted unseen."""
        reporter.rows["cohort"] = rows_of(self.store)
        population = self.study.population_sha256
        earlier = () if history is None else earlier_releases(history, population)
        engine = Resuming(self.engine, kept, reporter.rows)
        result = self.study.run(self.store, reporter, engine=engine, history=earlier)
        if history is not None and result.released.record is not None:
            record_release(history, population, result.released.record)
        return result

    def _how_to_go_on(self, kept: Kept | None) -> str:
        finished = 0 if kept is None else len(kept.numbers())
        return (
            "the report that stood before still stands. "
            f"{finished} of {self.store.buckets} buckets are finished: the same command goes on from there"
        )
