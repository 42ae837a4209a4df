"""A batch job: alone, not twice, resumed where it was, refused before anything is written."""

from __future__ import annotations

import errno
import json
import signal
import time
from functools import partial

import pytest
from run_worlds import ALWAYS, PEOPLE, load, study

import cohort as co
from cohort import stopping
from cohort.engines.local import Local
from cohort.errors import LockedError, ResourceError, StoppedError
from cohort.progress import Reporter
from cohort.runs import batch, ledger, preflight
from cohort.runs.batch import Job
from cohort.runs.ledger import only_run, runs_of
from cohort.stopping import Stop, stop_on_signals, stopped, time_limit

BUCKETS = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return load(folder / "extract", folder / "store", PEOPLE, buckets=BUCKETS)


@pytest.fixture
def job(store, tmp_path):
    return partial(Job, study(), store, Local(), tmp_path / "out")


class Stopping:
    """An engine that is stopped after some buckets, and counts those that it was asked for."""

    name = "stopping"

    def __init__(self, after):
        self.after, self.asked = after, []

    def map(self, store, function, step, progress=None, buckets=None):
        for number in buckets:
            if len(self.asked) == self.after:
                raise Stop("stopped by Ctrl-C")
            self.asked.append(number)
            yield function(store.bucket(number))


def bytes_of(run):
    files = [path for path in run.released.rglob("*") if path.is_file() and path.name != "run.json"]
    return {path.relative_to(run.released): path.read_bytes() for path in files}


def test_what_stands_is_not_computed_again_and_force_computes_the_same_bytes(job, monkeypatch):
    first, new = job().run(Reporter())
    before = {path: path.stat().st_mtime_ns for path in job().out.rglob("*")}
    with monkeypatch.context() as patched:
        patched.setattr(co.Study, "run", None)  # whoever calls it fails
        again, anew = job().run(Reporter())
    assert (new, anew, again) == (True, False, first)
    assert {path: path.stat().st_mtime_ns for path in job().out.rglob("*")} == before
    forced, new = job(force=True).run(Reporter())
    assert (forced.number, new) == (2, True)
    assert bytes_of(forced) == bytes_of(first)
    (forced.released / "estimates.csv").write_text("not what was released")
    assert job().run(Reporter())[1]  # a file that was changed stands for nothing


def test_another_study_snapshot_or_version_is_another_run(job, store, tmp_path, monkeypatch):
    reporter = Reporter()
    names = set()
    for changed in (job(), Job(study(age=40), store, Local(), tmp_path / "out")):
        assert changed.run(reporter)[1]
        names.add(reporter.run_id)
    monkeypatch.setattr("cohort.result.installed_versions", lambda: {"cohort": "99"})
    assert job().run(reporter)[1]
    assert len(names | {reporter.run_id}) == 3


@pytest.mark.parametrize("after", [0, 3, BUCKETS - 1])
def test_a_stopped_run_goes_on_where_it_was_and_gives_the_same_bytes(job, tmp_path, after):
    with pytest.raises(StoppedError, match=f"{after} of {BUCKETS} buckets are finished: the same command goes on"):
        Job(job().study, job().store, Stopping(after), job().out).run(Reporter())
    assert not (job().out / "report.html").exists()
    engine = Stopping(BUCKETS)
    resumed, _ = Job(job().study, job().store, engine, job().out).run(Reporter())
    assert engine.asked == list(range(after, BUCKETS))
    undisturbed, _ = Job(job().study, job().store, Local(), tmp_path / "other").run(Reporter())
    assert bytes_of(resumed) == bytes_of(undisturbed)
    assert not list(runs_of(job().store.path).glob("*/buckets"))  # rows of persons do not outlive their use


def test_a_damaged_bucket_is_computed_again_and_one_of_another_study_is_not_taken(job, tmp_path):
    with pytest.raises(StoppedError):
        Job(job().study, job().store, Stopping(3), job().out).run(Reporter())
    (kept,) = runs_of(job().store.path).glob("*/buckets/00001.parquet")
    kept.write_bytes(kept.read_bytes()[:100])
    other = Stopping(BUCKETS)
    Job(study(age=50), job().store, other, tmp_path / "other").run(Reporter())
    assert other.asked == list(range(BUCKETS))
    engine = Stopping(BUCKETS)
    Job(job().study, job().store, engine, job().out).run(Reporter())
    assert engine.asked == [1, *range(3, BUCKETS)]


