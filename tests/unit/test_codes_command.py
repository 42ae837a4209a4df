"""``cohort codelist``: changes between two lists, and what a list does on a store without telling of few persons."""

from __future__ import annotations

import csv
import io

import pytest
from typer.testing import CliRunner

import cohort as co
from cohort.cli import app

HEADER = "system,code,term,category,source\n"


def codelist(*arguments):
    done = CliRunner().invoke(app, ["codelist", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    return list(csv.DictReader(io.StringIO(done.stdout))), done.stderr


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Fifteen persons with M54.5 twice, twelve with M54.9, of whom three have M25.5 too, and one with M79.7."""
    folder = tmp_path_factory.mktemp("coded")
    (folder / "extract").mkdir()
    rows = [(n, "M54.5", day) for n in range(15) for day in ("2020-01-01", "2020-02-01")]
    rows += [(n, "M54.9", "2020-03-01") for n in range(12)] + [(n, "M25.5", "2020-04-01") for n in range(3)]
    rows += [(3, "M79.7", "2020-05-01")] * 20
    persons = [f"{n},f,1970-01-01,,2019-01-01,2021-12-31" for n in range(15)]
    eligibility = "person_id,gender,birth_date,death_date,enrollment_start_date,enrollment_end_date"
    names = ["person_id", "claim_id", "claim_type", "claim_start_date", "claim_end_date", "place_of_service_code"]
    names += ["bill_type_code", "hcpcs_code", "diagnosis_code_type", "diagnosis_code_1"]
    claims = [f"{n},c{i},professional,{day},{day},11,,,icd-10-cm,{code}" for i, (n, code, day) in enumerate(rows)]
    (folder / "extract" / "eligibility.csv").write_text("\n".join([eligibility, *persons, ""]))
    (folder / "extract" / "medical_claim.csv").write_text("\n".join([",".join(names), *claims, ""]))
    return co.ingest(folder / "extract", "tuva", folder / "store").path


def test_diff_prints_what_came_and_went(tmp_path):
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text(HEADER + "icd10,M54,,back,mine\nicd10,M51,,back,mine\n")
    new.write_text(HEADER + "icd10,M54,,back,mine\nicd10,M53,,back,mine\n")
    changes, _ = codelist("diff", old, new)
    assert [(row["change"], row["code"]) for row in changes] == [("removed", "M51"), ("added", "M53")]
    assert codelist("diff", "low_back_pain", "low_back_pain") == ([], "")


def test_coverage_counts_rows_and_names_orphans_but_no_code_of_few_persons(store, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text(HEADER + "icd10cm,M545,,low,mine\nicd10cm,M51,,disc,mine\nicd10cm,M255,,joint,mine\n")
    akin = tmp_path / "akin.csv"
    akin.write_text(HEADER + "icd10cm,M,,any,mine\n")
    rows, said = codelist("coverage", mine, "--store", store, "--like", akin)
    assert [(row["kind"], row["code"], row["rows"]) for row in rows] == [
        ("listed", "M255", "0"),  # three persons: as if nobody
        ("listed", "M51", "0"),
        ("listed", "M545", "30"),
        ("orphan", "M549", "12"),  # not M797: one person
    ]
    assert "2 distinct codes of fewer than 11 persons are left out" in said
    everything, _ = codelist("coverage", mine, "--store", store, "--like", akin, "--minimum", 1)
    assert [(row["code"], row["rows"]) for row in everything if row["kind"] == "orphan"] == [
        ("M549", "12"),
        ("M797", "1"),
    ]
    assert [row["rows"] for row in everything if row["code"] == "M255"] == ["3"]


def test_an_unknown_list_is_refused_with_the_nearest_names():
    done = CliRunner().invoke(app, ["codelist", "diff", "low_back_pian", "low_back_pain"])
    assert "low_back_pain" in str(done.exception)
