"""A table that stays on a cluster: sums are taken there and added in groups, and the study prints the same bytes."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import polars as pl
import pytest
from run_worlds import PEOPLE, load, study

import cohort as co
from cohort.engines.engine import on_workers
from cohort.engines.spread import Spread, leave
from cohort.engines.tasks import Job, added, group_size, opened
from cohort.errors import InputRefusedError
from cohort.survival import fit_cox_buckets


@dataclass
class Elsewhere:
    """A cluster in this process that leaves rows in a folder; nothing reaches a task but what pickles."""

    scratch: Path
    name: str = "elsewhere"

    def map(self, store, function, step, progress=None, buckets=None):
        yield from map(opened, self._answers(on_workers(store, function, range(store.buckets))))

    def each(self, work, pieces, names):
        yield from map(opened, self._answers(Job(work, pieces, names)))

    def total(self, work, pieces, names, add):
        answers, size = self._answers(Job(work, pieces, names)), group_size(len(pieces))
        groups = [answers[at : at + size] for at in range(0, len(answers), size)]
        add = pickle.loads(pickle.dumps(add))  # noqa: S301 -- our own
        return reduce(add, (opened(added(group, add)) for group in groups))

    def _answers(self, job):
        there = pickle.loads(pickle.dumps(job))  # noqa: S301 -- our own
        return [there.attempt(at) for at in range(len(job.pieces))]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    return load(folder / "extract", folder / "store", PEOPLE, buckets=7)


def test_a_study_whose_rows_stay_there_has_the_same_estimates_and_flow(store, tmp_path):
    plan = study()
    here, there = plan.run(store), plan.run(store, engine=Elsewhere(tmp_path))
    assert there.estimates.frame.equals(here.estimates.frame)
    assert there.attrition == here.attrition
    assert there.table.lazy().collect().equals(here.table.lazy().collect())
    assert there.table.most_rows == here.table.most_rows


def test_the_rows_are_their_owners_alone_and_go_with_the_table(store, tmp_path):
    there = study().run(store, engine=Elsewhere(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o077 == 0
    assert len(list(folder.iterdir())) == store.buckets
    del there
    assert list(tmp_path.iterdir()) == []


def test_cox_steps_asked_of_buckets_give_the_model_of_all_rows(tmp_path):
    # 400 persons, hazard doubled by x; lanes 0–3 in part 0, 4–7 in part 1
    rows = pl.DataFrame({"person_id": [n * 256 + n % 8 for n in range(400)]}).with_columns(
        index_date=pl.lit(0),
        time=pl.int_range(400) * 37 % 90 + 1,
        cause=(pl.int_range(400) * 13 % 3 < 2).cast(pl.Int8),
        entry=pl.lit(0),
    )
    rows = rows.with_columns(x=pl.col("time") * 7 % 11 - pl.col("cause"), y=pl.int_range(400) % 5)
    of_part = pl.col("person_id") % 8 // 4
    paths = tuple(leave(rows.filter(of_part == part), tmp_path) for part in (0, 1))
    fits = []
    for parts in ((rows,), Spread(Elsewhere(tmp_path), paths), Spread(Elsewhere(tmp_path), paths[::-1])):
        table = co.AnalysisTable(parts, ("pain",), 0, {"x": "integer", "y": "integer"})
        fits.append(fit_cox_buckets(table.ask, terms="x + y").to_polars())
    assert fits[0].equals(fits[1])  # however the persons are cut, the digits are those of the tree
    assert fits[0].equals(fits[2])
    whole = co.cox("x + y").estimate(1, table).frame.filter(estimand="hazard_ratio")
    assert whole["value"].to_list() == pytest.approx(fits[0]["hazard_ratio"].to_list(), rel=1e-9)


def test_sums_are_added_in_the_order_of_the_pieces():
    # texts do not commute: any other order would show; 10 pieces are 3 groups of 4, 4 and 2
    cluster = Elsewhere(Path())
    assert group_size(10) == 4
    assert cluster.total(str, range(10), [f"bucket {n}" for n in range(10)], str.__add__) == "0123456789"
    assert cluster.total(str, [5], ["bucket 5"], str.__add__) == "5"


def refuses(number):
    raise InputRefusedError("no such column")


def test_a_part_that_fails_is_named_whoever_adds_it_up():
    with pytest.raises(InputRefusedError, match=r"^bucket 0: no such column$"):
        Elsewhere(Path()).total(refuses, range(4), [f"bucket {n}" for n in range(4)], str.__add__)
