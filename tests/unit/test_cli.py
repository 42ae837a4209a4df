"""The command line: help for a newcomer, exit codes, log lines, and errors without a traceback."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys

import pytest

import cohort as co

MONOTONE = '[[analyses]]\nkind = "cox"\nterms = "never"\n'
NEVER = '[[covariates]]\nkind = "exposed"\nname = "never"\nrecord = { table = "procedure", codes = { name = "none", rows = [ { system = "hcpcs", code = "ZZZZZ" } ] } }\nwindow = [-30, -1]\n'  # noqa: E501


def cohort(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "cohort.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )


@pytest.fixture(scope="module")
def extract(tmp_path_factory):
    folder = tmp_path_factory.mktemp("extract")
    co.simulate("low_back_pain", persons=1000, seed=3, layout="tuva", out=folder)
    return folder


@pytest.fixture(scope="module")
def store(extract, tmp_path_factory):
    return co.ingest(extract, "tuva", tmp_path_factory.mktemp("store")).path


@pytest.fixture
def study(root):
    return root / "examples" / "low_back_pain.toml"


def test_help_names_every_command_and_exit_code():
    shown = cohort("--help").stdout
    for word in ("demo", "simulate", "ingest", "check", "run", "diff", "prune", "Exit codes", "3 input refused"):
        assert word in shown


@pytest.mark.parametrize("command", ["demo", "simulate", "ingest", "check", "run", "diff"])
def test_every_command_explains_itself(command):
    done = cohort(command, "--help")
    assert done.returncode == 0
    assert "--out" in done.stdout or "--store" in done.stdout


def test_an_unknown_command_is_a_usage_error():
    assert cohort("ingset").returncode == 2


def test_a_study_file_with_a_fault_ends_with_2_and_no_traceback(study, store, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(study.read_text().replace("washout_days", "washout_day"))
    done = cohort("run", wrong, "--store", store, "--out", tmp_path / "out")
    assert done.returncode == 2
    fault = "cohort.entry.washout_day: unknown key; did you mean 'washout_days'?"
    assert done.stderr == f"cohort: error: {wrong}: {fault}\n"
    assert not (tmp_path / "out").exists()


def test_a_missing_store_ends_with_3(study, tmp_path):
    done = cohort("run", study, "--store", tmp_path / "nothing", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "holds no store" in done.stderr


def test_a_missing_extract_ends_with_3(tmp_path):
    done = cohort("ingest", tmp_path / "nothing", "--layout", "tuva", "--store", tmp_path / "store")
    assert done.returncode == 3


def test_a_result_folder_that_another_run_holds_ends_with_4(study, store, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cohort("run", study, "--store", store, "--out", out).returncode == 4
    assert cohort("run", study, "--store", store, "--out", out).returncode == 0


def test_a_model_without_an_answer_ends_with_5_and_the_report_stands(study, store, tmp_path):
    wanted = study.read_text().partition("[[analyses]]")[0] + NEVER + MONOTONE + "[disclosure]\nminimum = 0\n"
    (tmp_path / "study.toml").write_text(wanted)
    done = cohort("run", tmp_path / "study.toml", "--store", store, "--out", tmp_path / "out")
    assert done.returncode == 5
    assert "constant(never)" in done.stderr
    assert "constant(never)" in (tmp_path / "out" / "report.html").read_text()


def test_an_older_snapshot_is_read_and_one_that_is_not_there_refused(study, store, tmp_path):
    assert cohort("run", study, "--store", store, "--out", tmp_path, "--as-of", 1).returncode == 0
    assert cohort("run", study, "--store", store, "--out", tmp_path, "--as-of", 9).returncode == 3


def test_a_batch_job_logs_one_json_line_per_step_with_the_run_that_the_results_name(study, store, tmp_path):
    done = cohort("run", study, "--store", store, "--out", tmp_path, "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["run"] for line in lines} == {json.loads((tmp_path / "run.json").read_text())["run_id"]}
    assert lines[0]["run"] in (tmp_path / "report.html").read_text()
    assert {"memory_mb", "disk_mb"} < set(lines[0])  # what the run was expected to need
    assert [line["step"] for line in lines[1:]] == ["cohort", "analyses"]
    assert all(line["seconds"] >= 0 and line["rows"] > 0 and line["peak_mb"] > 50 for line in lines[1:])


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_doubtful_design_runs_and_is_said_on_standard_error_and_in_the_report(study, store, tmp_path, form):
    doubtful = tmp_path / "doubtful.toml"
    doubtful.write_text(study.read_text().replace("washout_days = 180", "washout_days = 400"))
    done = cohort("run", doubtful, "--store", store, "--out", tmp_path / "out", "--log-format", form)
    assert done.returncode == 0
    said = done.stderr.splitlines()[0]
    shown = json.loads(said)["message"] if form == "json" else said.removeprefix("cohort: warning: ")
    assert shown.startswith("cohort.entry.washout_days: 400 days without a record")
    assert shown in (tmp_path / "out" / "report.html").read_text()


def test_results_are_private(study, store, tmp_path):
    assert cohort("run", study, "--store", store, "--out", tmp_path / "out").returncode == 0
    for path in (tmp_path / "out").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_an_unforeseen_error_shows_its_kind_and_place_only(monkeypatch, capsys):
    from cohort import cli

    def fails():
        raise ValueError("could not convert 'JOHN-DOE-42' to a date")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr().err
    assert ended.value.code == 1
    assert "ValueError" in shown
    assert "JOHN-DOE-42" not in shown
