"""`cohort bench`: every step timed in a process of its own, and a run that is slower than before fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from cohort.bench import measure as measuring
from cohort.bench.measure import Timing, measure, read, slower, write
from cohort.bench.steps import STEPS
from cohort.bench.tables import text
from cohort.cli import app
from cohort.errors import InputRefusedError, ResourceError
from cohort.report.figures_scaling import Line, scaling

INGEST = Timing(10_000, "ingest", "ingest", 2.0, 100_000, 50_000, 700, 40, 3)
COPY = Timing(10_000, "ingest", "DuckDB copy", 1.0, 100_000, 100_000, 200, 10, 3)


@pytest.fixture
def few_steps(monkeypatch):
    kept = {name: STEPS[name] for name in ("simulate", "DuckDB copy")}
    monkeypatch.setattr(measuring, "STEPS", kept)


def test_steps_are_timed_and_the_table_is_read_back(few_steps, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    found = measure([300, 200], work)
    assert [(timing.persons, timing.contender) for timing in found] == [
        (200, "simulate"),
        (200, "DuckDB copy"),
        (300, "simulate"),
        (300, "DuckDB copy"),
    ]
    for timing in found:
        assert timing.rows > 200  # a line for every person's enrolment at least
        assert timing.seconds > 0
        assert timing.peak_mb > 30  # Python alone takes so much
    assert list(work.iterdir()) == []
    write(found, tmp_path / "bench.csv")
    assert read(tmp_path / "bench.csv") == found
    assert '"cores"' in (tmp_path / "bench.json").read_text()


def test_a_step_that_fails_says_which_and_where(monkeypatch, tmp_path):
    monkeypatch.setattr(measuring, "STEPS", {"cohort": STEPS["cohort"]})  # there is no store to find a cohort in
    with pytest.raises(ResourceError, match="cohort at 50 persons failed"):
        measure([50], tmp_path)


def test_what_does_not_fit_is_left_out(few_steps, tmp_path):
    found = measure([100, 10**12], tmp_path)
    assert {timing.persons for timing in found} == {100}
    with pytest.raises(ResourceError, match=r"1,000,000,000,000 persons need about 8000000\.0 GB of disk"):
        measure([10**12], tmp_path)


def test_only_our_own_steps_are_judged_and_noise_is_not():
    assert slower([INGEST, COPY], [INGEST, COPY], 1.0) == []
    twice = replace(INGEST, seconds=4.0)
    assert slower([twice], [INGEST], 1.9) == ["ingest at 10,000 persons: 4.00 s, before 2.00 s (2.00 ×)"]
    assert slower([twice], [INGEST], 2.0) == []
    assert slower([replace(COPY, seconds=9.0)], [COPY], 1.3) == []  # a slow peer is no fault of ours
    assert slower([replace(INGEST, seconds=0.09)], [replace(INGEST, seconds=0.01)], 1.3) == []
    assert slower([replace(twice, persons=5)], [INGEST], 1.3) == []  # nothing to compare with


def test_the_table_puts_peers_beside_ours():
    lines = text([INGEST, COPY]).splitlines()
    assert lines[1].split() == ["10,000", "ingest", "2.00", "100,000", "50,000", "700", "40"]
    assert lines[2].endswith("0.5 ×")


def test_the_figure_names_every_contender():
    drawn = scaling([Line("ingest", n, n / 1e4, 600) for n in (10_000, 100_000)] + [Line("DuckDB copy", 10_000, 1, 90)])
    for word in ("ingest", "DuckDB copy", "Persons", "Seconds", "Peak memory (MB)"):
        assert f">{word}<" in drawn
    assert ">10,000<" in drawn
    assert "mathdefault" not in drawn


def test_what_is_no_table_is_refused(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputRefusedError, match=r"other\.csv: not a table of `cohort bench`"):
        read(other)
    with pytest.raises(InputRefusedError, match="No such file"):
        read(tmp_path / "absent.csv")


def test_the_command_fails_when_slower_and_refuses_no_number(few_steps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "whole numbers" in str(CliRunner().invoke(app, ["bench", "--sizes", "many"]).exception)
    write([replace(INGEST, persons=200, step="simulate", contender="simulate", seconds=1e-9)], tmp_path / "old.csv")
    monkeypatch.setattr("cohort.bench.measure.slower", lambda *_: ["simulate at 200 persons: slower"])
    ran = CliRunner().invoke(app, ["bench", "--sizes", "200", "--compare", "old.csv", "--work", str(tmp_path)])
    assert "slower than 1.3 times before" in str(ran.exception)
    assert (tmp_path / "bench" / "bench.csv").exists()
    assert (tmp_path / "bench" / "bench.svg").read_text().startswith("<?xml")
