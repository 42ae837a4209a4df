"""Codelists: reading, canonical form, hash, parts."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from cohort.codes.codelist import Codelist
from cohort.errors import StudyError
from cohort.store.tables import SYSTEMS

GOOD = """# version: 2.1
system,code,term,category,source
icd10,M54.5,low back pain,low_back,WHO
icd10,m54.2,neck pain,neck,WHO
icd10,M54.5,low back pain,low_back,WHO
"""


def back(rows):
    return Codelist.from_rows("back", [dict(zip(("system", "code", "category"), row, strict=True)) for row in rows])


def test_reads_a_file_into_canonical_rows(tmp_path):
    path = tmp_path / "spine.csv"
    path.write_text(GOOD)
    spine = Codelist.read(path)
    assert (spine.name, spine.version) == ("spine", "2.1")
    assert spine.rows.select("code", "category").rows() == [("M542", "neck"), ("M545", "low_back")]
    assert Codelist.read(path, version="3").version == "3"


def test_reads_a_compressed_file_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "spine.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + GOOD.encode()))
    assert Codelist.read(path).rows.height == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("code,system\n", r"bad.csv, line 1: the header must read system,code,term,category,source"),
        ("", r"line 1: the header must read"),
        ("# version: 1\nsystem,code,term,category,source\nicd10,M545,pain\n", r"line 3: 3 fields where 5 belong"),
        ("system,code,term,category,source\nICD,M545,,,\n", r"line 2: unknown coding system; use one of icd9cm"),
        ("system,code,term,category,source\nicd10, ,,,\n", r"line 2: the code is empty"),
        ('system,code,term,category,source\nicd10,M545,"x,,\n', r"line 2: a quote is misplaced or open"),
    ],
)
def test_names_file_line_and_repair(tmp_path, text, message):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(StudyError, match=message):
        Codelist.read(path)


def test_a_missing_file_and_an_unknown_name_are_study_errors(tmp_path):
    with pytest.raises(StudyError, match="no such codelist file"):
        Codelist.read(tmp_path / "none.csv")
    with pytest.raises(StudyError, match="no shipped codelist is called 'low_back'; the nearest are low_back_pain"):
        Codelist.shipped("low_back")
    with pytest.raises(StudyError, match="codelist 'x': 1 rows have no code or a system"):
        Codelist.from_rows("x", [{"system": "icd", "code": "M545"}])


def test_the_hash_is_of_the_rows_alone():
    one, two = (
        back([("icd10", "M54.5", "a"), ("icd10", "M54.2", "b")]),
        back([("icd10", "M542", "b"), ("icd10", "m545", "a")]),
    )
    assert one.sha256 == two.sha256
    assert one == two
    assert hash(one) == hash(two)
    renamed = Codelist.from_rows("other", one.rows)
    assert renamed.sha256 == one.sha256
    assert renamed != one
    assert back([("icd10", "M545", "a")]).sha256 != one.sha256


def test_a_row_without_category_takes_the_name_of_the_list():
    assert Codelist.from_rows("back", [{"system": "icd10", "code": "M545"}]).categories == ("back",)


def test_a_part_keeps_out_what_longer_rows_gave_to_others():
    parts = back([("icd10", "M47", "unspecified"), ("icd10", "M4712", "neck"), ("snomed", "1", "neck")])
    assert parts.only(category="unspecified").rows.select("code", "category").rows() == [
        ("M47", "unspecified"),
        ("M4712", "excluded"),
    ]
    assert parts.only(category="neck").rows["code"].to_list() == ["M4712", "1"]
    with pytest.raises(StudyError, match="has no category knee; it has neck, unspecified"):
        parts.only(category="knee")


def test_inheritance_follows_prefixes_in_hierarchical_systems_only():
    # I110 is heart failure and, through I11, hypertension; SNOMED 123 is not a kind of 12
    parts = back(
        [("icd10", "I11", "hypertension"), ("icd10", "I110", "heart"), ("snomed", "12", "a"), ("snomed", "123", "b")]
    )
    assert parts.inherited().rows.select("code", "category").rows() == [
        ("I11", "hypertension"),
        ("I110", "heart"),
        ("I110", "hypertension"),
        ("12", "a"),
        ("123", "b"),
    ]


@pytest.mark.parametrize("name", Codelist.shipped_names())
def test_every_shipped_row_has_system_code_label_and_source(name):
    shipped = Codelist.shipped(name)
    assert shipped.version
    assert shipped.rows.height > 0
    assert set(shipped.systems) <= set(SYSTEMS)
    assert shipped.rows.filter(
        (pl.col("source") == "") | (pl.col("category") == "") | (pl.col("code") == "")
    ).is_empty()


def test_the_lists_that_studies_name_are_shipped():
    assert {
        "low_back_pain",
        "pain_regions",
        "pain_mechanisms",
        "chronic_pain_explicit",
        "chronic_pain_snomed",
        "musculoskeletal_injury",
        "active_cancer",
        "palliative_care",
        "spine_imaging",
        "opioid",
        "charlson_quan2005",
        "elixhauser_quan2005",
        "sleep",
        "fatigue",
        "mood",
        "cognition",
        "treatment_modalities",
    } <= set(Codelist.shipped_names())
