"""Persons of a bucket: numbers that sort as pseudonyms do, whatever the pseudonyms."""

import numpy as np
import pytest

from cohort.ingest.views import Persons

FARTHEST = 2**63 - 1


@pytest.mark.parametrize("many", [0, 1, 2, 1000])
@pytest.mark.parametrize("others", [[], [0], [FARTHEST], [0, 1, 2, 3, FARTHEST - 1, FARTHEST]])
def test_numbers_are_places_among_the_distinct_pseudonyms(many, others):
    rng = np.random.default_rng(7)
    person_id = np.concatenate((rng.integers(0, FARTHEST, many), others)).astype(np.int64)
    rows = person_id[rng.integers(0, len(person_id), 3 * many)] if len(person_id) else person_id
    persons = Persons.among([rows, person_id])
    assert persons.person_id.tolist() == sorted(set(person_id.tolist()))
    assert persons.person_id[persons.numbers(rows)].tolist() == rows.tolist()


def test_a_bucket_may_have_no_persons():
    assert Persons.among([]).person_id.tolist() == []
