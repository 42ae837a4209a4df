"""Scheduled runs of one study on a store that grows: the gate remembers, and a receipt still verifies."""

from __future__ import annotations

import pytest
from run_worlds import ALWAYS, load, study

from cohort.engines.local import Local
from cohort.errors import ReleaseRefusedError
from cohort.progress import Reporter
from cohort.results.history import earlier_releases, history_folder
from cohort.runs.batch import Job
from cohort.runs.folders import find
from cohort.runs.verification import verify_run

STUDY = study(minimum=11)


def people(many: int) -> dict[int, tuple]:
    """Return persons with back pain, every third of them again after five months."""
    again = [("2020-08-01", "M545")]
    return {n: (1970, ALWAYS, [("2020-03-01", "M545"), *(again * (n % 3 == 0))]) for n in range(1, many + 1)}


def month(folder, many: int, **options) -> None:
    store = load(folder / f"extract-{many}", folder / "store", people(many), buckets=2)
    Job(STUDY, store, Local(), folder / "out", **options).run(Reporter())


@pytest.fixture(scope="module")
def year(tmp_path_factory):
    """Three months: 60 persons, 3 more, and 60 more; the second is refused."""
    folder = tmp_path_factory.mktemp("year")
    month(folder, 60)
    page = (folder / "out" / "report.html").read_bytes()
    with pytest.raises(ReleaseRefusedError, match="which therefore stands"):
        month(folder, 63)
    assert (folder / "out" / "report.html").read_bytes() == page
    month(folder, 120)
    return folder


def test_a_month_with_three_more_is_refused_and_the_next_is_compared_with_the_one_before(year):
    earlier = earlier_releases(history_folder(year / "store"), STUDY.population_sha256)
    assert [past.counts["0|persons|all"] for past in earlier] == [(60, False), (120, False)]
    assert b"120" in (year / "out" / "attrition.csv").read_bytes()


def test_a_release_that_the_gate_remembers_is_verified_as_it_was(year):
    receipt = verify_run(find(year / "out"))
    assert receipt.differences == ()


def test_the_history_may_lie_elsewhere(tmp_path):
    month(tmp_path, 60, history=tmp_path / "history")
    assert len(earlier_releases(tmp_path / "history", STUDY.population_sha256)) == 1
    assert not history_folder(tmp_path / "store").exists()
