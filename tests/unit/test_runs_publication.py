"""Publication: readers see one run or the next, whole, whatever happens between."""

from __future__ import annotations

import time

import pytest

from cohort.errors import StudyError
from cohort.runs.folders import Run, find, is_run, newest
from cohort.runs.publication import next_run, publish


def published(out, **texts):
    def write(folder):
        for name, text in texts.items():
            (folder / name.replace("_", ".")).write_text(text)

    return publish(next_run(out), write, lambda private, _: (private / "store.json").write_text("{}"))


def test_a_second_run_takes_the_place_of_the_first_which_stays_as_it_was(tmp_path):
    first = published(tmp_path, report_html="one", run_json="1")
    (reading := (tmp_path / "report.html").open()).read(1)
    second = published(tmp_path, report_html="two", run_json="2")
    assert ((tmp_path / "report.html").read_text(), (tmp_path / "run.json").read_text()) == ("two", "2")
    assert (first.number, second.number, newest(tmp_path)) == (1, 2, Run(tmp_path, 2))
    assert (first.released / "report.html").read_text() == "one"
    assert reading.read() == "ne"  # who has a page open reads it to its end
    reading.close()


def test_the_files_of_a_first_run_appear_together(tmp_path, monkeypatch):
    from cohort.runs import publication

    seen = []
    link = publication._link

    def watched(path, target):
        link(path, target)
        seen.append(sum((tmp_path / name).exists() for name in ("report.html", "run.json", "a.csv")))

    monkeypatch.setattr(publication, "_link", watched)
    published(tmp_path, report_html="one", run_json="1", a_csv="x")
    assert seen == [0, 0, 0, 3]


def test_a_name_that_is_not_released_any_more_is_gone_and_an_older_version_s_file_is_replaced(tmp_path):
    (tmp_path / "report.html").write_text("of a version that wrote here")
    published(tmp_path, report_html="one", run_json="1", old_csv="x")
    assert (tmp_path / "report.html").read_text() == "one"
    published(tmp_path, report_html="two", run_json="2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "private", "report.html", "run.json", "runs"]


def test_a_folder_of_results_can_be_moved(tmp_path):
    published(tmp_path / "here", report_html="one", run_json="1")
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / "report.html").read_text() == "one"


def test_what_a_killed_publication_left_is_removed_and_its_number_not_taken_for_a_run(tmp_path):
    published(tmp_path, report_html="one", run_json="1")
    (tmp_path / "runs" / ".writing-000002").mkdir()
    (tmp_path / ".writing-latest").symlink_to("runs/000002")
    (tmp_path / "private" / "000002").mkdir()
    published(tmp_path, report_html="two", run_json="2")
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".writing")]
    assert (tmp_path / "report.html").read_text() == "two"


@pytest.mark.parametrize("moment", [0.0, 1_709_164_800.0, 1_761_440_400.0])
def test_runs_are_numbered_by_their_folder_whatever_the_clock_says(tmp_path, monkeypatch, moment):
    """1970, 29 February 2024, and the hour that the end of summer time 2025 has twice."""
    monkeypatch.setattr(time, "time", lambda: moment)
    assert [published(tmp_path, run_json="1").number for _ in range(3)] == [1, 2, 3]


def test_a_run_is_found_by_its_folder_its_page_and_its_place_among_the_runs(tmp_path):
    first = published(tmp_path, report_html="one", run_json="1")
    second = published(tmp_path, report_html="two", run_json="2")
    for path in (tmp_path, tmp_path / "report.html", tmp_path / "latest"):
        assert (find(path), is_run(path)) == (second, True)
    for path in (first.released, first.released / "report.html"):
        assert (find(path), is_run(path)) == (first, True)
    assert not is_run(tmp_path / "private")
    with pytest.raises(StudyError, match="does not hold a whole run"):
        find(tmp_path / "private")


def test_private_records_are_for_their_owner_only(tmp_path):
    run = published(tmp_path, run_json="1")
    assert {path.stat().st_mode & 0o777 for path in (run.private, run.private.parent)} == {0o700}
    assert (run.private / "store.json").stat().st_mode & 0o777 == 0o600
