"""What surrounds an ingestion: files that change, disks that are full or closed, clocks, schedulers, and many files."""

import errno
import fcntl
import os
import resource
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from ingest_helpers import write_extract, write_layout

from cohort.errors import InputRefusedError, LockedError, ResourceError
from cohort.ingest.load import ingest
from cohort.store.files import locked

PEOPLE = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % number for number in range(50))


@pytest.fixture
def world(tmp_path):
    return write_extract(tmp_path / "extract", PEOPLE), write_layout(tmp_path / "tiny"), tmp_path / "store"


def replaced(path):
    """Put another file of the same content in its place, as a transfer that starts again does."""
    shutil.copy(path, path.with_name("new"))
    path.with_name("new").rename(path)


def grown(path):
    with path.open("ab") as file:
        file.write(b"p50,1960-01-01,male\n")


@pytest.mark.parametrize("step", ["check", "read"])
@pytest.mark.parametrize("change", [replaced, grown])
def test_a_file_that_changes_while_it_is_read_is_refused(world, step, change):
    told = []

    def meanwhile(now, done, total):
        if now == step and not told:
            told.append(now)
            change(world[0] / "people.csv")

    with pytest.raises(InputRefusedError, match=r"people\.csv changed while it was read"):
        ingest(*world, progress=meanwhile)
    assert not list((world[2] / "manifest").glob("*.json") if world[2].exists() else [])
    assert ingest(*world).manifest.number == 1


def test_a_disk_that_cannot_hold_the_load_refuses_it_before_a_row_is_written(world, monkeypatch):
    extract, _, store = world
    half = (extract / "people.csv").stat().st_size // 2  # all three columns are used
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, half - 1))
    with pytest.raises(ResourceError, match="disk is full before this ends"):
        ingest(*world)
    assert not list((store / "manifest").iterdir()) + list((store / "data").iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, half))
    assert ingest(*world).manifest.number == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))
    assert ingest(*world).manifest.number == 1, "the same content again needs no room"


@pytest.mark.parametrize("reason", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_store_that_may_not_be_written_is_said_so(world, monkeypatch, reason):
    ingest(*world)
    write_extract(world[0], PEOPLE + b"p50,1960-01-01,male\n")
    made = os.mkdir

    def refused(path, *arguments, **options):
        if str(path).startswith(str(world[2])):
            raise OSError(reason, os.strerror(reason), str(path))
        made(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(ResourceError, match=f"{os.strerror(reason)}; the store is as it was"):
        ingest(*world)
    monkeypatch.undo()
    assert ingest(*world).manifest.number == 2


def test_a_file_system_without_locks_is_no_second_writer(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with locked(tmp_path), pytest.raises(LockedError), locked(tmp_path):
        pass
    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(ResourceError, match="without locks"), locked(tmp_path):
        pass


def test_many_files_need_few_handles(tmp_path):
    extract = write_extract(tmp_path / "extract", PEOPLE)
    for number in range(120):
        (extract / f"visits_{number:03}.csv").write_bytes(b"ID,DAY,CODE\np%d,2020-01-01,M545\n" % (number % 50))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len([*Path("/proc/self/fd").iterdir()]) + 40, hard))
    try:
        store = ingest(extract, write_layout(tmp_path / "tiny"), tmp_path / "store", buckets=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert store.manifest.counts["diagnosis"].supplied == 120
    assert store.scan("diagnosis").collect().height == 50


def test_a_header_of_a_million_columns_is_refused(world):
    (world[0] / "people.csv").write_bytes(b"ID" + b",x" * 900_000 + b"\n" + PEOPLE)
    with pytest.raises(InputRefusedError, match="not a header of 1 to 4,096 columns"):
        ingest(*world)


def test_a_scheduler_s_poor_surroundings_are_enough(world, root):
    """An empty environment, standard input closed, an open umask, another folder to work in: as cron starts it."""
    extract, layout, store = map(str, world)
    code = f"import cohort; print(cohort.ingest({extract!r}, {layout!r}, {store!r}).manifest.number)"
    shell = f"umask 000; exec {sys.executable} -c '{code.replace(chr(39), chr(34))}' <&-"
    settings = {"PYTHONPATH": os.environ.get("PYTHONPATH", str(root / "src"))}
    done = subprocess.run(["/bin/sh", "-c", shell], env=settings, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert {path.stat().st_mode & 0o077 for path in world[2].rglob("*")} == {0}
