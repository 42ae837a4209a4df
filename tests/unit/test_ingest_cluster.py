"""Ingestion whose work is done elsewhere: the same store, whatever is tried again, and the same refusals."""

from __future__ import annotations

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from ingest_helpers import write_extract, write_layout

import cohort as co
from cohort.engines.tasks import Failure, Job, opened
from cohort.errors import CohortError, InputRefusedError, NotEstimableError, ResourceError
from cohort.ingest import cluster
from cohort.ingest.chunks import write_chunk
from cohort.ingest.guard import Dialect, inspect
from cohort.ingest.load import ingest
from cohort.ingest.staging import Delivery

HERE_AND_THERE = ("here", "there")


class Elsewhere:
    """A cluster in this process: nothing reaches a task but what pickles; every task is done ``times`` over."""

    name = "elsewhere"

    def __init__(self, times: int = 1) -> None:
        self.times, self.done = times, []

    def each(self, work, pieces, names):
        job = pickle.dumps(Job(work, pieces, names))
        for at, name in enumerate(names):
            self.done.append(name)
            answers = [pickle.loads(job).attempt(at) for _ in range(self.times)]  # noqa: S301 -- our own
            yield opened(answers[0])  # what the later attempts have written is in the way of nothing


def content(store: co.Store) -> dict[str, list[tuple[int, int, str]]]:
    tables = store.manifest.tables
    return {name: [(file.bucket, file.rows, file.sha256) for file in files] for name, files in tables.items()}


def hidden(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob(".*")]


@pytest.fixture(scope="module")
def extracts(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "extracts"
    co.simulate("low_back_pain", persons=400, seed=5, layout="tuva", out=folder, dirt=0.5)
    return folder


def load(extracts: Path, store: Path, **options) -> co.Store:
    return ingest(extracts, "tuva", store, buckets=2, keep_ids=True, max_reject_rate=0.5, **options)


def test_a_cluster_makes_the_same_store_whatever_is_done_twice(extracts, tmp_path):
    twice = Elsewhere(times=2)
    here, there = load(extracts, tmp_path / "here"), load(extracts, tmp_path / "there", engine=twice)
    assert content(there) == content(here)
    for part in ("inputs", "counts", "claims", "fingerprint", "data_end", "unlisted_persons", "not_used"):
        assert getattr(there.manifest, part) == getattr(here.manifest, part)
    rejects = [sorted(path.name for path in (tmp_path / name).glob("private/rejects/*/*")) for name in HERE_AND_THERE]
    assert rejects[0] == rejects[1] != []
    assert hidden(tmp_path / "there") == []
    assert list((tmp_path / "there" / "private").glob("work-*")) == []
    assert {"eligibility.csv", "bucket 1"} <= set(twice.done)


def test_the_local_engine_is_what_happens_anyway(tmp_path):
    layout, extract = write_layout(tmp_path / "tiny"), write_extract(tmp_path / "extract")
    store = ingest(extract, layout, tmp_path / "store", engine=co.engines.local())
    assert store.scan("person").collect().height == 1


def test_extracts_added_on_a_cluster_settle_as_they_do_here(tmp_path):
    layout, made = write_layout(tmp_path / "tiny"), []
    for name, engine in (("here", None), ("there", Elsewhere())):
        for part, visits in enumerate((b"ID,DAY,CODE\n1,2020-01-02,M545\n", b"ID,DAY,CODE\n2,2021-01-02,M545\n")):
            people = b"ID,BORN,SEX\n%d,1960-05-17,male\n" % (part + 1)
            extract = write_extract(tmp_path / f"{name}-{part}", people, visits)
            store = ingest(extract, layout, tmp_path / name, buckets=2, keep_ids=True, add=True, engine=engine)
        made.append(store)
    assert content(made[0]) == content(made[1])
    assert made[1].scan("diagnosis").select(pl.len()).collect().item() == 2


def test_a_file_that_is_no_more_what_was_inspected_is_refused(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(b"ID\n1\n")
    seen = inspect(path, Dialect())
    delivery = Delivery("people", None, replace(seen, state=(seen.state[0] + 1, *seen.state[1:])), {})
    assert cluster._as_seen_here(delivery).inspection == seen  # another machine gives a shared device another number
    os.utime(path, ns=(0, 0))
    with pytest.raises(InputRefusedError, match=r"people\.csv changed while it was read"):
        cluster._as_seen_here(delivery)


def test_one_pseudonym_for_two_identifiers_of_different_files_is_refused(tmp_path):
    def persons(name, person_id, witness):
        columns = {"person_id": pa.array(person_id), "witness": pa.array(witness)}
        return write_chunk(tmp_path / name, columns, np.array([0, 2, 3]), "person_id")

    one = persons("one", [2, 4, 1], [70, 71, 72])
    cluster.refuse_shared_pseudonyms(Elsewhere(), [one, persons("same", [2, 4, 1], [70, 71, 72])], 2)
    with pytest.raises(InputRefusedError, match="1 identifiers share a pseudonym"):
        cluster.refuse_shared_pseudonyms(Elsewhere(), [one, persons("other", [2, 6, 3], [99, 71, 72])], 2)


def test_a_refusal_is_the_same_there(tmp_path):
    layout = write_layout(tmp_path / "tiny")
    extract = write_extract(tmp_path / "extract", visits=b'ID,DAY,CODE\n1,2020-01-02,"M545\n')
    said = []
    for engine in (None, Elsewhere()):
        with pytest.raises(InputRefusedError) as refused:
            ingest(extract, layout, tmp_path / "store", engine=engine)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert said[0].startswith("visits.csv")


# What comes back from a worker --------------------------------------------------------------------------------------


def fails(error):
    raise error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (ResourceError("the disk is full"), ResourceError, "bucket 0: the disk is full"),
        (InputRefusedError("bucket 0 is damaged"), InputRefusedError, "bucket 0 is damaged"),
        (NotEstimableError("no_events"), CohortError, "bucket 0: not_estimable: no_events"),
        (MemoryError("secret"), ResourceError, "bucket 0: out of memory; give workers more"),
        (ValueError("secret"), CohortError, "bucket 0: ValueError at test_ingest_cluster.py:"),
    ],
)
def test_a_failure_keeps_its_class_and_tells_no_value(error, kind, text):
    answer = Job(fails, [error], ["bucket 0"]).attempt(0)
    assert isinstance(pickle.loads(answer), Failure)  # noqa: S301 -- our own
    with pytest.raises(CohortError) as raised:
        opened(answer)
    assert type(raised.value) is kind
    assert str(raised.value).startswith(text)
    assert "secret" not in str(raised.value)
