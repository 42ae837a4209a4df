"""Commits: numbered, exclusive, whole or absent."""

import datetime as dt
import json
import logging

import pytest

from cohort.errors import InputRefusedError, LockedError
from cohort.store import manifest as manifests
from cohort.store.files import create_exclusively
from cohort.store.manifest import FORMAT, InputFile, Manifest, TableCount
from cohort.store.store import Store


def a_manifest(number):
    return Manifest(
        format=FORMAT,
        number=number,
        created=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        layout="tiny",
        layout_sha256="0",
        fingerprint=str(number),
        buckets=1,
        key_id="k",
        data_end=None,
        unlisted_persons=0,
        tables={},
        inputs=(),
        not_used=(),
        counts={},
    )


@pytest.fixture
def store(tmp_path):
    for number in (1, 2):
        manifests.commit(tmp_path, a_manifest(number))
    return tmp_path


def test_the_newest_manifest_is_read_and_older_ones_by_number(store):
    assert manifests.newest(store) == a_manifest(2)
    assert manifests.read(store, 1) == a_manifest(1)


def test_a_number_can_be_committed_once(store):
    with pytest.raises(LockedError, match="has committed snapshot 2"):
        manifests.commit(store, a_manifest(2))
    assert sorted(path.name for path in (store / "manifest").iterdir()) == ["000001.json", "000002.json"]


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_damaged_manifest_is_passed_over_and_named(store, caplog, keep):
    path = manifests.path_of(store, 2)
    path.write_bytes(path.read_bytes()[:keep])
    with caplog.at_level(logging.WARNING):
        assert manifests.newest(store) == a_manifest(1)
    assert "000002.json is damaged" in caplog.text
    with pytest.raises(InputRefusedError, match="damaged"):
        Store.open(store, as_of=2)


def test_a_changed_value_is_noticed(store):
    path = manifests.path_of(store, 2)
    path.write_text(path.read_text().replace('"buckets": 1', '"buckets": 2'))
    with pytest.raises(InputRefusedError, match="damaged"):
        manifests.read(store, 2)


def test_another_format_is_refused_with_the_repair(store):
    path = manifests.path_of(store, 2)
    document = json.loads(path.read_text())
    document["manifest"]["format"] = FORMAT + 1
    path.write_text(json.dumps(document))
    with pytest.raises(InputRefusedError, match="upgrade cohort"):
        manifests.read(store, 2)


def test_a_folder_without_a_store_is_refused_with_the_repair(tmp_path):
    with pytest.raises(InputRefusedError, match="make one with `cohort ingest"):
        Store.open(tmp_path / "nowhere")


def test_an_exclusive_file_never_replaces_another(tmp_path):
    create_exclusively(tmp_path / "x", b"first")
    with pytest.raises(FileExistsError):
        create_exclusively(tmp_path / "x", b"second")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"first"]


def test_accounts_add_up_or_say_so():
    file = InputFile(
        source="s",
        name="n",
        bytes=1,
        sha256="",
        lines=10,
        header=1,
        blank=1,
        continuation=1,
        loaded=5,
        rejected=2,
        reasons={"short_row": 2},
    )
    assert file.adds_up
    assert not file.model_copy(update={"loaded": 4}).adds_up
    assert not file.model_copy(update={"reasons": {"short_row": 1}}).adds_up
    count = TableCount(supplied=10, stored=5, duplicates=2, superseded=2, incomplete=1)
    assert count.adds_up
    assert not count.model_copy(update={"stored": 6}).adds_up
    assert count + count == TableCount(supplied=20, stored=10, duplicates=4, superseded=4, incomplete=2)
