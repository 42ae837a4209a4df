"""A flipped byte is found and named by file; only what is old and belongs to nothing is swept."""

import os
import time

import pytest
from ingest_helpers import write_extract, write_layout
from typer.testing import CliRunner

from cohort.cli import app
from cohort.errors import InputRefusedError
from cohort.ingest.load import ingest
from cohort.store.store import Store
from cohort.store.verify import sweep, verify

PEOPLE = b"ID,BORN,SEX\n" + b"".join(b"p%d,1960-01-01,male\n" % number for number in range(20))
VISITS = b"ID,DAY,CODE\n" + b"".join(b"p%d,2020-01-01,M545\n" % number for number in range(20))


@pytest.fixture
def store(tmp_path):
    """Return a store of two snapshots with two buckets."""
    layout = write_layout(tmp_path / "tiny")
    for visits in (VISITS, VISITS + b"p1,2020-01-02,E119\n"):
        ingest(write_extract(tmp_path / "extract", PEOPLE, visits), layout, tmp_path / "store", buckets=2)
    return tmp_path / "store"


def test_a_whole_store_is_said_to_be_whole(store):
    seen = verify(store)
    files = len(list((store / "data").rglob("*.parquet")))
    assert (seen.snapshots, seen.files, seen.problems) == (2, files, ())
    assert seen.bytes == sum(path.stat().st_size for path in (store / "data").rglob("*.parquet"))


def test_every_flipped_byte_is_found_and_named_by_file(store):
    """Every 50th byte of every file, each flipped by itself; the file is then put right again."""
    flipped = 0
    for path in sorted((store / "data").rglob("*.parquet")):
        whole = path.read_bytes()
        for position in range(0, len(whole), 50):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            (problem,) = verify(store).problems
            assert problem.startswith(f"{path.relative_to(store)} has other content")
            flipped += 1
        path.write_bytes(whole)
    assert flipped > 100
    assert not verify(store).problems


def test_a_flipped_byte_in_every_kind_of_file_is_found_and_named(store, tmp_path):
    """Tables, lines and persons kept for more, manifests, and the key: a first, a middle and a last byte of each."""
    layout, kept = tmp_path / "tiny", tmp_path / "kept"
    ingest(write_extract(tmp_path / "extract", PEOPLE, VISITS), layout, kept, buckets=2, add=True)
    kinds = {path.relative_to(kept).parts[:2] for path in kept.rglob("*") if path.is_file()}
    assert {kind[0] for kind in kinds} == {"data", "manifest", "private", "lock"}
    for path in sorted(path for path in kept.rglob("*") if path.is_file() and path.name != "lock"):
        whole = path.read_bytes()
        for position in (0, len(whole) // 2, len(whole) - 2):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            found = verify(kept).problems
            assert [path.name in problem for problem in found] == [True], (path, position)
        path.write_bytes(whole)
    assert not verify(kept).problems


def test_a_missing_or_shortened_file_and_a_damaged_manifest_are_named(store):
    one, two, *_ = sorted((store / "data").rglob("*.parquet"))
    one.unlink()
    two.write_bytes(two.read_bytes()[:-1])
    manifest = store / "manifest" / "000001.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"tiny", b"tins"))
    text = "\n".join(verify(store).problems)
    assert "000001.json is damaged" in text
    manifest.write_bytes(manifest.read_bytes().replace(b"tins", b"tiny"))
    text = "\n".join(verify(store).problems)
    assert f"{one.relative_to(store)} cannot be read (No such file or directory)" in text
    assert f"{two.relative_to(store)} has {two.stat().st_size:,} bytes instead of" in text


def test_the_command_says_so_and_ends_in_exit_code_3(store):
    answer = CliRunner().invoke(app, ["verify", str(store)])
    assert answer.exit_code == 0
    assert answer.output.startswith("2 snapshots, ")
    path = next((store / "data").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    answer = CliRunner().invoke(app, ["verify", str(store)])
    assert isinstance(answer.exception, InputRefusedError)
    assert path.name in str(answer.exception)


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(InputRefusedError, match="holds no store"):
        verify(tmp_path)


def left_behind(store, name, days):
    """Leave what a killed run leaves, so many days ago."""
    folder = store / "data" / name / "diagnosis"
    folder.mkdir(parents=True)
    (folder / ".0000.parquet.writing").write_bytes(b"half")
    then = time.time() - days * 86_400
    for path in (folder / ".0000.parquet.writing", folder, folder.parent):
        os.utime(path, (then, then))
    return folder.parent


def test_orphans_are_swept_by_age_only_and_never_what_a_snapshot_names(store):
    old, young = left_behind(store, "000003-old", 8), left_behind(store, "000003-young", 6)
    ahead = left_behind(store, "000003-ahead", -400)  # written before the clock was set back
    for path in (store / "data").rglob("*"):
        if "000003" not in str(path):
            os.utime(path, (0, 0))  # the snapshots themselves are older still
    assert sweep(store) == [old]
    assert not old.exists()
    assert young.exists()
    assert ahead.exists()
    assert not verify(store).problems


def test_nothing_is_swept_while_a_manifest_cannot_be_read(store):
    old = left_behind(store, "000003-old", 8)
    manifest = store / "manifest" / "000002.json"
    manifest.write_bytes(manifest.read_bytes()[:-10])
    assert sweep(store) == []
    assert old.exists()


def test_an_ingestion_that_commits_sweeps_and_one_that_fails_does_not(store, tmp_path):
    old = left_behind(store, "000003-old", 8)
    extract, layout = tmp_path / "extract", tmp_path / "tiny"
    with pytest.raises(InputRefusedError):
        ingest(write_extract(extract, PEOPLE, VISITS + b"p1,2020-02-30,E119\n"), layout, store)
    assert old.exists()
    ingest(write_extract(extract, PEOPLE, VISITS + b"p1,2020-01-03,E119\n"), layout, store)
    assert not old.exists()
    assert Store.open(store).manifest.number == 3
