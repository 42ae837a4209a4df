"""Every defect that is planted stands in the ledger by file and line, and nothing else is touched."""

from __future__ import annotations

import collections
import datetime as dt

import polars as pl
import pytest

from cohort.simulate import simulate
from cohort.simulate.dirt import DEFECTS
from cohort.simulate.drafts import Drafts
from cohort.simulate.layouts import LAYOUTS

FILES = ("eligibility.csv", "medical_claim.csv", "pharmacy_claim.csv")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    clean, dirty = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("dirty")
    simulate(persons=5000, seed=7, out=clean)
    run = simulate(persons=5000, seed=7, out=dirty, dirt=1.0)
    return clean, dirty, run


@pytest.fixture(scope="module")
def ledger(folders) -> pl.DataFrame:
    return pl.read_csv(folders[1] / "truth/ledger.csv")


def lines(folder, file):
    return (folder / file).read_text().splitlines()


def test_every_line_that_is_not_in_the_ledger_is_a_clean_one(folders, ledger):
    clean, dirty, _ = folders
    for file in FILES:
        entries = ledger.filter(file=file)
        planted = set(entries["line"])
        assert len(planted) == entries.height
        untouched = [line for number, line in enumerate(lines(dirty, file), 1) if number not in planted]
        missing = collections.Counter(lines(clean, file)) - collections.Counter(untouched)
        assert not collections.Counter(untouched) - collections.Counter(lines(clean, file))
        # the clean lines that are gone are those that carry a defect in place; copies stand beside their original
        assert missing.total() == entries.filter(pl.col("original_line").is_null()).height


def test_lines_add_up(folders, ledger):
    clean, dirty, run = folders
    for file in FILES:
        copies = ledger.filter(pl.col("original_line").is_not_null(), file=file).height
        assert len(lines(dirty, file)) == len(lines(clean, file)) + copies
        assert run.rows[file] == len(lines(dirty, file)) - 1
    assert run.defects == ledger.height


def broken(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return True
    return False


def test_each_defect_is_what_the_ledger_says(folders, ledger):
    clean, dirty, _ = folders
    for file in FILES:
        rows, header = lines(dirty, file), lines(dirty, file)[0].split(",")
        spotless = set(lines(clean, file))
        for entry in ledger.filter(file=file).iter_rows(named=True):
            fields = rows[entry["line"] - 1].split(",")
            value = fields[header.index(entry["column"])] if entry["column"] else ""
            original = rows[entry["original_line"] - 1].split(",") if entry["original_line"] else []
            found = {
                "duplicate": fields == original,
                "reversal": value == "-" + original[header.index(entry["column"])]
                if original and entry["column"]
                else False,
                "late_line": rows[entry["line"] - 1] in spotless,
                "mistyped_date": len(fields) == len(header) and broken(value),
                "missing_separator": len(fields) == len(header) - 1,
                "extra_separator": len(fields) == len(header) + 1,
                "orphan_claim": value.startswith("X"),
                "impossible_date": value in ("1850-01-01", "2999-12-31"),
                "unit_change": value.endswith("000"),
            }
            assert found[entry["defect"]], entry
            assert entry["original_line"] in (None, entry["line"] - 1)


def test_every_kind_is_planted_and_at_its_rate(folders, ledger):
    clean, _, _ = folders
    assert set(ledger["defect"]) == {defect.name for defect in DEFECTS}
    size = len(lines(clean, "medical_claim.csv")) - 1
    for defect in DEFECTS:
        if defect.role in ("line", *LAYOUTS["tuva"].roles["medical_claim"]):
            planted = ledger.filter(file="medical_claim.csv", defect=defect.name).height
            # binomial: four standard errors
            assert planted == pytest.approx(size * defect.rate, abs=4 * (size * defect.rate) ** 0.5)


def test_truth_does_not_depend_on_the_dirt(folders):
    clean, dirty, _ = folders
    for file in ("truth.json", "episodes.parquet", "potential_outcomes.parquet"):
        assert (clean / "truth" / file).read_bytes() == (dirty / "truth" / file).read_bytes()


def test_a_spotless_extract_has_an_empty_ledger(folders):
    assert lines(folders[0], "truth/ledger.csv") == ["file,line,defect,column,original_line,expected"]


def test_the_same_seed_soils_the_same_bytes(folders, tmp_path):
    simulate(persons=5000, seed=7, out=tmp_path, dirt=1.0)
    for file in (*FILES, "truth/ledger.csv"):
        assert (tmp_path / file).read_bytes() == (folders[1] / file).read_bytes()


def test_a_run_that_fails_leaves_no_file_behind(tmp_path):
    (tmp_path / "a.csv").write_text("old\n")
    with pytest.raises(RuntimeError, match="half-way"), Drafts(tmp_path) as drafts:
        drafts.append_bytes("a.csv", b"x\n1\n")
        drafts.append_parquet("truth/b.parquet", pl.DataFrame({"x": [1]}))
        raise RuntimeError("half-way")
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old\n"
