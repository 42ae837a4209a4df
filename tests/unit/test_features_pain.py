"""Pain sites and episodes by region."""

from __future__ import annotations

import datetime as dt

import polars as pl

from cohort.features.pain import pain_episodes, pain_mechanisms, pain_sites

D = dt.date
ROWS = [
    # person, date, code
    (1, D(2020, 1, 1), "M545"),  # low back
    (1, D(2020, 2, 1), "M5450"),  # low back
    (1, D(2020, 9, 1), "M542"),  # neck
    (1, D(2020, 2, 1), "G8921"),  # pain, site not stated
    (2, D(2020, 1, 1), "E119"),  # no pain
    (3, D(2020, 1, 1), "G8921"),
]


def diagnoses():
    person, date, code = zip(*ROWS, strict=True)
    return pl.LazyFrame(
        {"person_id": person, "date": date, "end_date": date, "system": ["icd10cm"] * len(ROWS), "code": code}
    )


def test_sites_count_regions_not_codes_and_not_unspecified():
    assert pain_sites(diagnoses()).collect().rows() == [(1, 2), (2, 0), (3, 0)]


def test_episodes_are_kept_apart_by_region():
    assert pain_episodes(diagnoses()).collect().rows() == [
        (1, "low_back", D(2020, 1, 1), D(2020, 2, 1), 32, 2),
        (1, "neck", D(2020, 9, 1), D(2020, 9, 1), 1, 1),
        (1, "unspecified", D(2020, 2, 1), D(2020, 2, 1), 1, 1),
        (3, "unspecified", D(2020, 1, 1), D(2020, 1, 1), 1, 1),
    ]


def test_mechanisms_are_flags_of_everybody():
    sciatica = diagnoses().filter(pl.col("person_id") == 3).with_columns(code=pl.lit("M5430"))
    found = pain_mechanisms(pl.concat([diagnoses(), sciatica])).collect()
    assert found.columns == [
        "person_id",
        "central_nociplastic",
        "inflammatory",
        "mixed_unspecified",
        "neuropathic",
        "nociceptive",
    ]
    # low back pain, neck pain and pain after injury state no mechanism; sciatica is neuropathic
    assert found.select("person_id", "mixed_unspecified", "neuropathic").rows() == [(1, 1, 0), (2, 0, 0), (3, 1, 1)]
