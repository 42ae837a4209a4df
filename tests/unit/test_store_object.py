"""A store in an object store: pushed, read where it is, committed once, verified; against a server of this machine."""

from __future__ import annotations

import logging

import pytest
from typer.testing import CliRunner

import cohort as co
from cohort.cli import app
from cohort.engines.engine import on_workers
from cohort.errors import InputRefusedError, LockedError, ResourceError, StudyError
from cohort.store import manifest as manifests
from cohort.store.places import absolute, is_remote, place
from cohort.store.push import Pushed, push
from cohort.store.verify import verify

pytest.importorskip("upath", reason="object stores are the extra `s3`, which is not installed")
pytest.importorskip("moto", reason="a server to try object stores against (moto) is not installed")


@pytest.fixture(scope="module")
def bucket():
    """Return a new bucket of a server that lives as long as these tests; its address reaches readers by environment."""
    from boto3 import client
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
        }.items():
            patched.setenv(name, value)
        client("s3").create_bucket(Bucket="cohort-stores")
        yield "s3://cohort-stores"
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    co.simulate("low_back_pain", persons=2000, seed=3, out=folder / "extract")
    return co.ingest(folder / "extract", "tuva", folder / "store", buckets=4)


@pytest.fixture(scope="module")
def pushed(bucket, store):
    target = f"{bucket}/whole"
    return target, push(store.path, place(target))


def test_a_study_gives_the_same_there_as_here(store, pushed, root):
    target, _ = pushed
    study = co.Study.from_toml(root / "examples" / "low_back_pain.toml")
    here, there = study.run(store), study.run(target)
    assert there.estimates.frame.equals(here.estimates.frame)
    assert there.attrition == here.attrition
    assert there.provenance.store_sha256 == here.provenance.store_sha256


def test_a_second_push_sends_nothing(store, pushed):
    target, first = pushed
    assert first == Pushed(1, len(list((store.path / "data").rglob("*.parquet"))), first.bytes)
    assert push(store.path, place(target)) == Pushed(0, 0, 0)


def test_nothing_private_goes_along(pushed):
    names = [str(path) for path in place(pushed[0]).rglob("*") if path.is_file()]
    assert names
    assert not [name for name in names if "private" in name or "key" in name]


def test_a_snapshot_is_committed_by_one_alone(store, bucket, tmp_path):
    target = place(f"{bucket}/taken")
    manifests.path_of(target, 1).write_bytes(b"another store's manifest")
    with pytest.raises(LockedError, match="another store's snapshot 1 is at the target"):
        push(store.path, target)


def test_two_that_commit_at_once_cannot_both(store, bucket, monkeypatch):
    """Both see that the name is free; the conditional put lets one of them have it."""
    target = place(f"{bucket}/race")
    monkeypatch.setattr("cohort.store.push._is_there", lambda *_: False)
    assert push(store.path, target).snapshots == 1
    with pytest.raises(LockedError, match="another push has committed snapshot 1"):
        push(store.path, target)
    assert co.Store.open(f"{bucket}/race").manifest == store.manifest  # as the first one wrote it


def test_objects_are_held_against_the_manifest(store, bucket):
    target = place(f"{bucket}/damaged")
    push(store.path, target)
    assert verify(target).problems == ()
    victim = next(target.rglob("*.parquet"))
    content = bytearray(victim.read_bytes())
    content[100] ^= 1
    victim.write_bytes(bytes(content))
    (problem,) = verify(target).problems
    assert "other content than was committed" in problem


def test_a_damaged_file_is_not_pushed(bucket, tmp_path):
    co.simulate("low_back_pain", persons=100, seed=3, out=tmp_path / "extract")
    damaged = co.ingest(tmp_path / "extract", "tuva", tmp_path / "store")
    victim = next((damaged.path / "data").rglob("*.parquet"))
    victim.chmod(0o600)
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(InputRefusedError, match="is not what was committed"):
        push(damaged.path, place(f"{bucket}/never"))
    with pytest.raises(InputRefusedError, match="holds no store"):
        co.Store.open(f"{bucket}/never")


def test_a_bucket_that_is_not_there_is_a_clear_error(store, bucket):
    with pytest.raises(InputRefusedError, match="holds no store"):
        co.Store.open("s3://cohort-absent/store")
    with pytest.raises(ResourceError, match="address and credentials"):
        push(store.path, place("s3://cohort-absent/store"))


def test_workers_get_the_url_as_it_is(pushed):
    job = on_workers(co.Store.open(pushed[0]), len, [0])
    assert str(job.work.store.path) == pushed[0]


# Places -------------------------------------------------------------------------------------------------------------


def test_folders_stay_folders(tmp_path):
    assert place(str(tmp_path)) == tmp_path
    assert not is_remote(place("relative/store"))
    assert absolute(place("relative")).is_absolute()


def test_pushing_from_folder_to_folder_is_refused(tmp_path):
    with pytest.raises(StudyError, match="from a folder to a URL"):
        push(tmp_path, tmp_path / "other")


def test_a_kind_of_url_that_nothing_reads_is_refused_by_name():
    with pytest.raises(StudyError, match="nosuch"):
        co.Store.open("nosuch://bucket/store")


def test_a_run_by_command_reads_the_url_and_the_store_is_verified_there(store, bucket, root, tmp_path):
    target = f"{bucket}/commanded"
    assert "1 snapshots" in invoke("push", store.path, target)
    study = root / "examples" / "low_back_pain.toml"
    invoke("run", study, "--store", target, "--out", tmp_path / "there")
    invoke("run", study, "--store", store.path, "--out", tmp_path / "here")
    there, here = (tmp_path / place / "estimates.csv" for place in ("there", "here"))
    assert there.read_bytes() == here.read_bytes()
    assert "all as committed" in invoke("verify", target)


def invoke(*arguments):
    ran = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if ran.exception is not None:
        raise ran.exception
    return ran.stdout
