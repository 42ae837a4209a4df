"""Receipts: a report is worked out again from the store, and whatever was altered is named."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from run_worlds import PEOPLE, load, study

import cohort as co
from cohort.engines.local import Local
from cohort.errors import InputRefusedError, StudyError
from cohort.progress import Reporter
from cohort.runs.batch import Job
from cohort.runs.folders import find
from cohort.runs.retention import prune_results, prune_store
from cohort.runs.verification import verify_run
from cohort.store.store import Store


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder = tmp_path_factory.mktemp("receipts")
    store = load(folder / "extract", folder / "store", PEOPLE, buckets=2)
    co.check(store, out=folder / "quality")
    Job(study(), store, Local(), folder / "out", check=folder / "quality" / "counts.json").run(Reporter())
    return folder / "out"


@pytest.fixture
def out(published, tmp_path):
    return shutil.copytree(published, tmp_path / "out", symlinks=True)


def test_every_number_of_an_untouched_report_comes_from_the_store(out):
    receipt = verify_run(find(out / "report.html"))
    assert (receipt.differences, receipt.notes) == ((), ())
    assert receipt.numbers > 100


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("estimates.csv", ",40,", ",41,", "n is 41, the store gives 40"),
        ("attrition.csv", "40,0,", "38,0,", "persons_kept is 38, the store gives 40"),
        ("report.html", ">40<", ">39<", "39"),
    ],
)
def test_one_altered_number_is_found_and_named(out, name, old, new, said):
    page = (out / name).resolve()
    text = page.read_text()
    assert old in text
    page.write_text(text.replace(old, new, 1))
    differences = verify_run(find(out)).differences
    assert f"{name} was changed after its release" in differences
    assert any(line.startswith(f"{name}: ") and said in line for line in differences)
    assert not [line for line in differences if not line.startswith(name)]


def test_a_row_that_was_taken_out_or_put_in_is_named(out):
    table = (out / "estimates.parquet").resolve()
    rows = pl.read_parquet(table)
    extra = rows.head(1).with_columns(group=pl.lit("invented"))
    pl.concat([rows.tail(-1), extra]).write_parquet(table)
    said = " ".join(verify_run(find(out)).differences)
    assert "the row is missing" in said
    assert "group invented: no such row comes from the store" in said


def test_a_report_by_other_software_is_verified_and_the_difference_said(out, monkeypatch):
    monkeypatch.setattr("cohort.result.installed_versions", lambda: {"cohort": "99"})
    receipt = verify_run(find(out))
    assert receipt.differences == ()
    assert any("verified with 99" in note for note in receipt.notes)


def test_a_report_whose_snapshot_is_gone_cannot_be_verified(out, tmp_path):
    run = find(out)
    facts = run.private / "store.json"
    facts.write_text(facts.read_text().replace('"snapshot": 1', '"snapshot": 7'))
    with pytest.raises(InputRefusedError, match="has no snapshot 7"):
        verify_run(run)


# Retention --------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path):
    """A store of three snapshots, and a report on the first."""
    for number in (1, 2, 3):
        people = {person: rows for person, rows in PEOPLE.items() if person % 4 != number}
        store = load(tmp_path / f"extract{number}", tmp_path / "store", people, buckets=1)
    Job(study(), Store.open(store.path, as_of=1), Local(), tmp_path / "out").run(Reporter())
    return store.path, tmp_path / "out"


def snapshots(store):
    return sorted(int(path.stem) for path in (store / "manifest").glob("*.json"))


def test_a_snapshot_stays_while_a_published_report_refers_to_it(three):
    store, out = three
    removed = prune_store(store, keep=1)
    assert (removed.numbers, removed.held) == ((2,), (1,))
    assert removed.bytes > 0
    assert snapshots(store) == [1, 3]
    assert verify_run(find(out)).differences == ()
    shutil.rmtree(out)  # nobody can verify it any more; but perhaps its disk is only not mounted
    assert prune_store(store, keep=1).held == (1,)
    out.mkdir()
    assert prune_store(store, keep=1).numbers == (1,)
    assert snapshots(store) == [3]
    assert [path.name[:6] for path in (store / "data").iterdir()] == ["000003"]


def test_old_runs_go_and_the_one_that_readers_see_stays(three):
    store, out = three
    for age in (30, 40):
        Job(study(age=age), Store.open(store, as_of=2), Local(), out).run(Reporter())
    with (out / "runs" / "000001" / "report.html").open() as reading:
        removed = prune_results(out, keep=1)
        assert reading.read().endswith("</html>")  # who has it open keeps it
    assert removed.numbers == (1, 2)
    assert (out / "report.html").resolve().parent.name == "000003"
    assert [path.name for path in (out / "private").iterdir()] == ["000003"]
    assert prune_store(store, keep=1).held == (2,)  # nothing refers to the first any more
    with pytest.raises(StudyError, match="neither a store nor results"):
        prune_results(store / "data", keep=1)


def test_a_damaged_manifest_stops_the_removal(three):
    store, _ = three
    (store / "manifest" / "000002.json").write_text("{}")
    with pytest.raises(InputRefusedError):
        prune_store(store, keep=1)
    assert snapshots(store) == [1, 2, 3]
