"""Matching: the rule of `cohort.codes.match` as a table of codes and labels."""

from __future__ import annotations

import polars as pl
import pytest

from cohort.codes.codelist import Codelist
from cohort.codes.coverage import coverage
from cohort.codes.match import label, matches

LIST = Codelist.from_rows(
    "spec",
    [
        {"system": system, "code": code, "category": category}
        for system, code, category in [
            ("icd10", "M47", "spine"),
            ("icd10", "M4712", "neck"),
            ("icd10", "M4713", "excluded"),
            ("icd10cm", "M54", "back"),
            ("icd10cm", "M545", "back"),
            ("icd10cm", "M545", "low"),
            ("snomed", "8242", "pain"),
            ("ndc", "123456789", "product"),
        ]
    ],
)

TABLE = [
    # system, code, labels
    ("icd10", "M47", ["spine"]),
    ("icd10", "M479", ["spine"]),
    ("icd10", "M4712", ["neck"]),  # the longest row decides
    ("icd10", "M4713", []),  # the longest row takes the code out
    ("icd10", "M4", []),  # shorter than every row
    ("icd10", "M545", []),  # another system's row
    ("icd10cm", "M545", ["back", "low"]),  # one code, two labels of the same length
    ("icd10cm", "M5450", ["back", "low"]),
    ("icd10cm", "M542", ["back"]),
    ("snomed", "8242", ["pain"]),
    ("snomed", "82423001", []),  # SNOMED identifiers are not hierarchical
    ("ndc", "12345678901", ["product"]),  # all packages of the product
    ("icd10", None, []),
    (None, "M47", []),
    ("icd10", "", []),
]


def rows():
    return pl.LazyFrame(
        {
            "row": range(len(TABLE)),
            "system": [system for system, _, _ in TABLE],
            "code": [code for _, code, _ in TABLE],
        }
    )


@pytest.mark.parametrize(("row", "labels"), [(number, labels) for number, (_, _, labels) in enumerate(TABLE)])
def test_labels_by_longest_prefix_within_the_system(row, labels):
    found = label(rows(), LIST).collect().filter(pl.col("row") == row)
    assert sorted(found["category"]) == labels


def test_matches_keeps_each_row_once():
    kept = matches(rows(), LIST).collect()
    assert sorted(kept["row"]) == [number for number, (_, _, labels) in enumerate(TABLE) if labels]
    assert kept.columns == ["row", "system", "code"]


def test_duplicate_rows_stay_duplicates_and_other_column_names_are_allowed():
    twice = pl.LazyFrame({"dx": ["M47", "M47"], "sys": ["icd10", "icd10"]})
    assert label(twice, LIST, code="dx", system="sys", into="region").collect().rows() == [
        ("M47", "icd10", "spine"),
        ("M47", "icd10", "spine"),
    ]


def shipped_labels(name, system, code):
    frame = pl.LazyFrame({"system": [system], "code": [code]})
    return sorted(label(frame, Codelist.shipped(name)).collect()["category"])


@pytest.mark.parametrize(
    ("name", "system", "code", "labels"),
    [
        ("low_back_pain", "icd10cm", "M5450", ["low_back"]),  # M54.5 was split in FY2022; prefixes keep the new years
        ("low_back_pain", "icd10cm", "M4712", []),  # cervical spondylosis: a longer row of another region
        ("low_back_pain", "icd9cm", "7242", ["low_back"]),
        ("pain_regions", "icd10cm", "M47812", ["neck"]),
        ("pain_regions", "icd11", "MG3001", ["widespread"]),  # MG30.01 without its dot, as in the store
        ("chronic_pain_explicit", "icd10cm", "G894", ["chronic_pain_explicit"]),
        ("chronic_pain_explicit", "snomed", "82423001", ["chronic_pain_explicit"]),
        ("chronic_pain_explicit", "icd10cm", "M545", []),
        ("active_cancer", "icd10", "C509", ["active_cancer"]),
        ("active_cancer", "icd10cm", "C4492", []),  # skin other than melanoma
        ("active_cancer", "icd9cm", "1739", []),
        ("active_cancer", "icd10", "D05", []),  # in situ
        ("palliative_care", "icd10cm", "Z515", ["palliative_care"]),
        ("opioid", "atc", "N02AA05", ["oxycodone"]),
        ("opioid", "atc", "N02AC04", ["opioids"]),
        ("opioid", "atc", "N01AH01", []),  # anaesthesia
        ("opioid", "ndc", "00054017613", ["buprenorphine"]),
        ("opioid", "rxnorm", "1049221", ["oxycodone"]),
        ("opioid", "rxnorm", "480", []),  # alfentanil: anaesthesia
        ("musculoskeletal_injury", "snomed", "39848009", ["whiplash"]),
        ("musculoskeletal_injury", "snomed", "443165006", []),  # pathological fracture
        ("treatment_classes", "atc", "N02CC01", ["triptan"]),
    ],
)
def test_shipped_lists_say_what_they_should(name, system, code, labels):
    assert shipped_labels(name, system, code) == labels


@pytest.mark.parametrize("listed", ["cpt", "hcpcs"])
def test_cpt_is_level_one_of_hcpcs_under_either_name(listed):
    # claims of the United States write both into one column: 62322 is CPT and HCPCS level I, G0283 is level II
    mine = Codelist.from_rows("mine", [{"system": listed, "code": code} for code in ("62322", "G0283")])
    rows = pl.DataFrame({"system": ["cpt", "hcpcs", "hcpcs", "icd10pcs"], "code": ["62322", "62322", "G0283", "62322"]})
    assert matches(rows.lazy(), mine).collect().sort("system", "code").rows() == [
        ("cpt", "62322"),
        ("hcpcs", "62322"),
        ("hcpcs", "G0283"),
    ]
    assert [mine.contains(*row) for row in rows.iter_rows()] == [True, True, True, False]
    assert coverage(rows.lazy(), mine).collect()["rows"].to_list() == [2, 1]