def test_the_report_of_before_stands_while_the_next_is_not_finished(job, store):
    first, _ = job().run(Reporter())
    with pytest.raises(StoppedError, match="the report that stood before still stands"):
        Job(study(age=30), store, Stopping(2), job().out).run(Reporter())
    assert (job().out / "report.html").resolve() == first.released / "report.html"


def test_one_run_per_study_and_store_whatever_folder_its_results_go_to(job, store):
    with only_run(store.path, study().sha256):
        started = time.monotonic()
        with pytest.raises(LockedError, match="this study is running on"):
            job().run(Reporter())
        assert time.monotonic() - started < 2
        assert Job(study(age=60), store, Local(), job().out).run(Reporter())[1]  # another study may


def test_a_store_that_cannot_be_written_is_read_all_the_same(job, monkeypatch, capsys):
    def refuses(folder):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(ledger, "make_folder", refuses)
    assert job().run(Reporter())[1]
    assert "cannot be resumed, nor compared" in capsys.readouterr().err


@pytest.mark.parametrize("free", [1 << 20, 63 << 20])
def test_a_disk_that_cannot_hold_the_run_refuses_it_before_anything_is_written(job, monkeypatch, free):
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": free}))
    with pytest.raises(ResourceError, match=r"needs up to \d+ MB .* nothing was written") as refused:
        job().run(Reporter())
    assert refused.value.exit_code == 6
    assert [path.name for path in job().out.iterdir()] == [".lock"]


def test_a_time_limit_stops_the_work_and_is_gone_after_it():
    with pytest.raises(Stop, match="--timeout"), time_limit(0.05):
        time.sleep(30)
    time.sleep(0.06)  # no second alarm


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_work_and_goes_on_doing_so_until_it_is_heard(number, monkeypatch):
    monkeypatch.setattr(stopping, "_AGAIN", 0.05)
    before = signal.signal(number, signal.SIG_DFL)  # a job in the background may have been started to ignore it
    stop_on_signals()
    try:
        with pytest.raises(Stop):
            signal.raise_signal(number)  # swallowed by a library, say
        with pytest.raises(Stop, match="stopped by"):
            time.sleep(30)
        stopped()
        time.sleep(0.06)
    finally:
        signal.signal(number, before)


def test_a_clock_that_is_set_back_does_not_end_a_run_before_it_began(job, monkeypatch):
    import cohort.result as module

    class Back(module.dt.datetime):
        @classmethod
        def now(cls, zone=None):
            return cls(1999, 12, 31, tzinfo=zone)

    began = batch.dt.datetime.now(batch.dt.UTC)
    monkeypatch.setattr(module, "dt", type("Clock", (), {"datetime": Back, "UTC": module.dt.UTC}))
    traced = module.trace(job().study, job().store, began)
    assert traced.finished == traced.started == began


def test_no_clock_decides_what_a_run_is_called(job, store, monkeypatch):
    """29 February, and both hours of 02:30 when summer time ends: the same run id, so nothing is computed twice."""
    import datetime as dt

    first, _ = job().run(Reporter())
    for moment in ("2024-02-29T00:00:00+00:00", "2025-10-26T00:30:00+00:00", "2025-10-26T01:30:00+00:00"):
        faked = dt.datetime.fromisoformat(moment)
        fake = type("Faked", (dt.datetime,), {"now": classmethod(lambda cls, zone=None, at=faked: at)})
        monkeypatch.setattr(batch.dt, "datetime", fake)
        assert job().run(Reporter()) == (first, False)


def test_released_files_name_no_person_and_who_was_in_is_in_the_store_only(store, tmp_path):
    run, _ = Job(study(), store, Local(), tmp_path / "out").run(Reporter())
    assert not list((tmp_path / "out").rglob("who*"))
    facts = run.private_facts()
    who = ledger.RunLedger(store.path, facts["run_id"])
    assert who.who().height == len(PEOPLE)
    assert (who.folder / "who.parquet").stat().st_mode & 0o077 == 0
    assert who.folder.stat().st_mode & 0o077 == 0
    assert json.loads((run.released / "run.json").read_text())["run_id"] == facts["run_id"]
    assert ALWAYS[0] not in (run.private / "store.json").read_text()
