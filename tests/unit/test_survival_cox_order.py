"""The order of rows depends on their values alone, also where two different rows share a hash."""

from __future__ import annotations

import numpy as np
import pytest

from cohort.survival import cox_order
from cohort.survival.cox_order import canonical_order, distinct


def shuffled(columns: list[np.ndarray], seed: int) -> list[np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(columns[0]))
    return [column[order] for column in columns]


@pytest.mark.parametrize("collide", [False, True], ids=["hash", "colliding hash"])
def test_shuffled_rows_come_back_in_one_order(collide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    columns = [rng.integers(0, 4, 500), rng.integers(0, 2, 500).astype(bool), np.round(rng.normal(size=500), 1)]
    if collide:  # a hash of two values only: nearly every row shares it with others
        monkeypatch.setattr(cox_order, "hash_rows", lambda c: (np.asarray(c[0]) > 1).astype(np.uint64))
    sets = []
    for seed in (2, 3):
        mixed = shuffled(columns, seed)
        order = canonical_order(mixed)
        sets.append(np.stack([column[order] for column in mixed]))
    np.testing.assert_array_equal(sets[0], sets[1])


def test_rows_that_differ_in_one_place_have_different_hashes() -> None:
    rng = np.random.default_rng(2)
    base = rng.integers(0, 3, (6, 20_000)).astype(float)
    hashed = cox_order.hash_rows(list(base))
    assert len(np.unique(hashed)) == len(np.unique(base, axis=1).T)


@pytest.mark.parametrize(
    "labels", [[], [7], [2, 2, 5, 9, 9, 9], [9, 2, 5, 2, 9, 9]], ids=["none", "one", "up", "mixed"]
)
def test_labels_are_numbered_in_rising_order_whether_or_not_they_arrive_so(labels: list[int]) -> None:
    place, count = distinct(np.array(labels, dtype=np.int64))
    known = sorted(set(labels))
    assert (place.tolist(), count) == ([known.index(label) for label in labels], len(known))
