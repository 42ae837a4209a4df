"""What a run leaves on the disk beside the store: nothing, whoever started it and however the run before it ended."""

import os
import stat
import sys

import pytest
from ingest_helpers import write_extract, write_layout

from cohort import cli
from cohort.errors import InputRefusedError
from cohort.ingest import load as loading
from cohort.ingest.load import ingest
from cohort.store.files import locked

PEOPLE = b"ID,BORN,SEX\np1,1960-01-01,male\n"


@pytest.fixture
def world(tmp_path):
    write_extract(tmp_path / "extract", PEOPLE)
    return tmp_path / "extract", write_layout(tmp_path / "tiny"), tmp_path / "store"


def left_by_a_killed_run(store):
    """Leave spilled rows, a half-written manifest and a half-written key, as kills at those moments do."""
    spill = store / "private" / "work-4711" / "spill"
    spill.mkdir(parents=True)
    (spill / "duckdb_temp_storage.tmp").write_bytes(b"rows")
    (store / "manifest").mkdir()
    left = [store / "manifest" / ".000001.json.4711", store / "private" / ".key.4711"]
    for path in left:
        path.write_bytes(b"half")
    return [spill.parent, *left]


def test_what_a_killed_run_left_is_gone_before_the_next_one_reads(world, monkeypatch):
    left = left_by_a_killed_run(world[2])

    def look(*arguments):
        assert not [path for path in left if path.exists()]
        raise InputRefusedError("seen")

    monkeypatch.setattr(loading, "_load", look)
    with pytest.raises(InputRefusedError, match="seen"):
        ingest(*world)


def test_the_spill_folder_is_gone_at_the_end_however_it_ends(world, monkeypatch):
    real, seen = loading._load, []

    def spilling(connection, plan, work):
        spill = work / "spill"
        spill.mkdir(exist_ok=True)
        (spill / "duckdb_temp_storage.tmp").write_bytes(b"rows")
        assert stat.S_IMODE(spill.stat().st_mode) == stat.S_IMODE(work.stat().st_mode) == 0o700
        seen.append(work)
        if len(seen) == 1:
            raise InputRefusedError("refused")
        return real(connection, plan, work)

    monkeypatch.setattr(loading, "_load", spilling)
    with pytest.raises(InputRefusedError, match="refused"):
        ingest(*world)
    assert not seen[0].exists()
    ingest(*world)
    assert not seen[1].exists()
    assert not list(world[2].rglob("*.tmp"))


def test_an_open_umask_opens_nothing_and_is_put_back(world):
    before = os.umask(0o000)
    try:
        ingest(*world, add=True)
        assert os.umask(0o000) == 0o000
    finally:
        os.umask(before)
    everything = list(world[2].rglob("*"))
    assert len(everything) > 8
    assert not [path for path in everything if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_a_locked_store_ends_the_command_with_exit_code_4(world, monkeypatch, capsys):
    extract, layout, store = map(str, world)
    ingest(*world)
    monkeypatch.setattr(sys, "argv", ["cohort", "ingest", extract, "--layout", layout, "--store", store])
    with locked(world[2]), pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 4
    assert "another run is writing" in capsys.readouterr().err


def test_a_pipe_in_the_extract_is_refused_and_not_waited_for(world):
    os.mkfifo(world[0] / "visits.csv")
    with pytest.raises(InputRefusedError, match="is not a regular file"):
        ingest(*world)


def test_another_key_is_refused_before_anything_is_read(world, tmp_path):
    ingest(*world)
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    for options in ({"keep_ids": True}, {"key_file": key}):
        with pytest.raises(InputRefusedError, match="was made with another key"):
            ingest(*world, **options)
