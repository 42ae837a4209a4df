"""The page on scale runs as printed: the machine timed, two stores made, their counts put together."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import polars as pl
import pytest

import cohort as co


@pytest.fixture(scope="module")
def done(root, tmp_path_factory):
    """Return the folder after every command of the page, and what each printed."""
    folder = tmp_path_factory.mktemp("scale")
    text = (root / "docs" / "scale.md").read_text(encoding="utf-8")
    (study,) = re.findall(r"```toml\n(.*?)```", text, flags=re.S)
    (folder / "sites.toml").write_text(study, encoding="utf-8")
    said = {}
    for line in re.findall(r"^    (cohort .*)$", text, flags=re.M):
        arguments = [sys.executable, "-m", "cohort.cli", *shlex.split(line)[1:]]
        ran = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
        said[line] = ran.stdout
    return folder, said


def test_every_kind_of_command_is_tried(done):
    verbs = [line.split()[1] for line in done[1]]
    assert verbs == ["bench", "simulate", "ingest", "simulate", "ingest", "counts", "counts", "combine"]


def test_the_machine_is_timed(done):
    folder, _ = done
    timed = pl.read_csv(folder / "bench" / "bench.csv")
    assert timed["persons"].unique().sort().to_list() == [1000]
    assert {"simulate", "ingest", "cohort", "features", "curves", "Cox", "report"} <= set(timed["contender"])


def test_no_small_cell_is_in_a_file_of_counts(done):
    folder, said = done
    minimum = co.Study.from_toml(folder / "sites.toml").disclosure.minimum
    for site in ("north", "south"):
        assert pl.read_parquet(folder / f"{site}.counts")["n"].min() >= minimum
    assert [text for line, text in said.items() if " counts " in line and "days in intervals of" not in text] == []


def test_both_sites_together_have_the_persons_and_days_of_both(done):
    folder, _ = done
    study = co.Study.from_toml(folder / "sites.toml").model_copy(update={"disclosure": co.DisclosureRule(minimum=0)})
    tables = [study.entries(folder / site / "store")[0] for site in ("north", "south")]
    rows = pl.concat([part for table in tables for part in table.parts])
    found = pl.read_parquet(folder / "report" / "estimates.parquet").filter(estimand="incidence_rate")
    assert found.select("n", "events", "person_days").rows() == [
        (rows.height, (rows["cause"] == 1).sum(), (rows["time"] - rows["entry"]).sum())
    ]
