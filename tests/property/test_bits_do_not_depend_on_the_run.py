"""The same persons give the same bytes: whatever the buckets, the order of the rows, and the threads."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

import cohort as co

STUDY = "low_back_pain.toml"


@pytest.fixture(scope="module")
def extract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extract")
    co.simulate("low_back_pain", persons=1500, seed=11, layout="tuva", out=folder)
    return folder


@pytest.fixture(scope="module")
def study(root):
    study = co.Study.from_toml(root / "examples" / STUDY)
    effect = co.treatment_effect("early_opioid", "age + sex", 365, folds=2, unsealed="only digits are compared here")
    return study.model_copy(update={"analyses": (*study.analyses, effect)})


def released(study, store, folder):
    study.run(store).report(folder)
    return {name: (folder / name).read_bytes() for name in ("estimates.csv", "estimates.parquet", "attrition.csv")}


@pytest.fixture(scope="module")
def expected(extract, study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    files = released(study, co.ingest(extract, "tuva", folder / "store", buckets=1, keep_ids=True), folder / "out")
    assert files["estimates.csv"].count(b"hazard_ratio") >= 6  # there is something to compare
    return files


@pytest.mark.parametrize("buckets", [7, 64])
def test_buckets(extract, study, expected, tmp_path, buckets):
    store = co.ingest(extract, "tuva", tmp_path / "store", buckets=buckets, keep_ids=True)
    assert store.buckets == buckets
    assert released(study, store, tmp_path / "out") == expected


def test_row_order(extract, study, expected, tmp_path):
    shuffled = tmp_path / "shuffled"
    shuffled.mkdir()
    for file in extract.glob("*.csv"):
        header, *lines = file.read_text().splitlines(keepends=True)
        random.Random(1).shuffle(lines)  # noqa: S311 -- an order, not a secret
        (shuffled / file.name).write_text("".join([header, *lines]))
    store = co.ingest(shuffled, "tuva", tmp_path / "store", buckets=7, keep_ids=True)
    assert released(study, store, tmp_path / "out") == expected


def test_another_key_gives_other_pseudonyms_and_the_same_numbers(extract, study, expected, tmp_path):
    store = co.ingest(extract, "tuva", tmp_path / "store", buckets=7)
    assert released(study, store, tmp_path / "out") == expected


@pytest.mark.parametrize("threads", ["1", "2"])
def test_threads(extract, study, expected, tmp_path, threads):
    """A process of its own, since polars, BLAS and numba fix their threads when they are loaded."""
    variables = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    program = (
        "import sys, cohort as co; extract, study, folder, threads = sys.argv[1:]; "
        "store = co.ingest(extract, 'tuva', folder + '/store', buckets=7, keep_ids=True, threads=int(threads)); "
        "co.Study.from_toml(study).run(store).report(folder + '/out')"
    )
    study.to_toml(tmp_path / STUDY)
    subprocess.run(
        [sys.executable, "-c", program, extract, tmp_path / STUDY, tmp_path, threads],
        check=True,
        env=os.environ | dict.fromkeys(variables, threads),
    )
    found = {name: (tmp_path / "out" / name).read_bytes() for name in expected}
    assert found == expected
