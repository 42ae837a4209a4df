"""The command: numbers of persons as people write them, and the same files as the function."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from cohort.cli import app
from cohort.simulate import simulate


def test_persons_may_be_written_with_an_exponent(tmp_path):
    found = CliRunner().invoke(app, ["simulate", "--persons", "3e2", "--out", str(tmp_path / "command")])
    assert found.exit_code == 0, found.output
    assert "300 persons in 3 files" in found.output
    simulate(persons=300, out=tmp_path / "function")
    for file in (tmp_path / "function").rglob("*.*"):
        assert (tmp_path / "command" / file.relative_to(tmp_path / "function")).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("wrong", ["0", "-5", "2.5", "many", "inf", "nan"])
def test_other_numbers_are_refused_with_the_option(tmp_path, wrong):
    found = CliRunner().invoke(app, ["simulate", "--persons", wrong, "--out", str(tmp_path / "x")])
    assert found.exit_code == 2
    assert "--persons" in found.output
    assert not (tmp_path / "x").exists()
