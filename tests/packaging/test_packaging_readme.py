"""What the README prints runs as printed."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text()


@pytest.fixture(scope="module")
def snippets(readme):
    return re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)


@pytest.fixture(scope="module")
def after_the_study(snippets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "script.py").write_text(snippets[0])
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_study_is_25_lines(snippets):
    lines = [line for line in snippets[0].splitlines() if line.strip()]
    assert len(lines) <= 27


def test_the_study_runs_as_printed(after_the_study):
    folder, printed = after_the_study
    assert printed.strip() == "out/report.html"
    assert {path.name for path in (folder / "out").iterdir()} == {
        "report.html", "report.md", "estimates.csv", "estimates.parquet", "attrition.csv", "codelists.csv", "run.json",
        "tables", "figures", ".lock", "latest", "private", "runs",
    }  # fmt: skip


def test_the_commands_run_as_printed(readme, root, tmp_path):
    (tmp_path / "examples").symlink_to(root / "examples")
    commands = re.findall(r"^    cohort (.*)$", readme, flags=re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["simulate", "ingest", "check", "run"]
    for command in commands:
        call = [sys.executable, "-m", "cohort.cli", *shlex.split(command)]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"cohort {command}: {done.stderr}"
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_pieces_run_as_printed(snippets, tmp_path):
    call = [sys.executable, "-c", snippets[1]]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "estimate" in done.stdout
    assert "encounters" in done.stdout
