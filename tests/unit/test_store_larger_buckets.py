"""Small buckets are worked on together: neighbours, as long as they stay small and there are several left."""

from __future__ import annotations

import pytest
from run_worlds import PEOPLE, load, study

import cohort as co
from cohort.store import store as stores
from cohort.store.tables import LANES


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("larger")
    return load(folder / "extract", folder / "store", PEOPLE, buckets=19)


def persons(store, bucket):
    return sorted(store.bucket(bucket)["person"].collect()["person_id"].to_list())


def test_neighbours_are_together_and_nobody_is_lost(store):
    larger = store.in_larger_buckets()
    assert larger.buckets == 10  # 19 // 8 = 2 together: nine pairs and the last by itself
    assert persons(larger, 3) == sorted(persons(store, 6) + persons(store, 7))
    assert persons(larger, 9) == persons(store, 18)
    assert sum(len(persons(larger, bucket)) for bucket in range(10)) == store.scan("person").collect().height
    assert {person % LANES % 19 // 2 for person in persons(larger, 3)} == {3}


def test_few_or_large_buckets_stay_as_they_are(store, monkeypatch):
    assert store.in_larger_buckets().in_larger_buckets().buckets == 10  # 10 // 8 = 1
    monkeypatch.setattr(stores, "ROWS_TOGETHER", 1)
    assert store.in_larger_buckets() is store


def test_a_study_prints_the_same_and_names_its_own_store(store):
    told = []
    together = study().run(store, lambda *said: told.append(said))
    apart = study().run(store, engine=co.engines.local(memory=10**12))
    assert ("cohort", 10, 10) in told
    assert together.estimates.frame.equals(apart.estimates.frame)
    assert together.attrition == apart.attrition
    assert together.store is store
