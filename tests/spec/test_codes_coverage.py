"""Coverage, orphans and changes of a codelist, worked by hand."""

from __future__ import annotations

import polars as pl

from cohort.codes.codelist import Codelist
from cohort.codes.coverage import compare, coverage, orphans


def listed(name, *rows):
    return Codelist.from_rows(name, [dict(zip(("system", "code", "category"), row, strict=True)) for row in rows])


BACK = listed(
    "back", ("icd10", "M54", "back"), ("icd10", "M545", "low"), ("icd10", "M542", "excluded"), ("icd10", "M51", "disc")
)
ROWS = pl.LazyFrame(
    {
        "system": ["icd10"] * 7 + ["icd9cm"],
        "code": ["M545", "M5450", "M545", "M549", "M542", "M25", "M25", "7242"],
    }
)


def test_coverage_counts_codes_and_rows_where_a_row_is_the_longest():
    assert coverage(ROWS, BACK).collect().rows() == [
        ("icd10", "M51", "disc", 0, 0),
        ("icd10", "M54", "back", 1, 1),  # M549
        ("icd10", "M542", "excluded", 1, 1),
        ("icd10", "M545", "low", 2, 3),  # M545 twice, M5450
    ]


def test_orphans_are_akin_and_undecided():
    akin = listed("akin", ("icd10", "M", "musculoskeletal"), ("icd9cm", "724", "back"))
    assert orphans(ROWS, BACK, like=akin).collect().rows() == [("icd10", "M25", 2), ("icd9cm", "7242", 1)]


def test_compare_lists_what_came_and_went():
    new = listed(
        "back",
        ("icd10", "M54", "back"),
        ("icd10", "M545", "back"),
        ("icd10", "M542", "excluded"),
        ("icd11", "ME84", "back"),
    )
    assert compare(BACK, new).rows() == [
        ("removed", "icd10", "M51", "disc"),
        ("added", "icd10", "M545", "back"),
        ("removed", "icd10", "M545", "low"),
        ("added", "icd11", "ME84", "back"),
    ]
    assert compare(BACK, BACK).is_empty()


def test_a_frame_of_codes_with_their_rows_says_the_same():
    akin = listed("akin", ("icd10", "M", "musculoskeletal"), ("icd9cm", "724", "back"))
    counted = ROWS.group_by("system", "code").agg(rows=pl.len().cast(pl.Int64))
    assert coverage(counted, BACK).collect().equals(coverage(ROWS, BACK).collect())
    assert orphans(counted, BACK, like=akin).collect().equals(orphans(ROWS, BACK, like=akin).collect())
