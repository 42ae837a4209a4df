"""The local engine: within its memory, in processes or threads, the same results; and it says when it cannot."""

from __future__ import annotations

import threading
import time

import pytest
from run_worlds import PEOPLE, load, study

import cohort as co
from cohort.engines import memory
from cohort.engines.local import in_order, local
from cohort.engines.memory import Budget, budget_of, memory_of, need_of_bucket, resident
from cohort.errors import ResourceError, StudyError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    return load(folder / "extract", folder / "store", PEOPLE, buckets=4)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * 10**9), ("512MB", 512 * 10**6), ("1.5g", 15 * 10**8), ("2000", 2000), ("3 TB", 3 * 10**12)],
)
def test_an_amount_of_memory_is_read(text, size):
    assert memory_of(text) == size


@pytest.mark.parametrize("text", ["", "4 gigs", "GB", "-1GB", "0", "4GiB"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(StudyError, match="such as 4GB"):
        memory_of(text)


def test_a_bucket_needs_a_multiple_of_its_decoded_rows(store):
    # a row of any table is wider than one key of 8 bytes and narrower than 200 bytes
    files = [file for files in store.manifest.tables.values() for file in files]
    sizes = [sum(file.rows for file in files if file.bucket == number) for number in range(4)]
    assert need_of_bucket(store) > memory.FACTOR * max(sizes) * 8
    assert need_of_bucket(store) < memory.FACTOR * max(sizes) * 200


def most_under_way(budget, tasks=6):
    lock, now, seen = threading.Lock(), [0], []

    def work(number):
        with lock:
            now[0] += 1
            seen.append(now[0])
        time.sleep(0.02)
        with lock:
            now[0] -= 1
        return number

    assert list(in_order(work, range(tasks), 2, budget)) == list(range(tasks))
    return max(seen)


def test_as_many_buckets_are_under_way_as_fit():
    held = resident()
    assert most_under_way(None) == 2
    assert most_under_way(Budget(held + 10**9, 1, 2)) == 2
    assert most_under_way(Budget(held + 10**9, 1, 1)) == 1
    assert most_under_way(Budget(held // 2, 1, 2)) == 1  # results have piled up: one at a time, never none


def test_a_budget_that_holds_no_bucket_refuses_the_walk(store):
    with pytest.raises(ResourceError, match=r"more than --memory 1 MB; allow more, or ingest into more than 4 buckets"):
        budget_of(store, 10**6)
    with pytest.raises(ResourceError):
        list(local(memory=10**6).map(store, len, "step"))


def test_memory_and_processes_change_no_bit(store):
    plan, told = study(), []
    threads = plan.run(store)
    for engine in (local(memory=resident() + need_of_bucket(store) + (50 << 20)), local(processes=2)):
        again = plan.run(store, lambda *said: told.append(said), engine=engine)
        assert again.estimates.frame.equals(threads.estimates.frame)
        assert again.table.lazy().collect().equals(threads.table.lazy().collect())
    assert [said for said in told if said[0] == "cohort"] == 2 * [("cohort", done, 4) for done in range(5)]


def fails(tables):
    """Fail with a message that quotes a person; at the top of the module, so that it pickles."""
    raise ZeroDivisionError("a secret of person 17")


def test_a_bucket_that_fails_in_a_process_is_named_without_a_person(store):
    with pytest.raises(co.CohortError, match="bucket 0: ZeroDivisionError at") as failed:
        list(local(processes=1).map(store, fails, "step"))
    assert "secret" not in str(failed.value)
